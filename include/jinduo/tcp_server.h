/* TcpServer: listens on endpoints and serves the accepted connections, on its own loop or on io loops with a thread each. */
#ifndef JINDUO_TCP_SERVER_H
#define JINDUO_TCP_SERVER_H

#include <jinduo/codec.h>
#include <jinduo/socket.h>
#include <jinduo/tcp_connection.h>

JD_BEGIN_DECLS

/* Which io loop gets a connection that the server's own loop has accepted. */
typedef enum jd_load_balance {
    JD_LOAD_BALANCE_ROUND_ROBIN, /* each loop in turn */

    /* The loop with the fewest connections, those on their way to it included; of equals the next in turn. */
    JD_LOAD_BALANCE_LEAST_CONNECTIONS,

    /* The same loop for all connections from one IP address; in turn for peers without one (Unix-domain sockets). */
    JD_LOAD_BALANCE_PEER_ADDRESS,
} jd_load_balance;

/* All members zero: the defaults. Strings are copied. */
typedef struct jd_tcp_server_options {
    const char *name;   /* in log messages and io threads' names; NULL: "server" */
    const char *listen; /* as for jd_tcp_server_listen_text, which is called with it; NULL: none */

    /* 0: connections live on the server's loop. 1 to 128: the server creates so many io loops, each with a thread and the
     * engine and options of its own loop; its own loop only accepts and hands the connections over to them. */
    unsigned io_threads;
    jd_load_balance load_balance; /* to which io loop; default JD_LOAD_BALANCE_ROUND_ROBIN */

    /* true: SO_REUSEPORT (socket(7)): several sockets listen on one address, and the kernel spreads the connections by a
     * hash of both ends' addresses and ports. Default false.
     * - With io_threads each io loop listens and accepts itself; nothing is handed over.
     * - Several processes of one user can serve one port, each with a server that has this option.
     *
     * Not applied to Unix-domain endpoints: the server's own loop accepts and hands over. */
    bool reuse_port;

    /* Maximum number of connections at a time over all threads, each from its accept until it is completely closed.
     * 0: no limit. At the limit
     * - refuse_above_max false (default): accepting stops and the kernel queues connections (backlog). Connections that
     *   the engine has accepted already wait, without callbacks, until others close;
     * - refuse_above_max true: connections are accepted, reset at once, and counted (connections_refused). */
    size_t max_connections;
    bool refuse_above_max;

    unsigned backlog; /* length of the listening socket's queue; 0: the system's maximum (listen(2)) */

    /* true: the peer's FIN ends only its own side, and the half-close callback reports it; without that callback the
     * option has no effect. false (default): after the peer's FIN queued output is sent, then the connection closes. */
    bool allow_half_open;

    bool nagle; /* true: Nagle's algorithm on. Default false: TCP_NODELAY is set (tcp(7)); output is gathered already */

    /* true: SO_KEEPALIVE. A connection whose peer has vanished closes with JD_ETIMEDOUT after the system's times (hours by
     * default, tcp(7)) or those of the next options. Default false. */
    bool keepalive;

    /* With keepalive, of TCP connections: seconds without a segment from the peer until the first probe, seconds between
     * probes, and unanswered probes until the connection closes. 0: the system's; at most 32767, 32767 and 127 (tcp(7),
     * TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT). */
    uint32_t keepalive_idle_s;
    uint32_t keepalive_interval_s;
    uint32_t keepalive_count;

    /* Milliseconds that sent bytes may stay unacknowledged by the peer's system until a TCP connection closes with
     * JD_ETIMEDOUT (tcp(7), TCP_USER_TIMEOUT). 0: the system's, about 15 minutes; at most 2^30 - 1. Unlike
     * write_timeout_ms also for bytes that only the kernel holds, but not while the peer's receive buffer is full. */
    uint32_t user_timeout_ms;

    /* Of Unix-domain paths, applied before anybody can connect. unix_mode: the permissions, of which write is needed to connect
     * (unix(7)), at most 0777; 0: 0777 less the umask. unix_uid and unix_gid: the owner and the group (chown(2)); 0: unchanged. */
    unsigned unix_mode;
    uint32_t unix_uid;
    uint32_t unix_gid;

    /* Invoked before a socket is bound and before it listens (socket.h); NULL: none. */
    jd_socket_hook socket_hook;
    void *socket_hook_arg;

    int send_buffer_bytes;    /* SO_SNDBUF (socket(7)); 0: the system's choice */
    int receive_buffer_bytes; /* SO_RCVBUF (socket(7)); 0: the system's choice */

    /* Maximum of bytes queued for sending on one connection; a send that would exceed it queues nothing and returns
     * JD_ENOBUFS. 0: 64 MiB; at most 64 GiB, more counts as so much. */
    size_t output_limit;

    /* Maximum of received bytes that message callbacks have left on one connection; at more it closes with JD_ENOBUFS.
     * 0: 64 MiB. With a codec at least its maximum frame + 64 KiB. */
    size_t input_limit;

    /* Back-pressure: bounds the memory for a peer that sends requests and does not read the responses.
     * - Above high_watermark queued bytes, reading from the connection pauses and the high-watermark callback is invoked.
     *   With a codec no further frame is delivered. A message callback that sends in a loop should return when
     *   jd_tcp_connection_is_above_watermark is true: the pause takes effect when it returns.
     * - At or below low_watermark queued bytes, reading resumes and the low-watermark callback is invoked. Bytes that the
     *   message callback has left are delivered again.
     *
     * Required: low_watermark < high_watermark <= output_limit. */
    size_t high_watermark; /* bytes; 0: 1 MiB, or output_limit if that is less */
    size_t low_watermark;  /* bytes; 0: a quarter of high_watermark */

    /* Maximum of ranges of files queued on one connection (jd_tcp_connection_send_file); at more, send_file queues nothing and
     * returns JD_ENOBUFS. Half of them count as output above the high watermark, until a quarter is left, however few bytes are
     * queued. A range that has been sent no longer counts, although its file stays open until release, at the end of the turn.
     * 0: 16; at most 4094. */
    unsigned max_queued_files;

    /* Limits for all connections of the server together, in bytes; 0: none; else at least 128 KiB for each loop. A loop counts
     * up to 64 KiB by itself: each limit may be passed by 64 KiB for each loop.
     * - total_output_limit: queued output, counted as for output_limit. A send that would exceed it queues nothing and returns
     *   JD_ENOBUFS. From seven eighths of it on, a connection whose output is still queued at the end of a turn counts as above
     *   its high watermark, until it has none or the total is below three quarters: its reading pauses (above_watermark).
     * - total_input_limit: received bytes that callbacks have left, and incomplete frames. Above it, the loop that receives
     *   more closes its connection that holds the most, with JD_ENOBUFS (closed_by_input_limit). */
    size_t total_output_limit, total_input_limit;

    /* Whether reading pauses in between; default on a server: it pauses. With JD_ABOVE_WATERMARK_KEEP_READING only the
     * callbacks are invoked, and bytes that the message callback leaves are bounded by input_limit. */
    jd_above_watermark above_watermark;

    /* Timeouts in milliseconds; 0: none; at most 2^30 - 1 (12 days). The connection closes with JD_ETIMEDOUT. A timeout
     * is exact to a few milliseconds, never early.
     *
     * idle_timeout_ms and write_timeout_ms leave a peer alone that takes output slowly but steadily. When one of them
     * seems due and sent bytes are unacknowledged, their number is noted, and the timeout starts again; the next time,
     * the connection closes if the number is the same. So a peer that takes nothing is closed after one to two times the
     * timeout; one that has taken all, after the timeout. A TCP peer takes bytes when its system acknowledges them: when
     * there is room in its receive buffer. A Unix-domain peer takes them when it reads, which is seen after each 64 KiB or
     * so: it should read as much within the timeout. For write_timeout_ms, output that only the kernel holds is not
     * queued; idle_timeout_ms covers it. */
    uint32_t first_message_timeout_ms; /* no complete frame since up; without codec: no byte consumed by the callback */
    uint32_t idle_timeout_ms;          /* nothing received, sent or taken; also while the peer waits for a response */
    uint32_t read_timeout_ms;          /* nothing received, while reading is not paused */
    uint32_t write_timeout_ms; /* output is queued here (jd_tcp_connection_queued_bytes), and the peer takes nothing */

    /* Invokes the heartbeat callback whenever nothing was sent and nothing is queued for so many milliseconds; 0: never;
     * at most 2^30 - 1. Heartbeats that are sent count as output: idle_timeout_ms then does not expire, read_timeout_ms
     * does. What a peer is found to take when idle_timeout_ms seems due counts as sent. */
    uint32_t heartbeat_ms;

    /* Behind a load balancer, connections must end now and then, so that new servers get some. max_age_ms milliseconds after
     * it came up, a tenth more or less so that not all end together, a connection is asked to end: the asked-to-end callback
     * is invoked, or without one the connection is shut down (jd_tcp_connection_shutdown) when it owes no answers
     * (jd_tcp_connection_expect). If it has not closed max_age_drain_ms later, it is closed.
     * max_age_ms: 0: never; at most 2^30 - 1. max_age_drain_ms: 0: 5000; at most 2^29. */
    uint32_t max_age_ms, max_age_drain_ms;

    /* The PROXY protocol, versions 1 and 2 (doc/proxy-protocol.txt of haproxy): a proxy in front of the server begins each
     * connection with a header that names its client. The connection comes up behind the header, and its peer is the client.
     * NULL: off. Else the sources whose headers are believed, at most 64: addresses, networks such as "10.0.0.0/8" or
     * "fd00::/8" (an IPv4 address also counts in its IPv6-mapped form), "unix" (Unix-domain sockets) and "all", with commas or spaces
     * between them. Every connection must begin with a header: the protocol forbids to guess.
     * - A connection from another source is reset at once (proxy_sources_refused).
     * - One whose header is malformed, has a wrong checksum or is too long, is closed (proxy_headers_invalid).
     * - One that ends inside the header is closed, and so is one whose header is not complete proxy_timeout_ms after it was
     *   accepted (proxy_headers_missing).
     * - No callback sees such a connection, nor jd_tcp_server_for_each one that waits for its header. It counts for
     *   max_connections. A stop closes it, also with drain_ms.
     * - Behind LOCAL (version 2), UNKNOWN (version 1) and an unspecified family the peer stays the socket's. A Unix-domain
     *   client has no path. The local endpoint stays the socket's. TLVs are checked, but only the checksum is used; behind LOCAL and an
     *   unspecified family all that follows is ignored.
     * - Log lines name the proxy until the header has come, then the client. Loops are chosen before it comes, so
     *   JD_LOAD_BALANCE_PEER_ADDRESS is refused. Timeouts and max_age_ms begin behind it. */
    const char *proxy_sources;
    uint32_t proxy_timeout_ms; /* 0: 5000; at most 2^30 - 1. A lost packet takes 3 seconds, so use more */
    size_t proxy_header_limit; /* bytes of a header of version 2; 0: 4096; 232 to 65551. Version 1 has at most 107 */

    /* About how many bytes one connection may receive, and send, in a turn before other connections get their share. On
     * the Reactor four times as many when it continues to send a file. 0: 256 KiB. */
    size_t budget_bytes;
} jd_tcp_server_options;

