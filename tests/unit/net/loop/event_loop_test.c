#include "base/posix/system_calls.h"
#include "tests/support/check_main.h"
#include "tests/support/loop_fixture.h"

#include <jinduo/error.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

const char *const suite_name = "event_loop";

enum { NS_PER_MS = 1000000 };

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

static void quit_loop(void *arg)
{
    jd_event_loop_quit(arg);
}

/* ---- whose loop it is ---- */

static void *expect_foreign(void *arg)
{
    ck_assert(!jd_event_loop_is_in_loop_thread(arg));
    ck_assert_int_eq(jd_event_loop_destroy(arg), JD_EPERM);
    ck_assert_int_eq(jd_event_loop_watch_signal(arg, SIGUSR1, NULL, NULL), JD_EPERM);
    return NULL;
}

START_TEST(until_it_runs_a_loop_belongs_to_the_thread_that_made_it)
{
    ck_assert(jd_event_loop_is_in_loop_thread(test_loop));
    run_in_thread(expect_foreign, test_loop);
}
END_TEST

static void *run_foreign(void *arg)
{
    ck_assert_int_eq(jd_event_loop_run(arg), JD_EPERM);
    ck_assert_int_eq(jd_event_loop_run_once(arg, 0), JD_EPERM);
    return NULL;
}

START_TEST(a_loop_that_has_run_is_refused_to_every_other_thread)
{
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 0);

    run_in_thread(expect_foreign, test_loop);
    run_in_thread(run_foreign, test_loop);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 0);
}
END_TEST

static void *take_over(void *arg)
{
    ck_assert_int_eq(jd_event_loop_run_once(arg, 0), 0);
    ck_assert(jd_event_loop_is_in_loop_thread(arg));
    return NULL;
}

static void *take_over_and_destroy(void *arg)
{
    take_over(arg);
    ck_assert_int_eq(jd_event_loop_destroy(arg), 0);
    return NULL;
}

static void *take_over_and_stay(void *arg)
{
    pthread_barrier_t *barrier = arg;

    take_over(test_loop);
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    ck_assert_int_eq(jd_event_loop_destroy(test_loop), 0);
    return NULL;
}

START_TEST(a_loop_belongs_to_the_thread_that_first_runs_it)
{
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_t thread = start_thread(take_over_and_stay, &barrier);

    pthread_barrier_wait(&barrier);
    expect_foreign(test_loop);
    run_foreign(test_loop);
    pthread_barrier_wait(&barrier);

    join_thread(thread);
    test_loop = NULL;
}
END_TEST

START_TEST(the_thread_that_ran_a_loop_may_destroy_it)
{
    run_in_thread(take_over_and_destroy, test_loop);
    test_loop = NULL;
}
END_TEST

static void run_inside(void *arg)
{
    ck_assert_int_eq(jd_event_loop_run(test_loop), JD_EBUSY);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), JD_EBUSY);
    ck_assert_int_eq(jd_event_loop_destroy(test_loop), JD_EBUSY);
    count(arg);
}

START_TEST(inside_its_own_callback_a_loop_is_neither_run_nor_destroyed)
{
    unsigned ran = 0;
    jd_event_loop_queue_in_loop(test_loop, run_inside, &ran);

    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 1);

    ck_assert_uint_eq(ran, 1);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 0);
}
END_TEST

static void run_other(void *arg)
{
    ck_assert_int_eq(jd_event_loop_run_once(arg, 0), 1);
    ck_assert_int_eq(jd_event_loop_destroy(arg), 0);
}

START_TEST(inside_a_callback_another_loop_may_be_run_and_destroyed)
{
    unsigned ran = 0;
    jd_event_loop *other;
    ck_assert_int_eq(jd_event_loop_create(&other, NULL), 0);
    jd_event_loop_queue_in_loop(other, count, &ran);
    jd_event_loop_queue_in_loop(test_loop, run_other, other);

    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 1);

    ck_assert_uint_eq(ran, 1);
}
END_TEST

/* ---- a turn ---- */

START_TEST(a_turn_that_must_not_wait_returns_with_nothing_done)
{
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 0);

    ck_assert_uint_eq(statistics_of(test_loop).turns, 1);
    ck_assert_uint_eq(statistics_of(test_loop).idle_turns, 1);
    ck_assert_uint_eq(statistics_of(test_loop).sleeps, 0);
}
END_TEST

