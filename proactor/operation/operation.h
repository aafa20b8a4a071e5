/* Operations of the user's own: what is in a jd_operation, and the loop's account of those under way. Below them is a backend,
 * which carries out their parts; the loop gives them its thread, a queue and timers (net/engine/engine_events.h). */
#ifndef PROACTOR_OPERATION_OPERATION_H
#define PROACTOR_OPERATION_OPERATION_H

#include "net/engine/engine_events.h"
#include "proactor/backend.h"
#include "proactor/completion_token.h"

#include <jinduo/proactor.h>
#include <stdatomic.h>

struct operation;

/* What distinguishes one sort of operation from another. */
struct operation_type {
    /* Begins it. Returns 0, or an error that completes it. */
    int (*begin)(struct operation *operation);

    /* The backend has completed a part of it with result. Returns whether it goes on (it has begun the next part);
     * otherwise *result is that of the whole. NULL: the part is the whole. */
    bool (*advance)(struct operation *operation, int64_t *result);

    /* Asks for its end; NULL: the backend is asked. */
    void (*cancel)(struct operation *operation);

    enum backend_opcode opcode; /* the backend's, of each part */
    bool is_continuous;
};

enum operation_state {
    OPERATION_IDLE,   /* the caller's */
    OPERATION_QUEUED, /* on its way to the loop */
    OPERATION_UNDER_WAY,
    OPERATION_STARVED,  /* waits for room to receive into */
    OPERATION_FINISHED, /* its last completion is to be told */
    OPERATION_HELD,     /* likewise, when a cancel that is on its way has arrived */
};

/* A cancel of another thread's travels on a node inside the operation: the last completion waits for it. Zero: not begun yet,
 * or over. */
enum operation_cancel { CANCEL_TOO_LATE, CANCEL_NONE, CANCEL_POSTED };

/* Zero is idle. */
struct operation {
    /* Another thread may be about to cancel it while it begins anew: these are never copied (operation_begin). */
    struct task_node cancel_task;
    jd_event_loop *loop;
    _Atomic uint8_t state, cancel_state;

    struct task_node start_task;    /* the first that is copied */
    struct operation *next, **link; /* in the account of those on its handle */
    struct operation *waiting_next; /* on the list of starved or of finished ones */
    const struct operation_type *type;
    jd_completion_handler handler;
    void *arg;
    union {
        const jd_iovec *buffers;
        const jd_endpoint *endpoint;
        jd_buffer *buffer;
    };
    jd_iovec piece; /* where there is but one */
    union {
        uint64_t offset;
        jd_timestamp when;
        struct { /* of read_until */
            size_t limit;
            size_t searched; /* of buffer's bytes, in vain */
        };
    };
    size_t transferred; /* by the parts so far */
    int64_t result;
    const void *data;
    jd_timer_id timer;
    uint32_t timeout_ms;
    jd_handle handle;
    uint8_t buffer_count; /* 0: piece is the only one */
    uint8_t delimiter_length;
    uint8_t delimiter[JD_DELIMITER_MAX];
    bool more, cancelled, timed_out, is_timed; /* is_timed: by the backend */
};

_Static_assert(sizeof(struct operation) <= sizeof(jd_operation), "an operation has grown");

/* A loop's operations. */
enum { OPERATION_BUCKETS = 256 };
struct operations {
    struct backend *backend;
    struct operation *on_handle[OPERATION_BUCKETS]; /* under way, by handle */
    struct operation *starved, **starved_link;      /* the oldest first */
    struct operation *finished, **finished_link;
    size_t count;   /* from start to the last completion's telling */
    size_t closing; /* of these, how many wait to close a handle */
};

void operations_init(struct operations *operations, struct backend *backend);

/* Before the loop waits: those that starved are tried again. Returns whether something can be told at once. */
bool operations_before_wait(struct operations *operations);

/* From the engine's wait, last: tells what has finished. */
void operations_tell_finished(struct operations *operations);

