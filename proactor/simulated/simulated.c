#include "proactor/simulated/simulated.h"

#include "base/memory.h"
#include "base/posix/system_calls.h"
#include "proactor/simulated/simulated_descriptor.h"
#include "proactor/simulated/simulated_workers.h"

#include <errno.h>
#include <jinduo/error.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
    BLOCKS_MAX = 16, /* with operations at a time: 1 MiB */
    UNUSED_MAX = 64, /* operations' memory that is kept */
};

/* No descriptor's: (int)UINT32_MAX is none. */
static const uint64_t token_wakeup = UINT64_MAX;

struct simulated {
    struct backend backend;
    struct simulated_descriptors descriptors;
    struct link unused; /* operations' memory, to be used again */
    unsigned unused_count;
    struct simulated_workers workers;
    int wakeup;            /* an eventfd */
    struct link completed; /* to be reported */
    struct link blockless; /* operations of OPERATION_RECEIVE_MANY that are ready, but wait for a block */
    struct block *spare;   /* the block used last */
    unsigned blocks_out;   /* with operations */
    bool out_of_memory;    /* there was none for a block, and is none yet */
};

static struct simulated *simulated_of(const struct backend *backend)
{
    return (struct simulated *)(uintptr_t)backend;
}

/* ---- operations' memory ---- */

static struct simulated_operation *take_unused(struct simulated *simulated)
{
    struct simulated_operation *operation = operation_of_queue(simulated->unused.next);

    list_remove(&operation->queue);
    simulated->unused_count--;
    memset(operation, 0, sizeof(*operation));
    return operation;
}

static void free_operation(struct simulated *simulated, struct simulated_operation *operation)
{
    simulated_operation_release(operation);
    if (simulated->unused_count == UNUSED_MAX) {
        memory_release(operation, sizeof(*operation));
        return;
    }
    list_append(&simulated->unused, &operation->queue);
    simulated->unused_count++;
}

static void free_unused(struct simulated *simulated)
{
    while (!list_is_empty(&simulated->unused))
        memory_release(take_unused(simulated), sizeof(struct simulated_operation));
}

/* ---- creation ---- */

static int simulated_available(const char **reason)
{
    return 0;
}

static int simulated_create(struct backend **backend, struct proactor_engine *owner,
                            const jd_event_loop_options *options)
{
    struct simulated *simulated = memory_allocate_zeroed(sizeof(*simulated));
    int result;

    if (simulated == NULL)
        return JD_ENOMEM;
    simulated->backend.ops = &simulated_backend;
    simulated->backend.owner = owner;
    list_init(&simulated->unused);
    list_init(&simulated->completed);
    list_init(&simulated->blockless);
    result = simulated_descriptors_open(&simulated->descriptors);
    if (result < 0)
        goto free_simulated;
    simulated->wakeup = system_calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (simulated->wakeup < 0) {
        result = -errno;
        goto close_descriptors;
    }
    /* Edge-triggered: each write to it is an edge, so it never needs to be read; its counter cannot fill up in a
     * lifetime (eventfd(2): 2^64 - 2). */
    result = poller_add(&simulated->descriptors.poller, simulated->wakeup, EPOLLIN | EPOLLET, token_wakeup);
    if (result < 0)
        goto close_wakeup;
    simulated_workers_init(&simulated->workers, simulated->wakeup);
    *backend = &simulated->backend;
    return 0;

close_wakeup:
    system_calls.close(simulated->wakeup);
close_descriptors:
    simulated_descriptors_close(&simulated->descriptors);
free_simulated:
    memory_release(simulated, sizeof(*simulated));
    return result;
}

static void simulated_destroy(struct backend *backend)
{
    struct simulated *simulated = simulated_of(backend);

    simulated_workers_stop(&simulated->workers);
    if (simulated->spare != NULL)
        block_put(simulated->spare);
    system_calls.close(simulated->wakeup);
    simulated_descriptors_close(&simulated->descriptors);
    free_unused(simulated);
    memory_release(simulated, sizeof(*simulated));
}

static void simulated_wake(struct backend *backend)
{
    /* Its only error, EAGAIN with the counter full, would mean that the wake-up is there already. */
    eventfd_write(simulated_of(backend)->wakeup, 1);
}

/* ---- the way of an operation: waiting, working, completed ---- */

