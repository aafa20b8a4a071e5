/* The Reactor: edge-triggered epoll. reactor.c is the loop side of the seam, reactor_stream.c the stream side,
 * reactor_acceptor.c listens, reactor_connector.c connects. */
#ifndef NET_REACTOR_REACTOR_H
#define NET_REACTOR_REACTOR_H

#include "base/posix/poller.h"
#include "net/engine/engine_events.h"

extern const struct engine_ops reactor_engine;
extern const struct stream_ops reactor_stream_ops;

/* What a token of the poller names: its highest byte. The rest is a pointer, or for streams a number that never comes
 * again: a duplicate of a closed descriptor, in a child process say, goes on reporting events (epoll(7), question 6). */
enum reactor_token { TOKEN_WAKEUP, TOKEN_STREAM, TOKEN_LISTENER, TOKEN_CONNECTOR, TOKEN_CHANNEL };
enum { TOKEN_KIND_SHIFT = 56 };

static const uint64_t token_value_mask = ((uint64_t)1 << TOKEN_KIND_SHIFT) - 1;

static inline uint64_t reactor_token(enum reactor_token kind, uint64_t value)
{
    return (uint64_t)kind << TOKEN_KIND_SHIFT | value;
}

struct reactor {
    struct engine engine;
    struct poller poller;
    int wakeup;          /* an eventfd */
    struct block *block; /* receives; NULL: one is taken from the pool when needed */

    /* Streams that have used up their budget, or may have more to receive although no edge will tell; listeners likewise. */
    struct stream *ready_first, **ready_link;
    struct listener *ready_listeners;

    /* Listeners that ran out of descriptors or memory. */
    struct listener *starved_listeners;
    jd_timestamp retry_accept_at;
    bool descriptor_freed; /* since then */
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
int reactor_adopt(struct engine *engine, struct stream *stream, socket_handle socket);

/* events: epoll's. */
void reactor_stream_event(struct reactor *reactor, struct stream *stream, uint32_t events);

/* Streams put on the ready list before. Returns how many. */
unsigned reactor_run_ready(struct reactor *reactor);

/* ---- reactor_acceptor.c ---- */
void acceptor_accept(struct engine *engine, struct listener *listener);
void acceptor_pause(struct engine *engine, struct listener *listener);
void acceptor_unlisten(struct engine *engine, struct listener *listener);
void acceptor_event(struct reactor *reactor, struct listener *listener);
unsigned acceptor_run_ready(struct reactor *reactor);

/* Tries again where descriptors had run out, when some are free or it is time. Returns how many listeners tried. */
unsigned acceptor_retry(struct reactor *reactor);

/* ---- reactor_connector.c ---- */
int connector_connect(struct engine *engine, struct connector *connector);
void connector_abandon(struct engine *engine, struct connector *connector);
void connector_event(struct reactor *reactor, struct connector *connector);

#endif
