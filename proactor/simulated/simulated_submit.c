/* Submitting and cancelling operations, and their memory. */
#include "base/memory.h"
#include "proactor/simulated/simulated_backend.h"

#include <jinduo/error.h>
#include <string.h>

enum { UNUSED_MAX = 64 }; /* operations whose memory is kept for new ones */

/* ---- operations' memory ---- */

static struct simulated_operation *simulated_take_unused(struct simulated *simulated)
{
    struct simulated_operation *operation = operation_of_queue(simulated->unused.next);

    list_remove(&operation->queue);
    simulated->unused_count--;
    memset(operation, 0, sizeof(*operation));
    return operation;
}

void simulated_free_operation(struct simulated *simulated, struct simulated_operation *operation)
{
    simulated_operation_release(operation);
    if (simulated->unused_count == UNUSED_MAX) {
        memory_release(operation, sizeof(*operation));
        return;
    }
    list_append(&simulated->unused, &operation->queue);
    simulated->unused_count++;
}

void simulated_free_unused(struct simulated *simulated)
{
    while (!list_is_empty(&simulated->unused))
        memory_release(simulated_take_unused(simulated), sizeof(struct simulated_operation));
}

/* ---- states of an operation: waiting, working, completed ---- */

void simulated_complete(struct simulated *simulated, struct simulated_operation *operation, int64_t result)
{
    operation->state = OPERATION_COMPLETED;
    operation->result = result;
    list_append(&simulated->completed, &operation->queue);
}

/* The state is stored before the descriptor is armed: see simulated_descriptor.h. */
static int simulated_wait_until_ready(struct simulated *simulated, struct simulated_operation *operation)
{
    operation->state = OPERATION_WAITING;
    proactor_count_enter(simulated->backend.owner);
    return simulated_descriptor_arm(&simulated->descriptors, operation->descriptor);
}

void simulated_wait_or_complete(struct simulated *simulated, struct simulated_operation *operation)
{
    int result = simulated_wait_until_ready(simulated, operation);

    if (result < 0)
        simulated_complete(simulated, operation, result);
}

void simulated_give_to_workers(struct simulated *simulated, struct simulated_operation *operation)
{
    operation->state = OPERATION_WORKING;
    simulated_workers_give(&simulated->workers, operation);
}

/* Operations that are usually possible at once are given to a worker without waiting for readiness: sockets mostly
 * have room to send, and epoll does not support files (EPERM in epoll_ctl(2)). */
int simulated_begin(struct simulated *simulated, struct simulated_operation *operation)
{
    switch (operation->opcode) {
    case OPCODE_CONNECT:
    case OPCODE_SEND:
    case OPCODE_READ:
    case OPCODE_WRITE:
        simulated_give_to_workers(simulated, operation);
        return 0;
    default:
        return simulated_wait_until_ready(simulated, operation);
    }
}

/* ---- submitting and cancelling ---- */

static int simulated_create_operation(struct simulated *simulated, const struct operation_request *request,
                                      struct simulated_operation **made)
{
    struct simulated_operation *operation;
    int result;

    if (list_is_empty(&simulated->unused))
        operation = memory_allocate_zeroed(sizeof(*operation));
    else
        operation = simulated_take_unused(simulated);
    if (operation == NULL)
        return JD_ENOMEM;
    result = simulated_operation_init(operation, request);
    if (result < 0)
        simulated_free_operation(simulated, operation);
    else
        *made = operation;
    return result;
}

int simulated_submit(struct backend *backend, const struct operation_request *request)
{
    struct simulated *simulated = simulated_of(backend);
    struct simulated_descriptor *descriptor;
    struct simulated_operation *operation;
    int result = !operation_is_poll(request->opcode) ? simulated_workers_start(&simulated->workers) : 0;

    if (request->timeout_ms > 0)
        return JD_ENOTSUP;
    if (result < 0)
        return result;
    result = simulated_descriptor_get(&simulated->descriptors, request->fd, &descriptor);
    if (result < 0)
        return result;
    result = simulated_create_operation(simulated, request, &operation);
    if (result < 0)
        goto forget_descriptor;
    if (simulated_descriptor_add(descriptor, operation))
        result = simulated_begin(simulated, operation);
    if (result == 0)
        return 0;

    simulated_descriptor_remove(operation);
    simulated_free_operation(simulated, operation);
forget_descriptor:
    simulated_descriptor_forget(&simulated->descriptors, descriptor);
    return result;
}

/* Stops an operation that no worker has begun. Returns false if it is too late. */
static bool simulated_stop_operation(struct simulated *simulated, struct simulated_operation *operation)
{
    switch (operation->state) {
    case OPERATION_BEHIND:
    case OPERATION_WAITING:
        return true;
    case OPERATION_WAITING_FOR_BLOCK:
        list_remove(&operation->queue);
        return true;
    case OPERATION_WORKING: /* an operation that a worker has begun, and its memory, is the worker's until it is done */
        return simulated_workers_take_back(&simulated->workers, operation);
    case OPERATION_COMPLETED:
    case OPERATION_IN_CALLBACK:
        break;
    }
    return false;
}

void simulated_cancel(struct backend *backend, int fd, uint64_t token)
{
    struct simulated *simulated = simulated_of(backend);
    struct simulated_operation *operation = simulated_descriptor_find(&simulated->descriptors, fd, token);

    if (operation == NULL)
        return;
    operation->cancelled = true;
    if (!simulated_stop_operation(simulated, operation))
        return;
    simulated_complete(simulated, operation, JD_ECANCELED);
    simulated_wake(backend);
}

/* Nothing is pending: a submitted operation is with the Poller or with the workers already. */
void simulated_push(struct backend *backend)
{
}