START_TEST(a_turn_with_nothing_to_do_lasts_as_long_as_it_may_and_no_less)
{
    enum { TIMEOUT_MS = 30 };
    jd_event_loop_run_once(test_loop, 0);
    jd_timestamp before = jd_event_loop_now(test_loop);

    ck_assert_int_eq(jd_event_loop_run_once(test_loop, TIMEOUT_MS), 0);

    ck_assert_int_ge(jd_event_loop_now(test_loop) - before, (int64_t)TIMEOUT_MS * NS_PER_MS);
    ck_assert_uint_eq(statistics_of(test_loop).sleeps, 1);
}
END_TEST

static void *push_when_asleep(void *arg)
{
    wait_for_sleep(test_loop, 1);
    ck_assert_int_eq(jd_event_loop_queue_in_loop(test_loop, count, arg), 0);
    return NULL;
}

START_TEST(a_turn_that_may_wait_without_end_waits_for_something_to_do)
{
    unsigned ran = 0;
    pthread_t thread = start_thread(push_when_asleep, &ran);

    while (ran == 0)
        ck_assert_int_ge(jd_event_loop_run_once(test_loop, -1), 0);

    join_thread(thread);
}
END_TEST

START_TEST(a_turn_says_how_many_events_and_tasks_it_handled)
{
    unsigned ran = 0;
    struct ready_pipe ready;
    ready_pipe_open(&ready);
    jd_event_loop_queue_in_loop(test_loop, count, &ran);
    jd_event_loop_queue_in_loop(test_loop, count, &ran);

    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 3);

    ck_assert_uint_eq(statistics_of(test_loop).events, 1);
    ck_assert_uint_eq(statistics_of(test_loop).tasks, 2);
    ck_assert_uint_eq(statistics_of(test_loop).idle_turns, 0);
    ready_pipe_close(&ready);
}
END_TEST

static void note_channel(jd_channel *channel, jd_handle fd, unsigned events, void *arg)
{
    note_letter(arg);
}

START_TEST(a_turn_runs_events_then_timers_then_tasks)
{
    struct ready_pipe ready;
    jd_channel *channel;
    ready_pipe_open(&ready);
    jd_channel_destroy(ready.channel);
    jd_event_loop_queue_in_loop(test_loop, note_letter, letter('k'));
    jd_event_loop_run_after(test_loop, 0, note_letter, letter('t'), NULL);
    jd_channel_create(&channel, test_loop, ready.ends[0], JD_READABLE, note_channel, letter('e'));
    ready.channel = channel;
    spend_ms(2);

    jd_event_loop_run_once(test_loop, 0);

    ck_assert_str_eq(noted, "etk");
    ready_pipe_close(&ready);
}
END_TEST

static jd_timestamp times[2];

static void note_time(void *arg)
{
    spend_ms(1);
    *(jd_timestamp *)arg = jd_event_loop_now(test_loop);
}

START_TEST(the_time_of_a_turn_stands_still_while_it_lasts)
{
    jd_event_loop_queue_in_loop(test_loop, note_time, &times[0]);
    jd_event_loop_queue_in_loop(test_loop, note_time, &times[1]);

    jd_event_loop_run_once(test_loop, 0);

    ck_assert_int_eq(times[0], times[1]);
    jd_event_loop_run_once(test_loop, 0);
    ck_assert_int_ge(jd_event_loop_now(test_loop) - times[0], 2 * NS_PER_MS);
}
END_TEST

START_TEST(the_time_of_a_turn_is_on_the_monotonic_clock)
{
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);

    jd_event_loop_run_once(test_loop, 0);

    clock_gettime(CLOCK_MONOTONIC, &after);
    ck_assert_int_ge(jd_event_loop_now(test_loop), before.tv_sec * (int64_t)1000000000 + before.tv_nsec);
    ck_assert_int_le(jd_event_loop_now(test_loop), after.tv_sec * (int64_t)1000000000 + after.tv_nsec);
}
END_TEST

static int waits;

static int wait_interrupted(int epoll, struct epoll_event *events, int size, int timeout_ms)
{
    if (waits++ < 3) {
        errno = EINTR;
        return -1;
    }
    return epoll_wait(epoll, events, size, timeout_ms);
}

#if JD_WITH_IO_URING
static int (*real_enter)(struct io_uring *ring, unsigned submissions, unsigned completions, unsigned flags,
                         const void *argument, size_t argument_bytes);

