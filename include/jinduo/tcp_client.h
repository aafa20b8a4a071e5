/* TcpClient: makes a connection to an endpoint or a name, and if wanted makes it again whenever it fails or ends.
 *
 * A client has at most one connection at a time; it lives on the client's loop and is like any other
 * (tcp_connection.h): its up and down callbacks come once each, and never for an attempt that failed. What becomes of
 * attempts is told by the connect callback. */
#ifndef JINDUO_TCP_CLIENT_H
#define JINDUO_TCP_CLIENT_H

#include <jinduo/codec.h>
#include <jinduo/tcp_connection.h>

JD_BEGIN_DECLS

/* All zero, but for connect, is the default. Strings are copied. */
typedef struct jd_tcp_client_options {
    const char *name; /* in log messages; default "client" */

    /* Where to: an endpoint (endpoint.h; not "*", and not port 0), or a name with a port, "example.org:80". A name has
     * letters, digits, "-", "." and "_", and is looked up with getaddrinfo(3) by a thread beside the loops, anew for
     * each attempt. An attempt tries all its addresses in the order that getaddrinfo gives them (RFC 6724), at most 16,
     * one after the other. */
    const char *connect;

    /* The local address, "192.0.2.1:0", with a port or 0 for any; default: the system's choice. No Unix-domain one. */
    const char *bind;

    /* The longest that an attempt may take in milliseconds, looking the name up and all addresses together; each
     * address has an equal share of what is left when its turn comes. 0: 10 s; at most 2^30 - 1. */
    uint32_t connect_timeout_ms;

    /* Whether to try again, without end, when an attempt has failed or the connection has ended, until
     * jd_tcp_client_disconnect. The wait after the n-th attempt in a row is reconnect_initial_ms * 2^(n - 1), at most
     * reconnect_max_ms, of which a random part, up to half, is taken off: so a server that comes back is not met by all
     * its clients at once. A connection that has lasted as long as the wait that would follow begins the row anew; one
     * that ended sooner goes on with it, so that a server which drops its clients at once is not stormed. */
    bool reconnect;
    uint32_t reconnect_initial_ms; /* 0: 500 ms */
    uint32_t reconnect_max_ms;     /* 0: 30 s, or reconnect_initial_ms if that is more; at most 2^30 - 1 */

    /* As in jd_tcp_server_options (tcp_server.h). */
    bool allow_half_open;
    bool nagle;
    bool keepalive;
    int send_buffer_bytes;
    int receive_buffer_bytes;
    size_t output_limit;
    size_t input_limit;
    size_t high_watermark;
    size_t low_watermark;
    bool read_above_watermark;
    uint32_t first_message_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t read_timeout_ms;
    uint32_t write_timeout_ms;
    uint32_t heartbeat_ms;
    size_t budget_bytes;
} jd_tcp_client_options;

typedef enum jd_connect_event {
    JD_CONNECT_ADDRESS_FAILED, /* one of several addresses; the next is tried at once */
    JD_CONNECT_FAILED,         /* the attempt: the name was not found, or the last address has failed */
    JD_CONNECT_LOST,           /* the connection has ended (after its down callback), and will be made again */
} jd_connect_event;

/* What became of an attempt, or of the connection. Valid during the call. */
typedef struct jd_connect_report {
    jd_connect_event event;

    /* Why: of the address tried last JD_ECONNREFUSED, JD_ETIMEDOUT and the other errors of connect(2), socket(2) and
     * bind(2), as JD_EMFILE; JD_EAGAIN from a Unix-domain server whose queue is full; JD_ECONNREFUSED, too, when TCP
     * connected a port with itself, as it may where nobody listens (RFC 9293, 3.5, simultaneous open). Of a name
     * JD_ENOENT (there is none), JD_EAGAIN (no answer now), JD_ETIMEDOUT, JD_EPROTO (the name service failed),
     * JD_ENOMEM. LOST: jd_tcp_connection_error, 0 included. */
    int error;
    const char *reason;     /* in words, more exact than jd_strerror for names; static */
    jd_endpoint endpoint;   /* the address; none if the name was not found */
    unsigned attempt;       /* the number of the attempt, from 1, since start or the last connection that lasted */
    int64_t retry_after_ms; /* until the next attempt begins; 0 for ADDRESS_FAILED; negative: there is none */
} jd_connect_report;

/* Called in the loop's thread, never from inside a call into the library. After FAILED without a further attempt the
 * client may be started again, from the callback too. */
