#include "base/slot_map.h"

#include "base/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

static const uint32_t SLOT_NONE = UINT32_MAX;

struct slot_region {
    unsigned char *memory; /* NULL: freed, the region is bare */
    uint64_t free;         /* the last four freed objects: index + 1 in 16 bits each, the last one lowest; 0: none */
    uint32_t generation;   /* even; the generation of an object that is used for the first time follows it */
    uint32_t next;         /* in the chain of partial or of bare regions */
    uint32_t previous;     /* in the chain of partial regions */
    uint16_t carved;       /* objects used so far; the memory of the others has not been touched */
    uint16_t live;
};

/* A freed object keeps its header, and links to the object freed four frees before it: so an object is known, and
 * prefetched, four allocations before it is used. */
struct free_object {
    struct slot_header header;
    uint16_t fourth;
};

enum { FREE_BITS = 16, FREE_FOURTH_SHIFT = 48 };

static unsigned char *object_at(const struct slot_map *map, const struct slot_region *region, uint32_t index)
{
    return region->memory + (size_t)index * map->object_bytes;
}

void slot_map_init(struct slot_map *map, size_t object_bytes, uint32_t first_generation)
{
    assert(object_bytes % 8 == 0 && object_bytes >= sizeof(struct free_object));
    *map = (struct slot_map){
        .object_bytes = object_bytes,
        .partial = SLOT_NONE,
        .bare = SLOT_NONE,
        .first_generation = first_generation & ~1u,
    };
}

/* For objects of a few dozen bytes this is faster than memset with a length that the compiler does not know. */
static void clear_words(void *object, size_t bytes)
{
    uint64_t *words = object;

    for (size_t i = 0; i < bytes / sizeof(*words); i++)
        words[i] = 0;
}

static void push_free(struct slot_region *region, struct free_object *object)
{
    object->fourth = (uint16_t)(region->free >> FREE_FOURTH_SHIFT);
    region->free = region->free << FREE_BITS | (object->header.slot % SLOT_REGION_OBJECTS + 1);
}

/* Returns the index of the object freed last; there must be one. */
static uint32_t pop_free(const struct slot_map *map, struct slot_region *region)
{
    uint32_t index = (uint32_t)(region->free & UINT16_MAX) - 1;
    uint64_t fourth = ((const struct free_object *)object_at(map, region, index))->fourth;
    const unsigned char *later;

    region->free = region->free >> FREE_BITS | fourth << FREE_FOURTH_SHIFT;
    if (fourth == 0)
        return index;
    later = object_at(map, region, (uint32_t)fourth - 1);
    __builtin_prefetch(later, 1);
    __builtin_prefetch(later + map->object_bytes - 1, 1);
    return index;
}

static uint32_t highest_generation(const struct slot_map *map, const struct slot_region *region)
{
    uint32_t highest = region->generation;

    for (uint32_t i = 0; region->memory != NULL && i < region->carved; i++) {
        const struct slot_header *header = (const struct slot_header *)object_at(map, region, i);
        /* Compare by difference: generations wrap around. */
        if ((int32_t)(header->generation - highest) > 0)
            highest = header->generation;
    }
    return highest;
}

static void release_memory(struct slot_map *map, struct slot_region *region)
{
    region->generation = highest_generation(map, region);
    memory_release(region->memory, map->object_bytes * SLOT_REGION_OBJECTS);
    map->bytes -= map->object_bytes * SLOT_REGION_OBJECTS;
    region->memory = NULL;
}

uint32_t slot_map_next_generation(const struct slot_map *map)
{
    uint32_t highest = map->first_generation;

    for (uint32_t i = 0; i < map->region_count; i++) {
        uint32_t generation = highest_generation(map, &map->regions[i]);
        if ((int32_t)(generation - highest) > 0)
            highest = generation;
    }
    return (highest + 1) & ~1u;
}

uint32_t slot_map_destroy(struct slot_map *map)
{
    uint32_t next_generation = slot_map_next_generation(map);

    assert(map->count == 0);
    for (uint32_t i = 0; i < map->region_count; i++)
        if (map->regions[i].memory != NULL)
            release_memory(map, &map->regions[i]);
    memory_release(map->regions, map->region_capacity * sizeof(*map->regions));
    slot_map_init(map, map->object_bytes, next_generation);
    return next_generation;
}

static void link_partial(struct slot_map *map, uint32_t number)
{
    struct slot_region *region = &map->regions[number];

    region->previous = SLOT_NONE;
    region->next = map->partial;
    if (region->next != SLOT_NONE)
        map->regions[region->next].previous = number;
    map->partial = number;
}

static void unlink_partial(struct slot_map *map, uint32_t number)
{
    struct slot_region *region = &map->regions[number];

    if (region->previous != SLOT_NONE)
        map->regions[region->previous].next = region->next;
    else
        map->partial = region->next;
    if (region->next != SLOT_NONE)
        map->regions[region->next].previous = region->previous;
}

