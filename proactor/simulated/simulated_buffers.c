/* The blocks of multishot receives: an operation gets one when its descriptor is ready, and returns it when the bytes
 * have been delivered. */
#include "proactor/simulated/simulated_backend.h"

#include <jinduo/error.h>

static struct block *simulated_get_block(struct simulated *simulated)
{
    struct block *block = simulated->spare;

    simulated->spare = NULL;
    return block != NULL ? block : proactor_receive_block(simulated->backend.owner);
}

/* If no block can be allocated but some are in use, one of those will be returned. If none is in use either, the
 * waiting operations end with JD_ENOBUFS. */
void simulated_serve_block_waiters(struct simulated *simulated)
{
    while (!list_is_empty(&simulated->block_waiters) && simulated->blocks_used < SIMULATED_BLOCKS_MAX) {
        struct simulated_operation *operation = operation_of_queue(simulated->block_waiters.next);
        struct block *block = simulated_get_block(simulated);

        if (block == NULL && simulated->blocks_used > 0)
            return;
        list_remove(&operation->queue);
        if (block == NULL) {
            simulated->out_of_memory = true;
            simulated_complete(simulated, operation, JD_ENOBUFS);
            continue;
        }
        simulated->blocks_used++;
        operation->block = block;
        simulated_give_to_workers(simulated, operation);
    }
}

void simulated_put_block(struct simulated *simulated, struct block *block)
{
    simulated->blocks_used--;
    if (block != NULL && simulated->spare == NULL) {
        block->begin = block->end = 0;
        simulated->spare = block;
    } else if (block != NULL) {
        block_release(block);
    }
    simulated_serve_block_waiters(simulated);
}

void simulated_put_block_of(struct simulated *simulated, struct simulated_operation *operation)
{
    struct block *block = operation->block;

    if (block == NULL)
        return;
    operation->block = NULL;
    simulated_put_block(simulated, block);
}

void simulated_check_memory(struct simulated *simulated)
{
    if (!simulated->out_of_memory)
        return;
    if (simulated->spare == NULL)
        simulated->spare = proactor_receive_block(simulated->backend.owner);
    simulated->out_of_memory = simulated->spare == NULL;
}
