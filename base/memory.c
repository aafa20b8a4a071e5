#include "base/memory.h"

#include <jinduo/error.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* jemalloc's (mallocx(3)). Weak: without jemalloc in the process they are NULL, and nothing has to be linked. Its
 * header may not be installed, so they are declared here. */
#define WEAK __attribute__((weak, visibility("default")))
WEAK extern void *mallocx(size_t size, int flags);
WEAK extern void *rallocx(void *block, size_t size, int flags);
WEAK extern void sdallocx(void *block, size_t size, int flags);

static bool have_jemalloc(void)
{
    return mallocx != NULL && rallocx != NULL && sdallocx != NULL;
}

static void *default_allocate(size_t size, void *arg)
{
    return have_jemalloc() ? mallocx(size, 0) : malloc(size);
}

static void *default_reallocate(void *block, size_t old_size, size_t new_size, void *arg)
{
    if (block == NULL)
        return default_allocate(new_size, arg);
    return have_jemalloc() ? rallocx(block, new_size, 0) : realloc(block, new_size);
}

static void default_release(void *block, size_t size, void *arg)
{
    if (have_jemalloc())
        sdallocx(block, size, 0);
    else
        free(block);
}

static const jd_memory_functions default_functions = { default_allocate, default_reallocate, default_release, NULL };

static jd_memory_functions functions = { default_allocate, default_reallocate, default_release, NULL };
static atomic_size_t in_use;

int jd_memory_set_functions(const jd_memory_functions *given)
{
    if (given != NULL && (given->allocate == NULL || given->reallocate == NULL || given->release == NULL))
        return JD_EINVAL;
    if (jd_memory_in_use() > 0)
        return JD_EBUSY;
    functions = given != NULL ? *given : default_functions;
    return 0;
}

size_t jd_memory_in_use(void)
{
    return atomic_load_explicit(&in_use, memory_order_relaxed);
}

const char *jd_memory_source(void)
{
    if (functions.allocate != default_allocate)
        return "user";
    return have_jemalloc() ? "jemalloc" : "malloc";
}

void *memory_allocate(size_t size)
{
    void *block = functions.allocate(size, functions.arg);

    if (block != NULL)
        atomic_fetch_add_explicit(&in_use, size, memory_order_relaxed);
    return block;
}

void *memory_allocate_zeroed(size_t size)
{
    void *block = memory_allocate(size);

    return block != NULL ? memset(block, 0, size) : NULL;
}

void *memory_reallocate(void *block, size_t old_size, size_t new_size)
{
    void *moved = functions.reallocate(block, old_size, new_size, functions.arg);

    /* A size that shrinks adds a negative difference: unsigned arithmetic wraps around to the right sum. */
    if (moved != NULL)
        atomic_fetch_add_explicit(&in_use, new_size - old_size, memory_order_relaxed);
    return moved;
}

void memory_release(void *block, size_t size)
{
    if (block == NULL)
        return;
    functions.release(block, size, functions.arg);
    atomic_fetch_sub_explicit(&in_use, size, memory_order_relaxed);
}
