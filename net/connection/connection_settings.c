/* Settings of one connection: codec, callbacks, timeouts and watermarks that differ from those of its server or client. A
 * connection that changes one gets a copy of the profile. The original outlives the copy, because other threads, or callers of
 * a callback that makes the change, may be reading it. */
#include "base/log.h"
#include "base/memory.h"
#include "net/codec/codec.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>
#include <string.h>

/* Of a profile's members other threads read the references and limits only; those are the same in the copy. */
static struct connection_profile *profile_copy(struct connection_profile *profile)
{
    const size_t head = offsetof(struct connection_profile, owner);
    struct connection_profile *copy = memory_allocate(sizeof(*copy));

    if (copy == NULL)
        return NULL;
    atomic_init(&copy->references, 1);
    copy->base = profile;
    memcpy((char *)copy + head, (const char *)profile + head, sizeof(*copy) - head);
    return copy;
}

/* The connection's reference to the original becomes the copy's. */
int connection_own_profile(jd_tcp_connection *connection, struct connection_profile **own)
{
    struct connection_profile *profile = connection->profile;

    if (!event_loop_is_in_loop_thread(connection_loop(connection)))
        return JD_EPERM;
    if (connection_state(connection) == CONNECTION_DISCONNECTED)
        return JD_ENOTCONN;
    if (profile->base == NULL) {
        profile = profile_copy(profile);
        if (profile == NULL)
            return JD_ENOMEM;
        profile->awaited_ms = connection->up_ms; /* if a message is awaited */
        __atomic_store_n(&connection->profile, profile, __ATOMIC_RELEASE);
    }
    *own = profile;
    return 0;
}

/* ---- callbacks ---- */

static void nothing_else(jd_tcp_connection *connection, struct connection_profile *profile)
{
}

/* The message callback that is set now gets what the present one leaves. */
static void message_set(jd_tcp_connection *connection, struct connection_profile *profile)
{
    if (profile->codec == NULL)
        connection_note_switch(connection);
}

/* An engine may have left a send without a report, as nobody waited for it (stream_needs_sent_report). */
static void write_complete_set(jd_tcp_connection *connection, struct connection_profile *profile)
{
    if (output_queue_bytes(&connection->stream.output) > 0)
        connection_touch(connection, TODO_FLUSH);
}

/* What is known of the peer already. */
static void peer_gone_set(jd_tcp_connection *connection, struct connection_profile *profile)
{
    if (connection->flags & CONNECTION_END_DEFERRED || connection->stream.flags & CONNECTION_PEER_END_SEEN ||
        connection_state(connection) >= CONNECTION_BROKEN)
        connection_touch(connection, TODO_PEER_GONE);
}

static void half_close_set(jd_tcp_connection *connection, struct connection_profile *profile)
{
    profile->allow_half_open = profile->on_half_close != NULL;
}

static void heartbeat_set(jd_tcp_connection *connection, struct connection_profile *profile)
{
    if (connection_state(connection) < CONNECTION_CLOSING)
        connection_start_heartbeat(connection);
}

/* jd_tcp_connection_set_NAME_callback. also: what else there is to do when the callback is set. */
#define DEFINE_SET_CALLBACK(name, type, also)                                                                          \
    int jd_tcp_connection_set_##name##_callback(jd_tcp_connection *connection, type callback, void *arg)               \
    {                                                                                                                  \
        struct connection_profile *profile;                                                                            \
        int result = connection_own_profile(connection, &profile);                                                     \
                                                                                                                       \
        if (result < 0)                                                                                                \
            return result;                                                                                             \
        profile->on_##name = callback;                                                                                 \
        profile->on_##name##_arg = arg;                                                                                \
        also(connection, profile);                                                                                     \
        return 0;                                                                                                      \
    }

DEFINE_SET_CALLBACK(connection, jd_connection_callback, nothing_else)
DEFINE_SET_CALLBACK(message, jd_message_callback, message_set)
DEFINE_SET_CALLBACK(frame_error, jd_frame_error_callback, nothing_else)
DEFINE_SET_CALLBACK(write_complete, jd_write_complete_callback, write_complete_set)
DEFINE_SET_CALLBACK(high_watermark, jd_watermark_callback, nothing_else)
DEFINE_SET_CALLBACK(low_watermark, jd_watermark_callback, nothing_else)
DEFINE_SET_CALLBACK(heartbeat, jd_heartbeat_callback, heartbeat_set)
DEFINE_SET_CALLBACK(half_close, jd_half_close_callback, half_close_set)
DEFINE_SET_CALLBACK(asked_to_end, jd_asked_to_end_callback, nothing_else)
DEFINE_SET_CALLBACK(peer_gone, jd_peer_gone_callback, peer_gone_set)

