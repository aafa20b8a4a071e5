/* TcpClient: connects to an endpoint or a host name and, if asked to, reconnects whenever an attempt fails or the connection
 * ends.
 *
 * A client has at most one connection at a time. It lives on the client's loop and is like any other (tcp_connection.h): up
 * and down are each reported once, and never for a failed attempt. The connect callback reports the result of each attempt
 * that failed. */
#ifndef JINDUO_TCP_CLIENT_H
#define JINDUO_TCP_CLIENT_H

#include <jinduo/codec.h>
#include <jinduo/socket.h>
#include <jinduo/tcp_connection.h>

JD_BEGIN_DECLS

/* All members zero, except connect: the defaults. Strings are copied. */
typedef struct jd_tcp_client_options {
    const char *name; /* in log messages; NULL: "client" */

    /* Required: where to connect to. An endpoint (jd_endpoint_parse; not "*", not port 0), or a host name with a port, such
     * as "example.org:80". A name consists of letters, digits, "-", "." and "_". Each attempt looks it up with
     * getaddrinfo(3) in a thread of the library's, and tries its addresses, at most 16, one after the other, in the order
     * that getaddrinfo gives (RFC 6724). */
    const char *connect;

    /* The local address, such as "192.0.2.1:0"; port 0: any. Not "*", not a Unix-domain address. NULL: the system's
     * choice. */
    const char *bind;

    /* Maximum duration of an attempt in milliseconds: the lookup and all addresses together. Each address gets an equal
     * share of the time that is left. 0: 10 000; at most 2^30 - 1. */
    uint32_t connect_timeout_ms;

    /* true: when an attempt fails or the connection ends, try again without end, until jd_tcp_client_disconnect. Default
     * false.
     *
     * The wait after the n-th attempt in a row is reconnect_initial_ms * 2^(n - 1), at most reconnect_max_ms, less a random
     * part of up to half: so that clients of a server that restarts do not reconnect all at once. n starts again at 1 after
     * a connection that lasted at least as long as the wait that would follow. After a shorter one it continues, so that
     * a server which drops its clients at once is not flooded. */
    bool reconnect;
    uint32_t reconnect_initial_ms; /* milliseconds; 0: 500 */
    uint32_t reconnect_max_ms;     /* milliseconds; 0: 30 000, or reconnect_initial_ms if more; at most 2^30 - 1 */

    /* As in jd_tcp_server_options (tcp_server.h), except the default of above_watermark: a client keeps reading. */
    bool allow_half_open;
    bool nagle;
    bool keepalive;
    uint32_t keepalive_idle_s;
    uint32_t keepalive_interval_s;
    uint32_t keepalive_count;
    uint32_t user_timeout_ms;
    int send_buffer_bytes;
    int receive_buffer_bytes;
    size_t output_limit;
    size_t input_limit;
    size_t high_watermark;
    size_t low_watermark;
    unsigned max_queued_files;
    jd_above_watermark above_watermark;
    uint32_t first_message_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t read_timeout_ms;
    uint32_t write_timeout_ms;
    uint32_t heartbeat_ms;
    size_t budget_bytes;

    /* Invoked before a socket is bound (with the option bind) and before it connects (socket.h); NULL: none. */
    jd_socket_hook socket_hook;
    void *socket_hook_arg;
} jd_tcp_client_options;

typedef enum jd_connect_event {
    JD_CONNECT_ADDRESS_FAILED, /* one of several addresses failed; the next is tried at once */
    JD_CONNECT_FAILED,         /* the attempt failed: the name was not found, or the last address failed */
    JD_CONNECT_LOST,           /* the connection has ended, after its down callback, and the client will reconnect */
} jd_connect_event;

/* A failed attempt, or the end of the connection. Valid during the callback. */
typedef struct jd_connect_report {
    jd_connect_event event;

    /* Why, a negative error.
     * - Of the address tried last: JD_ECONNREFUSED, JD_ETIMEDOUT and the other errors of connect(2), socket(2) and bind(2),
     *   such as JD_EMFILE; JD_EAGAIN from a Unix-domain server whose queue is full. JD_ECONNREFUSED also when TCP connected
     *   a port with itself, which can happen when no socket listens there (RFC 9293, 3.5, simultaneous open).
     * - Of a name: JD_ENOENT (no such name), JD_EAGAIN (no answer now, or no thread), JD_ETIMEDOUT, JD_EPROTO (the name
     *   service failed), JD_EMFILE, JD_ENOMEM, or an error of the system.
     * - JD_CONNECT_LOST: the connection's jd_tcp_connection_error; 0: an orderly end. */
    int error;
    const char *reason;     /* describes error, for names more exactly than jd_strerror; a static string */
    const char *target;     /* the option connect as given; valid as long as the client */
    jd_endpoint endpoint;   /* the address; none if the name was not found */
    unsigned attempt;       /* the attempt's number, from 1, since start or the last connection that lasted */
    int64_t retry_after_ms; /* milliseconds until the next attempt; 0 for ADDRESS_FAILED; negative: none follows */
} jd_connect_report;

/* Reports a failed attempt, or the end of the connection if another attempt follows; a connection that is up is reported by the
 * connection callback. Invoked in the loop's thread, never inside a call into the library. After
 * JD_CONNECT_FAILED without a next attempt the client may be started again, also in this callback. */