/* Only calls that wait are interrupted (io_uring_enter(2), EINTR). */
static int enter_interrupted(struct io_uring *ring, unsigned submissions, unsigned completions, unsigned flags,
                             const void *argument, size_t argument_bytes)
{
    if (completions > 0 && waits++ < 3)
        return -EINTR;
    return real_enter(ring, submissions, completions, flags, argument, argument_bytes);
}

static int enter_broken(struct io_uring *ring, unsigned submissions, unsigned completions, unsigned flags,
                        const void *argument, size_t argument_bytes)
{
    return -EBADF;
}
#endif

START_TEST(an_interrupted_wait_is_a_turn_without_events)
{
    struct ready_pipe ready;
    system_calls.epoll_wait = wait_interrupted;
#if JD_WITH_IO_URING
    real_enter = system_calls.io_uring_enter;
    system_calls.io_uring_enter = enter_interrupted;
#endif
    ready_pipe_open(&ready);

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(jd_event_loop_run_once(test_loop, -1), 0);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, -1), 1);

    ck_assert_uint_eq(ready.reported, 1);
    ready_pipe_close(&ready);
}
END_TEST

static int wait_broken(int epoll, struct epoll_event *events, int size, int timeout_ms)
{
    errno = EBADF;
    return -1;
}

START_TEST(an_engine_that_cannot_wait_ends_the_run_with_its_error)
{
    system_calls.epoll_wait = wait_broken;
#if JD_WITH_IO_URING
    system_calls.io_uring_enter = enter_broken;
#endif

    ck_assert_int_eq(jd_event_loop_run(test_loop), -EBADF);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), -EBADF);
}
END_TEST

/* ---- quitting ---- */

START_TEST(quit_before_run_lets_it_run_one_turn)
{
    unsigned ran = 0;
    jd_event_loop_queue_in_loop(test_loop, count, &ran);
    jd_event_loop_quit(test_loop);

    ck_assert_int_eq(jd_event_loop_run(test_loop), 0);

    ck_assert_uint_eq(ran, 1);
    ck_assert_uint_eq(statistics_of(test_loop).turns, 1);
}
END_TEST

START_TEST(quit_in_a_task_ends_the_run_after_the_turn_whose_other_tasks_run_still)
{
    unsigned ran = 0;
    jd_event_loop_queue_in_loop(test_loop, quit_loop, test_loop);
    jd_event_loop_queue_in_loop(test_loop, count, &ran);

    ck_assert_int_eq(jd_event_loop_run(test_loop), 0);

    ck_assert_uint_eq(ran, 1);
}
END_TEST

START_TEST(a_loop_that_quit_runs_again_until_it_quits_again)
{
    for (unsigned i = 1; i <= 3; i++) {
        jd_event_loop_run_after(test_loop, 1, quit_loop, test_loop, NULL);
        ck_assert_int_eq(jd_event_loop_run(test_loop), 0);
        ck_assert_uint_eq(statistics_of(test_loop).timers, i);
    }
}
END_TEST

static void *quit_when_asleep(void *arg)
{
    wait_for_sleep(test_loop, 1);
    jd_event_loop_quit(test_loop);
    return NULL;
}

START_TEST(quit_from_another_thread_wakes_a_sleeping_loop)
{
    pthread_t thread = start_thread(quit_when_asleep, NULL);

    ck_assert_int_eq(jd_event_loop_run(test_loop), 0);

    join_thread(thread);
}
END_TEST

static void quit_in_handler(int number)
{
    jd_event_loop_quit(test_loop);
}

static void *signal_when_asleep(void *arg)
{
    wait_for_sleep(test_loop, 1);
    kill(getpid(), SIGUSR1);
    return NULL;
}

START_TEST(quit_from_a_signal_handler_ends_the_run_of_a_sleeping_loop)
{
    signal(SIGUSR1, quit_in_handler);
    pthread_t thread = start_thread(signal_when_asleep, NULL);

    ck_assert_int_eq(jd_event_loop_run(test_loop), 0);

    join_thread(thread);
}
END_TEST

static void raise_signal(void *arg)
{
    raise(SIGUSR1);
}

START_TEST(quit_from_a_signal_handler_inside_a_callback_ends_the_run)
{
    signal(SIGUSR1, quit_in_handler);
    jd_event_loop_queue_in_loop(test_loop, raise_signal, NULL);

    ck_assert_int_eq(jd_event_loop_run(test_loop), 0);
}
END_TEST

/* ---- busy polling ---- */

static unsigned ticks_left;

static void tick(void *arg)
{
    if (--ticks_left == 0)
        jd_event_loop_quit(arg);
    else
        jd_event_loop_run_after(arg, 2, tick, arg, NULL);
}

