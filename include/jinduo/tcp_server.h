/* TcpServer: listens on endpoints and serves what connects, on its loop or on several loops with a thread each. */
#ifndef JINDUO_TCP_SERVER_H
#define JINDUO_TCP_SERVER_H

#include <jinduo/codec.h>
#include <jinduo/tcp_connection.h>

JD_BEGIN_DECLS

/* Which io loop gets a connection that the server's own loop has accepted. */
typedef enum jd_load_balance {
    JD_LOAD_BALANCE_ROUND_ROBIN,       /* each in turn */
    JD_LOAD_BALANCE_LEAST_CONNECTIONS, /* the one with the fewest, those on their way to it included; of equals the next in
                                     * turn */
    JD_LOAD_BALANCE_PEER_ADDRESS, /* always the same one for a peer's IP address, whatever its port; peers without an
                                     * address (Unix-domain sockets) in turn */
} jd_load_balance;

/* All zero is the default. Strings are copied. */
typedef struct jd_tcp_server_options {
    const char *name;   /* in log messages; default "server" */
    const char *listen; /* endpoint (endpoint.h); default none: use jd_tcp_server_listen */

    /* 0: connections live on the server's loop. N: the server makes N loops with a thread each, of the same engine and
     * options, and its own loop only accepts, handing connections over. At most 128. */
    unsigned io_threads;
    jd_load_balance load_balance; /* to which of them */

    /* SO_REUSEPORT (socket(7)): several sockets share an address, and the kernel spreads the connections over them by a
     * hash of both ends' addresses and ports. With io_threads each io loop listens by itself, without a hand-over;
     * without, several processes of one user can serve one port, each with a server that has this option. It does not
     * apply to Unix-domain endpoints: these the server's own loop accepts for, and hands over. */
    bool reuse_port;

    /* At most so many connections at a time, over all threads, from accepting to the last of their closing; 0: no
     * limit. At the limit accepting stops, and the kernel queues connections (backlog); some that the engine has
     * accepted by then wait, unseen, for a place. refuse_above_max: instead they are accepted and reset at once, and
     * counted (connections_refused). */
    size_t max_connections;
    bool refuse_above_max;

    unsigned backlog;         /* queue of the listening socket; 0: the system's maximum (listen(2)) */
    bool allow_half_open;     /* the peer's FIN only ends its side; needs a half-close callback, or has no effect */
    bool nagle;               /* leave TCP_NODELAY off (tcp(7)); default: on, as output is gathered already */
    bool keepalive;           /* SO_KEEPALIVE: a peer that is gone is JD_ETIMEDOUT after the system's hours (tcp(7)), or
                               * the times set on jd_tcp_connection_native_handle */
    int send_buffer_bytes;    /* SO_SNDBUF; 0: the system's choice */
    int receive_buffer_bytes; /* SO_RCVBUF; 0: the system's choice */

    /* Bytes queued for sending on one connection; a send that would go beyond fails whole. 0: 64 MiB. */
    size_t output_limit;

    /* Bytes that message callbacks left unread on one connection; one with more is closed with JD_ENOBUFS. 0: 64 MiB.
     * With a codec never less than its maximum frame + 64 KiB. */
    size_t input_limit;

    /* Back-pressure: when more than high_watermark bytes are queued for sending on one connection (0: 1 MiB), the
     * high-watermark callback comes and reading from it pauses, so that a peer that asks but never takes its answers
     * costs bounded memory; when no more than low_watermark are left (0: a quarter of high_watermark), the
     * low-watermark callback comes and reading goes on. low_watermark must be below high_watermark, and that not above
     * output_limit, which a default of it does not exceed either. read_above_watermark: only the callbacks. */
    size_t high_watermark;
    size_t low_watermark;
    bool read_above_watermark;

    /* Timeouts in milliseconds, 0: none, below 2^30 (12 days). A connection that meets one closes with JD_ETIMEDOUT.
     * They are looked at when they may be due, not at each message: exact to a few milliseconds, never early. */
    uint32_t first_message_timeout_ms; /* no whole frame (without a codec: no byte used up) since it came up */
    uint32_t idle_timeout_ms;  /* nothing received and nothing sent: a peer that waits for its answer is idle, too */
    uint32_t read_timeout_ms;  /* nothing received, while reading is not paused */
    uint32_t write_timeout_ms; /* output is queued and the peer takes none of it */

    /* Calls the heartbeat callback whenever nothing has been sent, and nothing waits to be sent, for so long (0:
     * never). A heartbeat that sends is output: with it idle_timeout_ms does not come, read_timeout_ms does. */
    uint32_t heartbeat_ms;

    /* About how many bytes one connection may receive, and send, in a turn before others have theirs; on the Reactor,
     * four times as many if it goes on with a file. 0: 256 KiB. */
    size_t budget_bytes;
} jd_tcp_server_options;

