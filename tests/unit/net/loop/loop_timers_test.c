#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"
#include "tests/support/loop_fixture.h"

#include <jinduo/error.h>
#include <string.h>
#include <time.h>

const char *const suite_name = "loop_timers";

enum { NS_PER_MS = 1000000 };

static jd_timer_id start(uint64_t delay_ms, jd_task task, void *arg)
{
    jd_timer_id id = 0;

    ck_assert_int_eq(jd_event_loop_run_after(test_loop, delay_ms, task, arg, &id), 0);
    ck_assert_uint_ne(id, 0);
    return id;
}

static int cancel(jd_timer_id id)
{
    return jd_event_loop_cancel_timer(test_loop, id);
}

static void run_until_noted(size_t count)
{
    while (strlen(noted) < count)
        ck_assert_int_ge(jd_event_loop_run_once(test_loop, -1), 0);
}

static jd_timestamp monotonic_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}

/* ---- when they run ---- */

static jd_timestamp ran_at;

static void note_time(void *arg)
{
    ran_at = jd_event_loop_now(test_loop);
    note_letter(arg);
}

START_TEST(a_timer_is_never_early)
{
    jd_timestamp before = monotonic_now();
    start((uint64_t)_i, note_time, letter('a'));

    run_until_noted(1);

    ck_assert_int_ge(ran_at - before, (int64_t)_i * NS_PER_MS);
}
END_TEST

START_TEST(a_timer_is_never_early_in_a_loop_that_never_sleeps)
{
    for (size_t i = 1; i <= 40; i++) {
        jd_timestamp before = monotonic_now();
        start(1, note_time, letter('a'));
        while (strlen(noted) < i)
            jd_event_loop_run_once(test_loop, 0);
        ck_assert_int_ge(ran_at - before, NS_PER_MS);
    }
}
END_TEST

START_TEST(a_timer_started_in_a_long_turn_counts_from_the_real_time_and_not_from_the_turns)
{
    jd_event_loop_run_once(test_loop, 0);
    spend_ms(20);
    jd_timestamp before = monotonic_now();
    start(5, note_time, letter('a'));

    run_until_noted(1);

    ck_assert_int_ge(ran_at - before, 5 * NS_PER_MS);
}
END_TEST

START_TEST(timers_run_once_in_the_order_of_their_times)
{
    static const char names[] = "cab";
    jd_timestamp now = jd_event_loop_now(test_loop);

    /* At times, not after delays: this thread may stand still in between. */
    for (int i = 0; i < 3; i++) {
        jd_timestamp when = now + (1 + 4 * (names[i] - 'a')) * (jd_timestamp)1000000;
        ck_assert_int_eq(jd_event_loop_run_at(test_loop, when, note_letter, letter(names[i]), NULL), 0);
    }

    run_until_noted(3);

    jd_event_loop_run_once(test_loop, 20);
    ck_assert_str_eq(noted, "abc");
    ck_assert_uint_eq(statistics_of(test_loop).timers, 3);
}
END_TEST

START_TEST(timers_of_one_time_run_in_the_order_they_were_started)
{
    for (char name = 'a'; name <= 'z'; name++)
        start(3, note_letter, letter(name));

    run_until_noted(26);

    ck_assert_str_eq(noted, "abcdefghijklmnopqrstuvwxyz");
}
END_TEST

START_TEST(a_timer_needs_no_id_to_run)
{
    ck_assert_int_eq(jd_event_loop_run_after(test_loop, 0, note_letter, letter('a'), NULL), 0);

    run_until_noted(1);
}
END_TEST

START_TEST(a_sleeping_loop_wakes_for_its_next_timer)
{
    size_t timers = 0;

    /* A thread that gets no turn in between finds its timer due. */
    while (statistics_of(test_loop).sleeps == 0 && timers < 20) {
        start(30, note_letter, letter('a'));
        run_until_noted(++timers);
    }

    ck_assert_uint_ge(statistics_of(test_loop).sleeps, 1);
    ck_assert_uint_le(statistics_of(test_loop).turns, 5 * timers);
}
END_TEST

START_TEST(a_timer_due_before_the_wait_is_over_ends_the_wait)
{
    start(5, note_letter, letter('a'));

    for (int i = 0; i < 5 && noted[0] == '\0'; i++)
        jd_event_loop_run_once(test_loop, 1000 * 1000);

    ck_assert_str_eq(noted, "a");
}
END_TEST

