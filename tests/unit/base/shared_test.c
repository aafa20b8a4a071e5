#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <jinduo/shared.h>
#include <pthread.h>
#include <string.h>

const char *const suite_name = "shared";

static _Atomic unsigned released;

static void count_release(void *arg)
{
    ck_assert_str_eq(arg, "memory");
    released++;
}

START_TEST(a_copy_is_independent_of_what_it_was_made_from)
{
    char text[] = "hello";
    jd_shared *shared;

    ck_assert_int_eq(jd_shared_create(&shared, text, 5), 0);
    memset(text, 'x', 5);

    ck_assert_uint_eq(jd_shared_length(shared), 5);
    ck_assert_mem_eq(jd_shared_data(shared), "hello", 5);
    jd_shared_unref(shared);
}
END_TEST

START_TEST(of_nothing_there_is_one_too)
{
    jd_shared *shared;

    ck_assert_int_eq(jd_shared_create(&shared, NULL, 0), 0);

    ck_assert_uint_eq(jd_shared_length(shared), 0);
    jd_shared_unref(shared);
    jd_shared_unref(NULL);
}
END_TEST

START_TEST(owned_memory_is_not_copied_and_given_back_with_the_last_reference)
{
    char memory[] = "memory";
    jd_shared *shared;

    ck_assert_int_eq(jd_shared_create_owned(&shared, memory, 6, count_release, memory), 0);
    ck_assert_ptr_eq(jd_shared_data(shared), memory);
    ck_assert_ptr_eq(jd_shared_ref(shared), shared);
    jd_shared_unref(shared);
    ck_assert_uint_eq(released, 0);
    jd_shared_unref(shared);

    ck_assert_uint_eq(released, 1);
}
END_TEST

START_TEST(memory_that_stays_needs_no_release)
{
    jd_shared *shared;

    ck_assert_int_eq(jd_shared_create_owned(&shared, "memory", 6, NULL, NULL), 0);

    jd_shared_unref(shared);
}
END_TEST

START_TEST(without_memory_there_is_none_and_nothing_is_given_back)
{
    jd_shared *shared;

    checking_memory_fail_at(1);
    ck_assert_int_eq(jd_shared_create(&shared, "memory", 6), JD_ENOMEM);
    checking_memory_fail_at(1);
    ck_assert_int_eq(jd_shared_create_owned(&shared, "memory", 6, count_release, NULL), JD_ENOMEM);
    ck_assert_int_eq(jd_shared_create(&shared, "memory", SIZE_MAX), JD_ENOMEM);

    ck_assert_uint_eq(released, 0);
}
END_TEST

enum { THREADS = 4, ROUNDS = 20000 };

static void *take_and_give_back(void *shared)
{
    for (int i = 0; i < ROUNDS; i++)
        jd_shared_unref(jd_shared_ref(shared));
    jd_shared_unref(shared);
    return NULL;
}

/* Whichever is the last, once. */
START_TEST(threads_share_it_and_the_last_gives_it_back)
{
    char memory[] = "memory";
    pthread_t threads[THREADS];
    jd_shared *shared;
    ck_assert_int_eq(jd_shared_create_owned(&shared, memory, 6, count_release, memory), 0);
    for (int i = 0; i < THREADS; i++)
        jd_shared_ref(shared);

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give_back, shared), 0);
    jd_shared_unref(shared);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);

    ck_assert_uint_eq(released, 1);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("shared");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    tcase_add_test(tests, a_copy_is_independent_of_what_it_was_made_from);
    tcase_add_test(tests, of_nothing_there_is_one_too);
    tcase_add_test(tests, owned_memory_is_not_copied_and_given_back_with_the_last_reference);
    tcase_add_test(tests, memory_that_stays_needs_no_release);
    tcase_add_test(tests, without_memory_there_is_none_and_nothing_is_given_back);
    tcase_add_test(tests, threads_share_it_and_the_last_gives_it_back);
}
