#include "tests/support/checking_memory.h"

#include <check.h>
#include <jinduo/memory.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Precedes each block, so that release detects a write in front of the block and a wrong size. Accesses behind the
 * block are left to AddressSanitizer. */
struct header {
    size_t size;
    size_t check;
};

_Static_assert(sizeof(struct header) % _Alignof(max_align_t) == 0, "blocks must be aligned for any type");

static const size_t header_magic = (size_t)0x6a696e64756f2121u;
static atomic_size_t blocks_used;
static atomic_uint allocations; /* tried in this process */

/* Which allocations fail. Set while no other thread allocates, if it matters which ones. */
static atomic_uint first_failure, failures_wanted;
static atomic_uint failures;

/* Counts the allocation. Returns whether it fails. */
static bool allocation_is_to_fail(void)
{
    /* Unsigned arithmetic: for an allocation before the first failure the difference is huge. */
    if (atomic_fetch_add(&allocations, 1) - first_failure >= failures_wanted)
        return false;
    atomic_fetch_add(&failures, 1);
    return true;
}

static void *checking_allocate(size_t size, void *arg)
{
    struct header *header;

    ck_assert_uint_gt(size, 0);
    if (allocation_is_to_fail())
        return NULL;
    header = malloc(sizeof(*header) + size);
    ck_assert_ptr_nonnull(header);
    *header = (struct header){ .size = size, .check = size ^ header_magic };
    blocks_used++;
    return memset(header + 1, CHECKING_MEMORY_PATTERN, size);
}

static void checking_release(void *block, size_t size, void *arg)
{
    struct header *header = (struct header *)block - 1;

    ck_assert_uint_eq(header->check, header->size ^ header_magic);
    ck_assert_uint_eq(header->size, size);
    header->check = 0;
    blocks_used--;
    free(header);
}

/* Always moves the block, so that AddressSanitizer detects pointers into the old one. */
static void *checking_reallocate(void *block, size_t old_size, size_t new_size, void *arg)
{
    void *fresh = checking_allocate(new_size, arg);

    if (fresh == NULL || block == NULL)
        return fresh;
    memcpy(fresh, block, old_size < new_size ? old_size : new_size);
    checking_release(block, old_size, arg);
    return fresh;
}

void checking_memory_install(void)
{
    jd_memory_functions functions = {
        .allocate = checking_allocate,
        .reallocate = checking_reallocate,
        .release = checking_release,
    };

    checking_memory_fail(1, 0);
    ck_assert_int_eq(jd_memory_set_functions(&functions), 0);
}

void checking_memory_remove(void)
{
    ck_assert_uint_eq(blocks_used, 0);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
    ck_assert_int_eq(jd_memory_set_functions(NULL), 0);
}

unsigned checking_memory_allocations(void)
{
    return atomic_load(&allocations);
}

void checking_memory_fail(unsigned number, unsigned count)
{
    first_failure = atomic_load(&allocations) + number - 1;
    failures_wanted = count;
    atomic_store(&failures, 0);
}

unsigned checking_memory_failures(void)
{
    return atomic_load(&failures);
}

void checking_memory_fail_at(unsigned number)
{
    checking_memory_fail(number, number > 0);
}

bool checking_memory_has_failed(void)
{
    bool failed = checking_memory_failures() > 0;

    failures_wanted = 0;
    return failed;
}
