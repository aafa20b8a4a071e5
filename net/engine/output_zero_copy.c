/* Zero-copy output: the kernel reads the blocks after they have left the queue. They stay in a chain until it has
 * finished. */
#include "net/engine/output_blocks.h"

/* The release function of one reference that was split into several blocks: called after the last of them. */
struct shared_release {
    jd_release release;
    void *arg;
    struct block *block; /* the block that contains this struct */
    unsigned parts;      /* blocks not released yet */
};

static void release_part(void *arg)
{
    struct shared_release *shared = arg;

    if (--shared->parts > 0)
        return;
    shared->release(shared->arg);
    block_release(shared->block);
}

/* Adds one more part to a reference's release. Returns false without memory. */
static bool share_release(struct output_pools *pools, struct output_reference *reference)
{
    struct shared_release *shared;
    struct block *block;

    if (reference->release == release_part) {
        shared = reference->arg;
        shared->parts++;
        return true;
    }
    block = block_pool_get(&pools->references);
    if (block == NULL)
        return false;
    shared = (struct shared_release *)(void *)block->data;
    *shared =
        (struct shared_release){ .release = reference->release, .arg = reference->arg, .block = block, .parts = 2 };
    reference->release = release_part;
    reference->arg = shared;
    return true;
}

/* Returns a block with the bytes after the first length ones, or NULL without memory. */
static struct block *rest_of_reference(struct output_pools *pools, struct block *block, size_t length)
{
    struct output_reference *reference = output_reference_of(block);
    struct block *rest = block_pool_get(&pools->references);

    if (rest == NULL)
        return NULL;
    if (reference->release != NULL && !share_release(pools, reference)) {
        block_release(rest);
        return NULL;
    }
    rest->kind = block->kind;
    rest->end = rest->capacity;
    *output_reference_of(rest) = *reference;
    output_reference_of(rest)->data += length;
    output_reference_of(rest)->length -= length;
    return rest;
}

static struct block *rest_of_bytes(struct output_pools *pools, const struct block *block, size_t length)
{
    jd_iovec part = { .data = (void *)(uintptr_t)(block->data + block->begin + length),
                      .length = block_length(block) - length };
    struct block *last;
    struct block *rest =
        output_get_chain(output_fits_small(part.length) ? &pools->small : &pools->large, part.length, &last);

    if (rest != NULL)
        output_copy_to_blocks(rest, &part, 1);
    return rest;
}

/* Moves the first block, of which length bytes are in flight, to *in_flight; a new block with its rest takes its place.
 * Returns the number of bytes dropped for want of memory. */
static size_t move_part(struct output_queue *queue, struct output_pools *pools, size_t length,
                        struct block_chain *in_flight)
{
    struct block *block = queue->first, *behind = block->next;
    size_t left = output_counts_of(block) - length;
    struct block *rest =
        block->kind == OUTPUT_BYTES ? rest_of_bytes(pools, block, length) : rest_of_reference(pools, block, length);
    struct block *last = rest;

    block_chain_append(in_flight, block);
    if (rest == NULL) {
        queue->first = behind;
        if (behind == NULL)
            queue->last = NULL;
        return left;
    }
    while (last->next != NULL)
        last = last->next;
    last->next = behind;
    queue->first = rest;
    if (behind == NULL)
        queue->last = last;
    return 0;
}

size_t output_queue_move_zero_copy(struct output_queue *queue, struct output_pools *pools, size_t length,
                                   struct block_chain *in_flight)
{
    size_t bytes = output_queue_bytes(queue) - length, dropped = 0;

    while (length > 0 && length >= output_length_of(queue->first)) {
        struct block *block = queue->first;
        length -= output_length_of(block);
        queue->first = block->next;
        block_chain_append(in_flight, block);
    }
    if (queue->first == NULL)
        queue->last = NULL;
    else if (length > 0)
        dropped = move_part(queue, pools, length, in_flight);
    output_queue_count(queue, bytes - dropped);
    return dropped;
}

void output_pools_end_zero_copy(struct output_pools *pools, struct block_chain *in_flight)
{
    for (struct block *block = in_flight->first, *next; block != NULL; block = next) {
        next = block->next;
        output_release_block(pools, block);
    }
    *in_flight = (struct block_chain){ 0 };
}
