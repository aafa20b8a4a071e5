/* What the files of the simulated backend (simulated.h) share:
 *
 *   simulated.c             the functions of backend_ops: life and wait
 *   simulated_submit.c      submitting and cancelling operations, and their memory
 *   simulated_completion.c  from readiness and finished work to completions, which are reported to the owner
 *   simulated_buffers.c     the blocks to receive into
 *   simulated_descriptor.c  the operations on a descriptor, in order, and the readiness they wait for
 *   simulated_workers.c     the threads
 *   simulated_operation.c   what a worker does for each opcode
 *
 * Thread rule: the loop's thread, except simulated_wake (any thread, and signal handlers). */
#ifndef PROACTOR_SIMULATED_SIMULATED_BACKEND_H
#define PROACTOR_SIMULATED_SIMULATED_BACKEND_H

#include "proactor/simulated/simulated.h"
#include "proactor/simulated/simulated_descriptor.h"
#include "proactor/simulated/simulated_workers.h"

enum { SIMULATED_BLOCKS_MAX = 16 }; /* in use by operations at the same time: 1 MiB */

struct simulated {
    struct backend backend;
    struct simulated_descriptors descriptors;
    struct link unused; /* memory of finished operations, kept for new ones */
    unsigned unused_count;
    struct simulated_workers workers;
    int wakeup;                /* an eventfd */
    struct link completed;     /* to be reported */
    struct link block_waiters; /* operations of OPCODE_RECEIVE_MULTISHOT that are ready, but wait for a block */
    struct block *spare;       /* the block that was returned last */
    unsigned blocks_used;      /* in use by operations */
    bool out_of_memory;        /* no block could be allocated, and none has been since */
};

static inline struct simulated *simulated_of(const struct backend *backend)
{
    return (struct simulated *)(uintptr_t)backend;
}

/* ---- simulated_submit.c; the first three: see backend_ops ---- */
int simulated_submit(struct backend *backend, const struct operation_request *request);
void simulated_cancel(struct backend *backend, int fd, uint64_t token);
void simulated_push(struct backend *backend);

/* Begins an operation that is the first of its direction on its descriptor. Returns 0 or a negative error. */
int simulated_begin(struct simulated *simulated, struct simulated_operation *operation);

/* An operation's next state. wait: until its descriptor is ready; if that cannot be, it completes with the error.
 * give: a worker performs it. complete: with result, which the next report reports. */
void simulated_wait_or_complete(struct simulated *simulated, struct simulated_operation *operation);
void simulated_give_to_workers(struct simulated *simulated, struct simulated_operation *operation);
void simulated_complete(struct simulated *simulated, struct simulated_operation *operation, int64_t result);

/* Frees an operation: a bounded number is kept for new ones; free_unused releases those. */
void simulated_free_operation(struct simulated *simulated, struct simulated_operation *operation);
void simulated_free_unused(struct simulated *simulated);

/* ---- simulated_completion.c ---- */

/* Handles the count events that the Poller's wait has returned (negative: none). */
void simulated_dispatch(struct simulated *simulated, int count);

/* Takes the operations that the workers have performed: each completes, or waits for readiness again. */
void simulated_collect(struct simulated *simulated);

/* Reports the operations that are complete when it begins. User callbacks run here. Returns how many. */
int simulated_report_completions(struct simulated *simulated);

/* ---- simulated_buffers.c ---- */

/* Gives blocks to the operations that wait for one, as far as there are blocks. */
void simulated_serve_block_waiters(struct simulated *simulated);

/* Returns a block that was in use; NULL: its receiver has kept it. */
void simulated_put_block(struct simulated *simulated, struct block *block);

/* Returns the operation's block, if it has one. */
void simulated_put_block_of(struct simulated *simulated, struct simulated_operation *operation);

/* If there was no memory for a block: tries again. */
void simulated_check_memory(struct simulated *simulated);

/* ---- simulated.c ---- */
void simulated_wake(struct backend *backend);

#endif