/* The backend has completed (a part of) one. */
void operation_completed(struct operation *operation, struct completion *completion);

/* The backend was to end some in time and may have forgotten one: for each a timer of the loop is started. */
void operations_time(struct operations *operations);

/* Asks all to end, when the loop's queue has been closed. Returns whether any is left. */
bool operations_end(struct operations *operations);

/* The loop's, or NULL on a Reactor. */
static inline struct operations *operations_of(const jd_event_loop *loop)
{
    return event_loop_engine(loop)->operations;
}

/* By what the operation's parts are known to the backend. */
static inline uint64_t operation_token(const struct operation *operation)
{
    return proactor_token(COMPLETES_USER, (uint64_t)(uintptr_t)operation);
}

static inline struct operation *operation_by_token(uint64_t token)
{
    return (struct operation *)(uintptr_t)proactor_token_value(token);
}

/* ---- for the sorts of operations ---- */

/* Takes *wanted over into operation, and begins it in the loop's thread, now or soon. */
int operation_begin(jd_event_loop *loop, jd_operation *operation, const struct operation *wanted);

/* The same for one with a handle and a piece of memory, or 1 to JD_BUFFERS_MAX of them. */
int operation_begin_buffer(jd_event_loop *loop, jd_operation *operation, struct operation *wanted, const void *data,
                           size_t length);
int operation_begin_buffers(jd_event_loop *loop, jd_operation *operation, struct operation *wanted,
                            const jd_iovec *pieces, int count);

/* Whether pieces can be used: 1 to JD_BUFFERS_MAX of them, with bytes in all. */
bool operation_buffers_are_valid(const jd_iovec *pieces, int count);

/* Submits a part; the request says what is not in the operation. */
int operation_submit(struct operation *operation, struct operation_request *request);

/* Submits a part of the operation's piece or pieces, less the first skip bytes. */
int operation_submit_buffers(struct operation *operation, size_t skip);

/* It has come to its end, which is told in this turn's wait or the next's. */
void operation_finish(struct operation *operation, int64_t result);

/* Asks for its end. In the loop's thread. */
void operation_cancel_in_loop(struct operation *operation);

/* ---- for operation*.c ---- */

static inline enum operation_state operation_state_of(const struct operation *operation)
{
    return (enum operation_state)atomic_load_explicit(&operation->state, memory_order_acquire);
}

static inline void operation_set_state(struct operation *operation, enum operation_state state)
{
    atomic_store_explicit(&operation->state, (uint8_t)state, memory_order_release);
}

/* The list that an operation on handle is on. */
static inline struct operation **operations_bucket(struct operations *operations, jd_handle handle)
{
    return &operations->on_handle[(unsigned)handle % OPERATION_BUCKETS];
}

/* Its completion is reported in this turn's wait or the next's. */
void operation_append_finished(struct operations *operations, struct operation *operation);

/* Off the list of those that wait for room to receive into. */
void operation_leave_starved(struct operations *operations, struct operation *operation);

/* Cancels those under way on handle, but for a close. Returns how many. */
unsigned operations_cancel_on(struct operations *operations, jd_handle handle);

/* ---- closing a handle (operation_close.c) ---- */

extern const struct operation_type operation_close_type;

/* The two below, where there is a close at all. */
bool operation_close_waits(struct operations *operations, jd_handle handle);
void operation_try_close(struct operations *operations, jd_handle handle);

/* Whether a close of handle is under way. */
static inline bool operation_is_closing(struct operations *operations, jd_handle handle)
{
    return operations->closing > 0 && operation_close_waits(operations, handle);
}

/* Finishes the close of handle, if there is one, and nothing else is under way on it. */
static inline void operation_close_if_unused(struct operations *operations, jd_handle handle)
{
    if (operations->closing > 0)
        operation_try_close(operations, handle);
}

static inline struct operation *operation_of(jd_operation *operation)
{
    return (struct operation *)operation;
}

#endif
