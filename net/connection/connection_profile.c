/* The record that all connections of a server or client share: limits and timeouts from the options, and the
 * callbacks. */
#include "base/log.h"
#include "base/memory.h"
#include "net/codec/codec.h"
#include "net/connection/tcp_connection.h"

#include <inttypes.h>
#include <jinduo/error.h>
#include <stdio.h>

enum {
    OUTPUT_LIMIT_BYTES = 64 * 1024 * 1024,
    INPUT_LIMIT_BYTES = 64 * 1024 * 1024,
    INPUT_BEYOND_FRAME_BYTES = 64 * 1024,
    BUDGET_BYTES = 256 * 1024,
    HIGH_WATERMARK_BYTES = 1024 * 1024,
    QUEUED_FILES = 16,
    MAX_AGE_DRAIN_MS = 5000,
};

static size_t size_or_default(size_t value, size_t default_value)
{
    return value != 0 ? value : default_value;
}

/* connection.reserved has 36 bits for bytes. */
static size_t options_output_limit(const struct connection_options *options)
{
    size_t limit = size_or_default(options->output_limit, OUTPUT_LIMIT_BYTES);

    return limit < CONNECTION_RESERVED_FILE ? limit : (size_t)(CONNECTION_RESERVED_FILE - 1);
}

static size_t options_high_watermark(const struct connection_options *options)
{
    size_t output_limit = options_output_limit(options);

    if (options->high_watermark != 0)
        return options->high_watermark;
    return output_limit < HIGH_WATERMARK_BYTES ? output_limit : HIGH_WATERMARK_BYTES;
}

/* The log line names both values: one of them may be a default, which the caller does not see. */
static int watermarks_check(const char *name, const struct connection_options *options)
{
    size_t output_limit = options_output_limit(options);
    size_t high_watermark = options_high_watermark(options);

    if (options->above_watermark != JD_ABOVE_WATERMARK_PAUSE_READING &&
        options->above_watermark != JD_ABOVE_WATERMARK_KEEP_READING)
        return log_invalid("%s: above_watermark %d is none of the values of jd_above_watermark", name,
                           (int)options->above_watermark);
    if (high_watermark > output_limit)
        return log_invalid(
            "%s: high_watermark of %zu bytes is above output_limit of %zu and would never be reached; it must be at "
            "most output_limit",
            name, high_watermark, output_limit);
    if (options->low_watermark >= high_watermark)
        return log_invalid("%s: low_watermark of %zu bytes is not below high_watermark of %zu", name,
                           options->low_watermark, high_watermark);
    return 0;
}

int connection_timeout_check(const char *name, const char *option, uint32_t value_ms)
{
    if (value_ms <= CONNECTION_TIMEOUT_MAX_MS)
        return 0;
    return log_invalid("%s: %s of %" PRIu32 " ms is too long; it must be at most %d (12 days)", name, option, value_ms,
                       CONNECTION_TIMEOUT_MAX_MS);
}

/* With it, an age and its drain together stay below 2^31 ms. */
static int age_drain_check(const char *name, uint32_t value_ms)
{
    enum { AGE_DRAIN_MAX_MS = 1 << 29 };

    return value_ms <= AGE_DRAIN_MAX_MS
               ? 0
               : log_invalid("%s: max_age_drain_ms of %" PRIu32 " ms is too long; it must be at most %d (6 days)", name,
                             value_ms, AGE_DRAIN_MAX_MS);
}

static int buffer_check(const char *name, const char *option, int bytes)
{
    return bytes >= 0 ? 0
                      : log_invalid("%s: %s of %d bytes is negative; 0 is the system's choice", name, option, bytes);
}

enum { KEEPALIVE_MAX_S = 32767, KEEPALIVE_MAX_COUNT = 127 }; /* tcp(7): the kernel's MAX_TCP_KEEP constants */

static int keepalive_check(const char *name, const char *option, uint32_t value, uint32_t most, bool keepalive)
{
    if (value > most)
        return log_invalid("%s: %s %" PRIu32 " is too large; it must be at most %" PRIu32, name, option, value, most);
    if (value > 0 && !keepalive)
        return log_invalid("%s: %s %" PRIu32 " has no effect without keepalive", name, option, value);
    return 0;
}

static int socket_options_check(const char *name, const struct socket_options *options)
{
    if (buffer_check(name, "send_buffer_bytes", options->send_buffer_bytes) < 0 ||
        buffer_check(name, "receive_buffer_bytes", options->receive_buffer_bytes) < 0 ||
        keepalive_check(name, "keepalive_idle_s", options->keepalive_idle_s, KEEPALIVE_MAX_S, options->keepalive) < 0 ||
        keepalive_check(name, "keepalive_interval_s", options->keepalive_interval_s, KEEPALIVE_MAX_S,
                        options->keepalive) < 0 ||
        keepalive_check(name, "keepalive_count", options->keepalive_count, KEEPALIVE_MAX_COUNT, options->keepalive) <
            0 ||
        connection_timeout_check(name, "user_timeout_ms", options->user_timeout_ms) < 0)
        return JD_EINVAL;
    return 0;
}