static void complete(struct simulated *simulated, struct simulated_operation *operation, int64_t result)
{
    operation->state = OPERATION_COMPLETED;
    operation->result = result;
    list_append(&simulated->completed, &operation->queue);
}

/* Stored first, then armed. */
static int wait_until_ready(struct simulated *simulated, struct simulated_operation *operation)
{
    operation->state = OPERATION_WAITING;
    proactor_entered(simulated->backend.owner);
    return simulated_descriptor_arm(&simulated->descriptors, operation->descriptor);
}

static void wait_or_complete(struct simulated *simulated, struct simulated_operation *operation)
{
    int result = wait_until_ready(simulated, operation);

    if (result < 0)
        complete(simulated, operation, result);
}

static void give_to_workers(struct simulated *simulated, struct simulated_operation *operation)
{
    operation->state = OPERATION_WORKING;
    simulated_workers_give(&simulated->workers, operation);
}

/* The first of its direction now. What is mostly possible at once is tried without asking: a socket has room to send, and
 * files are never told of by epoll (epoll_ctl(2), EPERM). */
static int begin(struct simulated *simulated, struct simulated_operation *operation)
{
    switch (operation->kind) {
    case OPERATION_CONNECT:
    case OPERATION_SEND:
    case OPERATION_READ:
    case OPERATION_WRITE:
        give_to_workers(simulated, operation);
        return 0;
    default:
        return wait_until_ready(simulated, operation);
    }
}

/* ---- blocks to receive into: taken when something is there to be received ---- */

static struct block *find_block(struct simulated *simulated)
{
    struct block *block = simulated->spare;

    simulated->spare = NULL;
    return block != NULL ? block : proactor_receive_block(simulated->backend.owner);
}

/* While blocks are out, one will come back; when there is none at all, whoever waits ends. */
static void serve_blockless(struct simulated *simulated)
{
    while (!list_is_empty(&simulated->blockless) && simulated->blocks_out < BLOCKS_MAX) {
        struct simulated_operation *operation = operation_of_queue(simulated->blockless.next);
        struct block *block = find_block(simulated);

        if (block == NULL && simulated->blocks_out > 0)
            return;
        list_remove(&operation->queue);
        if (block == NULL) {
            simulated->out_of_memory = true;
            complete(simulated, operation, JD_ENOBUFS);
            continue;
        }
        simulated->blocks_out++;
        operation->block = block;
        give_to_workers(simulated, operation);
    }
}

/* block: NULL if its receiver has kept it. */
static void put_block(struct simulated *simulated, struct block *block)
{
    simulated->blocks_out--;
    if (block != NULL && simulated->spare == NULL) {
        block->begin = block->end = 0;
        simulated->spare = block;
    } else if (block != NULL) {
        block_put(block);
    }
    serve_blockless(simulated);
}

static void put_block_of(struct simulated *simulated, struct simulated_operation *operation)
{
    struct block *block = operation->block;

    if (block == NULL)
        return;
    operation->block = NULL;
    put_block(simulated, block);
}

static void look_for_memory(struct simulated *simulated)
{
    if (!simulated->out_of_memory)
        return;
    if (simulated->spare == NULL)
        simulated->spare = proactor_receive_block(simulated->backend.owner);
    simulated->out_of_memory = simulated->spare == NULL;
}

/* ---- submitting and cancelling ---- */

static int make_operation(struct simulated *simulated, const struct operation_request *request,
                          struct simulated_operation **made)
{
    struct simulated_operation *operation;
    int result;

    if (list_is_empty(&simulated->unused))
        operation = memory_allocate_zeroed(sizeof(*operation));
    else
        operation = take_unused(simulated);
    if (operation == NULL)
        return JD_ENOMEM;
    result = simulated_operation_init(operation, request);
    if (result < 0)
        free_operation(simulated, operation);
    else
        *made = operation;
    return result;
}