/* Reports that an io thread has started. Invoked in that thread, before its loop runs. */
typedef void (*jd_thread_init_callback)(jd_event_loop *loop, void *arg);

/* Reports that an io thread is about to end. Invoked in that thread, when its loop runs no more. */
typedef void (*jd_thread_exit_callback)(jd_event_loop *loop, void *arg);

/* Creates a server on loop; it does not listen yet. options are copied; NULL: all defaults. Returns 0; JD_EINVAL (an option
 * out of range or in conflict with another, or listen is not an endpoint: the log says what is allowed);
 * JD_ENOMEM; JD_EPERM (wrong thread); JD_ECANCELED (the loop is being destroyed). Must be called in the loop's thread. */
JD_API int jd_tcp_server_create(jd_tcp_server **server, jd_event_loop *loop, const jd_tcp_server_options *options);

/* Stops the server at once (jd_tcp_server_stop with drain_ms 0) and frees it later; the connections' down callbacks are
 * still invoked. done (may be NULL) is invoked in the server's loop when the server is freed; with server NULL, at once. A
 * second call changes nothing. A loop that is destroyed destroys its servers. Allowed in every callback. May be called from
 * any thread while the server exists. */
JD_API void jd_tcp_server_destroy(jd_tcp_server *server, jd_done_callback done, void *arg);

