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

struct proactor_engine {
    struct engine engine;
    struct backend *backend;

    struct stream_list starved; /* could not receive, as there was no block to receive into */
    struct stream_list behind;  /* want to receive, too, but not before those: proactor_receive.c */
    bool are_trying; /* receives of such may not have been tried yet: not before the backend has tried so many */
    unsigned tried_by, tried_turn;
    bool tries_are_over;        /* with the completions of this turn */
    bool awaits_sends;          /* something is to follow one that is under way */
    struct stream_list ended;   /* to be watched for errors, if they are still there with the next wait */
    struct stream_list holding; /* have received more than their turn's budget: told in the next */
    uint32_t turn;
    unsigned told;          /* in this turn, besides completions */
    unsigned turns_between; /* of all that received in this turn: since they did so before */
    int error;              /* of this turn, which nobody else is told of */

    /* Listeners that ran out of descriptors or memory. */
    struct listener *starved_listeners;
    jd_timestamp retry_accept_at;
    bool descriptor_freed; /* since then */

    /* The user's descriptors. */
    const struct proactor_channel_ops *channel_ops; /* NULL: none can be watched */
    struct proactor_channels *channels;             /* NULL before the first */

    struct operations operations; /* the user's */
    struct lent_send *lent;       /* by proactor_zero_copy.c */
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

/* One of so many connections at work: completions of so many are worth waiting for a moment. Only tests change it. */
extern unsigned proactor_gathering_share;

/* ---- proactor_send.c ---- */
int proactor_adopt(struct engine *engine, struct stream *stream, socket_handle socket);

/* lent: where blocks go that the kernel still reads; NULL: it does not. */
void proactor_sent(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion,
                   struct block_chain *lent);
void proactor_file_read(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion);

/* ---- proactor_receive.c ---- */
void proactor_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion);
void proactor_watched(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion);

/* Before a wait: what has waited for that goes on. */
void proactor_continue_streams(struct proactor_engine *proactor);

/* ---- proactor_receive_budget.c ---- */

/* What was held back in the last turn. Returns for how many streams. */
unsigned proactor_tell_held(struct proactor_engine *proactor);

/* ---- proactor_zero_copy.c ---- */

/* For a send of so many bytes; NULL: by copying. Ended when it could not be begun, else by its completions. */
struct lent_send *proactor_lend(struct proactor_engine *proactor, const struct stream *stream, size_t bytes);
void proactor_end_lending(struct proactor_engine *proactor, struct lent_send *lent);
void proactor_lent_completed(struct proactor_engine *proactor, struct lent_send *lent,
                             const struct completion *completion);
uint64_t proactor_lent_token(const struct lent_send *lent);

/* The one that the stream's send under way is, or NULL. */
const struct lent_send *proactor_send_lent(const struct proactor_engine *proactor, const struct stream *stream);

/* Whether the kernel still reads memory of the stream's. */
bool proactor_has_lent(const struct proactor_engine *proactor, const struct stream *stream);

/* Before the socket is closed: what is lent comes back in bounded time. */
void proactor_limit_lending(const struct proactor_engine *proactor, const struct stream *stream);

/* ---- proactor_acceptor.c ---- */
void proactor_accept(struct engine *engine, struct listener *listener);
void proactor_pause_accept(struct engine *engine, struct listener *listener);
void proactor_unlisten(struct engine *engine, struct listener *listener);
void proactor_accepted(struct proactor_engine *proactor, const struct completion *completion);

/* Tries again where descriptors had run out, when some are free or it is time. Returns how many listeners tried. */
unsigned proactor_retry_accepting(struct proactor_engine *proactor);

/* ---- proactor_connector.c ---- */
int proactor_connect(struct engine *engine, struct connector *connector);
void proactor_abandon(struct engine *engine, struct connector *connector);
void proactor_connected(struct proactor_engine *proactor, const struct completion *completion);

#endif