START_TEST(a_timer_for_a_far_future_neither_runs_nor_keeps_the_loop_awake)
{
    static const uint64_t delays_ms[] = { (uint64_t)1 << 31, UINT32_MAX, (uint64_t)1 << 32, INT64_MAX, UINT64_MAX };
    jd_timer_id id = start(delays_ms[_i], note_letter, letter('a'));

    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(jd_event_loop_run_once(test_loop, 2), 0);

    ck_assert_str_eq(noted, "");
    ck_assert_uint_eq(statistics_of(test_loop).sleeps, 5);
    ck_assert_int_eq(cancel(id), 0);
}
END_TEST

/* ---- zero delay ---- */

static void start_itself(void *arg)
{
    ++*(unsigned *)arg;
    start(0, start_itself, arg);
}

START_TEST(a_timer_that_starts_itself_without_delay_runs_at_most_once_a_turn_and_starves_no_event)
{
    enum { TURNS = 50 };
    unsigned rounds = 0;
    struct ready_pipe ready;
    ready_pipe_open(&ready);
    start(0, start_itself, &rounds);

    for (unsigned i = 1; i <= TURNS; i++) {
        jd_event_loop_run_once(test_loop, -1);
        ck_assert_uint_eq(ready.reported, i);
        ck_assert_uint_le(rounds, i);
    }

    ready_pipe_close(&ready);
}
END_TEST

START_TEST(a_timer_that_starts_itself_without_delay_starves_no_task)
{
    unsigned rounds = 0;
    start(0, start_itself, &rounds);
    while (rounds == 0)
        jd_event_loop_run_once(test_loop, -1);

    jd_event_loop_queue_in_loop(test_loop, note_letter, letter('a'));
    jd_event_loop_run_once(test_loop, -1);

    ck_assert_str_eq(noted, "a");
}
END_TEST

START_TEST(a_timer_without_delay_does_not_run_at_once)
{
    start(0, note_letter, letter('a'));

    ck_assert_str_eq(noted, "");
    run_until_noted(1);
}
END_TEST

/* ---- cancelling ---- */

START_TEST(a_cancelled_timer_never_runs)
{
    jd_timer_id id = start(1, note_letter, letter('a'));
    start(2, note_letter, letter('b'));

    ck_assert_int_eq(cancel(id), 0);

    run_until_noted(1);
    ck_assert_str_eq(noted, "b");
}
END_TEST

START_TEST(a_timer_is_cancelled_once)
{
    jd_timer_id id = start(1000, note_letter, letter('a'));

    ck_assert_int_eq(cancel(id), 0);
    ck_assert_int_eq(cancel(id), JD_ENOENT);
}
END_TEST

START_TEST(a_timer_that_has_run_is_not_found)
{
    jd_timer_id id = start(0, note_letter, letter('a'));
    run_until_noted(1);

    ck_assert_int_eq(cancel(id), JD_ENOENT);
}
END_TEST

START_TEST(an_id_that_never_was_is_not_found)
{
    ck_assert_int_eq(cancel(0), JD_ENOENT);
    ck_assert_int_eq(cancel(1), JD_ENOENT);
    ck_assert_int_eq(cancel(UINT64_MAX), JD_ENOENT);
}
END_TEST

START_TEST(the_id_of_a_timer_that_is_gone_names_no_later_one)
{
    jd_timer_id old = start(1000, note_letter, letter('a'));
    ck_assert_int_eq(cancel(old), 0);
    jd_timer_id fresh = start(0, note_letter, letter('b'));

    ck_assert_uint_ne(fresh, old);
    ck_assert_int_eq(cancel(old), JD_ENOENT);

    run_until_noted(1);
    ck_assert_str_eq(noted, "b");
}
END_TEST

static jd_timer_id target;
static int cancel_result;

static void cancel_target(void *arg)
{
    note_letter(arg);
    cancel_result = cancel(target);
}

START_TEST(a_timer_that_cancels_itself_is_running_already)
{
    target = start(0, cancel_target, letter('a'));

    run_until_noted(1);

    ck_assert_int_eq(cancel_result, JD_ENOENT);
}
END_TEST

