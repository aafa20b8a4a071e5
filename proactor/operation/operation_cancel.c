/* Cancelling a user's operations: one, all on a handle, and, when the loop ends, all of them. In the loop's thread a
 * cancel takes effect at once; a cancel from another thread is queued to the loop as a task that lies inside the
 * operation. A cancelled operation still has exactly one last completion. */
#include "proactor/operation/operation.h"

#include <jinduo/error.h>

void operation_cancel_in_loop(struct operation *operation)
{
    struct operations *operations = operations_of(operation->loop);
    enum operation_state state = operation_state_of(operation);

    operation->cancelled = true;
    if (state == OPERATION_RECEIVE_WAITER) {
        operation_leave_receive_waiters(operations, operation);
        operation_finish(operation, JD_ECANCELED);
    } else if (state == OPERATION_IN_FLIGHT && operation->type->cancel != NULL) {
        operation->type->cancel(operation);
    } else if (state == OPERATION_IN_FLIGHT) {
        operations->backend->ops->cancel(operations->backend, operation->handle, operation_token(operation));
    }
}

static void operation_cancel_arrived(struct task_node *task)
{
    struct operation *operation = (struct operation *)((char *)task - offsetof(struct operation, cancel_task));

    atomic_store(&operation->cancel_state, CANCEL_NONE);
    if (operation_state_of(operation) == OPERATION_CANCEL_PENDING)
        operation_append_finished(operations_of(operation->loop), operation);
    else
        operation_cancel_in_loop(operation);
}

int jd_operation_cancel(jd_operation *memory)
{
    struct operation *operation = operation_of(memory);
    enum operation_state state = operation_state_of(operation);
    uint8_t none = CANCEL_NONE;

    if (state == OPERATION_IDLE)
        return JD_ENOENT;
    if (operation->loop != NULL && event_loop_current() == operation->loop) {
        operation_cancel_in_loop(operation);
        return state == OPERATION_FINISHED || state == OPERATION_CANCEL_PENDING ? JD_ENOENT : 0;
    }
    /* A finished operation accepts no further cancels: they could delay its report for ever. */
    if (state == OPERATION_FINISHED || state == OPERATION_CANCEL_PENDING)
        return JD_ENOENT;
    if (!atomic_compare_exchange_strong(&operation->cancel_state, &none, CANCEL_POSTED))
        return none == CANCEL_POSTED ? 0 : JD_ENOENT;
    operation->cancel_task.run = operation_cancel_arrived;
    if (!event_loop_push(operation->loop, &operation->cancel_task))
        atomic_store(&operation->cancel_state,
                     CANCEL_NONE); /* the loop is being destroyed, which cancels all operations */
    return 0;
}

/* A cancel may remove the operation from its bucket, so the next one is read first. */
unsigned operations_cancel_on(struct operations *operations, socket_handle handle)
{
    struct operation *operation = *operations_bucket(operations, handle);
    unsigned count = 0;

    for (struct operation *next; operation != NULL; operation = next) {
        next = operation->next;
        if (operation->handle != handle || operation->type == &operation_close_type ||
            operation_state_of(operation) >= OPERATION_FINISHED)
            continue;
        operation_cancel_in_loop(operation);
        count++;
    }
    return count;
}

int jd_async_cancel_all(jd_event_loop *loop, jd_handle handle)
{
    struct operations *operations = operations_of(loop);

    if (operations == NULL)
        return JD_ENOTSUP;
    if (!jd_event_loop_is_in_loop_thread(loop))
        return JD_EPERM;
    return handle < 0 ? 0 : (int)operations_cancel_on(operations, (socket_handle)handle);
}

/* The task queue is closed and empty: a pending cancel will never arrive, so its operation is reported without it. */
bool operations_end(struct operations *operations)
{
    for (int i = 0; i < OPERATION_BUCKETS; i++)
        for (struct operation *operation = operations->on_handle[i]; operation != NULL; operation = operation->next)
            if (operation_state_of(operation) == OPERATION_CANCEL_PENDING)
                operation_append_finished(operations, operation);
            else if (!operation->cancelled)
                operation_cancel_in_loop(operation);
    return operations->count > 0;
}
