/* The life of a user's operation: begun in the loop's thread, completed by the backend, reported to its handler.
 * Until its last completion is reported it is in the loop's operation table; while it waits for a block to receive
 * into, or for its report, it is on a list too. */
#include "proactor/operation/operation.h"

#include "base/platform/file.h"

#include <jinduo/error.h>
#include <string.h>

void operations_init(struct operations *operations, struct backend *backend)
{
    memset(operations, 0, sizeof(*operations));
    operations->backend = backend;
    operations->receive_waiters_link = &operations->receive_waiters;
    operations->finished_link = &operations->finished;
}

/* ---- the operation table ---- */

static void operations_insert(struct operations *operations, struct operation *operation)
{
    struct operation **first = operations_bucket(operations, operation->handle);

    operation->next = *first;
    operation->link = first;
    if (*first != NULL)
        (*first)->link = &operation->next;
    *first = operation;
    operations->count++;
    operations->closing += operation->type == &operation_close_type;
}

static void operations_remove(struct operations *operations, struct operation *operation)
{
    *operation->link = operation->next;
    if (operation->next != NULL)
        operation->next->link = operation->link;
    operations->count--;
    operations->closing -= operation->type == &operation_close_type;
}

/* ---- finishing ---- */

void operation_append_finished(struct operations *operations, struct operation *operation)
{
    operation_set_state(operation, OPERATION_FINISHED);
    operation->waiting_next = NULL;
    *operations->finished_link = operation;
    operations->finished_link = &operation->waiting_next;
}

void operation_finish(struct operation *operation, int64_t result)
{
    if (operation->timer != 0) {
        jd_event_loop_cancel_timer(operation->loop, operation->timer);
        operation->timer = 0;
    }
    operation->result = operation->timed_out && result == JD_ECANCELED ? JD_ETIMEDOUT : result;
    operation_append_finished(operations_of(operation->loop), operation);
}

static void operation_invoke_handler(struct operation *operation, bool more, int64_t result)
{
    operation->more = more;
    event_loop_before_callback(operation->loop);
    operation->handler((jd_operation *)operation, result, operation->arg);
}

/* A cancel that another thread has queued lies in the operation's memory, so the last completion waits for it. When
 * the task queue has been closed, no cancel can arrive any more. */
static void operation_report_last(struct operations *operations, struct operation *operation)
{
    uint8_t none = CANCEL_NONE;
    socket_handle handle = operation->handle;

    if (!atomic_compare_exchange_strong(&operation->cancel_state, &none, CANCEL_TOO_LATE) &&
        event_loop_accepts_tasks(operation->loop)) {
        operation_set_state(operation, OPERATION_CANCEL_PENDING);
        return;
    }
    operations_remove(operations, operation);
    /* Not earlier: from here on the number may belong to another descriptor. */
    if (operation->type == &operation_close_type && operation->result == 0)
        handle_close(handle);
    operation_set_state(operation, OPERATION_IDLE);
    operation_invoke_handler(operation, false, operation->result);
    operation_close_if_unused(operations, handle); /* the handler may have freed the operation */
}

unsigned operations_report_finished(struct operations *operations)
{
    struct operation *operation = operations->finished;
    unsigned count = 0;

    /* Operations that finish meanwhile wait for the next turn: otherwise a handler that begins again an operation
     * that fails at once would never let this loop end. */
    operations->finished = NULL;
    operations->finished_link = &operations->finished;
    for (struct operation *next; operation != NULL; operation = next, count++) {
        next = operation->waiting_next;
        operation_report_last(operations, operation);
    }
    return count;
}

/* ---- beginning ---- */

static void operation_begin_part(struct operation *operation)
{
    int result = operation->type->begin(operation);

    if (result < 0)
        operation_finish(operation, result);
}

static bool operation_is_already_cancelled(const struct operation *operation)
{
    return operation->cancelled || event_loop_is_being_destroyed(operation->loop) ||
           atomic_load(&operation->cancel_state) == CANCEL_POSTED;
}

