/* The user's own operations (jinduo/proactor.h): what a jd_operation contains, and the loop's operation table, which
 * contains them from their start until the report of their last completion. A backend (proactor/backend.h) carries
 * out an operation in one part or several; the loop provides its thread, a task queue and timers
 * (net/engine/engine_events.h).
 *
 * Ownership: from operation_begin to the call of the handler that is its last the operation belongs to the table.
 *
 * Thread rule: the loop's thread, except operation_begin and jd_operation_cancel (any thread). */
#ifndef PROACTOR_OPERATION_OPERATION_H
#define PROACTOR_OPERATION_OPERATION_H

#include "net/engine/engine_events.h"
#include "proactor/backend.h"
#include "proactor/completion_token.h"

#include <jinduo/proactor.h>
#include <stdatomic.h>

struct operation;

/* What distinguishes one type of operation from another. */
struct operation_type {
    /* Begins the operation, or its next part. Returns 0, or a negative error that completes the operation. */
    int (*begin)(struct operation *operation);

    /* A part has completed with *result. Returns true if begin is to be called for another part; otherwise *result is
     * the operation's result. NULL: there is one part. */
    bool (*advance)(struct operation *operation, int64_t *result);

    /* Cancels the operation. NULL: by backend_ops.cancel, with the operation's handle and token. */
    void (*cancel)(struct operation *operation);

    enum backend_opcode opcode; /* of each part */
    bool is_multishot;          /* the handler is called any number of times: multishot */
};

enum operation_state {
    OPERATION_IDLE,           /* owned by the caller */
    OPERATION_QUEUED,         /* queued to the loop as a task */
    OPERATION_IN_FLIGHT,      /* begun */
    OPERATION_RECEIVE_WAITER, /* waits for a block to receive into */
    OPERATION_FINISHED,       /* its last completion is reported in this turn or the next */
    OPERATION_CANCEL_PENDING, /* finished, but a queued cancel refers to it: reported once that has arrived */
};

/* A cancel from another thread is queued as a task that lies inside the operation, so the last completion is not
 * reported before that task has run. CANCEL_TOO_LATE: the operation has not begun, or its last completion is being
 * reported. */
enum operation_cancel { CANCEL_TOO_LATE, CANCEL_NONE, CANCEL_POSTED };

/* All zero bytes: idle. */
struct operation {
    /* These are never copied (operation_begin): another thread may be cancelling the operation while it begins again. */
    struct task_node cancel_task;
    jd_event_loop *loop;
    _Atomic uint8_t state, cancel_state;

    struct task_node start_task;    /* the first member that operation_begin copies */
    struct operation *next, **link; /* in the operation table, among those with the same bucket */
    struct operation *waiting_next; /* among the receive waiters or the finished operations */
    const struct operation_type *type;
    jd_completion_handler handler;
    void *arg;
    union {
        const jd_iovec *buffers;
        const jd_endpoint *endpoint;
        jd_buffer *buffer;
    };
    jd_iovec single_buffer; /* used if buffer_count is 0 */
    union {
        uint64_t offset;
        jd_timestamp when;
        struct { /* read_until */
            size_t limit;
            size_t searched; /* of buffer's bytes, without finding the delimiter */
        };
    };
    size_t transferred; /* by the parts so far, in bytes */
    int64_t result;
    const void *data;
    jd_timer_id timer;
    uint32_t timeout_ms;
    socket_handle handle;
    uint8_t buffer_count; /* 0: single_buffer */
    uint8_t delimiter_length;
    uint8_t delimiter[JD_DELIMITER_MAX_BYTES];
    bool more, cancelled, timed_out;
    bool is_timed;                                                    /* the backend ends it after timeout_ms */
    uint64_t backend_memory[BACKEND_MEMORY_BYTES / sizeof(uint64_t)]; /* operation_request.memory */
};

_Static_assert(sizeof(struct operation) <= sizeof(jd_operation), "struct operation must fit into a jd_operation");

/* The operation table of a loop. */
enum { OPERATION_BUCKETS = 256 };
struct operations {
    struct backend *backend;
    struct operation *on_handle[OPERATION_BUCKETS];            /* hash table of all, by handle */
    struct operation *receive_waiters, **receive_waiters_link; /* FIFO */
    struct operation *finished, **finished_link;               /* FIFO */
    size_t count;   /* in the table: from their start until the last completion is reported */
    size_t closing; /* of these, the closes */
};

void operations_init(struct operations *operations, struct backend *backend);

