/* The one way the library gets memory. See jinduo/memory.h. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <jinduo/memory.h>

/* size > 0. NULL when there is none. */
void *memory_allocate(size_t size);

/* As memory_allocate, all zero. */
void *memory_allocate_zeroed(size_t size);

/* block may be NULL with old_size 0. On NULL the old block stays valid. */
void *memory_reallocate(void *block, size_t old_size, size_t new_size);

/* block may be NULL; size as allocated. */
void memory_release(void *block, size_t size);

#endif
