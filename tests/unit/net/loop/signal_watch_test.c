#include "tests/support/check_main.h"
#include "tests/support/loop_fixture.h"

#include <errno.h>
#include <jinduo/error.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

const char *const suite_name = "signal_watch";

static unsigned reported[64];

static void on_signal(int number, void *arg)
{
    reported[number]++;
    if (arg != NULL)
        note_letter(arg);
}

static volatile sig_atomic_t handled;

static void own_handler(int number)
{
    handled++;
}

static int watch(int number, jd_signal_callback callback, void *arg)
{
    return jd_event_loop_watch_signal(test_loop, number, callback, arg);
}

START_TEST(a_watched_signal_is_reported_in_the_loop_and_not_in_the_handler)
{
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);

    raise(SIGUSR1);
    ck_assert_uint_eq(reported[SIGUSR1], 0);

    ck_assert_int_eq(jd_event_loop_run_once(test_loop, -1), 1);
    ck_assert_uint_eq(reported[SIGUSR1], 1);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 0);
    ck_assert_uint_eq(reported[SIGUSR1], 1);
}
END_TEST

START_TEST(several_arrivals_before_a_turn_are_reported_as_one)
{
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);

    for (int i = 0; i < 5; i++)
        raise(SIGUSR1);

    jd_event_loop_run_once(test_loop, -1);
    ck_assert_uint_eq(reported[SIGUSR1], 1);
}
END_TEST

START_TEST(several_signals_are_each_reported_with_their_number_and_argument)
{
    ck_assert_int_eq(watch(SIGUSR1, on_signal, letter('a')), 0);
    ck_assert_int_eq(watch(SIGUSR2, on_signal, letter('b')), 0);
    ck_assert_int_eq(watch(63, on_signal, letter('c')), 0);

    raise(63);
    raise(SIGUSR2);
    raise(SIGUSR1);

    ck_assert_int_eq(jd_event_loop_run_once(test_loop, -1), 3);
    ck_assert_uint_eq(reported[SIGUSR1], 1);
    ck_assert_uint_eq(reported[SIGUSR2], 1);
    ck_assert_uint_eq(reported[63], 1);
    ck_assert_uint_eq(strlen(noted), 3);
}
END_TEST

static void quit_on_signal(int number, void *arg)
{
    jd_event_loop_quit(test_loop);
}

static void *signal_when_asleep(void *arg)
{
    wait_for_sleep(test_loop, 1);
    kill(getpid(), SIGTERM);
    return NULL;
}

START_TEST(a_signal_wakes_a_sleeping_loop)
{
    ck_assert_int_eq(watch(SIGTERM, quit_on_signal, NULL), 0);
    pthread_t thread = start_thread(signal_when_asleep, NULL);

    ck_assert_int_eq(jd_event_loop_run(test_loop), 0);

    join_thread(thread);
}
END_TEST

START_TEST(the_handler_leaves_errno_as_it_was)
{
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);

    errno = ENOTTY;
    raise(SIGUSR1);

    ck_assert_int_eq(errno, ENOTTY);
}
END_TEST

START_TEST(watching_again_replaces_callback_and_argument)
{
    ck_assert_int_eq(watch(SIGUSR1, on_signal, letter('a')), 0);
    ck_assert_int_eq(watch(SIGUSR1, on_signal, letter('b')), 0);

    raise(SIGUSR1);
    jd_event_loop_run_once(test_loop, -1);

    ck_assert_str_eq(noted, "b");
}
END_TEST

/* ---- the process's own handler ---- */

START_TEST(no_callback_brings_the_replaced_handler_back)
{
    signal(SIGUSR1, own_handler);
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);
    raise(SIGUSR1);
    ck_assert_int_eq(handled, 0);

    ck_assert_int_eq(watch(SIGUSR1, NULL, NULL), 0);

    raise(SIGUSR1);
    ck_assert_int_eq(handled, 1);
}
END_TEST

START_TEST(destroying_the_loop_brings_the_replaced_handler_back)
{
    signal(SIGUSR1, own_handler);
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);

    ck_assert_int_eq(jd_event_loop_destroy(test_loop), 0);

    test_loop = NULL;
    raise(SIGUSR1);
    ck_assert_int_eq(handled, 1);
}
END_TEST

static void watch_late(void *arg)
{
    watch(SIGUSR1, on_signal, NULL);
}

START_TEST(a_watch_begun_while_the_loop_is_destroyed_does_not_outlive_it)
{
    signal(SIGUSR1, own_handler);
    jd_event_loop_queue_in_loop(test_loop, watch_late, NULL);

    ck_assert_int_eq(jd_event_loop_destroy(test_loop), 0);

    test_loop = NULL;
    raise(SIGUSR1);
    ck_assert_int_eq(handled, 1);
}
END_TEST

START_TEST(an_ignored_signal_is_ignored_again)
{
    struct sigaction action;
    signal(SIGUSR1, SIG_IGN);
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);

    ck_assert_int_eq(watch(SIGUSR1, NULL, NULL), 0);

    sigaction(SIGUSR1, NULL, &action);
    ck_assert(action.sa_handler == SIG_IGN);
}
END_TEST

START_TEST(a_signal_that_arrived_is_not_reported_when_it_is_watched_no_more)
{
    signal(SIGUSR1, own_handler);
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);
    raise(SIGUSR1);

    ck_assert_int_eq(watch(SIGUSR1, NULL, NULL), 0);

    jd_event_loop_run_once(test_loop, 0);
    ck_assert_uint_eq(reported[SIGUSR1], 0);
}
END_TEST

