/* The Proactor: an engine (net/engine/engine.h) over a backend (proactor/backend.h).
 *
 *   proactor_engine.c          the loop side: life, wait, and the dispatch of completions
 *   proactor_receive.c         streams: receiving
 *   proactor_failure.c         streams: noticing that the peer has gone, and failing
 *   proactor_receive_budget.c  streams: the bytes that are delivered in a turn
 *   proactor_send.c            streams: sending, and closing
 *   proactor_zero_copy.c       streams: sends whose memory the kernel reads itself
 *   proactor_acceptor.c        listeners
 *   proactor_connector.c       connects
 *
 * Two parts have directories of their own: the user's operations (proactor/operation/) and, optional, the user's
 * descriptors (proactor/channel_ops.h).
 *
 * Thread rule: the loop's thread, except proactor_wake (any thread, and signal handlers). */
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
extern const struct engine_ops iocp_engine;

extern const struct stream_ops proactor_stream_ops;

/* The engine's parts. Each is changed only by the file that it names, and by that file's inline functions below,
 * which are inline because every turn calls them. */

/* proactor_receive.c: streams that wait for a block to receive into, all lists in FIFO order. */
struct receive_state {
    struct stream_list receive_waiters_priority; /* found no block when they tried; they receive before the others */
    struct stream_list receive_waiters; /* have not tried yet, because others waited when they wanted to receive */

    /* Receives of former waiters may not have been tried by the backend yet: until its counter of tried operations
     * has reached untried_until. They were submitted in the turn untried_turn. */
    bool waiters_untried;
    unsigned untried_until, untried_turn;
    bool waiters_tried; /* they have been tried; their completions are reported in this turn */

    struct stream_list
        ended; /* got the peer's FIN in this turn: polled for errors if they still exist before the next wait */
};

/* proactor_receive_budget.[ch] */
struct receive_budget {
    struct stream_list budget_deferred; /* received more than a turn's budget: the rest is delivered in later turns */
    unsigned gathering_share;           /* a wait gathers the messages of one in so many active streams */
    unsigned turns_between; /* summed over the streams that received in this turn: turns since they last did */
};

/* proactor_acceptor.c */
struct accept_waiters {
    struct listener *waiters; /* ran out of descriptors or memory, or begin to accept with the next wait */
    jd_timestamp retry_at;
    bool descriptor_freed; /* retry without waiting for retry_at */
};

struct proactor_engine {
    struct engine engine;
    struct backend *backend;

    uint32_t turn;
    unsigned reported; /* events of this turn that are not completions */
    int error;         /* of this turn, to be returned by wait */
    bool awaits_sends; /* more work follows a send in flight, so its completion must be reported soon */

    struct receive_state receiving;
    struct receive_budget budget;
    struct accept_waiters accepting;
    struct zero_copy_send *zero_copy_sends; /* proactor_zero_copy.c */
    struct operations operations;           /* the user's */

    /* The user's descriptors. */
    const struct proactor_channel_ops *channel_ops; /* NULL: channels are not supported */
    struct proactor_channels *channels;             /* NULL before the loop's first channel */
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

static inline void proactor_cancel(struct proactor_engine *proactor, socket_handle fd, uint64_t token)
{
    proactor->backend->ops->cancel(proactor->backend, fd, token);
}

/* The functions of engine_ops: see net/engine/engine.h for what each one owes. proactor_create is called by the
 * create function of each engine, which passes its own tables; the other functions serve every backend. channels:
 * NULL if channels are not supported. On error nothing is left to destroy. */
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

/* A send has completed. zero_copy_blocks: receives the blocks that the kernel still reads; NULL: the send has copied. */
void proactor_sent(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion,
                   struct block_chain *zero_copy_blocks);

/* A read of a file that is being sent has completed. */
void proactor_file_read(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion);

/* ---- proactor_receive.c ---- */
void proactor_receive_init(struct proactor_engine *proactor);

/* A receive has completed; the poll for errors has. */
void proactor_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion);
void proactor_watched(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion);

/* Called before each wait: submits the receives of waiting streams, as many as there is room for, and the polls of
 * ended streams. */
