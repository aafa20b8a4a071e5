/* The life of a user's operation: begun in the loop's thread, completed by the backend, reported to its handler exactly once.
 * Until then it is in the loop's account: by its handle, and on a list while it waits for room to receive into, or for its
 * report. */
#include "proactor/operation/operation.h"

#include <jinduo/error.h>
#include <string.h>

void operations_init(struct operations *operations, struct backend *backend)
{
    memset(operations, 0, sizeof(*operations));
    operations->backend = backend;
    operations->starved_link = &operations->starved;
    operations->finished_link = &operations->finished;
}

/* ---- the account ---- */

static void enter(struct operations *operations, struct operation *operation)
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

static void leave(struct operations *operations, struct operation *operation)
{
    *operation->link = operation->next;
    if (operation->next != NULL)
        operation->next->link = operation->link;
    operations->count--;
    operations->closing -= operation->type == &operation_close_type;
}

/* ---- the end ---- */

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

static void tell(struct operation *operation, bool more, int64_t result)
{
    operation->more = more;
    event_loop_before_callback(operation->loop);
    operation->handler((jd_operation *)operation, result, operation->arg);
}

/* A cancel on its way from another thread is in the operation's memory, so that is waited for; a closed queue brings none
 * any more. */
static void tell_last(struct operations *operations, struct operation *operation)
{
    uint8_t none = CANCEL_NONE;
    jd_handle handle = operation->handle;

    if (!atomic_compare_exchange_strong(&operation->cancel_state, &none, CANCEL_TOO_LATE) &&
        event_loop_takes_tasks(operation->loop)) {
        operation_set_state(operation, OPERATION_HELD);
        return;
    }
    leave(operations, operation);
    /* Not before: somebody else's descriptor may have its number from here on. */
    if (operation->type == &operation_close_type && operation->result == 0)
        socket_close(handle);
    operation_set_state(operation, OPERATION_IDLE);
    tell(operation, false, operation->result);
    operation_close_if_unused(operations, handle); /* the operation is the caller's again, and may be gone */
}

void operations_tell_finished(struct operations *operations)
{
    struct operation *operation = operations->finished;

    /* What finishes meanwhile waits for the next turn: a handler that begins anew what fails at once stops nobody. */
    operations->finished = NULL;
    operations->finished_link = &operations->finished;
    for (struct operation *next; operation != NULL; operation = next) {
        next = operation->waiting_next;
        tell_last(operations, operation);
    }
}

/* ---- the beginning ---- */

static void begin_part(struct operation *operation)
{
    int result = operation->type->begin(operation);

    if (result < 0)
        operation_finish(operation, result);
}

static bool is_unwanted(const struct operation *operation)
{
    return operation->cancelled || event_loop_is_ending(operation->loop) ||
           atomic_load(&operation->cancel_state) == CANCEL_POSTED;
}

/* A close is carried out in any case, or nobody would know whose the handle is. */
static void start(struct operation *operation)
{
    struct operations *operations = operations_of(operation->loop);
    bool is_close = operation->type == &operation_close_type;
    bool refused = (!is_close && is_unwanted(operation)) ||
                   (operation->handle != JD_HANDLE_NONE && operation_is_closing(operations, operation->handle));
    int result = refused ? JD_ECANCELED : 0;

    enter(operations, operation);
    operation_set_state(operation, OPERATION_UNDER_WAY);
    if (result < 0)
        operation_finish(operation, result);
    else
        begin_part(operation);
}

static void start_queued(struct task_node *task)
{
    start((struct operation *)((char *)task - offsetof(struct operation, start_task)));
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
    operation->start_task.run = start_queued;
    atomic_store(&operation->cancel_state, CANCEL_NONE); /* until now it was too late for its last life, or too early */
    if (event_loop_current() == loop && !event_loop_is_ending(loop)) {
        start(operation);
        return 0;
    }
    if (event_loop_push(loop, &operation->start_task))
        return 0;
    operation_set_state(operation, OPERATION_IDLE);
    return JD_ECANCELED;
}

bool operation_buffers_are_valid(const jd_iovec *pieces, int count)
{
    size_t bytes = 0;

    if (pieces == NULL || count < 1 || count > JD_BUFFERS_MAX)
        return false;
    for (int i = 0; i < count; i++) {
        if (pieces[i].data == NULL && pieces[i].length > 0)
            return false;
        if (pieces[i].length > (size_t)INT64_MAX - bytes)
            return false;
        bytes += pieces[i].length;
    }
    return bytes > 0;
}

static void timed_out(void *arg)
{
    struct operation *operation = arg;

    operation->timer = 0;
    operation->timed_out = true;
    operation_cancel_in_loop(operation);
}

