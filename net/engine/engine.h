/* The seam: what an engine implements, in two tables: engine_ops for the loop, stream_ops for a connection's bytes. What it calls
 * in turn is in net/engine/engine_events.h.
 *
 * Above the seam (event loop, server, connection) nothing knows of epoll or rings; below it, nothing knows of
 * connections. What users see, and in which order, is decided above, once.
 *
 * Thread rule: available, wake and listen may be called from any thread, and unlisten of a listener that is no engine's;
 * create by the thread that makes the loop; everything else only in the loop's thread. */
#ifndef NET_ENGINE_ENGINE_H
#define NET_ENGINE_ENGINE_H

#include "base/block_pool.h"
#include "base/platform/socket.h"
#include "net/engine/output_queue.h"

#include <jinduo/event_loop.h>

struct stream;
struct listener;
struct connector;
struct operations;

/* What an engine's own structure begins with. */
struct engine {
    const struct engine_ops *ops;
    jd_event_loop *loop;
    struct operations *operations; /* of the user's own (proactor/operation/); NULL where the engine carries out none */
};

/* Stream side: what the connection asks of the engine. None of these calls back but as it says. */
struct stream_ops {
    /* Begins receiving on an adopted stream. Returns 0 or a negative error: then the stream was never started, and only
     * close may follow. */
    int (*start)(struct stream *stream);

    /* Nothing is received any more (what the kernel has handed over already still comes), errors are noticed still; and
     * goes on. */
    void (*pause)(struct stream *stream);
    void (*resume)(struct stream *stream);

    /* Sends the output queue, as far as the kernel takes it now; the rest by itself when it takes more: bytes in memory
     * (output_queue_pieces) and ranges of files (output_queue_first_file, stream_read_file) in their order. A file that
     * ends too early fails the stream with JD_ENODATA. Called again whenever output was added. Reports stream_sent and
     * stream_failed, at once or later; until then, or stream_closed, what the kernel reads stays as it is. */
    void (*flush)(struct stream *stream);

    /* FIN. The output queue is empty. */
    void (*shutdown_write)(struct stream *stream);

    /* Ends everything in flight and closes the socket: with RST if reset. Reports stream_closed exactly once, at once or
     * later, when the kernel can touch nothing of the stream any more; until then stream_sent may still be reported, nothing
     * else. Never called from inside a report. Without reset, the kernel is first given what it takes of the output queue
     * without waiting, and input that has arrived is dropped: closing over unread bytes would send RST, which takes from
     * the peer what it has not read yet (RFC 2525, 2.17). */
    void (*close)(struct stream *stream, bool reset);
};

/* Loop side. */
struct engine_ops {
    jd_engine id;
    const char *name;
    const struct stream_ops *stream;

    /* Whether the kernel reads the output queue during flush only, so that between flushes its blocks may be replaced. */
    bool sends_at_once;

    bool is_proactor;

    /* What jd_event_loop_options.flush_connections is by default; 0: the loop's own measure. */
    uint32_t flush_connections;

    /* Returns 0, or a negative error and *reason (a static string, or one of the calling thread's until its next call) why
     * the engine cannot be used here. NULL: it always can. From any thread. */
    int (*available)(const char **reason);

    /* May be used by the creating thread for set-up only; wait fixes the thread. Returns 0 or a negative error. */
    int (*create)(struct engine **engine, jd_event_loop *loop);

    /* No stream, listener or channel is left, and no thread is in wake. */
    void (*destroy)(struct engine *engine);

    /* Waits for events at most timeout_ns (negative: without end; 0: only looks), not at all when work is left over from
     * before; calls event_loop_woke; then reports what happened. Returns the number of events, or a negative error. */
    int (*wait)(struct engine *engine, int64_t timeout_ns);

    /* For a loop that is waited for elsewhere. pollable: a descriptor, always the same, that poll(2) finds readable when wait
     * has something to report, or wake was called since the last wait. prepare_wait comes before it is polled: does what
     * wait does before it sleeps, and returns how long that would sleep. Both NULL where the engine cannot. */
    int (*pollable)(struct engine *engine);
    int64_t (*prepare_wait)(struct engine *engine, int64_t timeout_ns);

    /* Ends the wait under way or, if there is none, the next. From any thread and from signal handlers. */
    void (*wake)(struct engine *engine);

    /* What was flushed leaves now, if it would else leave with the next wait. NULL: it has left already. */
    void (*push)(struct engine *engine);

