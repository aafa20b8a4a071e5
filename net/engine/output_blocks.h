/* The blocks of the output queue, shared by its source files. A block contains bytes or a reference (enum
 * output_kind). */
#ifndef NET_ENGINE_OUTPUT_BLOCKS_H
#define NET_ENGINE_OUTPUT_BLOCKS_H

#include "net/engine/output_queue.h"

static inline size_t output_smaller(size_t a, uint64_t b)
{
    return a < b ? a : (size_t)b;
}

static inline struct output_reference *output_reference_of(struct block *block)
{
    return (struct output_reference *)(void *)block->data;
}

/* The bytes of a block that are not sent yet; and the bytes that they count for in the queue's length. */
static inline uint64_t output_length_of(struct block *block)
{
    return block->kind == OUTPUT_BYTES ? block_length(block) : output_reference_of(block)->length;
}

static inline size_t output_counts_of(struct block *block)
{
    return block->kind == OUTPUT_BYTES ? block_length(block)
                                       : output_counts_for(block->kind, output_reference_of(block)->length);
}

/* Whether length bytes fit into a small block. */
static inline bool output_fits_small(size_t length)
{
    return length <= OUTPUT_SMALL_BYTES - sizeof(struct block);
}

/* Returns a chain of empty blocks with room for length (> 0) bytes, and its last block; or NULL without memory. */
struct block *output_get_chain(struct block_pool *pool, size_t length, struct block **last);

/* Copies the parts into block and its successors, which must have the room. */
void output_copy_to_blocks(struct block *block, const jd_iovec *parts, int count);

/* Appends a block that counts for `counts` bytes in the queue's length. */
void output_block_append(struct output_queue *queue, struct block *block, size_t counts);

/* Disposes of a block that was sent or dropped: returns it to its pool or, if it has a release function, appends it to
 * pools->released. */
void output_release_block(struct output_pools *pools, struct block *block);

#endif