/* Set the callbacks, each with its own argument; NULL: none. Without a message callback (and codec) received bytes are
 * discarded. With io_threads callbacks are invoked in several threads at once, those of one connection always in the same
 * thread. Must be called in the loop's thread, while the server is not started. */
JD_API void jd_tcp_server_set_connection_callback(jd_tcp_server *server, jd_connection_callback callback, void *arg);
JD_API void jd_tcp_server_set_message_callback(jd_tcp_server *server, jd_message_callback callback, void *arg);
JD_API void jd_tcp_server_set_write_complete_callback(jd_tcp_server *server, jd_write_complete_callback callback,
                                                      void *arg);
JD_API void jd_tcp_server_set_high_watermark_callback(jd_tcp_server *server, jd_watermark_callback callback, void *arg);
JD_API void jd_tcp_server_set_low_watermark_callback(jd_tcp_server *server, jd_watermark_callback callback, void *arg);
JD_API void jd_tcp_server_set_heartbeat_callback(jd_tcp_server *server, jd_heartbeat_callback callback, void *arg);
JD_API void jd_tcp_server_set_asked_to_end_callback(jd_tcp_server *server, jd_asked_to_end_callback callback,
                                                    void *arg);
JD_API void jd_tcp_server_set_half_close_callback(jd_tcp_server *server, jd_half_close_callback callback, void *arg);
JD_API void jd_tcp_server_set_peer_gone_callback(jd_tcp_server *server, jd_peer_gone_callback callback, void *arg);