START_TEST(a_timer_may_cancel_another_that_is_due_in_the_same_turn)
{
    start(1, cancel_target, letter('a'));
    target = start(1, note_letter, letter('b'));
    start(1, note_letter, letter('c'));
    spend_ms(3);

    jd_event_loop_run_once(test_loop, 0);

    ck_assert_str_eq(noted, "ac");
    ck_assert_int_eq(cancel_result, 0);
}
END_TEST

static void restart_target(void *arg)
{
    note_letter(arg);
    ck_assert_int_eq(cancel(target), 0);
    target = start(0, note_letter, letter('z'));
}

START_TEST(a_timer_may_replace_another_that_is_due_in_the_same_turn)
{
    start(1, restart_target, letter('a'));
    target = start(1, note_letter, letter('b'));
    spend_ms(3);

    run_until_noted(2);

    ck_assert_str_eq(noted, "az");
}
END_TEST

START_TEST(a_task_may_cancel_a_timer)
{
    target = start(10 * 1000, note_letter, letter('t'));
    jd_event_loop_queue_in_loop(test_loop, cancel_target, letter('a'));

    jd_event_loop_run_once(test_loop, 0);

    ck_assert_int_eq(cancel_result, 0);
    ck_assert_int_eq(jd_event_loop_next_timeout_ms(test_loop), -1); /* nothing is to come */
    ck_assert_str_eq(noted, "a");
}
END_TEST

static void *cancel_from_outside(void *arg)
{
    ck_assert_int_eq(cancel(*(jd_timer_id *)arg), 0);
    return NULL;
}

START_TEST(another_thread_may_cancel_a_timer)
{
    target = start(1000, note_letter, letter('t')); /* a thread may take long to start */

    run_in_thread(cancel_from_outside, &target);

    jd_event_loop_run_once(test_loop, -1);
    ck_assert_int_eq(cancel(target), JD_ENOENT);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 1010), 0);
    ck_assert_str_eq(noted, "");
}
END_TEST

/* ---- from other threads ---- */

static jd_timer_id outside_ids[2];

static void *start_from_outside(void *arg)
{
    ck_assert_int_eq(jd_event_loop_run_after(test_loop, 1, note_letter, letter('a'), &outside_ids[0]), 0);
    ck_assert_int_eq(jd_event_loop_run_after(test_loop, 0, note_letter, letter('b'), &outside_ids[1]), 0);
    return NULL;
}

START_TEST(another_thread_may_start_a_timer)
{
    run_in_thread(start_from_outside, NULL);

    ck_assert_uint_ne(outside_ids[0], outside_ids[1]);
    while (strlen(noted) < 2)
        ck_assert_int_ge(jd_event_loop_run_once(test_loop, -1), 0);
    ck_assert_str_eq(noted, "ba");
    ck_assert_int_eq(cancel(outside_ids[0]), JD_ENOENT);
}
END_TEST

START_TEST(a_timer_of_another_thread_may_be_cancelled_before_it_arrives)
{
    run_in_thread(start_from_outside, NULL);

    ck_assert_int_eq(cancel(outside_ids[0]), 0);
    ck_assert_int_eq(cancel(outside_ids[0]), JD_ENOENT);

    for (int i = 0; i < 5; i++)
        ck_assert_int_ge(jd_event_loop_run_once(test_loop, 2), 0);
    ck_assert_str_eq(noted, "b");
}
END_TEST

START_TEST(an_id_of_one_loop_cancels_nothing_on_another)
{
    jd_event_loop *other;
    target = start(1000, note_letter, letter('t'));
    ck_assert_int_eq(jd_event_loop_create(&other, NULL), 0);

    ck_assert_int_eq(jd_event_loop_cancel_timer(other, target), JD_ENOENT);

    ck_assert_int_eq(jd_event_loop_destroy(other), 0);
    ck_assert_int_eq(cancel(target), 0);
}
END_TEST

static void *run_until_quit(void *arg)
{
    jd_event_loop *loop = arg;

    ck_assert_int_eq(jd_event_loop_run(loop), 0);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
    return NULL;
}

static void quit_it(void *arg)
{
    jd_event_loop_quit(arg);
}

