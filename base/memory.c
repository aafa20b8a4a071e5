#include "base/memory.h"

#include <jinduo/error.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* jemalloc's (mallocx(3)). Weak: without jemalloc in the process they are NULL, and nothing has to be linked. Its
 * header may not be installed, so they are declared here. */
#define WEAK __attribute__((weak, visibility("default")))
WEAK extern void *mallocx(size_t size, int flags);
WEAK extern void *rallocx(void *block, size_t size, int flags);
WEAK extern void sdallocx(void *block, size_t size, int flags);
enum { JEMALLOC_ZERO = 0x40 }; /* MALLOCX_ZERO */

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

/* Counted in several places, a line of the cache each, so that threads which allocate at the same time do not wait for each
 * other. The first threads have a place each, where adding need not lock the line; those that come later share the others. A
 * thread keeps to one place; what it releases may have been counted in another, so that only the sum means something. */
enum { OWN_PLACES = 16, SHARED_PLACES = 16, PLACES = OWN_PLACES + SHARED_PLACES, CACHE_LINE_BYTES = 64 };

static struct {
    alignas(CACHE_LINE_BYTES) atomic_size_t bytes;
} in_use[PLACES];

static _Atomic unsigned threads_met;
static _Thread_local unsigned my_place __attribute__((tls_model("initial-exec"))); /* 0: none yet */

static void take_place(void)
{
    unsigned number = atomic_fetch_add_explicit(&threads_met, 1, memory_order_relaxed);

    my_place = 1 + (number < OWN_PLACES ? number : OWN_PLACES + number % SHARED_PLACES);
}

static void count(size_t bytes)
{
    atomic_size_t *place;

    if (my_place == 0)
        take_place();
    place = &in_use[my_place - 1].bytes;
    if (my_place <= OWN_PLACES)
        atomic_store_explicit(place, atomic_load_explicit(place, memory_order_relaxed) + bytes, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(place, bytes, memory_order_relaxed);
}

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
    size_t sum = 0;

    for (int i = 0; i < PLACES; i++)
        sum += atomic_load_explicit(&in_use[i].bytes, memory_order_relaxed);
    /* A block that was counted where this has looked already, and released where it has not: less than nothing. */
    return sum <= SIZE_MAX / 2 ? sum : 0;
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
        count(size);
    return block;
}

/* Pages fresh from the system are zero, and need not be touched until they are used. */
static void *default_allocate_zeroed(size_t size)
{
    return have_jemalloc() ? mallocx(size, JEMALLOC_ZERO) : calloc(1, size);
}

void *memory_allocate_zeroed(size_t size)
{
    bool is_default = functions.allocate == default_allocate;
    void *block = is_default ? default_allocate_zeroed(size) : functions.allocate(size, functions.arg);

    if (block == NULL)
        return NULL;
    count(size);
    return is_default ? block : memset(block, 0, size);
}

void *memory_reallocate(void *block, size_t old_size, size_t new_size)
{
    void *moved = functions.reallocate(block, old_size, new_size, functions.arg);

    /* A size that shrinks adds a negative difference: unsigned arithmetic wraps around to the right sum. */
    if (moved != NULL)
        count(new_size - old_size);
    return moved;
}

void memory_release(void *block, size_t size)
{
    if (block == NULL)
        return;
    functions.release(block, size, functions.arg);
    count((size_t)0 - size);
}