/* Sets the factory and the callbacks of sessions (jd_session_callbacks), in place of all callbacks above; arg is create's. The
 * codec is set by itself, with the frame callback NULL. Must be called in the loop's thread, before jd_tcp_server_start. */
JD_API void jd_tcp_server_set_session(jd_tcp_server *server, const jd_session_callbacks *callbacks, void *arg);

/* Sets the callback that sets up each io thread and its loop: timers, channels, tasks; the thread's name is set already.
 * - With io threads it is invoked once in each, before jd_tcp_server_start returns, also if that fails later. It must not
 *   wait for the server's own loop, which is inside jd_tcp_server_start.
 * - Without io threads it is invoked once for the server's loop, inside jd_tcp_server_start, if that succeeds.
 *
 * Must be called in the loop's thread, while the server is not started. */
JD_API void jd_tcp_server_set_thread_init_callback(jd_tcp_server *server, jd_thread_init_callback callback, void *arg);

/* Sets the callback that ends what the thread-init callback has begun, when the server stops. The server's connections are
 * down, and the loop still takes calls: timers are cancelled, channels and clients destroyed here. Invoked as often as the
 * thread-init callback (also without one):
 * - with io threads once in each, before the server has stopped;
 * - without io threads once for the server's loop, inside it, just before done of jd_tcp_server_stop.
 *
 * It must not wait for the server's own loop. Must be called in the loop's thread, while the server is not started. */
JD_API void jd_tcp_server_set_thread_exit_callback(jd_tcp_server *server, jd_thread_exit_callback callback, void *arg);

/* Sets a codec: input is cut into frames, and the frame callback replaces the message callback. The frame-error callback
 * reports invalid frames; those close the connection, unless the codec skips them (skip_too_long). The codec must outlive the server's connections; servers
 * and threads may share it. Must be called in the loop's thread, while the server is not started. */
JD_API void jd_tcp_server_set_codec(jd_tcp_server *server, const jd_codec *codec, jd_frame_callback callback,
                                    void *arg);
