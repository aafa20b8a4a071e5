/* Memory: the allocator that the library uses. It is one of
 * - the functions set with jd_memory_set_functions;
 * - jemalloc's sized functions (mallocx(3)), if jemalloc is in the process: the library refers to them weakly and never
 *   loads jemalloc itself;
 * - malloc(3) otherwise. */
#ifndef JINDUO_MEMORY_H
#define JINDUO_MEMORY_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* An allocator. Its functions may be called from any thread, and from several at once. All of them are required. */
typedef struct jd_memory_functions {
    /* Returns size bytes (> 0), aligned for any type, or NULL when there is no memory. */
    void *(*allocate)(size_t size, void *arg);

    /* Resizes block from old_size to new_size bytes and may move it. block NULL (old_size 0): as allocate. Returns NULL
     * when there is no memory: block then stays valid. */
    void *(*reallocate)(void *block, size_t old_size, size_t new_size, void *arg);

    /* Frees block, which is never NULL. size: the size that it was allocated with. */
    void (*release)(void *block, size_t size, void *arg);

    void *arg; /* the last argument of each function */
} jd_memory_functions;

/* Sets the allocator. functions is copied; NULL restores the default. Returns 0; JD_EINVAL if a function is missing;
 * JD_EBUSY if the library holds memory: set the allocator before the first loop, buffer or codec is created, or after
 * the last one is destroyed. May be called from any thread, while no other thread uses the library. */
JD_API int jd_memory_set_functions(const jd_memory_functions *functions);

/* Returns the bytes that the library holds now, over all threads: for tests and statistics. May be called from any
 * thread. */
JD_API size_t jd_memory_in_use(void);

/* Returns the allocator's name as a static string: "malloc", "jemalloc" or "user". May be called from any thread. */
JD_API const char *jd_memory_source(void);

JD_END_DECLS
#endif