int jd_tcp_connection_set_codec(jd_tcp_connection *connection, const jd_codec *codec, jd_frame_callback callback,
                                void *arg)
{
    struct connection_profile *profile;
    int result = connection_own_profile(connection, &profile);
    const jd_codec *decoder;
    bool skips; /* a frame that is too long for the codec, which stays */

    if (result < 0)
        return result;
    skips = profile->codec == codec && profile->decoder != codec && codec != NULL;
    decoder = profile->decoder;
    connection_profile_set_codec(profile, codec, callback, arg);
    if (skips)
        profile->decoder = decoder;
    connection_note_switch(connection);
    return 0;
}

int jd_tcp_connection_set_session(jd_tcp_connection *connection, const jd_session_callbacks *callbacks, void *session)
{
    struct connection_profile *profile;
    int result = connection_own_profile(connection, &profile);

    if (result == 0 && connection_state(connection) < CONNECTION_CONNECTED)
        result = log_invalid("%s: jd_tcp_connection_set_session: the session is just being created", profile->name);
    if (result < 0)
        return result;
    connection_profile_set_session(profile, callbacks, NULL);
    jd_tcp_connection_set_context(connection, session, callbacks->destroy);
    connection_note_switch(connection);
    write_complete_set(connection, profile);
    half_close_set(connection, profile);
    heartbeat_set(connection, profile);
    peer_gone_set(connection, profile);
    return 0;
}

/* ---- timeouts and watermarks ---- */

static int timeouts_check(const char *name, const jd_connection_timeouts *timeouts)
{
    if (connection_timeout_check(name, "first_message_ms", timeouts->first_message_ms) < 0 ||
        connection_timeout_check(name, "idle_ms", timeouts->idle_ms) < 0 ||
        connection_timeout_check(name, "read_ms", timeouts->read_ms) < 0 ||
        connection_timeout_check(name, "write_ms", timeouts->write_ms) < 0 ||
        connection_timeout_check(name, "heartbeat_ms", timeouts->heartbeat_ms) < 0)
        return JD_EINVAL;
    return 0;
}

int jd_tcp_connection_set_timeouts(jd_tcp_connection *connection, const jd_connection_timeouts *timeouts)
{
    struct connection_profile *profile;
    int result = timeouts_check(connection_profile_of(connection)->name, timeouts);

    if (result == 0)
        result = connection_own_profile(connection, &profile);
    if (result < 0)
        return result;
    profile->first_message_timeout_ms = timeouts->first_message_ms;
    profile->idle_timeout_ms = timeouts->idle_ms;
    profile->read_timeout_ms = timeouts->read_ms;
    profile->write_timeout_ms = timeouts->write_ms;
    profile->heartbeat_ms = timeouts->heartbeat_ms;
    connection_profile_derive(profile);
    if (connection_state(connection) < CONNECTION_CLOSING)
        connection_start_timeouts(connection);
    return 0;
}

static int watermarks_check(const struct connection_profile *profile, size_t high, size_t low, jd_above_watermark above)
{
    if ((unsigned)above > JD_ABOVE_WATERMARK_KEEP_READING)
        return log_invalid("%s: above_watermark %d is none of the values of jd_above_watermark", profile->name,
                           (int)above);
    if (high > profile->output_limit)
        return log_invalid("%s: a high watermark of %zu bytes is above output_limit of %zu and would never be reached",
                           profile->name, high, profile->output_limit);
    if (low >= high)
        return log_invalid("%s: a low watermark of %zu bytes is not below the high one of %zu", profile->name, low,
                           high);
    return 0;
}

int jd_tcp_connection_set_watermarks(jd_tcp_connection *connection, size_t high, size_t low, jd_above_watermark above)
{
    const struct connection_profile *base = connection_profile_of(connection);
    struct connection_profile *profile;
    int result;

    if (base->base != NULL)
        base = base->base;
    if (low == 0)
        low = high == 0 ? base->low_watermark : high / LOW_WATERMARK_PARTS;
    if (high == 0)
        high = base->high_watermark;
    result = watermarks_check(base, high, low, above);
    if (result == 0)
        result = connection_own_profile(connection, &profile);
    if (result < 0)
        return result;
    profile->high_watermark = high;
    profile->low_watermark = low;
    profile->reads_above_watermark =
        above == JD_ABOVE_WATERMARK_DEFAULT ? base->reads_above_watermark : above == JD_ABOVE_WATERMARK_KEEP_READING;
    connection_profile_derive(profile);
    connection_apply_watermarks(connection);
    return 0;
}