/* Called in an io loop's thread before the loop runs. */
typedef void (*jd_thread_init_callback)(jd_event_loop *loop, void *arg);

/* Makes a server on loop, not listening yet. options (copied; NULL: all defaults). In the loop's thread. Returns 0,
 * JD_EINVAL (options out of range or at odds with each other, which the log explains, or listen is no endpoint),
 * JD_ENOMEM, JD_EPERM, JD_ECANCELED (the loop is being destroyed). */
JD_API int jd_tcp_server_create(jd_tcp_server **server, jd_event_loop *loop, const jd_tcp_server_options *options);

/* Stops at once (jd_tcp_server_stop with 0), then frees the server; its connections' down callbacks still come. done
 * (may be NULL) is called in the server's loop when nothing of it is left. Allowed in every callback, and from any
 * thread that knows the server to exist. A loop that is destroyed destroys its servers. NULL is allowed (done is then
 * called at once); a second call changes nothing. */
JD_API void jd_tcp_server_destroy(jd_tcp_server *server, jd_done_callback done, void *arg);

/* Callbacks, each with its own argument; NULL: none. Before start, in the loop's thread. With io_threads they come in
 * several threads at once. */
JD_API void jd_tcp_server_set_connection_callback(jd_tcp_server *server, jd_connection_callback callback, void *arg);
JD_API void jd_tcp_server_set_message_callback(jd_tcp_server *server, jd_message_callback callback, void *arg);
JD_API void jd_tcp_server_set_write_complete_callback(jd_tcp_server *server, jd_write_complete_callback callback,
                                                      void *arg);
JD_API void jd_tcp_server_set_high_watermark_callback(jd_tcp_server *server, jd_watermark_callback callback, void *arg);
JD_API void jd_tcp_server_set_low_watermark_callback(jd_tcp_server *server, jd_watermark_callback callback, void *arg);
JD_API void jd_tcp_server_set_heartbeat_callback(jd_tcp_server *server, jd_heartbeat_callback callback, void *arg);
JD_API void jd_tcp_server_set_half_close_callback(jd_tcp_server *server, jd_half_close_callback callback, void *arg);

/* The callback comes once for each io loop, in its thread and before jd_tcp_server_start returns, also when that fails
 * later; without io threads once for the server's loop, in a start that succeeds. The place to set up what belongs to
 * the thread (its name is set already) or the loop: timers, channels, tasks. It must not wait for the server's own
 * loop, which is in start. Before start, in the loop's thread. */
JD_API void jd_tcp_server_set_thread_init_callback(jd_tcp_server *server, jd_thread_init_callback callback, void *arg);

/* Cuts input into frames with codec: callback gets each frame instead of the message callback getting bytes. The codec
 * must outlive the server's connections; one codec may serve many servers and threads. Before start, in the loop's
 * thread. */
JD_API void jd_tcp_server_set_codec(jd_tcp_server *server, const jd_codec *codec, jd_frame_callback callback,
                                    void *arg);
JD_API void jd_tcp_server_set_frame_error_callback(jd_tcp_server *server, jd_frame_error_callback callback, void *arg);