/* A cancel never prevents a close: otherwise the handle's owner would be unknown to the caller. */
static void operation_start(struct operation *operation)
{
    struct operations *operations = operations_of(operation->loop);
    bool is_close = operation->type == &operation_close_type;
    bool refused = (!is_close && operation_is_already_cancelled(operation)) ||
                   (operation->handle != JD_HANDLE_NONE && operation_is_closing(operations, operation->handle));
    int result = refused ? JD_ECANCELED : 0;

    operations_insert(operations, operation);
    operation_set_state(operation, OPERATION_IN_FLIGHT);
    if (result < 0)
        operation_finish(operation, result);
    else
        operation_begin_part(operation);
}

static void operation_start_queued(struct task_node *task)
{
    operation_start((struct operation *)((char *)task - offsetof(struct operation, start_task)));
}

int operation_begin(jd_event_loop *loop, jd_operation *memory, const struct operation *wanted)
{
    struct operation *operation = operation_of(memory);
    uint8_t idle = OPERATION_IDLE;

    if (operations_of(loop) == NULL)
        return JD_ENOTSUP;
    if (wanted->handler == NULL)
        return JD_EINVAL;
    if (!atomic_compare_exchange_strong(&operation->state, &idle, OPERATION_QUEUED))
        return JD_EBUSY;
    memcpy(&operation->start_task, &wanted->start_task, sizeof(*wanted) - offsetof(struct operation, start_task));
    if (operation->loop != loop)
        operation->loop = loop;
    operation->start_task.run = operation_start_queued;
    atomic_store(&operation->cancel_state, CANCEL_NONE); /* until here a cancel has nothing to cancel */
    if (event_loop_current() == loop && !event_loop_is_being_destroyed(loop)) {
        operation_start(operation);
        return 0;
    }
    if (event_loop_push(loop, &operation->start_task))
        return 0;
    operation_set_state(operation, OPERATION_IDLE);
    return JD_ECANCELED;
}

bool operation_buffers_are_valid(const jd_iovec *buffers, int count)
{
    size_t bytes = 0;

    if (buffers == NULL || count < 1 || count > JD_BUFFERS_MAX)
        return false;
    for (int i = 0; i < count; i++) {
        if (buffers[i].data == NULL && buffers[i].length > 0)
            return false;
        if (buffers[i].length > (size_t)INT64_MAX - bytes)
            return false;
        bytes += buffers[i].length;
    }
    return bytes > 0;
}

static void operation_timer_fired(void *arg)
{
    struct operation *operation = arg;

    operation->timer = 0;
    operation->timed_out = true;
    operation_cancel_in_loop(operation);
}

/* The backend ends the operation after timeout_ms or, if it cannot, a timer of the loop does. */
static int operation_submit_with_timeout(struct operation *operation, struct backend *backend,
                                         struct operation_request *request)
{
    int result;

    request->timeout_ms = operation->timeout_ms;
    result = backend->ops->submit(backend, request);
    operation->is_timed = result == 0;
    if (result != JD_ENOTSUP)
        return result;
    request->timeout_ms = 0;
    result = jd_event_loop_run_after(operation->loop, operation->timeout_ms, operation_timer_fired, operation,
                                     &operation->timer);
    return result < 0 ? result : backend->ops->submit(backend, request);
}

/* An operation whose timeout was not lost gets a timer too; it finishes by the backend first, and cancels the timer. */
void operations_start_timers(struct operations *operations)
{
    for (int i = 0; i < OPERATION_BUCKETS; i++)
        for (struct operation *operation = operations->on_handle[i]; operation != NULL; operation = operation->next)
            if (operation->is_timed && operation->timer == 0 && operation_state_of(operation) == OPERATION_IN_FLIGHT)
                jd_event_loop_run_after(operation->loop, operation->timeout_ms, operation_timer_fired, operation,
                                        &operation->timer);
}

int operation_submit(struct operation *operation, struct operation_request *request)
{
    struct backend *backend = operations_of(operation->loop)->backend;

    request->opcode = operation->type->opcode;
    request->token = operation_token(operation);
    request->fd = operation->handle;
    request->memory = operation->backend_memory;
    return operation->timeout_ms > 0 ? operation_submit_with_timeout(operation, backend, request)
                                     : backend->ops->submit(backend, request);
}

