/* Block pool: blocks of one size for bytes on their way in or out. Blocks are carved from regions; a region none of whose
 * blocks is out is given back when there is another like it, so memory returns after a burst. At the limit blocks come
 * from the heap, counted. Not locked: a pool belongs to a loop's thread.
 *
 * A slice is a block whose bytes lie in another one, which several slices share: that goes back to its pool when its holder
 * and the holders of all slices have put theirs back, in whatever order. */
#ifndef BASE_BLOCK_POOL_H
#define BASE_BLOCK_POOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct block_pool;
struct block_region;

/* A block and the bytes in it: data[begin] to data[end - 1]. Once others may be reading it (the kernel), it never moves
 * and bytes already in it never change. */
struct block {
    struct block *next;
    struct block_pool *pool;
    struct block_region *region; /* NULL: from the heap */
    struct block *whole;         /* of a slice; else NULL */
    uint8_t *data;
    uint32_t begin, end;
    uint32_t capacity; /* bytes in data; a slice has no room behind its bytes */
    uint32_t kind;     /* the taker's; 0 from the pool */
    uint32_t slices;   /* of this one, that are out */
};

static inline size_t block_length(const struct block *block)
{
    return block->end - block->begin;
}

static inline size_t block_room(const struct block *block)
{
    return block->capacity - block->end;
}

/* Blocks linked by next, in order. All zero is empty. */
struct block_chain {
    struct block *first, *last;
};

static inline void block_chain_append(struct block_chain *chain, struct block *block)
{
    block->next = NULL;
    if (chain->first == NULL)
        chain->first = block;
    else
        chain->last->next = block;
    chain->last = block;
}

/* Bytes of memory that are held as long as the block is. */
static inline size_t block_held_bytes(const struct block *block)
{
    return block->whole != NULL ? block->whole->capacity : block->capacity;
}

struct block_pool {
    struct block_region *partial; /* regions with a free block */
    size_t block_bytes;           /* header included */
    size_t region_bytes;
    unsigned blocks_per_region;
    unsigned idle_regions;           /* regions with every block free */
    _Atomic size_t regions;          /* all of them; this and what follows the limit is read by other threads too */
    size_t limit_regions;            /* beyond: the heap */
    _Atomic size_t heap_blocks;      /* out now */
    _Atomic uint64_t overflow_count; /* heap blocks ever taken */
    _Atomic size_t blocks_out;       /* now; for other threads to read */
};

/* block_bytes and region_bytes include the headers; at least one block must fit a region. limit_bytes: what the regions
 * may take together, SIZE_MAX for no limit. */
void block_pool_init(struct block_pool *pool, size_t block_bytes, size_t region_bytes, size_t limit_bytes);

/* Gives the regions back. Every block must have been put back. */
void block_pool_destroy(struct block_pool *pool);

/* Makes the first region and touches its memory, so that the first blocks cost no page faults. Returns 0 or JD_ENOMEM. */
int block_pool_prefault(struct block_pool *pool);

/* An empty block, of its region the one put back last (it is in the cache); NULL when there is no memory. */
struct block *block_pool_get(struct block_pool *pool);

/* Puts a block back to the pool it came from. */
void block_put(struct block *block);

/* Makes *shown, in memory of the caller's, show length bytes of whole from begin on. It is never put back, and holds nothing:
 * who keeps the bytes gets a block of slices for that (block_keep), a pool of any size of block. */
void block_show(struct block *shown, struct block_pool *slices, struct block *whole, uint32_t begin, uint32_t length);

/* For one who is shown a block of somebody else's and keeps its bytes: returns the block itself, which is his from here on;
 * or, of one that shows a part of another, a slice, and then the block is somebody else's still; NULL when there is no
 * memory. */
struct block *block_keep(struct block *block);

/* Bytes held at this moment, heap blocks included. From any thread. */
size_t block_pool_bytes(const struct block_pool *pool);

/* Blocks there are, out or not, heap blocks included. From any thread. */
size_t block_pool_blocks(const struct block_pool *pool);

#endif
