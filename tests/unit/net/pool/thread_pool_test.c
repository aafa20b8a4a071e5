#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <jinduo/event_loop.h>
#include <jinduo/memory.h>
#include <jinduo/thread_pool.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

const char *const suite_name = "thread_pool";

/* ck_assert is not for several threads: what they find goes here. */
static _Atomic unsigned failures;

static void require(bool condition)
{
    failures += !condition;
}

static jd_thread_pool_statistics statistics_of(jd_thread_pool *pool)
{
    jd_thread_pool_statistics now;

    jd_thread_pool_get_statistics(pool, &now);
    return now;
}

/* ---- options ---- */

START_TEST(options_out_of_range_are_refused)
{
    static const jd_thread_pool_options wrong[] = { { .threads = 1025 }, { .task_limit = (1 << 20) + 1 } };
    jd_thread_pool *pool;

    ck_assert_int_eq(jd_thread_pool_create(&pool, &wrong[_i]), JD_EINVAL);
}
END_TEST

START_TEST(without_options_there_is_a_thread_for_each_core)
{
    jd_thread_pool *pool;
    cpu_set_t usable;
    ck_assert_int_eq(sched_getaffinity(0, sizeof(usable), &usable), 0);

    ck_assert_int_eq(jd_thread_pool_create(&pool, NULL), 0);

    ck_assert_uint_eq(statistics_of(pool).threads, (unsigned)CPU_COUNT(&usable));
    ck_assert_int_eq(jd_thread_pool_destroy(pool), 0);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

START_TEST(destroying_no_pool_and_no_strand_does_nothing)
{
    ck_assert_int_eq(jd_thread_pool_destroy(NULL), 0);
    jd_strand_destroy(NULL);
}
END_TEST

/* ---- threads ---- */

enum { THREADS = 3 };

static _Thread_local bool initialised;
static _Atomic unsigned initialisations, at_barrier;

static void initialise(void *arg)
{
    require(strcmp(arg, "arg") == 0);
    require(!initialised);
    initialised = true;
    initialisations++;
}

static void look_at_thread(void *arg)
{
    char name[16];
    sigset_t blocked;

    require(initialised);
    require(pthread_getname_np(pthread_self(), name, sizeof(name)) == 0);
    require(strncmp(name, "parser-", 7) == 0 && name[7] >= '0' && name[7] < '0' + THREADS && name[8] == '\0');
    require(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0);
    require(sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGUSR1) == 1);
    /* Each in a thread of its own. */
    at_barrier++;
    while (at_barrier < THREADS)
        sched_yield();
}

START_TEST(threads_have_a_name_and_no_signals_and_are_initialised_before_their_first_work)
{
    jd_thread_pool_options options = {
        .name = "parser", .threads = THREADS, .thread_init = initialise, .thread_init_arg = (char[]){ "arg" }
    };
    jd_thread_pool *pool;
    ck_assert_int_eq(jd_thread_pool_create(&pool, &options), 0);

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(jd_thread_pool_submit(pool, look_at_thread, NULL, NULL, NULL, NULL), 0);

    ck_assert_int_eq(jd_thread_pool_wait(pool), 0);
    ck_assert_uint_eq(initialisations, THREADS);
    ck_assert_uint_eq(failures, 0);
    ck_assert_int_eq(jd_thread_pool_destroy(pool), 0);
}
END_TEST

static size_t usual_stack_bytes;

static void set_default_stack(size_t bytes)
{
    pthread_attr_t attributes;

    ck_assert_int_eq(pthread_getattr_default_np(&attributes), 0);
    ck_assert_int_eq(pthread_attr_getstacksize(&attributes, &usual_stack_bytes), 0);
    ck_assert_int_eq(pthread_attr_setstacksize(&attributes, bytes), 0);
    ck_assert_int_eq(pthread_setattr_default_np(&attributes), 0);
    pthread_attr_destroy(&attributes);
}

START_TEST(a_pool_whose_threads_cannot_be_started_is_not_made)
{
    jd_thread_pool_options options = { .threads = THREADS };
    jd_thread_pool *pool;
    set_default_stack((size_t)1 << 50); /* more than there are addresses */

    ck_assert_int_eq(jd_thread_pool_create(&pool, &options), JD_EAGAIN);

    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

/* ---- memory ---- */

static void do_nothing(void *arg)
{
}

static _Atomic unsigned ends;

static void count_end(int error, void *arg)
{
    ends++;
}

/* A pool, a strand, a loop. Returns the first error. */
static int use_a_pool(void)
{
    jd_thread_pool_options options = { .threads = 2, .task_limit = 8 };
    jd_thread_pool *pool = NULL;
    jd_strand *strand = NULL;
    int result = jd_thread_pool_create(&pool, &options);

    if (result == 0)
        result = jd_strand_create(&strand, pool);
    if (result == 0)
        result = jd_strand_submit(strand, do_nothing, NULL, NULL, count_end, NULL);
    jd_strand_destroy(strand);
    ck_assert_int_eq(jd_thread_pool_destroy(pool), 0);
    return result;
}

START_TEST(without_memory_at_any_allocation_a_pool_or_strand_is_not_made_and_nothing_leaks)
{
    enum { ALLOCATIONS = 3 };

    for (unsigned number = 1; number <= ALLOCATIONS; number++) {
        checking_memory_fail_at(number);
        ck_assert_int_eq(use_a_pool(), JD_ENOMEM);
        ck_assert(checking_memory_has_failed());
    }
    checking_memory_fail_at(ALLOCATIONS + 1);
    ck_assert_int_eq(use_a_pool(), 0);
    ck_assert(!checking_memory_has_failed());
}
END_TEST

START_TEST(a_task_takes_no_memory)
{
    enum { TASKS = 1000 };
    jd_thread_pool *pool;
    jd_strand *strand;
    jd_event_loop *loop;
    unsigned before;
    ck_assert_int_eq(jd_thread_pool_create(&pool, NULL), 0);
    ck_assert_int_eq(jd_strand_create(&strand, pool), 0);
    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), 0);
    before = checking_memory_allocations();

    for (unsigned i = 0; i < TASKS; i++) {
        ck_assert_int_eq(jd_thread_pool_submit(pool, do_nothing, NULL, loop, count_end, NULL), 0);
        ck_assert_int_eq(jd_strand_submit(strand, do_nothing, NULL, loop, count_end, NULL), 0);
        while (ends < 2 * (i + 1))
            jd_event_loop_run_once(loop, -1);
    }

    ck_assert_uint_eq(checking_memory_allocations(), before);
    jd_strand_destroy(strand);
    ck_assert_int_eq(jd_thread_pool_destroy(pool), 0);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("thread_pool"), *memory = tcase_create("memory");

    suite_add_tcase(suite, tests);
    tcase_add_loop_test(tests, options_out_of_range_are_refused, 0, 2);
    tcase_add_test(tests, without_options_there_is_a_thread_for_each_core);
    tcase_add_test(tests, destroying_no_pool_and_no_strand_does_nothing);
    tcase_add_test(tests, threads_have_a_name_and_no_signals_and_are_initialised_before_their_first_work);
    tcase_add_test(tests, a_pool_whose_threads_cannot_be_started_is_not_made);

    suite_add_tcase(suite, memory);
    tcase_add_checked_fixture(memory, checking_memory_install, checking_memory_remove);
    tcase_add_test(memory, without_memory_at_any_allocation_a_pool_or_strand_is_not_made_and_nothing_leaks);
    tcase_add_test(memory, a_task_takes_no_memory);
}