int connection_options_check(const char *name, const struct connection_options *options)
{
    if (socket_options_check(name, &options->socket) < 0 ||
        connection_timeout_check(name, "first_message_timeout_ms", options->first_message_timeout_ms) < 0 ||
        connection_timeout_check(name, "idle_timeout_ms", options->idle_timeout_ms) < 0 ||
        connection_timeout_check(name, "read_timeout_ms", options->read_timeout_ms) < 0 ||
        connection_timeout_check(name, "write_timeout_ms", options->write_timeout_ms) < 0 ||
        connection_timeout_check(name, "heartbeat_ms", options->heartbeat_ms) < 0 ||
        connection_timeout_check(name, "max_age_ms", options->max_age_ms) < 0 ||
        age_drain_check(name, options->max_age_drain_ms) < 0)
        return JD_EINVAL;
    if (options->max_queued_files > CONNECTION_FILES_MAX)
        return log_invalid("%s: max_queued_files %u is too many; it must be at most %d", name,
                           options->max_queued_files, CONNECTION_FILES_MAX);
    return watermarks_check(name, options);
}

void connection_profile_derive(struct connection_profile *profile)
{
    profile->unchecked_output = profile->totals == NULL ? profile->output_limit : 0;
    profile->unchecked_joining = profile->totals == NULL ? profile->high_watermark : 0;
    profile->has_timeouts = (profile->first_message_timeout_ms | profile->idle_timeout_ms | profile->read_timeout_ms |
                             profile->write_timeout_ms | profile->heartbeat_ms | profile->max_age_ms) != 0;
    profile->watches_output = profile->totals != NULL || profile->write_timeout_ms != 0;
}

struct connection_profile *connection_profile_create(struct connection_owner *owner, const char *name,
                                                     const struct connection_options *options)
{
    struct connection_profile *profile = memory_allocate_zeroed(sizeof(*profile));

    if (profile == NULL)
        return NULL;
    atomic_init(&profile->references, 1);
    profile->owner = owner;
    profile->decoder = &no_codec;
    snprintf(profile->name, sizeof(profile->name), "%s", name);
    profile->output_limit = options_output_limit(options);
    profile->input_limit = size_or_default(options->input_limit, INPUT_LIMIT_BYTES);
    profile->budget_bytes = size_or_default(options->budget_bytes, BUDGET_BYTES);
    profile->high_watermark = options_high_watermark(options);
    profile->low_watermark = size_or_default(options->low_watermark, profile->high_watermark / LOW_WATERMARK_PARTS);
    profile->max_queued_files = options->max_queued_files != 0 ? options->max_queued_files : QUEUED_FILES;
    profile->reads_above_watermark = options->above_watermark == JD_ABOVE_WATERMARK_KEEP_READING;
    profile->allow_half_open = options->allow_half_open;
    profile->first_message_timeout_ms = options->first_message_timeout_ms;
    profile->idle_timeout_ms = options->idle_timeout_ms;
    profile->read_timeout_ms = options->read_timeout_ms;
    profile->write_timeout_ms = options->write_timeout_ms;
    profile->heartbeat_ms = options->heartbeat_ms;
    profile->max_age_ms = options->max_age_ms;
    profile->max_age_drain_ms = options->max_age_drain_ms != 0 ? options->max_age_drain_ms : MAX_AGE_DRAIN_MS;
    if (options->total_output_limit != 0 || options->total_input_limit != 0) {
        profile->totals = connection_totals_create(options->total_output_limit, options->total_input_limit);
        if (profile->totals == NULL) {
            memory_release(profile, sizeof(*profile));
            return NULL;
        }
    }
    connection_profile_derive(profile);
    return profile;
}

void connection_profile_release(struct connection_profile *profile)
{
    struct connection_profile *base;

    for (; profile != NULL && atomic_fetch_sub_explicit(&profile->references, 1, memory_order_acq_rel) == 1;
         profile = base) {
        base = profile->base;
        if (base == NULL)
            connection_totals_unref(profile->totals);
        if (profile->filter != NULL)
            profile->filter->end(profile->filter);
        memory_release(profile, sizeof(*profile));
    }
}

void connection_profile_set_codec(struct connection_profile *profile, const jd_codec *codec, jd_frame_callback callback,
                                  void *arg)
{
    size_t least_bytes = codec != NULL ? codec->max_frame_bytes + INPUT_BEYOND_FRAME_BYTES : 0;

    profile->codec = codec;
    profile->decoder = codec != NULL ? codec : &no_codec;
    profile->on_frame = callback;
    profile->on_frame_arg = arg;
    if (callback == NULL)
        connection_profile_set_session_frame(profile);
    if (profile->input_limit < least_bytes)
        profile->input_limit = least_bytes;
}
