/* The Proactor: an engine (net/engine/engine.h) over a backend that carries out asynchronous operations (proactor/backend.h).
 * proactor_engine.c is the loop side of the seam, proactor_send.c and proactor_receive.c the stream side,
 * proactor_acceptor.c listens, proactor_connector.c connects. The user's descriptors are an optional part
 * (proactor/channel_ops.h). */
#ifndef PROACTOR_ENGINE_PROACTOR_ENGINE_H
#define PROACTOR_ENGINE_PROACTOR_ENGINE_H

#include "net/engine/engine_events.h"
#include "proactor/backend.h"
#include "proactor/channel_ops.h"
#include "proactor/completion_token.h"
#include "proactor/engine/stream_list.h"
#include "proactor/operation/operation.h"

extern const struct engine_ops io_uring_engine;
extern const struct engine_ops simulated_engine;

extern const struct stream_ops proactor_stream_ops;

/* The engine's parts. Each is touched by one file alone, and by that file's inline functions below, which run in each turn. */

/* proactor_receive.c: streams that wait, and receives that are being tried for them. */
struct receive_waiters {
    struct stream_list starved; /* could not receive, as there was no block to receive into */
    struct stream_list behind;  /* want to receive, too, but not before those: proactor_receive.c */
    bool are_trying; /* receives of such may not have been tried yet: not before the backend has tried so many */
    unsigned tried_by, tried_turn;
    bool tries_are_over;      /* with the completions of this turn */
    struct stream_list ended; /* to be watched for errors, if they are still there with the next wait */
};

/* proactor_receive_budget.[ch] */
struct receive_budget {
    struct stream_list holding; /* have received more than their turn's budget: told in the next */
    unsigned turns_between;     /* of all that received in this turn: since they did so before */
};

/* proactor_acceptor.c: listeners that ran out of descriptors or memory. */
struct accept_waiters {
    struct listener *starved;
    jd_timestamp retry_at;
    bool descriptor_freed; /* since then */
};

struct proactor_engine {
    struct engine engine;
    struct backend *backend;

    uint32_t turn;
    unsigned told;     /* in this turn, besides completions */
    int error;         /* of this turn, which nobody else is told of */
    bool awaits_sends; /* something is to follow one that is under way */

    struct receive_waiters receiving;
    struct receive_budget budget;
    struct accept_waiters accepting;
    struct zero_copy_send *lent;  /* by proactor_zero_copy.c */
    struct operations operations; /* the user's */

    /* The user's descriptors. */
    const struct proactor_channel_ops *channel_ops; /* NULL: none can be watched */
    struct proactor_channels *channels;             /* NULL before the first */
};

static inline struct proactor_engine *proactor_of(struct engine *engine)
{
    return (struct proactor_engine *)engine;
}

static inline struct proactor_engine *proactor_of_loop(jd_event_loop *loop)
{
    return proactor_of(event_loop_engine(loop));
}

static inline int proactor_submit(struct proactor_engine *proactor, const struct operation_request *request)
{
    return proactor->backend->ops->submit(proactor->backend, request);
}

static inline void proactor_cancel(struct proactor_engine *proactor, int fd, uint64_t token)
{
    proactor->backend->ops->cancel(proactor->backend, fd, token);
}

/* An engine's functions: all but create are the same on each backend. */
int proactor_create(struct engine **engine, jd_event_loop *loop, const struct engine_ops *ops,
                    const struct backend_ops *backend, const struct proactor_channel_ops *channels);
void proactor_destroy(struct engine *engine);
int proactor_wait(struct engine *engine, int64_t timeout_ns);
int proactor_pollable(struct engine *engine);
int64_t proactor_prepare_wait(struct engine *engine, int64_t timeout_ns);
void proactor_wake(struct engine *engine);
void proactor_push(struct engine *engine);
bool proactor_end_operations(struct engine *engine);
jd_timestamp proactor_now(const struct engine *engine);
int proactor_watch(struct engine *engine, jd_channel *channel);
void proactor_unwatch(struct engine *engine, jd_channel *channel);

/* ---- proactor_send.c ---- */
int proactor_adopt(struct engine *engine, struct stream *stream, socket_handle socket);

