/* What connections have from their server or client: the record that all of them share, and the owner that they report to. */
#ifndef NET_CONNECTION_CONNECTION_PROFILE_H
#define NET_CONNECTION_CONNECTION_PROFILE_H

#include "base/platform/socket.h"
#include "net/connection/connection_totals.h"
#include "net/filter/proxy_filter.h"

#include <jinduo/codec.h>
#include <jinduo/tcp_connection.h>
#include <stdatomic.h>

/* What a connection reports to its server or client, in the thread of the connection's loop. */
struct connection_owner {
    /* Before the connection callback: the connection comes up (change is 1) or goes down (-1). */
    void (*up_changed)(struct connection_owner *owner, jd_tcp_connection *connection, int change);

    /* The connection has left loop; called exactly once, also for one that never came up. error: 0, or the negative
     * error that ended it. The owner may be freed at any time after this call. */
    void (*gone)(struct connection_owner *owner, jd_event_loop *loop, int error);

    /* The pressure of total_output_limit has begun or ended: connections_apply_pressure must be called on each loop. In the
     * thread of one of the loops. NULL if the owner has no such limit. */
    void (*pressure_changed)(struct connection_owner *owner);
};

/* What all connections of a server or client have in common: one reference-counted record instead of a copy in each.
 * Callbacks and codec are set while the server or client is not started. */
struct connection_profile {
    _Atomic uint32_t references;

    /* The record that this one was copied from, for one connection that has settings of its own
     * (connection_settings.c); it owns a reference. NULL: of a server or client. */
    struct connection_profile *base;

    struct connection_owner *owner; /* must not be dereferenced after gone */

    /* Of a server: its connections begin with a PROXY header; NULL: they do not. As owner, not after gone. */
    const struct proxy_settings *proxy;

    /* One connection's own, while CONNECTION_FILTERED is set; the profile owns it. */
    struct filter *filter;

    char name[32];

    jd_connection_callback on_connection;
    void *on_connection_arg;
    jd_message_callback on_message;
    void *on_message_arg;
    jd_write_complete_callback on_write_complete;
    void *on_write_complete_arg;
    jd_half_close_callback on_half_close;
    void *on_half_close_arg;
    jd_peer_gone_callback on_peer_gone;
    void *on_peer_gone_arg;
    jd_watermark_callback on_high_watermark;
    void *on_high_watermark_arg;
    jd_watermark_callback on_low_watermark;
    void *on_low_watermark_arg;
    jd_heartbeat_callback on_heartbeat;
    void *on_heartbeat_arg;
    jd_asked_to_end_callback on_asked_to_end;
    void *on_asked_to_end_arg;
    const jd_codec *codec;   /* NULL: none */
    const jd_codec *decoder; /* codec, or no_codec */
    jd_frame_callback on_frame;
    void *on_frame_arg;
    jd_frame_error_callback on_frame_error;
    void *on_frame_error_arg;
    uint64_t skip_left;     /* one connection's own, while a frame is skipped: bytes until its end; 0: not known */
    uint64_t skipped_bytes; /* of that frame */
    const jd_session_callbacks *session; /* NULL: connections have no sessions */
    void *session_arg;                   /* of create */

    /* NULL: neither total_output_limit nor total_input_limit. */
    struct connection_totals *totals;

    /* Of output_limit and high_watermark: up to so many bytes a send needs no other check. 0 with totals. */
    size_t unchecked_output, unchecked_joining;

    /* As in jd_tcp_server_options, with the defaults filled in; sizes in bytes. */
    size_t output_limit;
    size_t input_limit;
    size_t budget_bytes;
    size_t high_watermark, low_watermark;
    unsigned max_queued_files;
    bool allow_half_open;
    bool reads_above_watermark;
    bool has_timeouts;   /* at least one of the following is not 0 */
    bool watches_output; /* each addition to the output queue is counted or timed */
    bool awaits_next;    /* one connection's own: first_message_timeout_ms begins at the turn's end */
    bool keeps_age;      /* one connection's own: awaited_ms is when it came up (connection_keep_age) */
    uint32_t awaited_ms; /* one connection's own: when first_message_timeout_ms began; else connection.up_ms */
    uint32_t first_message_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t read_timeout_ms;
    uint32_t write_timeout_ms;
    uint32_t heartbeat_ms;
    uint32_t max_age_ms, max_age_drain_ms;
};

/* The options that servers and clients share: as in jd_tcp_server_options, 0 where the default is wanted. */
struct connection_options {
    struct socket_options socket;
    bool allow_half_open;
    size_t output_limit, input_limit, budget_bytes;
    size_t high_watermark, low_watermark;
    unsigned max_queued_files;
    jd_above_watermark above_watermark; /* not the default: see CONNECTION_OPTIONS_OF */
    uint32_t first_message_timeout_ms, idle_timeout_ms, read_timeout_ms, write_timeout_ms, heartbeat_ms;
    uint32_t max_age_ms, max_age_drain_ms;        /* of servers only, as the next */
    size_t total_output_limit, total_input_limit; /* 0: none */
};