START_TEST(a_signal_that_arrived_in_one_watch_is_not_reported_in_the_next)
{
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);
    raise(SIGUSR1);

    ck_assert_int_eq(watch(SIGUSR1, NULL, NULL), 0);
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);

    jd_event_loop_run_once(test_loop, 0);
    ck_assert_uint_eq(reported[SIGUSR1], 0);
    raise(SIGUSR1);
    jd_event_loop_run_once(test_loop, -1);
    ck_assert_uint_eq(reported[SIGUSR1], 1);
}
END_TEST

START_TEST(a_signal_that_arrived_is_not_reported_by_a_loop_that_gave_it_to_another)
{
    jd_event_loop *other;
    ck_assert_int_eq(jd_event_loop_create(&other, NULL), 0);
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);
    raise(SIGUSR1);
    ck_assert_int_eq(watch(SIGUSR1, NULL, NULL), 0);
    ck_assert_int_eq(jd_event_loop_watch_signal(other, SIGUSR1, on_signal, NULL), 0);

    jd_event_loop_run_once(test_loop, 0);

    ck_assert_uint_eq(reported[SIGUSR1], 0);
    ck_assert_int_eq(jd_event_loop_destroy(other), 0);
}
END_TEST

static void stop_watching(int number, void *arg)
{
    reported[number]++;
    ck_assert_int_eq(watch(SIGUSR1, NULL, NULL), 0);
    ck_assert_int_eq(watch(SIGUSR2, NULL, NULL), 0);
}

START_TEST(a_callback_may_end_its_own_watch_and_that_of_a_signal_pending_in_the_same_turn)
{
    ck_assert_int_eq(watch(SIGUSR1, stop_watching, NULL), 0);
    ck_assert_int_eq(watch(SIGUSR2, stop_watching, NULL), 0);
    raise(SIGUSR1);
    raise(SIGUSR2);

    jd_event_loop_run_once(test_loop, -1);

    ck_assert_uint_eq(reported[SIGUSR1] + reported[SIGUSR2], 1);
}
END_TEST

START_TEST(ending_a_watch_that_never_was_does_nothing)
{
    signal(SIGUSR1, own_handler);

    ck_assert_int_eq(watch(SIGUSR1, NULL, NULL), 0);

    raise(SIGUSR1);
    ck_assert_int_eq(handled, 1);
}
END_TEST

/* ---- refusals ---- */

START_TEST(a_signal_that_another_loop_watches_is_busy_until_that_loop_lets_go)
{
    jd_event_loop *other;
    ck_assert_int_eq(jd_event_loop_create(&other, NULL), 0);
    ck_assert_int_eq(jd_event_loop_watch_signal(other, SIGUSR1, on_signal, NULL), 0);

    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), JD_EBUSY);
    ck_assert_int_eq(watch(SIGUSR1, NULL, NULL), JD_EBUSY);
    ck_assert_int_eq(watch(SIGUSR2, on_signal, NULL), 0);

    ck_assert_int_eq(jd_event_loop_destroy(other), 0);
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), 0);
}
END_TEST

START_TEST(numbers_that_are_no_signal_and_signals_that_cannot_be_caught_are_refused)
{
    static const int refused[] = { 0, -1, 64, 1000, SIGKILL, SIGSTOP };

    ck_assert_int_eq(watch(refused[_i], on_signal, NULL), JD_EINVAL);
}
END_TEST

static void *watch_from_outside(void *arg)
{
    ck_assert_int_eq(watch(SIGUSR1, on_signal, NULL), JD_EPERM);
    return NULL;
}

START_TEST(a_watch_from_another_thread_is_refused)
{
    run_in_thread(watch_from_outside, NULL);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("signal_watch");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, loop_fixture_set_up, loop_fixture_tear_down);
    tcase_add_test(tests, a_watched_signal_is_reported_in_the_loop_and_not_in_the_handler);
    tcase_add_test(tests, several_arrivals_before_a_turn_are_reported_as_one);
    tcase_add_test(tests, several_signals_are_each_reported_with_their_number_and_argument);
    tcase_add_test(tests, a_signal_wakes_a_sleeping_loop);
    tcase_add_test(tests, the_handler_leaves_errno_as_it_was);
    tcase_add_test(tests, watching_again_replaces_callback_and_argument);
    tcase_add_test(tests, no_callback_brings_the_replaced_handler_back);
    tcase_add_test(tests, destroying_the_loop_brings_the_replaced_handler_back);
    tcase_add_test(tests, a_watch_begun_while_the_loop_is_destroyed_does_not_outlive_it);
    tcase_add_test(tests, an_ignored_signal_is_ignored_again);
    tcase_add_test(tests, a_signal_that_arrived_is_not_reported_when_it_is_watched_no_more);
    tcase_add_test(tests, a_signal_that_arrived_in_one_watch_is_not_reported_in_the_next);
    tcase_add_test(tests, a_signal_that_arrived_is_not_reported_by_a_loop_that_gave_it_to_another);
    tcase_add_test(tests, a_callback_may_end_its_own_watch_and_that_of_a_signal_pending_in_the_same_turn);
    tcase_add_test(tests, ending_a_watch_that_never_was_does_nothing);
    tcase_add_test(tests, a_signal_that_another_loop_watches_is_busy_until_that_loop_lets_go);
    tcase_add_loop_test(tests, numbers_that_are_no_signal_and_signals_that_cannot_be_caught_are_refused, 0, 6);
    tcase_add_test(tests, a_watch_from_another_thread_is_refused);
}
