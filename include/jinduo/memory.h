/* Where the library's memory comes from: the system's malloc; jemalloc's sized calls when the process has jemalloc
 * (mallocx(3), found by weak reference, never forced on a process); or the functions given here. */
#ifndef JINDUO_MEMORY_H
#define JINDUO_MEMORY_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

typedef struct jd_memory_functions {
    /* size > 0, result aligned for any type; NULL when there is no memory. */
    void *(*allocate)(size_t size, void *arg);
    /* block may be NULL (old_size 0): then as allocate. On NULL the old block stays valid. */
    void *(*reallocate)(void *block, size_t old_size, size_t new_size, void *arg);
    /* block is never NULL; size is the one it was allocated with. */
    void (*release)(void *block, size_t size, void *arg);
    void *arg;
} jd_memory_functions;

/* Makes the library take all its memory from functions (copied), or from the default again with NULL. All members are
 * called from any thread, at once. Only while the library holds no memory: before the first loop, buffer or codec is
 * created, or after the last is gone; else JD_EBUSY. JD_EINVAL if a function is missing. */
JD_API int jd_memory_set_functions(const jd_memory_functions *functions);

/* Bytes the library holds at this moment, all threads together. For tests and statistics; from any thread. */
JD_API size_t jd_memory_in_use(void);

/* Where the memory comes from: "malloc", "jemalloc" or "user". A static string; from any thread. */
JD_API const char *jd_memory_source(void);

JD_END_DECLS
#endif