/* The initializer of a struct connection_options from a jd_tcp_server_options or jd_tcp_client_options.
 * default_above_watermark: what JD_ABOVE_WATERMARK_DEFAULT stands for. */
#define CONNECTION_OPTIONS_OF(options, default_above_watermark)                                                        \
    {                                                                                                                  \
        .socket = { .nagle = (options)->nagle,                                                                         \
                    .keepalive = (options)->keepalive,                                                                 \
                    .keepalive_idle_s = (options)->keepalive_idle_s,                                                   \
                    .keepalive_interval_s = (options)->keepalive_interval_s,                                           \
                    .keepalive_count = (options)->keepalive_count,                                                     \
                    .user_timeout_ms = (options)->user_timeout_ms,                                                     \
                    .hook = (options)->socket_hook,                                                                    \
                    .hook_arg = (options)->socket_hook_arg,                                                            \
                    .send_buffer_bytes = (options)->send_buffer_bytes,                                                 \
                    .receive_buffer_bytes = (options)->receive_buffer_bytes },                                         \
        .allow_half_open = (options)->allow_half_open, .output_limit = (options)->output_limit,                        \
        .input_limit = (options)->input_limit, .budget_bytes = (options)->budget_bytes,                                \
        .high_watermark = (options)->high_watermark, .low_watermark = (options)->low_watermark,                        \
        .max_queued_files = (options)->max_queued_files,                                                               \
        .above_watermark = (options)->above_watermark != JD_ABOVE_WATERMARK_DEFAULT ? (options)->above_watermark       \
                                                                                    : (default_above_watermark),       \
        .first_message_timeout_ms = (options)->first_message_timeout_ms,                                               \
        .idle_timeout_ms = (options)->idle_timeout_ms, .read_timeout_ms = (options)->read_timeout_ms,                  \
        .write_timeout_ms = (options)->write_timeout_ms, .heartbeat_ms = (options)->heartbeat_ms,                      \
    }

/* ---- connection_profile.c ---- */

enum { LOW_WATERMARK_PARTS = 4 }; /* the default low watermark is a quarter of the high one */

/* Returns 0, or JD_EINVAL if an option is out of its limits or inconsistent with another: a log line says which, with the
 * name of the server or client. From any thread. */
int connection_options_check(const char *name, const struct connection_options *options);

/* Checks an option in milliseconds: returns 0, or logs and returns JD_EINVAL. */
int connection_timeout_check(const char *name, const char *option, uint32_t value_ms);

/* Creates a profile with one reference, which the caller owns. name is copied, cut to 31 bytes. Returns NULL when there
 * is no memory. From any thread. */
struct connection_profile *connection_profile_create(struct connection_owner *owner, const char *name,
                                                     const struct connection_options *options);

/* Sets what follows from other members. Must be called after each change of a limit, watermark or timeout. */
void connection_profile_derive(struct connection_profile *profile);

/* Gives one reference back; the last one frees the profile. From any thread. */
void connection_profile_release(struct connection_profile *profile);

/* Sets the codec (borrowed: it must outlive the connections) and the frame callback. Raises input_limit to at least one
 * frame of maximum size and 64 KiB. While the server or client is not started. */
void connection_profile_set_codec(struct connection_profile *profile, const jd_codec *codec, jd_frame_callback callback,
                                  void *arg);

/* ---- connection_settings.c ---- */

/* Sets *own to the profile that belongs to the connection alone, which is made if need be. Returns 0, JD_EPERM (wrong thread),
 * JD_ENOTCONN (down) or JD_ENOMEM. */
int connection_own_profile(jd_tcp_connection *connection, struct connection_profile **own);

/* ---- connection_skip.c ---- */

/* result: what decode returned. Whether the connection now skips the frame that begins its input; else it must be refused. */
bool connection_begin_skip(jd_tcp_connection *connection, int result, const jd_frame *frame);

/* The end of the skipped frame is there: the codec decodes again. */
void connection_end_skip(jd_tcp_connection *connection);

/* ---- connection_session.c ---- */

/* Sets the session's callbacks (borrowed) in place of all others; arg is create's. */
void connection_profile_set_session(struct connection_profile *profile, const jd_session_callbacks *callbacks,
                                    void *arg);

/* Sets the session's frame callback, if there are sessions. */
void connection_profile_set_session_frame(struct connection_profile *profile);

/* Makes the connection's session, before it is up. Returns 0; or JD_ECANCELED: the factory refused, or closed the
 * connection. */
int connection_create_session(jd_tcp_connection *connection);

#endif
