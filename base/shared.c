#include "base/memory.h"

#include <jinduo/error.h>
#include <jinduo/shared.h>
#include <stdatomic.h>
#include <string.h>

struct jd_shared {
    _Atomic size_t references;
    const void *data;
    size_t length;
    size_t object_bytes; /* allocated size, for memory_release */
    jd_release release;
    void *arg;
    uint8_t copy[];
};

/* copied: the bytes of room for a copy; 0: none. */
static jd_shared *shared_allocate(size_t length, size_t copied)
{
    size_t size = sizeof(jd_shared) + copied;
    jd_shared *shared = copied < SIZE_MAX / 2 ? memory_allocate(size) : NULL;

    if (shared == NULL)
        return NULL;
    atomic_init(&shared->references, 1);
    shared->data = shared->copy;
    shared->length = length;
    shared->object_bytes = size;
    shared->release = NULL;
    return shared;
}

int jd_shared_create(jd_shared **out, const void *data, size_t length)
{
    jd_shared *shared = shared_allocate(length, length);

    if (shared == NULL)
        return JD_ENOMEM;
    if (length > 0)
        memcpy(shared->copy, data, length);
    *out = shared;
    return 0;
}

int jd_shared_create_owned(jd_shared **out, const void *data, size_t length, jd_release release, void *arg)
{
    jd_shared *shared = shared_allocate(length, 0);

    if (shared == NULL)
        return JD_ENOMEM;
    shared->data = data;
    shared->release = release;
    shared->arg = arg;
    *out = shared;
    return 0;
}

jd_shared *jd_shared_ref(jd_shared *shared)
{
    atomic_fetch_add_explicit(&shared->references, 1, memory_order_relaxed);
    return shared;
}

void jd_shared_unref(jd_shared *shared)
{
    jd_release release;
    void *arg;

    /* acquire and release: the accesses of all other holders happen before the memory is freed. */
    if (shared == NULL || atomic_fetch_sub_explicit(&shared->references, 1, memory_order_acq_rel) > 1)
        return;
    release = shared->release;
    arg = shared->arg;
    memory_release(shared, shared->object_bytes);
    if (release != NULL)
        release(arg);
}

const void *jd_shared_data(const jd_shared *shared)
{
    return shared->data;
}

size_t jd_shared_length(const jd_shared *shared)
{
    return shared->length;
}