    jd_timestamp (*now)(const struct engine *engine);

    /* The loop is being destroyed: asks operations that the user has under way (proactor.h) to end. Called each turn until
     * it returns false: there are none. NULL: there never are. */
    bool (*end_operations)(struct engine *engine);

    /* Opens a socket on listener->endpoint, where the kernel queues connections from then on, and sets listener->bound.
     * Nothing is accepted yet, and the listener is no engine's. From any thread. Returns 0 or a negative error. */
    int (*listen)(struct listener *listener);

    /* Accepts, and pauses: the kernel goes on queueing. accept after listen makes the listener this engine's; whatever
     * keeps it from accepting is no error but listener_out_of_resources. What the kernel has handed over already when accepting is
     * paused is still reported. Both allowed inside accepted. */
    void (*accept)(struct engine *engine, struct listener *listener);
    void (*pause_accept)(struct engine *engine, struct listener *listener);

    /* Ends what listen began. Closing a listening socket resets the connections in its queue, so, unless accepting is
     * paused, these are accepted first, a bounded number: accepted is called for them at once, from inside, or later.
     * Then the socket is closed and listener_closed reported exactly once, from inside or later. Allowed inside accepted.
     * A listener that is no engine's yet (engine: NULL) is just closed, which is reported from inside; from any thread. */
    void (*unlisten)(struct engine *engine, struct listener *listener);

    /* Connects a new socket to connector->endpoint. Returns 0, and connector->connected is called exactly once, later and
     * from wait or abandon only; or a negative error, and it is not. Until it is called the connector is the engine's: the
     * kernel may read its endpoint any time. abandon, before that: the connector is told JD_ECANCELED and no socket, at once
     * or later; what had come of it meanwhile, the engine closes. */
    int (*connect)(struct engine *engine, struct connector *connector);
    void (*abandon)(struct engine *engine, struct connector *connector);

    /* Makes stream the engine's, with this socket; stream_ops.start comes next. The socket is the stream's from here on.
     * Returns 0 or a negative error: then stream and socket are the caller's still. */
    int (*adopt)(struct engine *engine, struct stream *stream, socket_handle socket);

    /* Begins to watch a channel's descriptor for its events, or changes what is watched for; and stops. watch returns 0
     * or a negative error; after unwatch, channel_released (channel.h) is reported exactly once, at once or later. */
    int (*watch)(struct engine *engine, jd_channel *channel);
    void (*unwatch)(struct engine *engine, jd_channel *channel);
};

/* A socket's two directions as an engine sees them. Part of a connection (tcp_connection.h), so kept small. */
struct stream {
    jd_event_loop *loop;
    struct stream *engine_next; /* the engine's: a list of its own */
    void *engine_data;          /* the engine's */
    socket_handle socket;       /* SOCKET_NONE before adopt and after close */
    uint16_t engine_flags;      /* the engine's */
    bool shared_descriptor; /* the user has seen the descriptor: a duplicate may outlive it, which must not hold back
                                 * close's FIN nor bring events */
    bool is_local;          /* a Unix-domain socket; set before adopt */
    struct output_queue output; /* what is to be sent; changed above the seam only */
};

struct listener {
    jd_event_loop *loop;
    jd_endpoint endpoint; /* asked for */
    jd_endpoint bound;    /* set by listen, as is */
    struct socket_path path;
    struct socket_options options;

    /* Takes an accepted socket, which is the receiver's from here on. From wait, and from unlisten. */
    void (*accepted)(struct listener *listener, socket_handle socket, const struct peer_address *peer);

    struct listener *engine_next; /* the engine's */
    void *engine_data;            /* the engine's */
    socket_handle socket;         /* the engine's; SOCKET_NONE before listen and after unlisten */
    unsigned engine_flags;        /* the engine's */
    unsigned engine_refusals;     /* the engine's */
    bool paused;                  /* set by pause_accept, cleared by accept */
};

/* One attempt to connect to one address. */
struct connector {
    jd_endpoint endpoint; /* where to */
    jd_endpoint local;    /* to bind to; length 0: none */
    struct socket_options options;

    /* error 0: the connected socket, the receiver's from here on, and its peer; else SOCKET_NONE. User callbacks run here,
     * unless error is JD_ECANCELED. */
    void (*connected)(struct connector *connector, int error, socket_handle socket, const struct peer_address *peer);

    void *engine_data;    /* the engine's */
    socket_handle socket; /* the engine's; SOCKET_NONE before connect and after connected */
};

#endif