/* Called before each wait: begins receive waiters again, as many as there is room for. Returns whether a finished
 * operation is to be reported, so that the wait must not sleep. */
bool operations_before_wait(struct operations *operations);

/* Called last in the engine's wait: reports the last completion of each finished operation. Calls handlers. Returns their
 * number. */
unsigned operations_report_finished(struct operations *operations);

/* Called from proactor_completed: the backend has completed the operation or a part of it. May call the handler. */
void operation_completed(struct operation *operation, struct completion *completion);

/* The backend has lost the timeout of an operation and does not know of which: starts a timer of the loop for each
 * operation that the backend was to time. */
void operations_start_timers(struct operations *operations);

/* Cancels all operations. Called each turn after the loop's task queue has been closed, until it returns false: none is
 * left. */
bool operations_end(struct operations *operations);

/* The loop's operation table; NULL on a Reactor's loop. */
static inline struct operations *operations_of(const jd_event_loop *loop)
{
    return event_loop_engine(loop)->operations;
}

/* The token of each of the operation's parts. */
static inline uint64_t operation_token(const struct operation *operation)
{
    return proactor_token(COMPLETES_USER, (uint64_t)(uintptr_t)operation);
}

static inline struct operation *operation_by_token(uint64_t token)
{
    return (struct operation *)(uintptr_t)proactor_token_value(token);
}

/* ---- for the types of operations ---- */

/* Copies *wanted into operation, from start_task on, and begins it: at once in the loop's thread, from another thread
 * by a task. Returns 0: the handler is called later, or JD_ENOTSUP (a Reactor's loop), JD_EINVAL (no handler),
 * JD_EBUSY (the operation is not idle), JD_ECANCELED (the loop is being destroyed): it is not. From any thread. */
int operation_begin(jd_event_loop *loop, jd_operation *operation, const struct operation *wanted);

/* The same for an operation on a handle with one buffer, or with 1 to JD_BUFFERS_MAX buffers. Also returns JD_EINVAL
 * for an invalid handle or invalid buffers. */
int operation_begin_buffer(jd_event_loop *loop, jd_operation *operation, struct operation *wanted, const void *data,
                           size_t length);
int operation_begin_buffers(jd_event_loop *loop, jd_operation *operation, struct operation *wanted,
                            const jd_iovec *buffers, int count);

/* Whether buffers are valid: 1 to JD_BUFFERS_MAX of them, at least 1 and at most INT64_MAX bytes in all, none NULL
 * unless it is empty. */
bool operation_buffers_are_valid(const jd_iovec *buffers, int count);

/* Submits a part: opcode, token, handle and timeout are taken from the operation, the rest from request. Returns 0 or a
 * negative error. */
int operation_submit(struct operation *operation, struct operation_request *request);

/* Submits a part for the operation's buffers without their first skip bytes. Returns 0 or a negative error. */
int operation_submit_buffers(struct operation *operation, size_t skip);

/* Finishes the operation with result: the handler is called in this turn's wait or the next one's. */
void operation_finish(struct operation *operation, int64_t result);

/* Cancels the operation; it completes later. */
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

/* The hash bucket of the operations on handle. */
static inline struct operation **operations_bucket(struct operations *operations, socket_handle handle)
{
    return &operations->on_handle[(unsigned)handle % OPERATION_BUCKETS];
}

/* Appends the operation to the finished ones: its last completion is reported in this turn's wait or the next one's. */
void operation_append_finished(struct operations *operations, struct operation *operation);

/* Removes the operation from the receive waiters. */
void operation_leave_receive_waiters(struct operations *operations, struct operation *operation);

/* Cancels the operations on handle that have not finished, except a close. Returns how many. */
unsigned operations_cancel_on(struct operations *operations, socket_handle handle);

/* ---- closing a handle (operation_close.c) ---- */

extern const struct operation_type operation_close_type;

/* The slow paths of the two functions below: some handle is being closed. */
bool operation_has_close(struct operations *operations, socket_handle handle);
void operation_try_close(struct operations *operations, socket_handle handle);

/* Whether a close of handle is in flight. */
static inline bool operation_is_closing(struct operations *operations, socket_handle handle)
{
    return operations->closing > 0 && operation_has_close(operations, handle);
}

/* Finishes the close of handle, if there is one and no other operation on handle is left. */
static inline void operation_close_if_unused(struct operations *operations, socket_handle handle)
{
    if (operations->closing > 0)
        operation_try_close(operations, handle);
}

static inline struct operation *operation_of(jd_operation *operation)
{
    return (struct operation *)operation;
}

#endif
