/* The simulated backend's inside (simulated.h):
 *
 *   simulated.c             the backend's functions: its life and its wait
 *   simulated_submit.c      operations begun and cancelled, and their memory
 *   simulated_completion.c  what the Poller and the workers report, told to the owner
 *   simulated_buffers.c     blocks to receive into
 *   simulated_descriptor.c  who waits for what on a descriptor, and in which order
 *   simulated_workers.c     the threads
 *   simulated_operation.c   what a worker does for each kind of operation */
#ifndef PROACTOR_SIMULATED_SIMULATED_BACKEND_H
#define PROACTOR_SIMULATED_SIMULATED_BACKEND_H

#include "proactor/simulated/simulated.h"
#include "proactor/simulated/simulated_descriptor.h"
#include "proactor/simulated/simulated_workers.h"

enum { SIMULATED_BLOCKS_MAX = 16 }; /* with operations at a time: 1 MiB */

struct simulated {
    struct backend backend;
    struct simulated_descriptors descriptors;
    struct link unused; /* operations' memory, to be used again */
    unsigned unused_count;
    struct simulated_workers workers;
    int wakeup;            /* an eventfd */
    struct link completed; /* to be reported */
    struct link blockless; /* operations of OPCODE_RECEIVE_MULTISHOT that are ready, but wait for a block */
    struct block *spare;   /* the block used last */
    unsigned blocks_out;   /* with operations */
    bool out_of_memory;    /* there was none for a block, and is none yet */
};

static inline struct simulated *simulated_of(const struct backend *backend)
{
    return (struct simulated *)(uintptr_t)backend;
}

/* ---- simulated_submit.c ---- */
int simulated_submit(struct backend *backend, const struct operation_request *request);
void simulated_cancel(struct backend *backend, int fd, uint64_t token);
void simulated_push(struct backend *backend);

/* Begins the first operation of its direction. Returns 0 or a negative error. */
int simulated_begin(struct simulated *simulated, struct simulated_operation *operation);

/* The ways it can go: it waits until its descriptor is ready, a worker performs it, or it has its result, to be told. */
void simulated_wait_or_complete(struct simulated *simulated, struct simulated_operation *operation);
void simulated_give_to_workers(struct simulated *simulated, struct simulated_operation *operation);
void simulated_complete(struct simulated *simulated, struct simulated_operation *operation, int64_t result);

/* Its memory is kept for the next one, up to a number. */
void simulated_free_operation(struct simulated *simulated, struct simulated_operation *operation);
void simulated_free_unused(struct simulated *simulated);

/* ---- simulated_completion.c ---- */

/* What the Poller's wait found: so many events. */
void simulated_dispatch(struct simulated *simulated, int count);

/* What the workers have done. */
void simulated_collect(struct simulated *simulated);

/* Tells of those that are complete now. Returns how many. */
int simulated_report_completions(struct simulated *simulated);

/* ---- simulated_buffers.c ---- */

/* Gives blocks to operations that are ready to receive and wait for one, as far as there are any. */
void simulated_serve_blockless(struct simulated *simulated);

/* A block comes back; NULL: its receiver has kept it. */
void simulated_put_block(struct simulated *simulated, struct block *block);

/* The operation's block comes back, if it has one. */
void simulated_put_block_of(struct simulated *simulated, struct simulated_operation *operation);

/* Once there was no memory for a block: whether there is some now. */
void simulated_look_for_memory(struct simulated *simulated);

/* ---- simulated.c ---- */
void simulated_wake(struct backend *backend);

#endif