typedef void (*jd_connect_callback)(jd_tcp_client *client, const jd_connect_report *report, void *arg);

/* Creates a client on loop; it does not connect yet. options are copied. Returns 0; JD_EINVAL (no options; an option out of
 * range; connect is missing, or neither an endpoint nor a name with a port; bind is not an endpoint: the log says what is
 * allowed); JD_ENOMEM; JD_EPERM
 * (wrong thread); JD_ECANCELED (the loop is being destroyed). Must be called in the loop's thread. */
JD_API int jd_tcp_client_create(jd_tcp_client **client, jd_event_loop *loop, const jd_tcp_client_options *options);

/* Disconnects at once (jd_tcp_client_disconnect with drain_ms 0) and frees the client later; the connection's down callback
 * is still invoked. A name lookup is not waited for. done (may be NULL) is invoked in the client's loop when the client is
 * freed; with client NULL, at once. A second call changes nothing. A loop that is destroyed destroys its clients. Allowed
 * in every callback. May be called from any thread while the client exists. */
JD_API void jd_tcp_client_destroy(jd_tcp_client *client, jd_done_callback done, void *arg);

/* Set the callbacks, each with its own argument; NULL: none. Without a message callback (and codec) received bytes are
 * discarded. Must be called in the loop's thread, while the client is not started. */
JD_API void jd_tcp_client_set_connect_callback(jd_tcp_client *client, jd_connect_callback callback, void *arg);
JD_API void jd_tcp_client_set_connection_callback(jd_tcp_client *client, jd_connection_callback callback, void *arg);
JD_API void jd_tcp_client_set_message_callback(jd_tcp_client *client, jd_message_callback callback, void *arg);
JD_API void jd_tcp_client_set_write_complete_callback(jd_tcp_client *client, jd_write_complete_callback callback,
                                                      void *arg);
JD_API void jd_tcp_client_set_high_watermark_callback(jd_tcp_client *client, jd_watermark_callback callback, void *arg);
JD_API void jd_tcp_client_set_low_watermark_callback(jd_tcp_client *client, jd_watermark_callback callback, void *arg);
JD_API void jd_tcp_client_set_heartbeat_callback(jd_tcp_client *client, jd_heartbeat_callback callback, void *arg);
JD_API void jd_tcp_client_set_half_close_callback(jd_tcp_client *client, jd_half_close_callback callback, void *arg);
JD_API void jd_tcp_client_set_peer_gone_callback(jd_tcp_client *client, jd_peer_gone_callback callback, void *arg);

/* Sets the factory and the callbacks of sessions (jd_session_callbacks), in place of all callbacks above; arg is create's. The
 * codec is set by itself, with the frame callback NULL. Must be called in the loop's thread, before jd_tcp_client_start. */
JD_API void jd_tcp_client_set_session(jd_tcp_client *client, const jd_session_callbacks *callbacks, void *arg);

/* Set a codec with its frame callback, and the frame-error callback, as jd_tcp_server_set_codec. The codec must outlive the
 * client's connections. Must be called in the loop's thread, while the client is not started. */
JD_API void jd_tcp_client_set_codec(jd_tcp_client *client, const jd_codec *codec, jd_frame_callback callback,
                                    void *arg);
JD_API void jd_tcp_client_set_frame_error_callback(jd_tcp_client *client, jd_frame_error_callback callback, void *arg);

/* Starts the client: it begins to connect in the loop's next turn. A client may be started again when it is disconnected,
 * when its last attempt has failed, or when its connection has ended (without reconnect), also in the down callback.
 * Returns 0; JD_EALREADY if it is started (from another thread: 0, and nothing changes); JD_ECANCELED (the client or its
 * loop is being destroyed); from another thread also JD_ENOMEM. May be called from any thread while the client exists. */
JD_API int jd_tcp_client_start(jd_tcp_client *client);

/* Stops the client: an attempt, or the wait for the next one, ends; the connection is shut down
 * (jd_tcp_connection_shutdown): its queued output is sent, then FIN, and messages are delivered until the peer ends its side
 * too. After drain_ms milliseconds (0: at once) it is closed. A jd_tcp_client_start meanwhile takes effect afterwards.
 *
 * done (may be NULL) is invoked in the client's loop, never inside the call, when nothing is in progress any more. Returns
 * 0; JD_EALREADY if it is not started, or is disconnecting already: that continues with its own drain_ms and done, but a
 * start that waits for it is withdrawn (from another thread: 0, and done is invoked). From another thread also
 * JD_ECANCELED (the loop is being destroyed) and JD_ENOMEM: nothing changes. Allowed in every callback. May be called from
 * any thread while the client exists. */
JD_API int jd_tcp_client_disconnect(jd_tcp_client *client, uint64_t drain_ms, jd_done_callback done, void *arg);

/* Returns the connection, from its up callback on; NULL before, and from its down callback on. To keep it, take a reference
 * (jd_tcp_connection_ref), or its id. Must be called in the loop's thread. */
JD_API jd_tcp_connection *jd_tcp_client_connection(const jd_tcp_client *client);

/* Returns the loop that the client was created on. May be called from any thread while the client exists. */
JD_API jd_event_loop *jd_tcp_client_loop(const jd_tcp_client *client);

JD_END_DECLS
#endif