typedef void (*jd_connect_callback)(jd_tcp_client *client, const jd_connect_report *report, void *arg);

/* Makes a client on loop, not connecting yet. options are copied. In the loop's thread. Returns 0, JD_EINVAL (options
 * out of range, connect is missing or neither endpoint nor name with a port, bind is none), JD_ENOMEM, JD_EPERM,
 * JD_ECANCELED (the loop is being destroyed). */
JD_API int jd_tcp_client_create(jd_tcp_client **client, jd_event_loop *loop, const jd_tcp_client_options *options);

/* Ends what is under way (jd_tcp_client_disconnect with 0), then frees the client; its connection's down callback still
 * comes. done (may be NULL) is called in the client's loop when nothing of it is left. A name that is being looked up
 * is not waited for. Allowed in every callback, and from any thread that knows the client to exist. A loop that is
 * destroyed destroys its clients. NULL is allowed (done is then called at once); a second call changes nothing. */
JD_API void jd_tcp_client_destroy(jd_tcp_client *client, jd_done_callback done, void *arg);

/* Callbacks, each with its own argument; NULL: none. While the client is not started, in the loop's thread. */
JD_API void jd_tcp_client_set_connect_callback(jd_tcp_client *client, jd_connect_callback callback, void *arg);
JD_API void jd_tcp_client_set_connection_callback(jd_tcp_client *client, jd_connection_callback callback, void *arg);
JD_API void jd_tcp_client_set_message_callback(jd_tcp_client *client, jd_message_callback callback, void *arg);
JD_API void jd_tcp_client_set_write_complete_callback(jd_tcp_client *client, jd_write_complete_callback callback,
                                                      void *arg);
JD_API void jd_tcp_client_set_high_watermark_callback(jd_tcp_client *client, jd_watermark_callback callback, void *arg);
JD_API void jd_tcp_client_set_low_watermark_callback(jd_tcp_client *client, jd_watermark_callback callback, void *arg);
JD_API void jd_tcp_client_set_heartbeat_callback(jd_tcp_client *client, jd_heartbeat_callback callback, void *arg);
JD_API void jd_tcp_client_set_half_close_callback(jd_tcp_client *client, jd_half_close_callback callback, void *arg);

/* As jd_tcp_server_set_codec. The codec must outlive the client's connections. */
JD_API void jd_tcp_client_set_codec(jd_tcp_client *client, const jd_codec *codec, jd_frame_callback callback,
                                    void *arg);
JD_API void jd_tcp_client_set_frame_error_callback(jd_tcp_client *client, jd_frame_error_callback callback, void *arg);

/* Begins to connect, in the loop's next turn. A client that was disconnected, that has given up, or whose connection
 * has ended (without reconnect) may be started again, in the down callback too. From any thread that knows the client
 * to exist. Returns 0; JD_EALREADY if it is started (from another thread: 0, and nothing changes); JD_ECANCELED (it or
 * its loop is being destroyed); JD_ENOMEM from another thread. */
JD_API int jd_tcp_client_start(jd_tcp_client *client);

/* Ends what start began: nothing is tried any more, and the connection, if there is one, is shut down
 * (jd_tcp_connection_shutdown): what is queued is sent, then FIN; messages come until the peer ends its side too; after
 * drain_ms (0: at once) it is closed. done (may be NULL) is called in the client's loop, never from inside, when
 * nothing is under way any more; a start before that waits for it. Allowed in every callback, and from any thread that
 * knows the client to exist. Returns 0; JD_EALREADY if it is not started, or is being disconnected already: that goes on
 * with its own drain_ms and done, but a start that waited for it is taken back (from another thread: 0, and done is
 * called); JD_ECANCELED (the loop is being destroyed) and JD_ENOMEM from another thread, and then nothing has changed. */
JD_API int jd_tcp_client_disconnect(jd_tcp_client *client, uint64_t drain_ms, jd_done_callback done, void *arg);

/* The connection between its up and down callbacks, the first included; NULL: there is none. To keep it, take a
 * reference (jd_tcp_connection_ref), or its id. In the loop's thread. */
JD_API jd_tcp_connection *jd_tcp_client_connection(const jd_tcp_client *client);

/* The loop. From any thread that knows the client to exist. */
JD_API jd_event_loop *jd_tcp_client_loop(const jd_tcp_client *client);

JD_END_DECLS
#endif