/* Adds an endpoint to listen on, at once if the server is started. A Unix-domain path whose server is gone is taken
 * over, and the server's own is removed when it stops, if it is its own still; when several servers do so at a time a
 * lock on the path's directory (flock(2)) decides, for which start may wait half a second. bound (may be NULL) gets the
 * address, with the port the system picked, now or, before start, never: then use jd_tcp_server_endpoint. In the loop's
 * thread. Returns 0, or the errors of socket(2), bind(2), listen(2): JD_EADDRINUSE, JD_EACCES ...; JD_EPERM, JD_ENOMEM,
 * JD_EINVAL (no endpoint, or the server has been stopped: it cannot be started again). */
JD_API int jd_tcp_server_listen(jd_tcp_server *server, const jd_endpoint *endpoint, jd_endpoint *bound);

/* Starts the io threads, listens on all endpoints and accepts. All or nothing. In the loop's thread. Returns 0,
 * JD_EALREADY, JD_EINVAL (no endpoint), the errors of jd_tcp_server_listen and jd_event_loop_create, or JD_EAGAIN when
 * a thread could not be made. After an error about an endpoint, failed (may be NULL) holds it. */
JD_API int jd_tcp_server_start(jd_tcp_server *server, jd_endpoint *failed);

/* Accepts no more: the kernel goes on queueing connections, as many as backlog allows, and peers see themselves
 * connected; and accepts again. Those that the engine has accepted by then still come up. Before start: the server
 * starts paused. From any thread while the server exists; in the loop's thread at once, else when its loops get to
 * it. */
JD_API void jd_tcp_server_pause_accepting(jd_tcp_server *server);
JD_API void jd_tcp_server_resume_accepting(jd_tcp_server *server);

/* The number of endpoints, and the address that endpoint index is bound to (after start, with its real port). In the
 * loop's thread. Returns 0 or JD_ENOENT. */
JD_API size_t jd_tcp_server_endpoint_count(const jd_tcp_server *server);
JD_API int jd_tcp_server_endpoint(const jd_tcp_server *server, size_t index, jd_endpoint *endpoint);

/* Stops listening and ends the connections. Closing a listening socket resets the connections that wait in its queue:
 * with drain_ms > 0 these are accepted first, come up, and end like the others, unless accepting is paused or
 * max_connections reached. (With reuse_port other processes' sockets have queues of their own.) Of the connections,
 * those with nothing queued for sending close at once (an answer that another thread still works on comes too late:
 * wait for it before stopping); the others send what is queued, then FIN, and close when the peer has ended its side
 * too; all that are left after drain_ms (0: at once) are closed. done (may be NULL) is called in the server's loop,
 * never from inside, when the last is down and the io threads have ended. Allowed in every callback, and from any
 * thread that knows the server to exist. Returns 0; JD_EALREADY if stopping or never started (from another thread: 0,
 * and done is called); JD_ENOMEM, JD_ECANCELED (the loop is being destroyed), and then nothing has changed. */
JD_API int jd_tcp_server_stop(jd_tcp_server *server, uint64_t drain_ms, jd_done_callback done, void *arg);

/* Connections that the user has seen up and not down. From any thread while the server exists. */
JD_API size_t jd_tcp_server_connection_count(const jd_tcp_server *server);

/* Calls function(connection, arg) for each connection that is up: in its loop's thread, so with io_threads in several
 * threads at once, some hundreds a turn. The function may close the connection, or any other. Those that come up or go
 * down meanwhile are visited or not. done (may be NULL), with done_arg, is called in the server's loop afterwards,
 * never from inside. From any thread while the server exists, and in every callback. Returns 0; JD_ENOMEM, JD_ECANCELED
 * (the loop is being destroyed), and then nothing is called. */
JD_API int jd_tcp_server_for_each(jd_tcp_server *server, jd_connection_task function, void *arg, jd_done_callback done,
                                  void *done_arg);

struct jd_event_loop_statistics; /* event_loop.h */

/* Sums the statistics of the server's io loops and, of its own loop, what is about accepting; without io threads, all
 * of its own loop's, which other servers may share. When the io threads have ended, what they counted stays. From any
 * thread while the server exists. */
JD_API void jd_tcp_server_get_statistics(jd_tcp_server *server, struct jd_event_loop_statistics *statistics);

JD_END_DECLS
#endif
