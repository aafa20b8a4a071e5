#include "base/system_calls.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"
#include "tests/support/loop_fixture.h"
#include "tests/support/sockets.h"

#include <jinduo/error.h>
#include <jinduo/log.h>
#include <jinduo/memory.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

const char *const suite_name = "event_loop";

enum { LOOPS_MAX = 255, NS_PER_MS = 1000000 };

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

static void quit_loop(void *arg)
{
    jd_event_loop_quit(arg);
}

/* ---- creation ---- */

static char last_message[256];

static void note_message(jd_log_level level, const char *message, void *arg)
{
    strncpy(last_message, message, sizeof(last_message) - 1);
}

START_TEST(a_loop_runs_the_reactor_unless_told_otherwise)
{
    ck_assert_int_eq(jd_event_loop_engine(test_loop), JD_ENGINE_REACTOR);
}
END_TEST

START_TEST(the_environment_may_name_the_engine)
{
    static const char *const names[] = { "reactor", "auto", "" };
    jd_event_loop *loop;
    setenv("JINDUO_ENGINE", names[_i], 1);

    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), 0);

    ck_assert_int_eq(jd_event_loop_engine(loop), JD_ENGINE_REACTOR);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

START_TEST(an_unknown_engine_in_the_environment_is_an_error_and_a_message_names_it)
{
    jd_event_loop *loop = NULL;
    jd_log_set_sink(note_message, NULL);
    setenv("JINDUO_ENGINE", "kqueue", 1);

    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), JD_EINVAL);

    ck_assert_ptr_null(loop);
    ck_assert_str_eq(last_message, "JINDUO_ENGINE: unknown engine 'kqueue'");
}
END_TEST

START_TEST(an_engine_asked_for_by_the_program_overrules_the_environment)
{
    const jd_event_loop_options options = { .engine = JD_ENGINE_REACTOR };
    jd_event_loop *loop;
    setenv("JINDUO_ENGINE", "kqueue", 1);

    ck_assert_int_eq(jd_event_loop_create(&loop, &options), 0);

    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

START_TEST(options_out_of_range_are_refused)
{
    const jd_event_loop_options refused[] = { { .engine = (jd_engine)99 }, { .busy_poll_us = 1000001 } };
    jd_event_loop *loop = NULL;

    ck_assert_int_eq(jd_event_loop_create(&loop, &refused[_i]), JD_EINVAL);
    ck_assert_ptr_null(loop);
}
END_TEST

START_TEST(an_engine_is_parsed_from_its_name_and_named_by_it)
{
    jd_engine engine = JD_ENGINE_AUTO;

    ck_assert_int_eq(jd_engine_parse(&engine, "reactor"), 0);
    ck_assert_int_eq(engine, JD_ENGINE_REACTOR);
    ck_assert_str_eq(jd_engine_name(engine), "reactor");
    ck_assert_int_eq(jd_engine_parse(&engine, "auto"), 0);
    ck_assert_int_eq(engine, JD_ENGINE_AUTO);
    ck_assert_str_eq(jd_engine_name(engine), "auto");
}
END_TEST

START_TEST(an_unknown_name_is_no_engine_and_leaves_the_result_untouched)
{
    jd_engine engine = JD_ENGINE_REACTOR;

    ck_assert_int_eq(jd_engine_parse(&engine, "Reactor"), JD_EINVAL);
    ck_assert_int_eq(jd_engine_parse(&engine, ""), JD_EINVAL);
    ck_assert_int_eq(engine, JD_ENGINE_REACTOR);
    ck_assert_str_eq(jd_engine_name((jd_engine)99), "unknown");
}
END_TEST

START_TEST(a_process_may_have_255_loops_and_no_more_until_one_is_gone)
{
    static jd_event_loop *loops[LOOPS_MAX];
    jd_event_loop *one_more = NULL;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 1024 ? limit.rlim_max : 1024;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    loops[0] = test_loop;
    for (int i = 1; i < LOOPS_MAX; i++)
        ck_assert_int_eq(jd_event_loop_create(&loops[i], NULL), 0);

    ck_assert_int_eq(jd_event_loop_create(&one_more, NULL), JD_EMFILE);

    ck_assert_ptr_null(one_more);
    ck_assert_int_eq(jd_event_loop_destroy(loops[100]), 0);
    ck_assert_int_eq(jd_event_loop_create(&loops[100], NULL), 0);
    for (int i = 1; i < LOOPS_MAX; i++)
        ck_assert_int_eq(jd_event_loop_destroy(loops[i]), 0);
}
END_TEST

static int no_epoll(int flags)
{
    errno = EMFILE;
    return -1;
}

static int no_eventfd(unsigned value, int flags)
{
    errno = ENFILE;
    return -1;
}

static int no_control(int epoll, int operation, int fd, struct epoll_event *event)
{
    errno = ENOMEM;
    return -1;
}

START_TEST(what_the_system_refuses_while_a_loop_is_made_is_its_error_and_nothing_leaks)
{
    int descriptors = open_descriptors();
    size_t memory = jd_memory_in_use();
    jd_event_loop *loop;

    system_calls.epoll_create1 = no_epoll;
    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), JD_EMFILE);
    system_calls_reset();
    system_calls.eventfd = no_eventfd;
    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), JD_ENFILE);
    system_calls_reset();
    system_calls.epoll_ctl = no_control;
    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), JD_ENOMEM);
    system_calls_reset();

    ck_assert_int_eq(open_descriptors(), descriptors);
    ck_assert_uint_eq(jd_memory_in_use(), memory);
}
END_TEST

