#include "base/block_pool.h"

#include "base/memory.h"

#include <assert.h>
#include <jinduo/error.h>
#include <string.h>

/* Regions with a free block are in a list, of which the first is used first. A region leaves the list when its last
 * block is taken, and returns to the front when it gets a block back. */
struct block_region {
    struct block_region *next, *previous;
    struct block *free; /* released blocks, the last one first */
    unsigned carved;    /* blocks used so far; the memory of the others has not been touched */
    unsigned used;      /* blocks in use now */
    unsigned char memory[] __attribute__((aligned(16)));
};

static void pool_init(struct block_pool *pool, size_t capacity, size_t alignment, size_t region_bytes,
                      size_t limit_bytes)
{
    size_t block_bytes = sizeof(struct block) + capacity;
    size_t room = region_bytes - sizeof(struct block_region) - (alignment - 1);

    assert(block_bytes % 16 == 0 && capacity > 0);
    assert(region_bytes >= sizeof(struct block_region) + (alignment - 1) + block_bytes);
    *pool = (struct block_pool){
        .capacity = capacity,
        .alignment = alignment,
        .region_bytes = region_bytes,
        .blocks_per_region = (unsigned)(room / block_bytes),
        .limit_regions = limit_bytes / region_bytes,
    };
}

void block_pool_init(struct block_pool *pool, size_t block_bytes, size_t region_bytes, size_t limit_bytes)
{
    pool_init(pool, block_bytes - sizeof(struct block), 1, region_bytes, limit_bytes);
}

void block_pool_init_pages(struct block_pool *pool, size_t capacity, size_t region_bytes, size_t limit_bytes)
{
    assert(capacity % BLOCK_PAGE_BYTES == 0);
    pool_init(pool, capacity, BLOCK_PAGE_BYTES, region_bytes, limit_bytes);
}

static uint8_t *align(const struct block_pool *pool, void *from)
{
    return (uint8_t *)(((uintptr_t)from + pool->alignment - 1) & ~(uintptr_t)(pool->alignment - 1));
}

/* ---- regions ---- */

/* Block number index of a region. */
static struct block *region_block(const struct block_pool *pool, struct block_region *region, unsigned index)
{
    size_t distance = pool->alignment > 1 ? sizeof(struct block) : sizeof(struct block) + pool->capacity;

    return (struct block *)(region->memory + distance * index);
}

/* Its bytes, in a pool of pages. */
static uint8_t *region_bytes(const struct block_pool *pool, struct block_region *region, unsigned index)
{
    struct block *headers = (struct block *)region->memory;

    return align(pool, headers + pool->blocks_per_region) + pool->capacity * index;
}

static void unlink_region(struct block_pool *pool, struct block_region *region)
{
    if (region->previous != NULL)
        region->previous->next = region->next;
    else
        pool->partial = region->next;
    if (region->next != NULL)
        region->next->previous = region->previous;
}

static void link_region(struct block_pool *pool, struct block_region *region)
{
    region->previous = NULL;
    region->next = pool->partial;
    if (region->next != NULL)
        region->next->previous = region;
    pool->partial = region;
}

static struct block_region *add_region(struct block_pool *pool)
{
    struct block_region *region;

    if (pool->regions >= pool->limit_regions)
        return NULL;
    region = memory_allocate(pool->region_bytes);
    if (region == NULL)
        return NULL;
    region->free = NULL;
    region->carved = 0;
    region->used = 0;
    link_region(pool, region);
    pool->regions++;
    pool->idle_regions++;
    return region;
}

static void remove_region(struct block_pool *pool, struct block_region *region)
{
    unlink_region(pool, region);
    pool->regions--;
    pool->idle_regions--;
    memory_release(region, pool->region_bytes);
}

void block_pool_destroy(struct block_pool *pool)
{
    assert(pool->regions == pool->idle_regions && pool->heap_blocks == 0);
    while (pool->partial != NULL)
        remove_region(pool, pool->partial);
}