/* Whether the timer is started before the other thread takes the loop over or after: it runs. */
START_TEST(a_timer_started_while_another_thread_takes_the_loop_over_runs)
{
    for (int i = 0; i < 200; i++) {
        jd_event_loop *loop;
        pthread_t thread;
        ck_assert_int_eq(jd_event_loop_create(&loop, NULL), 0);
        ck_assert_int_eq(pthread_create(&thread, NULL, run_until_quit, loop), 0);
        ck_assert_int_eq(jd_event_loop_run_after(loop, 0, quit_it, loop, NULL), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
}
END_TEST

/* ---- at a time, and again and again ---- */

START_TEST(a_timer_may_be_started_for_a_time)
{
    jd_timestamp when = jd_event_loop_now(test_loop) + 3000000;
    ck_assert_int_eq(jd_event_loop_run_at(test_loop, when, note_letter, letter('a'), NULL), 0);

    while (strlen(noted) < 1)
        ck_assert_int_ge(jd_event_loop_run_once(test_loop, -1), 0);

    ck_assert_int_ge(jd_event_loop_now(test_loop), when);
}
END_TEST

START_TEST(a_time_already_past_is_due_in_the_next_turn)
{
    ck_assert_int_eq(jd_event_loop_run_at(test_loop, 0, note_letter, letter('a'), NULL), 0);
    ck_assert_int_eq(jd_event_loop_run_at(test_loop, -1, note_letter, letter('b'), NULL), 0);

    jd_event_loop_run_once(test_loop, 0);

    ck_assert_str_eq(noted, "ab");
}
END_TEST

static unsigned rounds;

static void cancel_in_the_fourth_round(void *arg)
{
    if (++rounds == 4)
        cancel_target(letter('c'));
}

START_TEST(a_repeated_timer_runs_until_it_cancels_itself)
{
    jd_timestamp begun = jd_event_loop_now(test_loop);
    ck_assert_int_eq(jd_event_loop_run_every(test_loop, 2, cancel_in_the_fourth_round, NULL, &target), 0);

    while (rounds < 4)
        ck_assert_int_ge(jd_event_loop_run_once(test_loop, -1), 0);

    ck_assert_int_eq(cancel_result, 0);
    ck_assert_int_ge(jd_event_loop_now(test_loop) - begun, 4 * 2 * 1000000);
    jd_event_loop_run_once(test_loop, 10);
    ck_assert_uint_eq(rounds, 4);
}
END_TEST

START_TEST(an_interval_of_zero_is_refused)
{
    ck_assert_int_eq(jd_event_loop_run_every(test_loop, 0, note_letter, letter('a'), NULL), JD_EINVAL);
}
END_TEST

/* ---- many ---- */

enum { MANY = 5000 };
static unsigned runs[MANY];

static void count_run(void *arg)
{
    ++*(unsigned *)arg;
}

START_TEST(of_thousands_of_timers_those_that_are_not_cancelled_run_once)
{
    static jd_timer_id ids[MANY];
    uint64_t random = test_seed();
    for (int i = 0; i < MANY; i++)
        ids[i] = start(random_below(&random, 100), count_run, &runs[i]);
    for (int i = 0; i < MANY; i += 2)
        ck_assert_int_eq(cancel(ids[i]), 0);

    while (statistics_of(test_loop).timers < MANY / 2)
        jd_event_loop_run_once(test_loop, -1);

    jd_event_loop_run_once(test_loop, 2);
    for (int i = 0; i < MANY; i++)
        ck_assert_uint_eq(runs[i], i % 2);
}
END_TEST

/* ---- the loop's end, and no memory ---- */

START_TEST(destroying_a_loop_cancels_its_timers)
{
    start(0, note_letter, letter('a'));
    start(1000, note_letter, letter('b'));
    spend_ms(2);

    ck_assert_int_eq(jd_event_loop_destroy(test_loop), 0);

    test_loop = NULL;
    ck_assert_str_eq(noted, "");
}
END_TEST

static void start_late(void *arg)
{
    note_letter(arg);
    jd_event_loop_run_after(test_loop, 0, note_letter, letter('z'), NULL);
}

START_TEST(a_timer_started_while_the_loop_is_destroyed_never_runs_and_does_not_leak)
{
    jd_event_loop_queue_in_loop(test_loop, start_late, letter('a'));

    ck_assert_int_eq(jd_event_loop_destroy(test_loop), 0);

    test_loop = NULL;
    ck_assert_str_eq(noted, "a");
}
END_TEST

START_TEST(a_timer_for_which_there_is_no_memory_never_runs)
{
    jd_timer_id id = 0;
    /* The fixture's loop must be gone: the library holds memory of the other kind. */
    jd_event_loop_destroy(test_loop);
    checking_memory_install();
    ck_assert_int_eq(jd_event_loop_create(&test_loop, NULL), 0);

    checking_memory_fail_at(1);
    ck_assert_int_eq(jd_event_loop_run_after(test_loop, 0, note_letter, letter('a'), &id), JD_ENOMEM);

    ck_assert_uint_eq(id, 0);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 5), 0);
    ck_assert_str_eq(noted, "");
    jd_event_loop_destroy(test_loop);
    test_loop = NULL;
    checking_memory_remove();
}
END_TEST