JD_API void jd_tcp_server_set_frame_error_callback(jd_tcp_server *server, jd_frame_error_callback callback, void *arg);

/* Adds an endpoint to listen on: from jd_tcp_server_start on, or at once if the server is started. *bound (bound may be
 * NULL) is the address with the port that the system chose. Before jd_tcp_server_start it is no endpoint: call
 * jd_tcp_server_endpoint after start.
 *
 * A Unix-domain path whose server is gone is taken over; when this server stops it removes the path if the path is still
 * its own. A lock on the path's directory (flock(2)) admits one server at a time: start may wait half a second for it.
 *
 * Returns 0; JD_EINVAL (no endpoint, or the server is stopping); JD_EPERM (wrong thread);
 * JD_ENOMEM; if the server is started also the errors of socket(2), bind(2) and listen(2), such as JD_EADDRINUSE and
 * JD_EACCES. Must be called in the loop's thread. */
JD_API int jd_tcp_server_listen(jd_tcp_server *server, const jd_endpoint *endpoint, jd_endpoint *bound);

/* As jd_tcp_server_listen, by text: an endpoint (jd_endpoint_parse), or a host name with a port, such as "localhost:80". A
 * name consists of letters, digits, "-", "." and "_".
 *
 * Each start looks the name up (getaddrinfo(3)), which BLOCKS, for seconds if the name service is slow: so does this call if
 * the server is started. It listens on all addresses of the name, at most 16, but leaves out those that are not addresses of
 * this host, unless there is no other. All have the same port: port 0 lets the system choose one that is free at each. The
 * addresses count as endpoints of their own (jd_tcp_server_endpoint) from the start on; before it the name counts as none.
 *
 * Returns 0; JD_EINVAL (text is neither, or the server is stopping: the log says why); JD_EPERM (wrong thread); JD_ENOMEM; if
 * the server is started also the errors of jd_tcp_server_listen and of the look-up: JD_ENOENT (no address is known), JD_EAGAIN
 * (no answer now), JD_EPROTO (the name service failed). The log names the host, the address and the reason. Must be called in
 * the loop's thread. */
JD_API int jd_tcp_server_listen_text(jd_tcp_server *server, const char *text);

/* Listens on all endpoints, starts the io threads, then accepts: all of it or nothing. Host names are looked up first: see
 * jd_tcp_server_listen_text.
 *
 * A server that has stopped (done of jd_tcp_server_stop is invoked) may be started again, also in that callback. It has the
 * same endpoints, and where the system chose the port, the same port, unless another socket has it by then (JD_EADDRINUSE).
 * Options and callbacks stay, and so does paused accepting; the io threads are new; the statistics go on.
 *
 * Returns 0; JD_EPERM (wrong thread); JD_EALREADY (it is started, stopping or being destroyed); JD_EINVAL (no endpoint);
 * JD_ENOTSUP (on Windows: a Unix-domain endpoint; reuse_port or user_timeout_ms, which the log names); the errors of
 * jd_tcp_server_listen, jd_tcp_server_listen_text and jd_event_loop_create; JD_EAGAIN (a thread could not be created). After an
 * error about an endpoint, *failed (failed may be NULL) is that endpoint; it is unchanged after others.
 * After an error it may be called again. Must be called in the loop's thread. */
JD_API int jd_tcp_server_start(jd_tcp_server *server, jd_endpoint *failed);

/* Stop accepting (pause) and start again (resume). While paused the kernel queues connections, up to backlog; their peers
 * are connected already. Connections that the engine has accepted before still come up. If paused before
 * jd_tcp_server_start, the server starts paused. Takes effect at once on the server's own loop if called in its thread, else
 * when each loop gets to it. May be called from any thread while the server exists. */
JD_API void jd_tcp_server_pause_accepting(jd_tcp_server *server);
JD_API void jd_tcp_server_resume_accepting(jd_tcp_server *server);

/* endpoint_count returns the number of endpoints. endpoint sets *endpoint to the one with that index: after start with the
 * port that it is bound to, before as it was given; returns 0, or JD_ENOENT if there is none. Must be called in the loop's
 * thread. */
