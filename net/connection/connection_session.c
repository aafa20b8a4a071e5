/* Sessions: an object of the user's for each connection, made by a factory. It is the connection's context. The callbacks of its
 * table are called by the functions here, which pass the session as arg: so the profile needs no member for each connection. */
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

static void session_connection(jd_tcp_connection *connection, void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)->connection(connection, jd_tcp_connection_context(connection));
}

static void session_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)
        ->message(connection, input, received, jd_tcp_connection_context(connection));
}

static void session_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                          void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)
        ->frame(connection, data, length, received, jd_tcp_connection_context(connection));
}

static void session_frame_error(jd_tcp_connection *connection, const jd_frame_error *error, void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)->frame_error(connection, error, jd_tcp_connection_context(connection));
}

static void session_write_complete(jd_tcp_connection *connection, void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)->write_complete(connection, jd_tcp_connection_context(connection));
}

static void session_high_watermark(jd_tcp_connection *connection, size_t queued_bytes, void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)
        ->high_watermark(connection, queued_bytes, jd_tcp_connection_context(connection));
}

static void session_low_watermark(jd_tcp_connection *connection, size_t queued_bytes, void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)
        ->low_watermark(connection, queued_bytes, jd_tcp_connection_context(connection));
}

static void session_heartbeat(jd_tcp_connection *connection, void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)->heartbeat(connection, jd_tcp_connection_context(connection));
}

static void session_half_close(jd_tcp_connection *connection, void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)->half_close(connection, jd_tcp_connection_context(connection));
}

static void session_peer_gone(jd_tcp_connection *connection, int error, void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)->peer_gone(connection, error, jd_tcp_connection_context(connection));
}

static void session_asked_to_end(jd_tcp_connection *connection, void *callbacks)
{
    ((const jd_session_callbacks *)callbacks)->asked_to_end(connection, jd_tcp_connection_context(connection));
}

/* Only the callbacks that the table has: some cost where they are set (stream_needs_sent_report). */
#define SET(name)                                                                                                      \
    (profile->on_##name = callbacks->name != NULL ? session_##name : NULL,                                             \
     profile->on_##name##_arg = (void *)(uintptr_t)callbacks)

void connection_profile_set_session(struct connection_profile *profile, const jd_session_callbacks *callbacks,
                                    void *arg)
{
    profile->session = callbacks;
    profile->session_arg = arg;
    SET(connection);
    SET(message);
    SET(frame);
    SET(frame_error);
    SET(write_complete);
    SET(high_watermark);
    SET(low_watermark);
    SET(heartbeat);
    SET(half_close);
    SET(peer_gone);
    SET(asked_to_end);
}

void connection_profile_set_session_frame(struct connection_profile *profile)
{
    const jd_session_callbacks *callbacks = profile->session;

    if (callbacks != NULL)
        SET(frame);
}

int connection_create_session(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;
    const jd_session_callbacks *callbacks = profile->session;
    void *session;

    if (callbacks->create == NULL)
        return 0;
    flush_before_callback(connection_loop(connection));
    session = callbacks->create(connection, profile->session_arg);
    if (session == NULL)
        return JD_ECANCELED;
    jd_tcp_connection_set_context(connection, session, callbacks->destroy);
    return connection_state(connection) < CONNECTION_CLOSING ? 0 : JD_ECANCELED;
}
