/* Block pool: blocks of one size, for received bytes and for output. Blocks are carved from regions, each with its header
 * before its bytes; or, in a pool of pages, with all headers at the region's beginning, so that the bytes of a block are
 * whole pages: messages are powers of two, mostly. A region without
 * used blocks is freed if there is another one, so memory is returned after a burst. Above a limit, blocks come from
 * the heap and are counted. Not locked: a pool belongs to one thread (a loop's), except block_pool_bytes and
 * block_pool_blocks.
 *
 * A slice is a block whose bytes are in another block, its parent; several slices may share a parent. The parent
 * returns to its pool when its own holder and the holders of all slices have released theirs, in any order. */
#ifndef BASE_BLOCK_POOL_H
#define BASE_BLOCK_POOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct block_pool;
struct block_region;

/* A block and its bytes: data[begin] to data[end - 1]. While the kernel may read it, a block does not move and its
 * bytes do not change. */
struct block {
    struct block *next;
    struct block_pool *pool;
    struct block_region *region; /* NULL: from the heap */
    struct block *parent;        /* NULL: not a slice */
    uint8_t *data;
    uint32_t begin, end;
    uint32_t capacity; /* bytes at data; a slice has no room after its bytes */
    uint32_t kind;     /* free for the user of the block; 0 from the pool */
    uint32_t slices;   /* slices of this block that are not released yet */
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

/* The bytes of memory that cannot be used again until the block is released. */
static inline size_t block_pinned_bytes(const struct block *block)
{
    return block->parent != NULL ? block->parent->capacity : block->capacity;
}

struct block_pool {
    struct block_region *partial; /* regions with a free block */
    size_t capacity;              /* bytes of a block, without its header */
    size_t alignment;             /* of these bytes: a page, or 1: they follow the header */
    size_t region_bytes;
    unsigned blocks_per_region;
    unsigned idle_regions;           /* regions with all blocks free */
    _Atomic size_t regions;          /* this and the members after limit_regions are read by other threads as well */
    size_t limit_regions;            /* above: heap blocks */
    _Atomic size_t heap_blocks;      /* in use now */
    _Atomic uint64_t overflow_count; /* heap blocks taken since init */
    _Atomic size_t blocks_used;      /* in use now */
};

/* block_bytes and region_bytes include the headers. block_bytes is a multiple of 16; at least one block must fit into a
 * region. limit_bytes: the most memory of all regions together; SIZE_MAX: no limit. */
void block_pool_init(struct block_pool *pool, size_t block_bytes, size_t region_bytes, size_t limit_bytes);

/* As block_pool_init, for a pool of pages. capacity: bytes of a block without its header, a multiple of BLOCK_PAGE_BYTES. A
 * region loses up to a page for the alignment. */
enum { BLOCK_PAGE_BYTES = 4096 };
void block_pool_init_pages(struct block_pool *pool, size_t capacity, size_t region_bytes, size_t limit_bytes);

/* Frees the regions. All blocks must have been released. */
void block_pool_destroy(struct block_pool *pool);

/* Allocates the first region and touches its memory, so that the first blocks cause no page faults. Returns 0 or
 * JD_ENOMEM. */
int block_pool_prefault(struct block_pool *pool);

/* Returns an empty block, owned by the caller until block_release; NULL without memory. Within a region it is the block
 * that was released last, because that is in the cache. */
struct block *block_pool_get(struct block_pool *pool);

/* Returns a block to its pool; a slice also drops its claim on its parent. */
void block_release(struct block *block);

/* Makes *view, in the caller's memory, a view of length bytes of parent from offset begin on. A view is not released
 * and keeps nothing alive: to keep the bytes, block_keep takes a block from slices, a pool with blocks of any size. */
void block_view(struct block *view, struct block_pool *slices, struct block *parent, uint32_t begin, uint32_t length);

/* Keeps the bytes of a borrowed block. Returns the block itself: the caller owns it from then on. Or, if the block is a
 * view, returns a new slice of its parent: the view stays borrowed. NULL without memory. */
struct block *block_keep(struct block *block);

/* Memory of the pool now, in bytes, heap blocks included. From any thread. */
size_t block_pool_bytes(const struct block_pool *pool);

/* Blocks of the pool now, used or free, heap blocks included. From any thread. */
size_t block_pool_blocks(const struct block_pool *pool);

#endif
