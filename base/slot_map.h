/* Slot map: objects of one size at addresses that never change, each with a slot number and a generation. A slot and
 * generation resolve to the object or, once it is gone, to nothing, however often the slot was used again. Objects lie in
 * regions without any space between them; empty regions are given back, their generations remembered. Not locked. */
#ifndef BASE_SLOT_MAP_H
#define BASE_SLOT_MAP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What an object must begin with. The map's own, read-only to others. */
struct slot_header {
    uint32_t slot;
    uint32_t generation; /* odd: the object is alive */
};

enum { SLOT_MAP_MAX_SLOTS = 1 << 24, SLOT_REGION_OBJECTS = 1024 };

struct slot_region;

struct slot_map {
    struct slot_region *regions;
    uint32_t region_count, region_capacity;
    uint32_t partial; /* a chain of regions with free slots that have memory, or SLOT_NONE */
    uint32_t bare;    /* a chain of regions without memory */
    uint32_t idle_regions;
    uint32_t count; /* live objects */
    uint32_t first_generation;
    size_t object_bytes;
    _Atomic size_t bytes; /* held; read by other threads too */
};

/* object_bytes: a multiple of 8. Generations begin behind first_generation. */
void slot_map_init(struct slot_map *map, size_t object_bytes, uint32_t first_generation);

/* The first_generation for a map that is to continue this one's numbers: beyond every generation it has used. */
uint32_t slot_map_next_generation(const struct slot_map *map);

/* Gives all memory back. No object may be alive. Returns what slot_map_next_generation said last. */
uint32_t slot_map_destroy(struct slot_map *map);

/* A new object, zeroed but for its header; NULL when there is no memory or all slots are taken. */
void *slot_map_allocate(struct slot_map *map);

/* The same, but what lies behind the header is left as it happens to be. */
void *slot_map_take(struct slot_map *map);

/* Frees a live object. */
void slot_map_free(struct slot_map *map, void *object);

/* The live object, or NULL. Any numbers may be asked for. */
void *slot_map_find(const struct slot_map *map, uint32_t slot, uint32_t generation);

/* Where the object of that slot lies, alive or not, without looking at it; NULL if there is no memory for it. */
const void *slot_map_address(const struct slot_map *map, uint32_t slot);

/* The live object with the smallest slot >= slot, or NULL: walks all objects, of which any may be freed or added on the
 * way. */
void *slot_map_next(const struct slot_map *map, uint32_t slot);

#endif