static int simulated_submit(struct backend *backend, const struct operation_request *request)
{
    struct simulated *simulated = simulated_of(backend);
    struct simulated_descriptor *descriptor;
    struct simulated_operation *operation;
    int result = !operation_is_poll(request->kind) ? simulated_workers_start(&simulated->workers) : 0;

    if (request->timeout_ms > 0)
        return JD_ENOTSUP;
    if (result < 0)
        return result;
    result = simulated_descriptor_get(&simulated->descriptors, request->fd, &descriptor);
    if (result < 0)
        return result;
    result = make_operation(simulated, request, &operation);
    if (result < 0)
        goto forget_descriptor;
    if (simulated_descriptor_add(descriptor, operation))
        result = begin(simulated, operation);
    if (result == 0)
        return 0;

    simulated_descriptor_remove(operation);
    free_operation(simulated, operation);
forget_descriptor:
    simulated_descriptor_forget(&simulated->descriptors, descriptor);
    return result;
}

/* Stops an operation that nothing has been done for. Returns false if it is too late for that. */
static bool stop(struct simulated *simulated, struct simulated_operation *operation)
{
    switch (operation->state) {
    case OPERATION_BEHIND:
    case OPERATION_WAITING:
        return true;
    case OPERATION_BLOCKLESS:
        list_remove(&operation->queue);
        return true;
    case OPERATION_WORKING: /* what a worker has begun with, its memory above all, is the worker's until it is done */
        return simulated_workers_take_back(&simulated->workers, operation);
    case OPERATION_COMPLETED:
    case OPERATION_IN_CALLBACK:
        break;
    }
    return false;
}

static void simulated_cancel(struct backend *backend, int fd, uint64_t token)
{
    struct simulated *simulated = simulated_of(backend);
    struct simulated_operation *operation = simulated_descriptor_find(&simulated->descriptors, fd, token);

    if (operation == NULL)
        return;
    operation->cancelled = true;
    if (!stop(simulated, operation))
        return;
    complete(simulated, operation, JD_ECANCELED);
    simulated_wake(backend);
}

/* Nothing waits here to be pushed: a submitted operation is with the Poller or with the workers already. */
static void simulated_push(struct backend *backend)
{
}

/* ---- events ---- */

struct readiness {
    struct simulated *simulated;
    uint32_t events; /* epoll's, and poll's: the numbers are the same (Linux, include/uapi/linux/eventpoll.h) */
};

static void operation_ready(struct simulated_operation *operation, void *arg)
{
    const struct readiness *readiness = arg;
    struct simulated *simulated = readiness->simulated;
    uint32_t told = readiness->events & (operation->interest | EPOLLERR | EPOLLHUP);

    if (told == 0)
        return;
    if (operation_is_poll(operation->kind)) {
        complete(simulated, operation, told);
    } else if (operation->kind == OPERATION_RECEIVE_MANY) {
        operation->state = OPERATION_BLOCKLESS;
        list_append(&simulated->blockless, &operation->queue);
    } else {
        give_to_workers(simulated, operation);
    }
}

static void descriptor_ready(struct simulated *simulated, struct simulated_descriptor *descriptor, uint32_t events)
{
    struct readiness readiness = { .simulated = simulated, .events = events };

    simulated_descriptor_narrow(&simulated->descriptors, descriptor, events);
    simulated_descriptor_each_waiting(descriptor, operation_ready, &readiness);
}

static void dispatch(struct simulated *simulated, int count)
{
    for (int i = 0; i < count; i++) {
        const struct epoll_event *event = &simulated->descriptors.poller.events[i];
        struct simulated_descriptor *descriptor =
            simulated_descriptor_by_token(&simulated->descriptors, event->data.u64);
        if (descriptor != NULL) /* else the wake-up, or one that is gone */
            descriptor_ready(simulated, descriptor, event->events);
    }
}

/* ---- what the workers have done ---- */

static void worked(struct simulated *simulated, struct simulated_operation *operation)
{
    if (operation->finished) {
        complete(simulated, operation, operation->result);
        return;
    }
    put_block_of(simulated, operation);
    if (operation->cancelled)
        complete(simulated, operation, JD_ECANCELED);
    else
        wait_or_complete(simulated, operation);
}

static void collect(struct simulated *simulated)
{
    struct link done;

    simulated_workers_collect(&simulated->workers, &done);
    while (!list_is_empty(&done)) {
        struct simulated_operation *operation = operation_of_queue(done.next);
        list_remove(&operation->queue);
        worked(simulated, operation);
    }
}

/* ---- completions ---- */

static bool is_final(const struct simulated_operation *operation)
{
    if (!operation_is_continuous(operation->kind) || operation->cancelled || operation->result < 0)
        return true;
    return operation->kind == OPERATION_RECEIVE_MANY && operation->result == 0;
}