int operation_submit_buffers(struct operation *operation, size_t skip)
{
    const jd_iovec *all = operation->buffer_count == 0 ? &operation->single_buffer : operation->buffers;
    int all_count = operation->buffer_count == 0 ? 1 : operation->buffer_count;
    jd_iovec buffers[JD_BUFFERS_MAX];
    struct operation_request request = { .buffers = buffers, .offset = operation->offset };

    for (int i = 0; i < all_count; i++) {
        size_t skipped = skip < all[i].length ? skip : all[i].length;
        skip -= skipped;
        if (all[i].length > skipped)
            buffers[request.buffer_count++] =
                (jd_iovec){ .data = (char *)all[i].data + skipped, .length = all[i].length - skipped };
    }
    return operation_submit(operation, &request);
}

/* ---- completions ---- */

static void operation_wait_for_room(struct operations *operations, struct operation *operation)
{
    operation_set_state(operation, OPERATION_RECEIVE_WAITER);
    operation->waiting_next = NULL;
    *operations->receive_waiters_link = operation;
    operations->receive_waiters_link = &operation->waiting_next;
}

static void receive_waiters_remove(struct operations *operations, struct operation **link)
{
    struct operation *operation = *link;

    *link = operation->waiting_next;
    if (operations->receive_waiters_link == &operation->waiting_next)
        operations->receive_waiters_link = link;
}

void operation_leave_receive_waiters(struct operations *operations, struct operation *operation)
{
    struct operation **link = &operations->receive_waiters;

    while (*link != operation)
        link = &(*link)->waiting_next;
    receive_waiters_remove(operations, link);
}

/* A multishot operation that the kernel has ended without an error, as it may at any time, is begun again. */
static void operation_completed_multishot(struct operation *operation, struct completion *completion)
{
    bool is_receive = operation->type->opcode == OPCODE_RECEIVE_MULTISHOT;
    bool is_last = completion->result < 0 || (is_receive && completion->result == 0);

    if (is_receive && completion->result == JD_ENOBUFS && !completion->more && !operation->cancelled) {
        operation_wait_for_room(operations_of(operation->loop), operation);
        return;
    }
    if (!is_last) {
        operation->data = completion->block != NULL ? (*completion->block)->data + (*completion->block)->begin : NULL;
        operation_invoke_handler(operation, true, completion->result);
        operation->data = NULL;
    }
    if (completion->more)
        return;
    /* Without room the receive would have waited: the cancel is what ends it. */
    if (operation->cancelled && (!is_last || (is_receive && completion->result == JD_ENOBUFS)))
        operation_finish(operation, JD_ECANCELED);
    else if (is_last)
        operation_finish(operation, completion->result);
    else
        operation_begin_part(operation);
}

void operation_completed(struct operation *operation, struct completion *completion)
{
    int64_t result = completion->result;

    if (operation->type->is_multishot) {
        operation_completed_multishot(operation, completion);
        return;
    }
    if (result == JD_ECANCELED && operation->is_timed && !operation->cancelled)
        operation->timed_out = true;
    if (operation->type->advance != NULL && operation->type->advance(operation, &result)) {
        if (!operation->cancelled) {
            operation_begin_part(operation);
            return;
        }
        result = JD_ECANCELED;
    }
    operation_finish(operation, result);
}

bool operations_before_wait(struct operations *operations)
{
    const struct backend *backend = operations->backend;

    for (unsigned room = backend->ops->receive_room(backend); room > 0 && operations->receive_waiters != NULL; room--) {
        struct operation *operation = operations->receive_waiters;
        receive_waiters_remove(operations, &operations->receive_waiters);
        operation_set_state(operation, OPERATION_IN_FLIGHT);
        operation_begin_part(operation);
    }
    return operations->finished != NULL;
}

/* ---- in a handler ---- */

bool jd_operation_has_more(const jd_operation *operation)
{
    return ((const struct operation *)operation)->more;
}

const void *jd_operation_data(const jd_operation *operation)
{
    return ((const struct operation *)operation)->data;
}

size_t jd_operation_transferred(const jd_operation *operation)
{
    return ((const struct operation *)operation)->transferred;
}