/* Returns a region without memory; adds one if there is none. SLOT_NONE: no memory, or SLOT_MAP_MAX_SLOTS is
 * reached. */
static uint32_t bare_region(struct slot_map *map)
{
    if (map->bare != SLOT_NONE)
        return map->bare;
    if (map->region_count == SLOT_MAP_MAX_SLOTS / SLOT_REGION_OBJECTS)
        return SLOT_NONE;
    if (map->region_count == map->region_capacity) {
        uint32_t capacity = map->region_capacity == 0 ? 4 : map->region_capacity * 2;
        struct slot_region *regions =
            memory_reallocate(map->regions, map->region_capacity * sizeof(*regions), capacity * sizeof(*regions));
        if (regions == NULL)
            return SLOT_NONE;
        map->bytes += (capacity - map->region_capacity) * sizeof(*regions);
        map->regions = regions;
        map->region_capacity = capacity;
    }
    map->regions[map->region_count] = (struct slot_region){ .generation = map->first_generation, .next = SLOT_NONE };
    map->bare = map->region_count;
    return map->region_count++;
}

static bool add_region(struct slot_map *map)
{
    uint32_t number = bare_region(map);
    struct slot_region *region;

    if (number == SLOT_NONE)
        return false;
    region = &map->regions[number];
    region->memory = memory_allocate(map->object_bytes * SLOT_REGION_OBJECTS);
    if (region->memory == NULL)
        return false;
    map->bytes += map->object_bytes * SLOT_REGION_OBJECTS;
    map->bare = region->next;
    region->carved = 0;
    region->live = 0;
    region->free = 0;
    map->idle_regions++;
    link_partial(map, number);
    return true;
}

void *slot_map_take(struct slot_map *map)
{
    uint32_t number, index, generation;
    struct slot_region *region;
    struct free_object *object;

    if (map->partial == SLOT_NONE && !add_region(map))
        return NULL;
    number = map->partial;
    region = &map->regions[number];
    if (region->free != 0) {
        index = pop_free(map, region);
        object = (struct free_object *)object_at(map, region, index);
        generation = object->header.generation;
    } else {
        index = region->carved++;
        object = (struct free_object *)object_at(map, region, index);
        generation = region->generation;
    }
    if (region->live++ == 0)
        map->idle_regions--;
    if (region->live == SLOT_REGION_OBJECTS)
        unlink_partial(map, number);
    map->count++;
    object->header.slot = number * SLOT_REGION_OBJECTS + index;
    object->header.generation = generation + 1;
    return object;
}

void *slot_map_allocate(struct slot_map *map)
{
    struct slot_header *object = slot_map_take(map);

    if (object != NULL)
        clear_words(object + 1, map->object_bytes - sizeof(*object));
    return object;
}

void slot_map_free(struct slot_map *map, void *freed)
{
    struct free_object *object = freed;
    uint32_t number = object->header.slot / SLOT_REGION_OBJECTS;
    struct slot_region *region = &map->regions[number];

    assert(object->header.generation % 2 == 1);
    object->header.generation++;
    push_free(region, object);
    map->count--;
    if (region->live-- == SLOT_REGION_OBJECTS)
        link_partial(map, number);
    if (region->live > 0 || map->idle_regions++ == 0)
        return;
    /* Keep one idle region, so that a single object that is freed and allocated again does not free and allocate a
     * region. */
    map->idle_regions--;
    unlink_partial(map, number);
    release_memory(map, region);
    region->next = map->bare;
    map->bare = number;
}

void *slot_map_find(const struct slot_map *map, uint32_t slot, uint32_t generation)
{
    uint32_t index = slot % SLOT_REGION_OBJECTS;
    const struct slot_region *region;
    struct slot_header *header;

    if (slot / SLOT_REGION_OBJECTS >= map->region_count)
        return NULL;
    region = &map->regions[slot / SLOT_REGION_OBJECTS];
    if (region->memory == NULL || index >= region->carved)
        return NULL;
    header = (struct slot_header *)object_at(map, region, index);
    return header->generation == generation && generation % 2 == 1 ? header : NULL;
}

const void *slot_map_address(const struct slot_map *map, uint32_t slot)
{
    const struct slot_region *region;

    if (slot / SLOT_REGION_OBJECTS >= map->region_count)
        return NULL;
    region = &map->regions[slot / SLOT_REGION_OBJECTS];
    return region->memory != NULL ? object_at(map, region, slot % SLOT_REGION_OBJECTS) : NULL;
}

void *slot_map_next(const struct slot_map *map, uint32_t slot)
{
    for (uint32_t number = slot / SLOT_REGION_OBJECTS; number < map->region_count; number++) {
        const struct slot_region *region = &map->regions[number];
        uint32_t index = number == slot / SLOT_REGION_OBJECTS ? slot % SLOT_REGION_OBJECTS : 0;

        for (; region->memory != NULL && index < region->carved; index++) {
            struct slot_header *header = (struct slot_header *)object_at(map, region, index);
            if (header->generation % 2 == 1)
                return header;
        }
    }
    return NULL;
}