START_TEST(a_loop_without_memory_at_any_allocation_is_not_made_and_nothing_leaks)
{
    int descriptors = open_descriptors();
    jd_event_loop *loop;
    unsigned number = 1;

    checking_memory_install();
    for (checking_memory_fail_at(number); jd_event_loop_create(&loop, NULL) != 0; checking_memory_fail_at(number)) {
        ck_assert(checking_memory_has_failed());
        ck_assert_uint_eq(jd_memory_in_use(), 0);
        ck_assert_int_eq(open_descriptors(), descriptors);
        number++;
    }
    ck_assert_uint_gt(number, 1);
    ck_assert(!checking_memory_has_failed());

    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
    checking_memory_remove();
}
END_TEST

/* ---- whose loop it is ---- */

static void *expect_foreign(void *arg)
{
    jd_timer_id id;

    ck_assert(!jd_event_loop_is_in_loop_thread(arg));
    ck_assert_int_eq(jd_event_loop_destroy(arg), JD_EPERM);
    ck_assert_int_eq(jd_event_loop_run_after(arg, 0, count, NULL, &id), JD_EPERM);
    ck_assert_int_eq(jd_event_loop_cancel_timer(arg, 1), JD_EPERM);
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

START_TEST(destroying_no_loop_does_nothing)
{
    ck_assert_int_eq(jd_event_loop_destroy(NULL), 0);
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

static void note_channel(jd_channel *channel, int fd, unsigned events, void *arg)
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

START_TEST(an_interrupted_wait_is_a_turn_without_events)
{
    struct ready_pipe ready;
    system_calls.epoll_wait = wait_interrupted;
    ready_pipe_open(&ready);

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(jd_event_loop_run_once(test_loop, -1), 0);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, -1), 1);

    ck_assert_uint_eq(ready.told, 1);
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

static void add_creation_tests(TCase *tests)
{
    tcase_add_test(tests, a_loop_runs_the_reactor_unless_told_otherwise);
    tcase_add_loop_test(tests, the_environment_may_name_the_engine, 0, 3);
    tcase_add_test(tests, an_unknown_engine_in_the_environment_is_an_error_and_a_message_names_it);
    tcase_add_test(tests, an_engine_asked_for_by_the_program_overrules_the_environment);
    tcase_add_loop_test(tests, options_out_of_range_are_refused, 0, 2);
    tcase_add_test(tests, an_engine_is_parsed_from_its_name_and_named_by_it);
    tcase_add_test(tests, an_unknown_name_is_no_engine_and_leaves_the_result_untouched);
    tcase_add_test(tests, a_process_may_have_255_loops_and_no_more_until_one_is_gone);
    tcase_add_test(tests, what_the_system_refuses_while_a_loop_is_made_is_its_error_and_nothing_leaks);
    tcase_add_test(tests, destroying_no_loop_does_nothing);
}

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
    TCase *with_loop = tcase_create("event_loop"), *without_loop = tcase_create("event_loop_memory");

    suite_add_tcase(suite, with_loop);
    tcase_set_timeout(with_loop, 60);
    tcase_add_checked_fixture(with_loop, loop_fixture_set_up, loop_fixture_tear_down);
    add_creation_tests(with_loop);
    add_ownership_tests(with_loop);
    add_turn_tests(with_loop);

    suite_add_tcase(suite, without_loop);
    tcase_set_timeout(without_loop, 60);
    tcase_add_test(without_loop, a_loop_without_memory_at_any_allocation_is_not_made_and_nothing_leaks);
}
