/* The Reactor: an engine (net/engine/engine.h) on edge-triggered epoll.
 *
 * - reactor.c: the loop side, engine_ops
 * - reactor_stream.c: the stream side, stream_ops
 * - reactor_acceptor.c: listening sockets
 * - reactor_connector.c: connecting sockets
 *
 * An edge is reported once. So what it means is stored until it has been used (stream.flags), and work that no further
 * edge will report waits on ready lists, which each turn serves.
 *
 * Thread rule: the loop's thread only, except as engine.h says (wake, unlisten with engine NULL). */
#ifndef NET_REACTOR_REACTOR_H
#define NET_REACTOR_REACTOR_H

#include "base/posix/poller.h"
#include "net/engine/engine_events.h"

extern const struct engine_ops reactor_engine;
extern const struct stream_ops reactor_stream_ops;

/* The highest byte of a poller token says what the rest names. The rest is a pointer; for a stream it is a number that
 * is never used again (stream_token), because a duplicate of a closed descriptor, for example in a child process, still
 * reports events (epoll(7), question 6). */
enum reactor_token { TOKEN_WAKEUP, TOKEN_STREAM, TOKEN_LISTENER, TOKEN_CONNECTOR, TOKEN_CHANNEL };
enum { TOKEN_KIND_SHIFT = 56 };

static const uint64_t token_value_mask = ((uint64_t)1 << TOKEN_KIND_SHIFT) - 1;

static inline uint64_t reactor_token(enum reactor_token kind, uint64_t value)
{
    return (uint64_t)kind << TOKEN_KIND_SHIFT | value;
}

/* The most blocks that one receive fills: a region of the pool (event_loop.c), so that they come and go without an allocation. */
enum { REACTOR_RECEIVE_BLOCKS = 3 };

struct reactor {
    struct engine engine;
    struct poller poller;
    int wakeup;                                      /* an eventfd */
    struct block *block;                             /* for the next receive; NULL: to be taken from the pool */
    jd_iovec receive_pieces[REACTOR_RECEIVE_BLOCKS]; /* of a receive into several blocks */
    struct block *receive_blocks[REACTOR_RECEIVE_BLOCKS];
    unsigned receive_count;

    /* Ready lists: streams and listeners that have used up their budget, or may have more to receive or accept although
     * no edge will report it. */
    struct stream *ready_first, **ready_link;
    struct listener *ready_listeners;

    /* Listeners that ran out of descriptors or memory. */
    struct listener *starved_listeners;
    jd_timestamp retry_accept_at; /* when to retry them at the latest */
    bool descriptor_freed;        /* since the last of them ran out: retry them now */
};

static inline struct reactor *reactor_of(struct engine *engine)
{
    return (struct reactor *)engine;
}

static inline struct reactor *reactor_of_loop(jd_event_loop *loop)
{
    return reactor_of(event_loop_engine(loop));
}

/* ---- reactor_stream.c ---- */

/* engine_ops.adopt. */
int reactor_adopt(struct engine *engine, struct stream *stream, socket_handle socket);

/* Processes the events (EPOLL bits) of a stream: sends, receives and reports what happened. */
void reactor_stream_event(struct reactor *reactor, struct stream *stream, uint32_t events);

/* Serves the streams that were on the ready list before this call. Returns how many. */
unsigned reactor_run_ready(struct reactor *reactor);

/* ---- reactor_acceptor.c ---- */

/* engine_ops.accept, pause_accept, unlisten. */
void acceptor_accept(struct engine *engine, struct listener *listener);
void acceptor_pause(struct engine *engine, struct listener *listener);
void acceptor_unlisten(struct engine *engine, struct listener *listener);

/* The listening socket has connections: accepts a batch. */
void acceptor_event(struct reactor *reactor, struct listener *listener);

/* Serves the listeners that were on the ready list before this call. Returns how many. */
unsigned acceptor_run_ready(struct reactor *reactor);

/* Retries the starved listeners if a descriptor has been freed or retry_accept_at has passed. Returns how many. */
unsigned acceptor_retry(struct reactor *reactor);

/* ---- reactor_connector.c ---- */

/* engine_ops.connect, abandon. */
int connector_connect(struct engine *engine, struct connector *connector);
void connector_abandon(struct engine *engine, struct connector *connector);

/* The socket is writable: it has connected, or failed to. Reports connected. */
void connector_event(struct reactor *reactor, struct connector *connector);

#endif