static void add_cancel_tests(TCase *tests)
{
    tcase_add_test(tests, a_cancelled_timer_never_runs);
    tcase_add_test(tests, a_timer_is_cancelled_once);
    tcase_add_test(tests, a_timer_that_has_run_is_not_found);
    tcase_add_test(tests, an_id_that_never_was_is_not_found);
    tcase_add_test(tests, the_id_of_a_timer_that_is_gone_names_no_later_one);
    tcase_add_test(tests, a_timer_that_cancels_itself_is_running_already);
    tcase_add_test(tests, a_timer_may_cancel_another_that_is_due_in_the_same_turn);
    tcase_add_test(tests, a_timer_may_replace_another_that_is_due_in_the_same_turn);
    tcase_add_test(tests, a_task_may_cancel_a_timer);
    tcase_add_test(tests, another_thread_may_cancel_a_timer);
    tcase_add_test(tests, another_thread_may_start_a_timer);
    tcase_add_test(tests, a_timer_of_another_thread_may_be_cancelled_before_it_arrives);
    tcase_add_test(tests, a_timer_started_while_another_thread_takes_the_loop_over_runs);
    tcase_add_test(tests, an_id_of_one_loop_cancels_nothing_on_another);
    tcase_add_test(tests, a_timer_may_be_started_for_a_time);
    tcase_add_test(tests, a_time_already_past_is_due_in_the_next_turn);
    tcase_add_test(tests, a_repeated_timer_runs_until_it_cancels_itself);
    tcase_add_test(tests, an_interval_of_zero_is_refused);
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("loop_timers");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, loop_fixture_set_up, loop_fixture_tear_down);
    tcase_add_loop_test(tests, a_timer_is_never_early, 0, 8);
    tcase_add_test(tests, a_timer_is_never_early_in_a_loop_that_never_sleeps);
    tcase_add_test(tests, a_timer_started_in_a_long_turn_counts_from_the_real_time_and_not_from_the_turns);
    tcase_add_test(tests, timers_run_once_in_the_order_of_their_times);
    tcase_add_test(tests, timers_of_one_time_run_in_the_order_they_were_started);
    tcase_add_test(tests, a_timer_needs_no_id_to_run);
    tcase_add_test(tests, a_sleeping_loop_wakes_for_its_next_timer);
    tcase_add_test(tests, a_timer_due_before_the_wait_is_over_ends_the_wait);
    tcase_add_loop_test(tests, a_timer_for_a_far_future_neither_runs_nor_keeps_the_loop_awake, 0, 5);
    tcase_add_test(tests, a_timer_that_starts_itself_without_delay_runs_at_most_once_a_turn_and_starves_no_event);
    tcase_add_test(tests, a_timer_that_starts_itself_without_delay_starves_no_task);
    tcase_add_test(tests, a_timer_without_delay_does_not_run_at_once);
    add_cancel_tests(tests);
    tcase_add_test(tests, of_thousands_of_timers_those_that_are_not_cancelled_run_once);
    tcase_add_test(tests, destroying_a_loop_cancels_its_timers);
    tcase_add_test(tests, a_timer_started_while_the_loop_is_destroyed_never_runs_and_does_not_leak);
    tcase_add_test(tests, a_timer_for_which_there_is_no_memory_never_runs);
}