/* Forgets it before its completion is told, whose receiver may close the descriptor. */
static void end_operation(struct simulated *simulated, struct simulated_operation *operation)
{
    struct simulated_descriptor *descriptor = operation->descriptor;
    struct simulated_operation *next = simulated_descriptor_remove(operation);

    if (next != NULL) {
        int result = begin(simulated, next);
        if (result < 0)
            complete(simulated, next, result);
    }
    simulated_descriptor_forget(&simulated->descriptors, descriptor);
    free_operation(simulated, operation);
}

static void report(struct simulated *simulated, struct simulated_operation *operation)
{
    struct block *block = operation->result > 0 ? operation->block : NULL;
    bool had_block = block != NULL;
    struct completion completion = {
        .token = operation->token,
        .result = operation->result,
        .more = !is_final(operation),
        .block = had_block ? &block : NULL,
    };

    if (had_block)
        operation->block = NULL;
    else
        put_block_of(simulated, operation);
    operation->state = OPERATION_IN_CALLBACK;
    if (!completion.more)
        end_operation(simulated, operation);
    proactor_completed(simulated->backend.owner, &completion);
    if (had_block)
        put_block(simulated, block);
    if (!completion.more)
        return;
    if (operation->cancelled)
        complete(simulated, operation, JD_ECANCELED);
    else if (operation->kind == OPERATION_POLL_MANY)
        operation->state = OPERATION_WAITING; /* armed anew it would be told the same again */
    else
        wait_or_complete(simulated, operation);
}

/* Those that are complete now; what completes meanwhile waits for the next turn. */
static int report_completions(struct simulated *simulated)
{
    struct link reported;
    int count = 0;

    list_move_all(&simulated->completed, &reported);
    while (!list_is_empty(&reported)) {
        struct simulated_operation *operation = operation_of_queue(reported.next);
        list_remove(&operation->queue);
        report(simulated, operation);
        count++;
    }
    if (!list_is_empty(&simulated->completed))
        simulated_wake(&simulated->backend); /* for those who wait for pollable_fd */
    return count;
}

static int simulated_wait(struct backend *backend, int64_t timeout_ns)
{
    struct simulated *simulated = simulated_of(backend);
    bool has_completed = !list_is_empty(&simulated->completed);
    int events = poller_wait(&simulated->descriptors.poller, has_completed ? 0 : timeout_ns);
    int completions;

    proactor_entered(backend->owner);
    proactor_woke(backend->owner);
    look_for_memory(simulated);
    dispatch(simulated, events);
    collect(simulated);
    serve_blockless(simulated);
    completions = report_completions(simulated);
    return events < 0 ? events : completions;
}

static unsigned simulated_receive_room(const struct backend *backend)
{
    const struct simulated *simulated = simulated_of(backend);

    return simulated->out_of_memory ? 0 : BLOCKS_MAX - simulated->blocks_out;
}

/* One that finds no block waits for it in a queue of its own. */
static unsigned simulated_tried(const struct backend *backend)
{
    return 0;
}

static bool simulated_has_unheard(const struct backend *backend)
{
    return false;
}

static int simulated_pollable_fd(struct backend *backend)
{
    return simulated_of(backend)->descriptors.poller.epoll;
}

static bool simulated_prepare_poll(struct backend *backend)
{
    simulated_push(backend);
    return !list_is_empty(&simulated_of(backend)->completed);
}

unsigned simulated_at_work(const struct backend *backend)
{
    return simulated_of(backend)->workers.given;
}

size_t simulated_kept_bytes(const struct backend *backend)
{
    return simulated_of(backend)->unused_count * sizeof(struct simulated_operation);
}

const struct backend_ops simulated_backend = {
    .id = JD_ENGINE_SIMULATED,
    .name = "simulated",
    .available = simulated_available,
    .create = simulated_create,
    .destroy = simulated_destroy,
    .wait = simulated_wait,
    .wake = simulated_wake,
    .submit = simulated_submit,
    .cancel = simulated_cancel,
    .push = simulated_push,
    .receive_room = simulated_receive_room,
    .submitted = simulated_tried,
    .tried = simulated_tried,
    .has_unheard = simulated_has_unheard,
    .pollable_fd = simulated_pollable_fd,
    .prepare_poll = simulated_prepare_poll,
};
