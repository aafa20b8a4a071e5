/* Slot map: objects of one size at addresses that never change, each with a slot number and a generation. Slot and
 * generation resolve to the object; after it is freed they resolve to NULL, however often the slot is used again (until
 * the 32 bits of the generation wrap around). Objects are contiguous in regions. Empty regions are freed; their
 * generations are kept. Not locked. */
#ifndef BASE_SLOT_MAP_H
#define BASE_SLOT_MAP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* The first member of each object. Written by the map only. */
struct slot_header {
    uint32_t slot;
    uint32_t generation; /* odd: the object is alive */
};

enum { SLOT_MAP_MAX_SLOTS = 1 << 24, SLOT_REGION_OBJECTS = 1024 };

struct slot_region;

struct slot_map {
    struct slot_region *regions;
    uint32_t region_count, region_capacity;
    uint32_t partial;      /* chain of the regions with memory and a free slot; SLOT_NONE: empty */
    uint32_t bare;         /* chain of the regions without memory; SLOT_NONE: empty */
    uint32_t idle_regions; /* with memory, without a live object */
    uint32_t count;        /* live objects */
    uint32_t first_generation;
    size_t object_bytes;
    _Atomic size_t bytes; /* of memory; read by other threads as well */
};

/* object_bytes: a multiple of 8. The first generation of a slot is the one after first_generation. */
void slot_map_init(struct slot_map *map, size_t object_bytes, uint32_t first_generation);

/* The first_generation for a map that continues the numbers of this one: after every generation that it has used. */
uint32_t slot_map_next_generation(const struct slot_map *map);

/* Frees all memory. No object may be alive. Returns slot_map_next_generation. */
uint32_t slot_map_destroy(struct slot_map *map);

/* Returns a new object, zeroed after its header; NULL without memory, or when all SLOT_MAP_MAX_SLOTS slots are in
 * use. */
void *slot_map_allocate(struct slot_map *map);

/* As slot_map_allocate, but the bytes after the header are not initialized. */
void *slot_map_take(struct slot_map *map);

/* Frees a live object. */
void slot_map_free(struct slot_map *map, void *object);

/* Returns the live object, or NULL. Any numbers are allowed. */
void *slot_map_find(const struct slot_map *map, uint32_t slot, uint32_t generation);

/* Returns the address of the slot's object, alive or not, to be prefetched; NULL if its region has no memory. Does not
 * read the object. */
const void *slot_map_address(const struct slot_map *map, uint32_t slot);

/* Returns the live object with the smallest slot number >= slot, or NULL. For iteration over all objects, during which
 * objects may be freed and allocated. */
void *slot_map_next(const struct slot_map *map, uint32_t slot);

#endif