int block_pool_prefault(struct block_pool *pool)
{
    struct block_region *region = add_region(pool);

    if (region == NULL)
        return JD_ENOMEM;
    memset(region->memory, 0, pool->region_bytes - sizeof(*region));
    return 0;
}

static size_t heap_block_bytes(const struct block_pool *pool)
{
    return sizeof(struct block) + pool->alignment - 1 + pool->capacity;
}

static struct block *get_from_heap(struct block_pool *pool)
{
    struct block *block = memory_allocate(heap_block_bytes(pool));

    if (block == NULL)
        return NULL;
    block->region = NULL;
    block->data = align(pool, block + 1);
    pool->heap_blocks++;
    pool->overflow_count++;
    return block;
}

static struct block *get_from_region(struct block_pool *pool, struct block_region *region)
{
    struct block *block = region->free;

    if (block != NULL) {
        region->free = block->next;
    } else {
        block = region_block(pool, region, region->carved);
        block->data = pool->alignment > 1 ? region_bytes(pool, region, region->carved) : (uint8_t *)(block + 1);
        region->carved++;
    }
    if (region->used++ == 0)
        pool->idle_regions--;
    if (region->used == pool->blocks_per_region)
        unlink_region(pool, region);
    block->region = region;
    return block;
}

/* Written by one thread only: no read-modify-write. */
static void count_used(struct block_pool *pool, size_t change)
{
    size_t used = atomic_load_explicit(&pool->blocks_used, memory_order_relaxed);

    atomic_store_explicit(&pool->blocks_used, used + change, memory_order_relaxed);
}

struct block *block_pool_get(struct block_pool *pool)
{
    struct block_region *region = pool->partial != NULL ? pool->partial : add_region(pool);
    struct block *block = region != NULL ? get_from_region(pool, region) : get_from_heap(pool);

    if (block == NULL)
        return NULL;
    count_used(pool, 1);
    block->next = NULL;
    block->pool = pool;
    block->parent = NULL;
    if (pool->alignment == 1)
        block->data = (uint8_t *)(block + 1); /* a slice was shown elsewhere */
    block->begin = 0;
    block->end = 0;
    block->capacity = (uint32_t)pool->capacity;
    block->kind = 0;
    block->slices = 0;
    return block;
}

static void return_to_region(struct block_pool *pool, struct block_region *region, struct block *block)
{
    block->next = region->free;
    region->free = block;
    if (region->used-- == pool->blocks_per_region)
        link_region(pool, region);
    if (region->used > 0)
        return;
    pool->idle_regions++;
    if (pool->idle_regions > 1)
        remove_region(pool, region);
}

static void return_to_pool(struct block *block)
{
    struct block_pool *pool = block->pool;

    count_used(pool, (size_t)-1);
    if (block->region != NULL) {
        return_to_region(pool, block->region, block);
        return;
    }
    pool->heap_blocks--;
    memory_release(block, heap_block_bytes(pool));
}

void block_release(struct block *block)
{
    struct block *parent = block->parent;

    if (parent != NULL) {
        return_to_pool(block);
        block = parent;
    }
    if (block->slices > 0)
        block->slices--;
    else
        return_to_pool(block);
}

void block_view(struct block *view, struct block_pool *slices, struct block *parent, uint32_t begin, uint32_t length)
{
    *view = (struct block){
        .pool = slices,
        .parent = parent,
        .data = parent->data + begin,
        .end = length,
        .capacity = length,
    };
}

struct block *block_keep(struct block *block)
{
    struct block *slice;

    if (block->parent == NULL)
        return block;
    slice = block_pool_get(block->pool);
    if (slice == NULL)
        return NULL;
    slice->parent = block->parent;
    slice->data = block->data;
    slice->begin = block->begin;
    slice->end = block->end;
    slice->capacity = block->capacity;
    slice->parent->slices++;
    return slice;
}

size_t block_pool_bytes(const struct block_pool *pool)
{
    return pool->regions * pool->region_bytes + pool->heap_blocks * heap_block_bytes(pool);
}

size_t block_pool_blocks(const struct block_pool *pool)
{
    return pool->regions * pool->blocks_per_region + pool->heap_blocks;
}
