/* The seam between the loop and its engine (epoll Reactor, io_uring Proactor, simulated Proactor). An engine implements
 * two tables: engine_ops for the loop, stream_ops for the bytes of one connection. The functions that an engine calls
 * are in net/engine/engine_events.h.
 *
 * Code above the seam (event loop, server, client, connection) does not know epoll or io_uring. Code below it does not
 * know connections. The order of the user's callbacks is decided above the seam, once for all engines.
 *
 * Thread rule:
 *   - from any thread: available, wake (also from signal handlers), now, listen, and unlisten with engine NULL
 *   - in the thread that creates the loop: create
 *   - before the first run also in the thread that is going to run the loop: pollable
 *   - in the loop's thread only: all others */
#ifndef NET_ENGINE_ENGINE_H
#define NET_ENGINE_ENGINE_H

#include "base/platform/socket.h"
#include "net/engine/output_queue.h"

#include <jinduo/event_loop.h>

struct stream;
struct listener;
struct connector;
struct operations;

/* The first member of each engine's own structure. */
struct engine {
    const struct engine_ops *ops;
    jd_event_loop *loop;
    struct operations *operations; /* of the user (jinduo/proactor.h); NULL: the engine has none (Reactor) */
};

/* The functions of a stream. A function reports to the connection (engine_events.h) only where its comment says so. */
struct stream_ops {
    /* Starts receiving on an adopted stream. Returns 0 or a negative error; after an error only close may be called. */
    int (*start)(struct stream *stream);

    /* pause stops receiving; resume continues. While paused, the engine still reports a broken connection
     * (stream_output_failed), that the peer's FIN is there (stream_end_seen), and what the kernel had handed over before
     * the pause took effect. */
    void (*pause)(struct stream *stream);
    void (*resume)(struct stream *stream);

    /* Sends the output queue: as many bytes as the kernel takes now, the rest when the socket is writable again. Called
     * after each addition to the queue. Bytes in memory (output_queue_pieces) and ranges of files
     * (output_queue_first_file, stream_read_file) are sent in the queue's order. A file that ends too early is a failed
     * send: JD_ENODATA. Reports stream_sent and stream_output_failed, from inside or later. The kernel may read the
     * queue's blocks until stream_sent for their bytes, stream_output_failed or stream_closed: neither blocks nor bytes
     * may change before. */
    void (*flush)(struct stream *stream);

    /* Half-closes the connection (sends FIN). The output queue must be empty. Reports stream_output_failed from inside if
     * the connection is broken. */
    void (*shutdown_write)(struct stream *stream);

    /* Cancels the operations in flight and closes the socket. Must not be called from inside a report.
     *   - reset: the close sends RST.
     *   - no reset: the kernel first gets as much of the output queue as it takes without waiting. Input that has
     *     arrived is dropped, because a close over unread bytes sends RST, which destroys bytes that the peer has not
     *     read yet (RFC 2525, 2.17).
     * Reports stream_closed exactly once, from inside or later, when the kernel uses nothing of the stream any more.
     * Until then only stream_sent and stream_sent_zero_copy may be reported. */
    void (*close)(struct stream *stream, bool reset);
};

/* The functions of an engine. */
struct engine_ops {
    jd_engine id;
    const char *name;
    const struct stream_ops *stream;

    /* The kernel reads the output queue only during flush: between flushes its blocks may be replaced. */
    bool sends_at_once;

    bool is_proactor;

    /* Default of jd_event_loop_options.flush_connections on this engine; 0: the loop's default (event_loop.c). */
    uint32_t flush_connections;

    /* Returns 0 if the engine can be used on this system; else a negative error, and *reason says why: a static string,
     * or one that the calling thread's next call overwrites. NULL: always available. From any thread. */
    int (*available)(const char **reason);

    /* Returns 0 and the engine, or a negative error. The creating thread may use the engine for set-up; the first
     * thread that calls wait is the engine's thread from then on. */
    int (*create)(struct engine **engine, jd_event_loop *loop);

    /* Frees the engine. No stream, listener or channel may be left, and no thread may be inside wake. */
    void (*destroy)(struct engine *engine);

    /* Waits for events at most timeout_ns (negative: without limit; 0: polls); does not wait while work of the last
     * turn is pending. Then calls event_loop_woke and reports the events. Returns their number, or a negative error. */
    int (*wait)(struct engine *engine, int64_t timeout_ns);

    /* For a loop inside another event loop (jd_event_loop_pollable_fd). Both are NULL if the engine has no descriptor.
     * pollable returns a descriptor, the same in each call. poll(2) reports it readable when wait has events to report
     * or wake was called since the last wait. prepare_wait must be called before each such poll: it does the work that
     * wait does before it sleeps (submitting operations, for example), and returns how long the poll may sleep (ns, as
     * for wait). */
    int (*pollable)(struct engine *engine);
    int64_t (*prepare_wait)(struct engine *engine, int64_t timeout_ns);

    /* Ends the current wait, or the next one if no wait is in progress. From any thread and from signal handlers. */
    void (*wake)(struct engine *engine);