JD_API size_t jd_tcp_server_endpoint_count(const jd_tcp_server *server);
JD_API int jd_tcp_server_endpoint(const jd_tcp_server *server, size_t index, jd_endpoint *endpoint);

/* Stops listening and ends the connections, within drain_ms milliseconds (0: at once). With drain_ms > 0
 * - connections in the queue of a listening socket, which closing it would reset, are accepted first; they come up and end
 *   like the others. Not while accepting is paused or max_connections is reached; not those in the queues of other
 *   processes (reuse_port);
 * - connections with nothing queued close at once, but those that owe answers (jd_tcp_connection_expect) take no further
 *   input and wait for them;
 * - the others send their queued output, then FIN, and close when the peer has ended its side too;
 * - connections that are left after drain_ms are closed.
 *
 * done (may be NULL) is invoked in the server's loop, never inside the call, when the last connection is down and the io
 * threads have ended. Returns 0; JD_EALREADY if it is not started or stopping already (from another thread: 0, and done is
 * invoked); JD_ENOMEM, JD_ECANCELED (the loop is being destroyed): nothing changes. Allowed in every callback. May be called
 * from any thread while the server exists. */
JD_API int jd_tcp_server_stop(jd_tcp_server *server, uint64_t drain_ms, jd_done_callback done, void *arg);

/* A server's whole service in one call. It
 * - starts the server, unless it is started; a failed start is logged with its endpoint and the reason;
 * - runs the server's loop, with everything else that is on it;
 * - at SIGINT or SIGTERM, on Windows also SIGBREAK (Ctrl-Break), stops the server, as jd_tcp_server_stop with drain_ms
 *   (milliseconds; 0: at once); a signal during a drain ends the drain at once;
 * - returns when the server has stopped.
 *
 * It also returns when something else has stopped or destroyed the server (jd_tcp_server_stop and jd_tcp_server_destroy in a
 * callback or another thread), and, with the server as it is, after jd_event_loop_quit. The process's handlers of these
 * signals are replaced meanwhile (jd_event_loop_watch_signal); a signal that the loop watches already keeps its callback.
 *
 * Returns 0; JD_EPERM (wrong thread); JD_EBUSY (inside one of the loop's callbacks, or another loop watches one of the
 * signals); JD_EFORKED (in a child process of the loop's); the errors of jd_tcp_server_start; or an error of
 * jd_event_loop_run. After an error the server is as it was, or, if the loop failed, started. Must be called in the loop's
 * thread, outside its callbacks. */
JD_API int jd_tcp_server_run(jd_tcp_server *server, uint64_t drain_ms);

/* Returns the loop that the server was created on. May be called from any thread while the server exists. */
JD_API jd_event_loop *jd_tcp_server_loop(const jd_tcp_server *server);

/* Returns the number of connections whose callback reported up and not yet down. May be called from any thread while the
 * server exists. */
JD_API size_t jd_tcp_server_connection_count(const jd_tcp_server *server);

/* Invokes task(connection, arg) for each connection that is up, in its loop's thread: with io_threads in several threads at
 * once. A loop visits at most 1024 in a turn; connections that come up or go down meanwhile are visited or not. The task
 * may close its connection and others. done (may be NULL) is then invoked with done_arg in the server's loop, never inside
 * the call. Returns 0; or JD_ENOMEM, JD_ECANCELED (the loop is being destroyed), and then nothing is invoked. Allowed in every
 * callback. May be called from any thread while the server exists. */
JD_API int jd_tcp_server_for_each(jd_tcp_server *server, jd_connection_task task, void *arg, jd_done_callback done,
                                  void *done_arg);

struct jd_event_loop_statistics; /* event_loop.h */

/* Sets *statistics to the sum over the io loops, plus the counters of accepting of the server's own loop. Without io
 * threads: all counters of the server's loop, which other servers may share. When the io threads have ended, their counts
 * stay. May be called from any thread while the server exists. */
JD_API void jd_tcp_server_get_statistics(jd_tcp_server *server, struct jd_event_loop_statistics *statistics);

JD_END_DECLS
#endif