/* The backend ends it in time or, if it cannot, a timer of the loop does. */
static int submit_timed(struct operation *operation, struct backend *backend, struct operation_request *request)
{
    int result;

    request->timeout_ms = operation->timeout_ms;
    result = backend->ops->submit(backend, request);
    operation->is_timed = result == 0;
    if (result != JD_ENOTSUP)
        return result;
    request->timeout_ms = 0;
    result = jd_event_loop_run_after(operation->loop, operation->timeout_ms, timed_out, operation, &operation->timer);
    return result < 0 ? result : backend->ops->submit(backend, request);
}

/* Those whose timeouts are not lost are over before this. */
void operations_time(struct operations *operations)
{
    for (int i = 0; i < OPERATION_BUCKETS; i++)
        for (struct operation *operation = operations->on_handle[i]; operation != NULL; operation = operation->next)
            if (operation->is_timed && operation->timer == 0 && operation_state_of(operation) == OPERATION_UNDER_WAY)
                jd_event_loop_run_after(operation->loop, operation->timeout_ms, timed_out, operation,
                                        &operation->timer);
}

int operation_submit(struct operation *operation, struct operation_request *request)
{
    struct backend *backend = operations_of(operation->loop)->backend;

    request->opcode = operation->type->opcode;
    request->token = operation_token(operation);
    request->fd = operation->handle;
    return operation->timeout_ms > 0 ? submit_timed(operation, backend, request)
                                     : backend->ops->submit(backend, request);
}

int operation_submit_buffers(struct operation *operation, size_t skip)
{
    const jd_iovec *all = operation->buffer_count == 0 ? &operation->piece : operation->buffers;
    int all_count = operation->buffer_count == 0 ? 1 : operation->buffer_count;
    jd_iovec pieces[JD_BUFFERS_MAX];
    struct operation_request request = { .buffers = pieces, .offset = operation->offset };

    for (int i = 0; i < all_count; i++) {
        size_t skipped = skip < all[i].length ? skip : all[i].length;
        skip -= skipped;
        if (all[i].length > skipped)
            pieces[request.buffer_count++] =
                (jd_iovec){ .data = (char *)all[i].data + skipped, .length = all[i].length - skipped };
    }
    return operation_submit(operation, &request);
}

/* ---- completions ---- */

static void starve(struct operations *operations, struct operation *operation)
{
    operation_set_state(operation, OPERATION_STARVED);
    operation->waiting_next = NULL;
    *operations->starved_link = operation;
    operations->starved_link = &operation->waiting_next;
}

static void take_from_starved(struct operations *operations, struct operation **link)
{
    struct operation *operation = *link;

    *link = operation->waiting_next;
    if (operations->starved_link == &operation->waiting_next)
        operations->starved_link = link;
}

void operation_leave_starved(struct operations *operations, struct operation *operation)
{
    struct operation **link = &operations->starved;

    while (*link != operation)
        link = &(*link)->waiting_next;
    take_from_starved(operations, link);
}

/* One that has ended by itself (kernels do so now and then) is begun again. */
static void completed_continuous(struct operation *operation, struct completion *completion)
{
    bool is_receive = operation->type->opcode == OPCODE_RECEIVE_MULTISHOT;
    bool is_last = completion->result < 0 || (is_receive && completion->result == 0);

    if (is_receive && completion->result == JD_ENOBUFS && !completion->more && !operation->cancelled) {
        starve(operations_of(operation->loop), operation);
        return;
    }
    if (!is_last) {
        operation->data = completion->block != NULL ? (*completion->block)->data + (*completion->block)->begin : NULL;
        tell(operation, true, completion->result);
        operation->data = NULL;
    }
    if (completion->more)
        return;
    if (is_last)
        operation_finish(operation, completion->result);
    else if (operation->cancelled)
        operation_finish(operation, JD_ECANCELED);
    else
        begin_part(operation);
}

void operation_completed(struct operation *operation, struct completion *completion)
{
    int64_t result = completion->result;

    if (operation->type->is_continuous) {
        completed_continuous(operation, completion);
        return;
    }
    if (result == JD_ECANCELED && operation->is_timed && !operation->cancelled)
        operation->timed_out = true;
    if (operation->type->advance != NULL && operation->type->advance(operation, &result)) {
        if (!operation->cancelled) {
            begin_part(operation);
            return;
        }
        result = JD_ECANCELED;
    }
    operation_finish(operation, result);
}

bool operations_before_wait(struct operations *operations)
{
    const struct backend *backend = operations->backend;

    for (unsigned room = backend->ops->receive_room(backend); room > 0 && operations->starved != NULL; room--) {
        struct operation *operation = operations->starved;
        take_from_starved(operations, &operations->starved);
        operation_set_state(operation, OPERATION_UNDER_WAY);
        begin_part(operation);
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
