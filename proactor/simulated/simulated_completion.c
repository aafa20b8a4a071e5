/* From readiness and finished work to completions, which are reported to the owner. */
#include "proactor/simulated/simulated_backend.h"

#include <jinduo/error.h>

/* ---- events ---- */

struct readiness {
    struct simulated *simulated;
    uint32_t events; /* of epoll(7), whose values poll(2) shares (Linux, include/uapi/linux/eventpoll.h) */
};

static void simulated_operation_ready(struct simulated_operation *operation, void *arg)
{
    const struct readiness *readiness = arg;
    struct simulated *simulated = readiness->simulated;
    uint32_t events = readiness->events & (operation->interest | EPOLLERR | EPOLLHUP);

    if (events == 0)
        return;
    if (operation_is_poll(operation->opcode)) {
        simulated_complete(simulated, operation, events);
    } else if (operation->opcode == OPCODE_RECEIVE_MULTISHOT) {
        operation->state = OPERATION_WAITING_FOR_BLOCK;
        list_append(&simulated->block_waiters, &operation->queue);
    } else {
        simulated_give_to_workers(simulated, operation);
    }
}

static void simulated_descriptor_ready(struct simulated *simulated, struct simulated_descriptor *descriptor,
                                       uint32_t events)
{
    struct readiness readiness = { .simulated = simulated, .events = events };

    simulated_descriptor_narrow(&simulated->descriptors, descriptor, events);
    simulated_descriptor_each_waiting(descriptor, simulated_operation_ready, &readiness);
}

void simulated_dispatch(struct simulated *simulated, int count)
{
    for (int i = 0; i < count; i++) {
        const struct epoll_event *event = &simulated->descriptors.poller.events[i];
        struct simulated_descriptor *descriptor =
            simulated_descriptor_by_token(&simulated->descriptors, event->data.u64);
        if (descriptor != NULL) /* NULL: the wake-up, or a descriptor that has been removed */
            simulated_descriptor_ready(simulated, descriptor, event->events);
    }
}

/* ---- work that the workers have done ---- */

static void simulated_performed(struct simulated *simulated, struct simulated_operation *operation)
{
    if (operation->finished) {
        simulated_complete(simulated, operation, operation->result);
        return;
    }
    simulated_put_block_of(simulated, operation);
    if (operation->cancelled)
        simulated_complete(simulated, operation, JD_ECANCELED);
    else
        simulated_wait_or_complete(simulated, operation);
}

void simulated_collect(struct simulated *simulated)
{
    struct link done;

    simulated_workers_collect(&simulated->workers, &done);
    while (!list_is_empty(&done)) {
        struct simulated_operation *operation = operation_of_queue(done.next);
        list_remove(&operation->queue);
        simulated_performed(simulated, operation);
    }
}

/* ---- completions ---- */

static bool operation_is_final(const struct simulated_operation *operation)
{
    if (!operation_is_multishot(operation->opcode) || operation->cancelled || operation->result < 0)
        return true;
    return operation->opcode == OPCODE_RECEIVE_MULTISHOT && operation->result == 0;
}

/* Frees the operation before its completion is reported, because the receiver may then close the descriptor. */
static void simulated_end_operation(struct simulated *simulated, struct simulated_operation *operation)
{
    struct simulated_descriptor *descriptor = operation->descriptor;
    struct simulated_operation *next = simulated_descriptor_remove(operation);

    if (next != NULL) {
        int result = simulated_begin(simulated, next);
        if (result < 0)
            simulated_complete(simulated, next, result);
    }
    simulated_descriptor_forget(&simulated->descriptors, descriptor);
    simulated_free_operation(simulated, operation);
}

static void simulated_report(struct simulated *simulated, struct simulated_operation *operation)
{
    struct block *block = operation->result > 0 ? operation->block : NULL;
    bool had_block = block != NULL;
    struct completion completion = {
        .token = operation->token,
        .result = operation->result,
        .more = !operation_is_final(operation),
        .block = had_block ? &block : NULL,
    };

    if (had_block)
        operation->block = NULL;
    else
        simulated_put_block_of(simulated, operation);
    operation->state = OPERATION_IN_CALLBACK;
    if (!completion.more)
        simulated_end_operation(simulated, operation);
    proactor_completed(simulated->backend.owner, &completion);
    if (had_block)
        simulated_put_block(simulated, block);
    if (!completion.more)
        return;
    if (operation->cancelled)
        simulated_complete(simulated, operation, JD_ECANCELED);
    else if (operation->opcode == OPCODE_POLL_MULTISHOT)
        operation->state = OPERATION_WAITING; /* arming again would report the same events again */
    else
        simulated_wait_or_complete(simulated, operation);
}

/* Operations that complete meanwhile are left for the next turn. */
int simulated_report_completions(struct simulated *simulated)
{
    struct link reported;
    int count = 0;

    list_move_all(&simulated->completed, &reported);
    while (!list_is_empty(&reported)) {
        struct simulated_operation *operation = operation_of_queue(reported.next);
        list_remove(&operation->queue);
        simulated_report(simulated, operation);
        count++;
    }
    if (!list_is_empty(&simulated->completed))
        simulated_wake(&simulated->backend); /* makes pollable_fd readable for the loop outside */
    return count;
}
