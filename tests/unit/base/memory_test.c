#include "tests/support/check_main.h"

#include "base/memory.h"

#include <dlfcn.h>
#include <jinduo/error.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The user's functions: they count, check their arguments, and fail on demand. */
struct user_heap {
    int allocations, reallocations, releases;
    size_t last_old_size, last_size;
    bool fails;
};

static void *user_allocate(size_t size, void *arg)
{
    struct user_heap *heap = arg;

    heap->allocations++;
    heap->last_size = size;
    return heap->fails ? NULL : malloc(size);
}

static void *user_reallocate(void *block, size_t old_size, size_t new_size, void *arg)
{
    struct user_heap *heap = arg;

    heap->reallocations++;
    heap->last_old_size = old_size;
    heap->last_size = new_size;
    return heap->fails ? NULL : realloc(block, new_size);
}

static void user_release(void *block, size_t size, void *arg)
{
    struct user_heap *heap = arg;

    heap->releases++;
    heap->last_size = size;
    free(block);
}

static int use_heap(struct user_heap *heap)
{
    return jd_memory_set_functions(&(jd_memory_functions){ user_allocate, user_reallocate, user_release, heap });
}

START_TEST(nothing_is_in_use_at_first)
{
    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

START_TEST(what_is_allocated_is_in_use_until_it_is_released)
{
    void *a = memory_allocate(100);
    void *b = memory_allocate(28);

    ck_assert_uint_eq(jd_memory_in_use(), 128);
    memory_release(a, 100);
    ck_assert_uint_eq(jd_memory_in_use(), 28);
    memory_release(b, 28);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

START_TEST(zeroed_memory_is_zero_and_counted)
{
    static const unsigned char zeros[1000];
    void *dirty = memory_allocate(sizeof(zeros));
    void *block;

    memset(dirty, 0xff, sizeof(zeros));
    memory_release(dirty, sizeof(zeros));
    block = memory_allocate_zeroed(sizeof(zeros));

    ck_assert_mem_eq(block, zeros, sizeof(zeros));
    ck_assert_uint_eq(jd_memory_in_use(), sizeof(zeros));
    memory_release(block, sizeof(zeros));
}
END_TEST

START_TEST(reallocating_keeps_the_bytes_and_counts_the_difference)
{
    char *block = memory_allocate(8);

    memcpy(block, "jinduo", 7);
    block = memory_reallocate(block, 8, 100000);
    ck_assert_str_eq(block, "jinduo");
    ck_assert_uint_eq(jd_memory_in_use(), 100000);
    block = memory_reallocate(block, 100000, 7);
    ck_assert_str_eq(block, "jinduo");
    ck_assert_uint_eq(jd_memory_in_use(), 7);
    memory_release(block, 7);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

START_TEST(reallocating_nothing_allocates)
{
    void *block = memory_reallocate(NULL, 0, 50);

    ck_assert_ptr_nonnull(block);
    ck_assert_uint_eq(jd_memory_in_use(), 50);
    memory_release(block, 50);
}
END_TEST

START_TEST(releasing_nothing_does_nothing)
{
    memory_release(NULL, 0);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

START_TEST(the_source_is_jemalloc_exactly_when_the_process_has_it)
{
    bool has_it = dlsym(RTLD_DEFAULT, "mallocx") != NULL;

    ck_assert_str_eq(jd_memory_source(), has_it ? "jemalloc" : "malloc");
}
END_TEST

START_TEST(user_functions_are_used_with_the_sizes_they_need)
{
    struct user_heap heap = { 0 };
    void *block;

    ck_assert_int_eq(use_heap(&heap), 0);
    ck_assert_str_eq(jd_memory_source(), "user");
    block = memory_allocate(10);
    ck_assert_int_eq(heap.allocations, 1);
    ck_assert_uint_eq(heap.last_size, 10);
    block = memory_reallocate(block, 10, 20);
    ck_assert_int_eq(heap.reallocations, 1);
    ck_assert_uint_eq(heap.last_old_size, 10);
    ck_assert_uint_eq(heap.last_size, 20);
    memory_release(block, 20);
    ck_assert_int_eq(heap.releases, 1);
    ck_assert_uint_eq(heap.last_size, 20);
}
END_TEST

START_TEST(user_functions_never_get_a_null_block_to_release)
{
    struct user_heap heap = { 0 };

    use_heap(&heap);
    memory_release(NULL, 0);

    ck_assert_int_eq(heap.releases, 0);
}
END_TEST

START_TEST(null_functions_bring_the_default_back)
{
    struct user_heap heap = { 0 };
    const char *before = jd_memory_source();

    use_heap(&heap);
    ck_assert_int_eq(jd_memory_set_functions(NULL), 0);
    memory_release(memory_allocate(10), 10);

    ck_assert_str_eq(jd_memory_source(), before);
    ck_assert_int_eq(heap.allocations, 0);
}
END_TEST

START_TEST(functions_cannot_change_while_memory_is_in_use)
{
    struct user_heap heap = { 0 };
    void *block = memory_allocate(10);

    ck_assert_int_eq(use_heap(&heap), JD_EBUSY);
    ck_assert_int_eq(jd_memory_set_functions(NULL), JD_EBUSY);
    memory_release(block, 10);

    ck_assert_int_eq(heap.releases, 0);
    ck_assert_int_eq(use_heap(&heap), 0);
}
END_TEST

START_TEST(functions_that_are_not_complete_are_refused)
{
    const char *before = jd_memory_source();
    jd_memory_functions no_allocate = { NULL, user_reallocate, user_release, NULL };
    jd_memory_functions no_reallocate = { user_allocate, NULL, user_release, NULL };
    jd_memory_functions no_release = { user_allocate, user_reallocate, NULL, NULL };

    ck_assert_int_eq(jd_memory_set_functions(&no_allocate), JD_EINVAL);
    ck_assert_int_eq(jd_memory_set_functions(&no_reallocate), JD_EINVAL);
    ck_assert_int_eq(jd_memory_set_functions(&no_release), JD_EINVAL);
    ck_assert_str_eq(jd_memory_source(), before);
}
END_TEST

START_TEST(memory_that_could_not_be_had_is_not_counted)
{
    struct user_heap heap = { .fails = true };

    use_heap(&heap);
    ck_assert_ptr_null(memory_allocate(10));
    ck_assert_ptr_null(memory_allocate_zeroed(10));
    ck_assert_ptr_null(memory_reallocate(NULL, 0, 10));
    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

START_TEST(a_block_that_could_not_be_reallocated_stays_valid_and_counted)
{
    struct user_heap heap = { 0 };
    char *block;

    use_heap(&heap);
    block = memory_allocate(8);
    memcpy(block, "jinduo", 7);
    heap.fails = true;
    ck_assert_ptr_null(memory_reallocate(block, 8, 16));

    ck_assert_str_eq(block, "jinduo");
    ck_assert_uint_eq(jd_memory_in_use(), 8);
    memory_release(block, 8);
}
END_TEST

enum { MEMORY_THREADS = 4, BLOCKS_PER_THREAD = 5000, HANDED_BLOCKS = 5000, ROUNDS = 20 };

static void *allocate_and_release(void *arg)
{
    for (size_t i = 1; i <= BLOCKS_PER_THREAD; i++)
        memory_release(memory_reallocate(memory_allocate(i), i, i + 7), i + 7);
    return memory_allocate(64);
}

START_TEST(threads_together_count_exactly)
{
    pthread_t threads[MEMORY_THREADS];
    void *left[MEMORY_THREADS];

    for (int i = 0; i < MEMORY_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, allocate_and_release, NULL), 0);
    for (int i = 0; i < MEMORY_THREADS; i++)
        pthread_join(threads[i], &left[i]);

    ck_assert_uint_eq(jd_memory_in_use(), MEMORY_THREADS * 64);
    for (int i = 0; i < MEMORY_THREADS; i++)
        memory_release(left[i], 64);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

/* As base/memory.c has them: thread 16 and thread 32 of a process are the first two to count in one place. */
enum { OWN_PLACES = 16, SHARED_PLACES = 16, SHARED_ROUNDS = 1000000 };

static pthread_barrier_t both_are_ready;

static void *allocate_once(void *arg)
{
    memory_release(memory_allocate(1), 1);
    return NULL;
}

static void start_threads_that_only_take_places(int count)
{
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, allocate_once, NULL), 0);
        pthread_join(thread, NULL);
    }
}

static void *count_beside_another(void *arg)
{
    atomic_bool *has_place = arg;
    void *left = memory_allocate(64);

    atomic_store(has_place, true);
    pthread_barrier_wait(&both_are_ready);
    for (int i = 0; i < SHARED_ROUNDS; i++)
        memory_release(memory_allocate(8), 8);
    return left;
}

START_TEST(threads_that_count_in_one_place_count_exactly)
{
    atomic_bool has_place = false;
    pthread_t first, second;
    void *left[2];
    pthread_barrier_init(&both_are_ready, NULL, 2);
    start_threads_that_only_take_places(OWN_PLACES);
    ck_assert_int_eq(pthread_create(&first, NULL, count_beside_another, &has_place), 0);
    while (!atomic_load(&has_place))
        sched_yield();
    start_threads_that_only_take_places(SHARED_PLACES - 1);

    ck_assert_int_eq(pthread_create(&second, NULL, count_beside_another, &has_place), 0);
    pthread_join(first, &left[0]);
    pthread_join(second, &left[1]);

    ck_assert_uint_eq(jd_memory_in_use(), 2 * 64);
    memory_release(left[0], 64);
    memory_release(left[1], 64);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
    pthread_barrier_destroy(&both_are_ready);
}
END_TEST

static void *watch_memory(void *arg)
{
    atomic_bool *over = arg;
    uintptr_t most = 0;

    while (!atomic_load(over)) {
        size_t in_use = jd_memory_in_use();
        most = in_use > most ? in_use : most;
    }
    return (void *)most;
}

static void *release_all(void *arg)
{
    void **blocks = arg;

    for (int i = 0; i < HANDED_BLOCKS; i++)
        memory_release(blocks[i], 64);
    return NULL;
}

START_TEST(what_one_thread_allocates_and_another_releases_never_seems_to_be_less_than_nothing)
{
    static void *blocks[HANDED_BLOCKS];
    atomic_bool over = false;
    pthread_t watcher, releaser;
    void *most;

    ck_assert_int_eq(pthread_create(&watcher, NULL, watch_memory, &over), 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < HANDED_BLOCKS; i++)
            blocks[i] = memory_allocate(64);
        ck_assert_int_eq(pthread_create(&releaser, NULL, release_all, blocks), 0);
        pthread_join(releaser, NULL);
        ck_assert_uint_eq(jd_memory_in_use(), 0);
    }
    atomic_store(&over, true);
    pthread_join(watcher, &most);
    /* At most all that was ever allocated, as reading takes its time. */
    ck_assert_uint_le((uintptr_t)most, ROUNDS * HANDED_BLOCKS * 64);
}
END_TEST

const char *const suite_name = "memory";

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("memory");

    tcase_add_test(tests, nothing_is_in_use_at_first);
    tcase_add_test(tests, what_is_allocated_is_in_use_until_it_is_released);
    tcase_add_test(tests, zeroed_memory_is_zero_and_counted);
    tcase_add_test(tests, reallocating_keeps_the_bytes_and_counts_the_difference);
    tcase_add_test(tests, reallocating_nothing_allocates);
    tcase_add_test(tests, releasing_nothing_does_nothing);
    tcase_add_test(tests, the_source_is_jemalloc_exactly_when_the_process_has_it);
    tcase_add_test(tests, user_functions_are_used_with_the_sizes_they_need);
    tcase_add_test(tests, user_functions_never_get_a_null_block_to_release);
    tcase_add_test(tests, null_functions_bring_the_default_back);
    tcase_add_test(tests, functions_cannot_change_while_memory_is_in_use);
    tcase_add_test(tests, functions_that_are_not_complete_are_refused);
    tcase_add_test(tests, memory_that_could_not_be_had_is_not_counted);
    tcase_add_test(tests, a_block_that_could_not_be_reallocated_stays_valid_and_counted);
    tcase_add_test(tests, threads_together_count_exactly);
    tcase_add_test(tests, threads_that_count_in_one_place_count_exactly);
    tcase_add_test(tests, what_one_thread_allocates_and_another_releases_never_seems_to_be_less_than_nothing);
    suite_add_tcase(suite, tests);
}