void proactor_continue_streams(struct proactor_engine *proactor);

/* Whether a stream or one of the user's operations waits for a block to receive into. */
static inline bool proactor_receive_waits(const struct proactor_engine *proactor)
{
    return proactor->receiving.receive_waiters_priority.first != NULL ||
           proactor->receiving.receive_waiters.first != NULL || proactor->operations.receive_waiters != NULL;
}

/* If so: the longest time that a wait may sleep, in ns. */
int64_t proactor_receive_patience(const struct proactor_engine *proactor);

/* Called when a wait is over, before its first completion is reported; and after the last. */
static inline void proactor_receive_woke(struct proactor_engine *proactor)
{
    const struct backend *backend = proactor->backend;

    proactor->receiving.waiters_tried =
        (int32_t)(backend->ops->tried(backend) - proactor->receiving.untried_until) >= 0;
}

static inline void proactor_receive_waited(struct proactor_engine *proactor)
{
    if (proactor->receiving.waiters_tried)
        proactor->receiving.waiters_untried = false;
}

/* ---- proactor_receive_budget.c ---- */

void proactor_budget_init(struct proactor_engine *proactor);

static inline bool proactor_has_deferred(const struct proactor_engine *proactor)
{
    return proactor->budget.budget_deferred.first != NULL;
}

/* Called when a turn begins: delivers a budget of bytes for each stream that was deferred in an earlier turn. Returns
 * the number of these streams. */
unsigned proactor_continue_deferred(struct proactor_engine *proactor);

/* ---- proactor_zero_copy.c ---- */

/* Returns the record of a zero-copy send of so many bytes, which the send's completions end; NULL: send by copying.
 * If the send cannot be submitted, call proactor_end_zero_copy. */
struct zero_copy_send *proactor_begin_zero_copy(struct proactor_engine *proactor, const struct stream *stream,
                                                size_t bytes);

/* Returns the blocks to the stream's side (stream_zero_copy_done) and frees the record. */
void proactor_end_zero_copy(struct proactor_engine *proactor, struct zero_copy_send *send);
void proactor_zero_copy_completed(struct proactor_engine *proactor, struct zero_copy_send *send,
                                  const struct completion *completion);
uint64_t proactor_zero_copy_token(const struct zero_copy_send *send);

/* The stream's zero-copy send that has not had its first completion, or NULL. */
const struct zero_copy_send *proactor_zero_copy_in_flight(const struct proactor_engine *proactor,
                                                          const struct stream *stream);

/* Whether the kernel may still read memory of the stream. */
bool proactor_has_zero_copy(const struct proactor_engine *proactor, const struct stream *stream);

/* Called before the socket is closed: bounds the time until the kernel stops reading the stream's memory. */
void proactor_limit_zero_copy(const struct proactor_engine *proactor, const struct stream *stream);

/* ---- proactor_acceptor.c ---- */
void proactor_accept(struct engine *engine, struct listener *listener);
void proactor_pause_accept(struct engine *engine, struct listener *listener);
void proactor_unlisten(struct engine *engine, struct listener *listener);
void proactor_accepted(struct proactor_engine *proactor, const struct completion *completion);

/* Whether a listener waits for a descriptor, for memory, or for the next wait. */
static inline bool proactor_accept_waits(const struct proactor_engine *proactor)
{
    return proactor->accepting.waiters != NULL;
}

/* If so: the longest time that a wait may sleep, in ns. */
int64_t proactor_accept_patience(const struct proactor_engine *proactor);

/* Begins to accept again on the waiting listeners if a descriptor has been freed or retry_at has come. Returns how
 * many listeners that were. */
unsigned proactor_retry_accepting(struct proactor_engine *proactor);

/* Called when a socket has been closed: one more may be accepted. */
static inline void proactor_descriptor_freed(struct proactor_engine *proactor)
{
    proactor->accepting.descriptor_freed = true;
}

/* ---- proactor_connector.c ---- */
int proactor_connect(struct engine *engine, struct connector *connector);
void proactor_abandon(struct engine *engine, struct connector *connector);
void proactor_connected(struct proactor_engine *proactor, const struct completion *completion);

#endif
