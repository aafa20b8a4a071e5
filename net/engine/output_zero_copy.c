/* Output that the kernel reads after it has left the queue: its blocks wait in a chain until the kernel is done with them. */
#include "net/engine/output_blocks.h"

/* Of memory that was lent, in several blocks: the release is called when all are done with. */
struct shared_release {
    jd_release release;
    void *arg;
    struct block *block; /* that it lies in */
    unsigned parts;
};

static void release_part(void *arg)
{
    struct shared_release *shared = arg;

    if (--shared->parts > 0)
        return;
    shared->release(shared->arg);
    block_put(shared->block);
}

/* For one part more. */
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

/* A block with what is behind the first length bytes, or NULL. */
static struct block *rest_of_reference(struct output_pools *pools, struct block *block, size_t length)
{
    struct output_reference *reference = output_reference_of(block);
    struct block *rest = block_pool_get(&pools->references);

    if (rest == NULL)
        return NULL;
    if (reference->release != NULL && !share_release(pools, reference)) {
        block_put(rest);
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

/* The first block lends its first length bytes, and the queue goes on with others for the rest. Returns how many bytes were
 * dropped instead. */
static size_t lend_part(struct output_queue *queue, struct output_pools *pools, size_t length, struct block_chain *lent)
{
    struct block *block = queue->first, *behind = block->next;
    size_t left = output_counts_of(block) - length;
    struct block *rest =
        block->kind == OUTPUT_BYTES ? rest_of_bytes(pools, block, length) : rest_of_reference(pools, block, length);
    struct block *last = rest;

    block_chain_append(lent, block);
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
                                   struct block_chain *lent)
{
    size_t bytes = output_queue_bytes(queue) - length, dropped = 0;

    while (length > 0 && length >= output_length_of(queue->first)) {
        struct block *block = queue->first;
        length -= output_length_of(block);
        queue->first = block->next;
        block_chain_append(lent, block);
    }
    if (queue->first == NULL)
        queue->last = NULL;
    else if (length > 0)
        dropped = lend_part(queue, pools, length, lent);
    output_queue_count(queue, bytes - dropped);
    return dropped;
}

void output_pools_return(struct output_pools *pools, struct block_chain *lent)
{
    for (struct block *block = lent->first, *next; block != NULL; block = next) {
        next = block->next;
        output_let_go(pools, block);
    }
    *lent = (struct block_chain){ 0 };
}
