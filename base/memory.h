/* All memory of the library is allocated here, by the functions of jd_memory_set_functions (jinduo/memory.h). From any
 * thread. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <jinduo/memory.h>

/* Allocates size (> 0) bytes. Returns NULL without memory. */
void *memory_allocate(size_t size);

/* As memory_allocate, with all bytes zero. */
void *memory_allocate_zeroed(size_t size);

/* Changes the size of a block from old_size, its allocated size, to new_size (> 0). block may be NULL with old_size 0.
 * Returns the block, perhaps moved; NULL without memory: the old block stays valid. */
void *memory_reallocate(void *block, size_t old_size, size_t new_size);

/* Frees a block of the given allocated size; NULL is allowed. */
void memory_release(void *block, size_t size);

#endif
