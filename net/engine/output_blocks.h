/* What the files of the output queue share: its blocks. A block is of bytes, or holds a reference (enum output_kind). */
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

/* The bytes that a block still has to send; and what they count for. */
static inline uint64_t output_length_of(struct block *block)
{
    return block->kind == OUTPUT_BYTES ? block_length(block) : output_reference_of(block)->length;
}

static inline size_t output_counts_of(struct block *block)
{
    return block->kind == OUTPUT_BYTES ? block_length(block)
                                       : output_counts_for(block->kind, output_reference_of(block)->length);
}

/* Whether so many bytes fit a small block. */
static inline bool output_fits_small(size_t length)
{
    return length <= OUTPUT_SMALL_BYTES - sizeof(struct block);
}

/* A chain of empty blocks with room for length bytes, or NULL. */
struct block *output_get_chain(struct block_pool *pool, size_t length, struct block **last);

/* Copies into block and those behind it, which have the room. */
void output_copy_to_blocks(struct block *block, const jd_iovec *parts, int count);

/* Puts a block behind the queue's last, where it counts for so many bytes. */
void output_block_append(struct output_queue *queue, struct block *block, size_t counts);

/* A block has been sent or dropped: it goes back to its pool or, with a release function to be called, to those released. */
void output_let_go(struct output_pools *pools, struct block *block);

#endif