/* lent: where blocks go that the kernel still reads; NULL: it does not. */
void proactor_sent(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion,
                   struct block_chain *lent);
void proactor_file_read(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion);

/* ---- proactor_receive.c ---- */
void proactor_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion);
void proactor_watched(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion);

void proactor_receive_init(struct proactor_engine *proactor);

/* Before a wait: what has waited for that goes on. */
void proactor_continue_streams(struct proactor_engine *proactor);

/* Whether a stream, or an operation of the user's, waits for room to receive into. */
static inline bool proactor_receive_waits(const struct proactor_engine *proactor)
{
    return proactor->receiving.starved.first != NULL || proactor->receiving.behind.first != NULL ||
           proactor->operations.starved != NULL;
}

/* If so: how long a wait may be at most for their sake. */
int64_t proactor_receive_patience(const struct proactor_engine *proactor);

/* When the waiting is over, before any completion; and behind the last. */
static inline void proactor_receive_woke(struct proactor_engine *proactor)
{
    const struct backend *backend = proactor->backend;

    proactor->receiving.tries_are_over = (int32_t)(backend->ops->tried(backend) - proactor->receiving.tried_by) >= 0;
}

static inline void proactor_receive_waited(struct proactor_engine *proactor)
{
    if (proactor->receiving.tries_are_over)
        proactor->receiving.are_trying = false;
}

/* ---- proactor_receive_budget.c ---- */

/* One of so many connections at work: completions of so many are worth waiting for a moment. Only tests change it. */
extern unsigned proactor_gathering_share;

void proactor_budget_init(struct proactor_engine *proactor);

static inline bool proactor_holds_blocks(const struct proactor_engine *proactor)
{
    return proactor->budget.holding.first != NULL;
}

/* When a turn begins: what was held back in the last is told. Returns for how many streams. */
unsigned proactor_tell_held(struct proactor_engine *proactor);

/* ---- proactor_zero_copy.c ---- */

/* For a send of so many bytes; NULL: by copying. Ended when it could not be begun, else by its completions. */
struct zero_copy_send *proactor_begin_zero_copy(struct proactor_engine *proactor, const struct stream *stream,
                                                size_t bytes);
void proactor_end_zero_copy(struct proactor_engine *proactor, struct zero_copy_send *lent);
void proactor_zero_copy_completed(struct proactor_engine *proactor, struct zero_copy_send *lent,
                                  const struct completion *completion);
uint64_t proactor_zero_copy_token(const struct zero_copy_send *lent);

/* The one that the stream's send under way is, or NULL. */
const struct zero_copy_send *proactor_send_zero_copy(const struct proactor_engine *proactor,
                                                     const struct stream *stream);

/* Whether the kernel still reads memory of the stream's. */
bool proactor_has_zero_copy(const struct proactor_engine *proactor, const struct stream *stream);

/* Before the socket is closed: what is lent comes back in bounded time. */
void proactor_limit_zero_copy(const struct proactor_engine *proactor, const struct stream *stream);

/* ---- proactor_acceptor.c ---- */
void proactor_accept(struct engine *engine, struct listener *listener);
void proactor_pause_accept(struct engine *engine, struct listener *listener);
void proactor_unlisten(struct engine *engine, struct listener *listener);
void proactor_accepted(struct proactor_engine *proactor, const struct completion *completion);

/* Whether a listener waits for a descriptor or memory. */
static inline bool proactor_accept_waits(const struct proactor_engine *proactor)
{
    return proactor->accepting.starved != NULL;
}

/* If so: how long a wait may be at most for their sake. */
int64_t proactor_accept_patience(const struct proactor_engine *proactor);

/* Tries again where descriptors had run out, when some are free or it is time. Returns how many listeners tried. */
unsigned proactor_retry_accepting(struct proactor_engine *proactor);

/* A socket has been closed: one more may be accepted. */
static inline void proactor_descriptor_freed(struct proactor_engine *proactor)
{
    proactor->accepting.descriptor_freed = true;
}

/* ---- proactor_connector.c ---- */
int proactor_connect(struct engine *engine, struct connector *connector);
void proactor_abandon(struct engine *engine, struct connector *connector);
void proactor_connected(struct proactor_engine *proactor, const struct completion *completion);

#endif