START_TEST(a_busy_polling_loop_that_finds_nothing_goes_over_to_sleeping)
{
    enum { TICKS = 60 };
    const jd_event_loop_options options = { .busy_poll_us = 100000 };
    jd_event_loop *loop;
    ck_assert_int_eq(jd_event_loop_create(&loop, &options), 0);
    ticks_left = TICKS;
    jd_event_loop_run_after(loop, 2, tick, loop, NULL);

    ck_assert_int_eq(jd_event_loop_run(loop), 0);

    ck_assert_uint_ge(statistics_of(loop).sleeps, TICKS / 2);
    ck_assert_uint_le(statistics_of(loop).turns, 3 * TICKS);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

static _Atomic unsigned seen;

static void note_seen(void *arg)
{
    atomic_fetch_add(&seen, 1);
}

enum { PUSHES = 200 };

static void *push_one_by_one(void *arg)
{
    for (unsigned i = 0; i < PUSHES; i++) {
        ck_assert_int_eq(jd_event_loop_queue_in_loop(arg, note_seen, NULL), 0);
        while (atomic_load(&seen) == i)
            continue;
    }
    jd_event_loop_quit(arg);
    return NULL;
}

START_TEST(a_busy_polling_loop_with_much_to_do_need_not_be_woken)
{
    const jd_event_loop_options options = { .busy_poll_us = 1000000 };
    jd_event_loop *loop;
    ck_assert_int_eq(jd_event_loop_create(&loop, &options), 0);
    pthread_t thread = start_thread(push_one_by_one, loop);

    ck_assert_int_eq(jd_event_loop_run(loop), 0);

    join_thread(thread);
    ck_assert_uint_lt(statistics_of(loop).wakeups_sent, PUSHES / 10);
    ck_assert_uint_lt(statistics_of(loop).sleeps, PUSHES / 10);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

static void add_ownership_tests(TCase *tests)
{
    tcase_add_test(tests, until_it_runs_a_loop_belongs_to_the_thread_that_made_it);
    tcase_add_test(tests, a_loop_that_has_run_is_refused_to_every_other_thread);
    tcase_add_test(tests, a_loop_belongs_to_the_thread_that_first_runs_it);
    tcase_add_test(tests, the_thread_that_ran_a_loop_may_destroy_it);
    tcase_add_test(tests, inside_its_own_callback_a_loop_is_neither_run_nor_destroyed);
    tcase_add_test(tests, inside_a_callback_another_loop_may_be_run_and_destroyed);
}

static void add_turn_tests(TCase *tests)
{
    tcase_add_test(tests, a_turn_that_must_not_wait_returns_with_nothing_done);
    tcase_add_test(tests, a_turn_with_nothing_to_do_lasts_as_long_as_it_may_and_no_less);
    tcase_add_test(tests, a_turn_that_may_wait_without_end_waits_for_something_to_do);
    tcase_add_test(tests, a_turn_says_how_many_events_and_tasks_it_handled);
    tcase_add_test(tests, a_turn_runs_events_then_timers_then_tasks);
    tcase_add_test(tests, the_time_of_a_turn_stands_still_while_it_lasts);
    tcase_add_test(tests, the_time_of_a_turn_is_on_the_monotonic_clock);
    tcase_add_test(tests, an_interrupted_wait_is_a_turn_without_events);
    tcase_add_test(tests, an_engine_that_cannot_wait_ends_the_run_with_its_error);
    tcase_add_test(tests, quit_before_run_lets_it_run_one_turn);
    tcase_add_test(tests, quit_in_a_task_ends_the_run_after_the_turn_whose_other_tasks_run_still);
    tcase_add_test(tests, a_loop_that_quit_runs_again_until_it_quits_again);
    tcase_add_test(tests, quit_from_another_thread_wakes_a_sleeping_loop);
    tcase_add_test(tests, quit_from_a_signal_handler_ends_the_run_of_a_sleeping_loop);
    tcase_add_test(tests, quit_from_a_signal_handler_inside_a_callback_ends_the_run);
    tcase_add_test(tests, a_busy_polling_loop_that_finds_nothing_goes_over_to_sleeping);
    tcase_add_test(tests, a_busy_polling_loop_with_much_to_do_need_not_be_woken);
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("event_loop");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, loop_fixture_set_up, loop_fixture_tear_down);
    add_ownership_tests(tests);
    add_turn_tests(tests);
}
