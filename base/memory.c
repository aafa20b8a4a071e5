#include "base/memory.h"

#include <jinduo/error.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Functions of jemalloc (mallocx(3)). Weak symbols: NULL without jemalloc in the process, so that it need not be
 * linked. Declared here, because jemalloc's header may not be installed. */
#ifdef _WIN32
static void *(*const mallocx)(size_t size,
                              int flags); /* NULL: weak symbols without a definition are no part of PE files */
static void *(*const rallocx)(void *block, size_t size, int flags);
static void (*const sdallocx)(void *block, size_t size, int flags);
#else
#define WEAK __attribute__((weak, visibility("default")))
WEAK extern void *mallocx(size_t size, int flags);
WEAK extern void *rallocx(void *block, size_t size, int flags);
WEAK extern void sdallocx(void *block, size_t size, int flags);
#endif
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

/* Bytes in use: several counters, each on its own cache line, so that threads that allocate at the same time do not
 * wait for each other. Each of the first threads has a counter of its own, to which it adds without a locked
 * instruction; later threads share the others. A thread always uses the same counter. It may release memory that
 * another thread's counter has counted: only the sum has a meaning. */
enum { OWN_COUNTERS = 16, SHARED_COUNTERS = 16, COUNTERS = OWN_COUNTERS + SHARED_COUNTERS, CACHE_LINE_BYTES = 64 };

static struct {
    alignas(CACHE_LINE_BYTES) atomic_size_t bytes;
} in_use[COUNTERS];

static _Atomic unsigned threads_counted;
static _Thread_local unsigned own_counter __attribute__((tls_model("initial-exec"))); /* 0: none yet */

static void choose_counter(void)
{
    unsigned number = atomic_fetch_add_explicit(&threads_counted, 1, memory_order_relaxed);

    own_counter = 1 + (number < OWN_COUNTERS ? number : OWN_COUNTERS + number % SHARED_COUNTERS);
}

static void count_bytes(size_t bytes)
{
    atomic_size_t *counter;

    if (own_counter == 0)
        choose_counter();
    counter = &in_use[own_counter - 1].bytes;
    if (own_counter <= OWN_COUNTERS)
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + bytes,
                              memory_order_relaxed);
    else
        atomic_fetch_add_explicit(counter, bytes, memory_order_relaxed);
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

    for (int i = 0; i < COUNTERS; i++)
        sum += atomic_load_explicit(&in_use[i].bytes, memory_order_relaxed);
    /* Negative if, during this loop, a block was counted in a counter already read and released in one not read yet. */
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
        count_bytes(size);
    return block;
}

/* calloc does not touch fresh pages of the system, which are zero already. */
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
    count_bytes(size);
    return is_default ? block : memset(block, 0, size);
}

void *memory_reallocate(void *block, size_t old_size, size_t new_size)
{
    void *moved = functions.reallocate(block, old_size, new_size, functions.arg);

    /* If the size shrinks, the difference is negative: unsigned arithmetic wraps around to the right sum. */
    if (moved != NULL)
        count_bytes(new_size - old_size);
    return moved;
}

void memory_release(void *block, size_t size)
{
    if (block == NULL)
        return;
    functions.release(block, size, functions.arg);
    count_bytes((size_t)0 - size);
}