    /* Submits the sends that flush has gathered and that the next wait would submit. NULL: flush gathers none. */
    void (*push)(struct engine *engine);

    /* The engine's monotonic clock, read now, in nanoseconds. From any thread. */
    jd_timestamp (*now)(const struct engine *engine);

    /* Cancels the user's operations in flight (jinduo/proactor.h), because the loop is being destroyed. Called in each
     * turn until it returns false: none is left. NULL: the engine has none. */
    bool (*end_operations)(struct engine *engine);

    /* Opens a listening socket on listener->endpoint and sets listener->bound. The kernel queues connections from then
     * on; accept starts to accept them. The listener does not belong to an engine yet. From any thread. Returns 0 or a
     * negative error. */
    int (*listen)(struct listener *listener);

    /* accept starts to accept connections; the first call makes the listener this engine's. It does not fail: a lack of
     * resources is reported by listener_out_of_resources. pause_accept stops accepting: the kernel continues to queue
     * connections, and a connection that the kernel had already handed over is still reported. Both may be called
     * inside accepted. */
    void (*accept)(struct engine *engine, struct listener *listener);
    void (*pause_accept)(struct engine *engine, struct listener *listener);

    /* Closes the listening socket and reports listener_closed exactly once, from inside or later. Closing resets the
     * connections in the socket's queue; so, unless accepting is paused, a bounded number of them is accepted first:
     * accepted is called from inside or later. May be called inside accepted. engine NULL: the listener never belonged
     * to an engine; it is closed and reported from inside, and the call may come from any thread. */
    void (*unlisten)(struct engine *engine, struct listener *listener);

    /* Connects a new socket to connector->endpoint. Returns 0: connector->connected is called exactly once, later, from
     * wait or abandon only. Or returns a negative error: it is not called. The engine owns the connector until
     * connected, because the kernel may read its endpoint until then. abandon cancels: connected gets JD_ECANCELED and
     * no socket, from inside or later, and the engine closes a socket that was connected meanwhile. */
    int (*connect)(struct engine *engine, struct connector *connector);
    void (*abandon)(struct engine *engine, struct connector *connector);

    /* Gives the stream to the engine, and the socket to the stream. The caller calls stream_ops.start next. Returns 0
     * or a negative error; after an error stream and socket still belong to the caller. */
    int (*adopt)(struct engine *engine, struct stream *stream, socket_handle socket);

    /* watch starts to watch a channel's descriptor for channel->events; on a watched channel it changes the events.
     * Returns 0 or a negative error. unwatch stops, and reports channel_released (channel.h) exactly once, from inside
     * or later. */
    int (*watch)(struct engine *engine, jd_channel *channel);
    void (*unwatch)(struct engine *engine, jd_channel *channel);
};

/* A connection's socket and output as an engine knows them. Part of each connection (tcp_connection.h): keep it
 * small. */
struct stream {
    jd_event_loop *loop;
    struct stream *engine_next; /* engine's: link of its lists */
    void *engine_data;          /* engine's */
    socket_handle socket;       /* SOCKET_NONE before adopt and after close */
    uint32_t flags;             /* of enum stream_flag; the other bits are the engine's */
    struct output_queue output; /* bytes to be sent; changed above the seam only */
};

enum stream_flag {
    STREAM_LOCAL = 1 << 30, /* a Unix-domain socket; set before adopt */

    /* The user has got the descriptor and may have duplicated it. The duplicate keeps the socket open after close: so
     * close must send FIN itself and remove the socket from epoll. */
    STREAM_SHARED_DESCRIPTOR = 1 << 29,

    STREAM_OWNERS = 0x7f << 22, /* bits of the layer above the seam; engines ignore them */
};

struct listener {
    jd_event_loop *loop;
    jd_endpoint endpoint; /* as requested */
    jd_endpoint bound;    /* set by listen: the actual address and port */
    struct socket_path path;
    struct socket_options options;

    /* Reports an accepted socket, which the receiver owns from then on. Called from wait and from unlisten. */
    void (*accepted)(struct listener *listener, socket_handle socket, const struct peer_address *peer);

    struct listener *engine_next; /* engine's */
    void *engine_data;            /* engine's */
    socket_handle socket;         /* engine's; SOCKET_NONE before listen and after unlisten */
    unsigned engine_flags;        /* engine's */
    unsigned engine_refusals;     /* engine's */
    bool paused;                  /* set by pause_accept, cleared by accept */
};

/* One attempt to connect to one address. */
struct connector {
    jd_endpoint endpoint; /* the peer's address */
    jd_endpoint local;    /* the address to bind; length 0: none */
    struct socket_options options;

    /* Reports the result. error 0: the connected socket, which the receiver owns from then on, and its peer. Else a
     * negative error, SOCKET_NONE, and peer is not to be read. User callbacks run inside, except for JD_ECANCELED. */
    void (*connected)(struct connector *connector, int error, socket_handle socket, const struct peer_address *peer);

    void *engine_data;    /* engine's */
    socket_handle socket; /* engine's; SOCKET_NONE before connect and after connected */
};

#endif
