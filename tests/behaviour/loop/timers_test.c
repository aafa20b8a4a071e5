/* Timers on every engine: what they may do to each other, to everything else in the turn, and what a clock may do to them. */
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"

#include <pthread.h>
#include <sched.h>

const char *const suite_name = "timers";

enum { MS = 1000 * 1000, HOUR_MS = 3600 * 1000 };

static unsigned ran;

static void count(void *arg)
{
    ran++;
}

static jd_timer_id start(uint64_t delay_ms, jd_task task, void *arg)
{
    jd_timer_id id = 0;

    ck_assert_int_eq(jd_event_loop_run_after(the_loop, delay_ms, task, arg, &id), 0);
    ck_assert_uint_ne(id, 0);
    return id;
}

static void pump_until_due(jd_timestamp when)
{
    while (jd_event_loop_now(the_loop) < when)
        pump_turns(1);
}

/* ---- cancelling ---- */

static jd_timer_id own, others[2];
static int cancelled = -1;

static void cancel_itself(void *arg)
{
    ran++;
    cancelled = jd_event_loop_cancel_timer(the_loop, own);
}

START_TEST(a_repeated_timer_may_cancel_itself)
{
    ck_assert_int_eq(jd_event_loop_run_every(the_loop, 1, cancel_itself, NULL, &own), 0);

    PUMP_UNTIL(ran == 1);
    ck_assert_int_eq(cancelled, 0);
    pump_until_due(jd_event_loop_now(the_loop) + 10 * MS);
    ck_assert_uint_eq(ran, 1);
}
END_TEST

static void cancel_other(void *arg)
{
    ran++;
    cancelled = jd_event_loop_cancel_timer(the_loop, *(jd_timer_id *)arg);
}

START_TEST(a_timer_may_cancel_another_that_is_due_in_the_same_turn)
{
    /* Whichever runs first cancels the other. */
    others[0] = start(1, cancel_other, &others[1]);
    others[1] = start(1, cancel_other, &others[0]);
    jd_timestamp due = jd_event_loop_now(the_loop) + 20 * MS;

    pump_until_due(due);

    ck_assert_uint_eq(ran, 1);
    ck_assert_int_eq(cancelled, 0);
}
END_TEST

static void *cancel_from_afar(void *id)
{
    return (void *)(intptr_t)jd_event_loop_cancel_timer(the_loop, *(jd_timer_id *)id);
}

START_TEST(a_timer_may_be_cancelled_from_another_thread)
{
    jd_timer_id id = start(HOUR_MS, count, NULL);
    pthread_t thread;
    void *result;

    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_from_afar, &id), 0);
    pthread_join(thread, &result);

    ck_assert_ptr_null(result);
    PUMP_UNTIL(jd_event_loop_cancel_timer(the_loop, id) == JD_ENOENT);
    ck_assert_uint_eq(the_loop->timers.wheel.count, 0);
}
END_TEST

enum { AFAR_ROUNDS = 300 };

static _Atomic unsigned rounds;
static unsigned unknown_ids;

static void look_at_own_id(void *arg)
{
    unknown_ids += own == 0;
    rounds++;
}

static void *start_from_afar(void *arg)
{
    for (unsigned i = 0; i < AFAR_ROUNDS; i++) {
        own = 0;
        if (jd_event_loop_run_after(the_loop, 0, look_at_own_id, NULL, &own) < 0)
            return the_loop;
        while (rounds == i)
            sched_yield();
    }
    return NULL;
}

/* So that it may cancel itself, say. The thread sanitizer sees it in each round. */
START_TEST(a_timer_started_in_another_thread_knows_its_id_when_it_runs)
{
    pthread_t thread;
    void *result;

    ck_assert_int_eq(pthread_create(&thread, NULL, start_from_afar, NULL), 0);
    PUMP_UNTIL(rounds == AFAR_ROUNDS);
    pthread_join(thread, &result);

    ck_assert_ptr_null(result);
    ck_assert_uint_eq(unknown_ids, 0);
}
END_TEST

/* ---- no delay ---- */

static void start_again(void *arg)
{
    int result = jd_event_loop_run_after(the_loop, 0, start_again, NULL, NULL);

    ck_assert(result == 0 || result == JD_ECANCELED); /* while the loop is being destroyed */
    ran++;
}

START_TEST(a_timer_that_starts_itself_without_delay_starves_no_connection)
{
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    start(0, start_again, NULL);

    client_send_pattern(client, 0, 100 * 1024);
    client_expect_pattern(client, 0, 100 * 1024);

    ck_assert_uint_gt(ran, 0);
    uint64_t turns = statistics().turns;
    unsigned before = ran;
    pump_turns(10);
    ck_assert_uint_le(ran - before, statistics().turns - turns);
}
END_TEST

/* ---- clocks ---- */

static _Atomic int64_t stepped_by;

static jd_timestamp stepped_now(const struct engine *engine)
{
    return engine_under_test()->now(engine) + stepped_by;
}

static struct engine_ops stepping_engine;

/* the_loop, its clock in the test's hand. */
static void use_stepped_clock(void)
{
    stepping_engine = *engine_under_test();
    stepping_engine.now = stepped_now;
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    ck_assert_int_eq(event_loop_create_on(&the_loop, NULL, &stepping_engine), 0);
}

START_TEST(a_clock_stepped_forward_makes_timers_due_once_each)
{
    use_stepped_clock();
    start(HOUR_MS, count, NULL);
    ck_assert_int_eq(jd_event_loop_run_every(the_loop, HOUR_MS, count, NULL, NULL), 0);
    pump_turns(3);
    ck_assert_uint_eq(ran, 0);

    stepped_by = (int64_t)100 * HOUR_MS * MS;
    PUMP_UNTIL(ran == 2);
    pump_turns(3 * engine_patience());

    ck_assert_uint_eq(ran, 2); /* the 99 rounds that were missed are not made up for */
    stepped_by += (int64_t)HOUR_MS * MS;
    PUMP_UNTIL(ran == 3);
}
END_TEST

/* The monotonic clock does not, but the loop must not depend on it: time stands still until the clock is back. */
START_TEST(a_clock_stepped_back_makes_no_started_timer_early_and_loses_none)
{
    use_stepped_clock();
    start((uint64_t)100 * HOUR_MS, count, NULL);
    stepped_by = (int64_t)HOUR_MS * MS;
    pump_turns(1);
    start(10, count, NULL);

    stepped_by = 0;
    pump_turns(3 * engine_patience());
    ck_assert_uint_eq(ran, 0);
    start(10, count, NULL);
    PUMP_UNTIL(ran == 1);

    stepped_by = (int64_t)HOUR_MS * MS;
    PUMP_UNTIL(ran == 2);
}
END_TEST

START_TEST(delays_around_the_largest_numbers_neither_run_nor_keep_the_loop_awake)
{
    static const uint64_t delays_ms[] = {
        (uint64_t)1 << 31, ((uint64_t)1 << 31) - 1, ((uint64_t)1 << 32) + 1, (uint64_t)1 << 63, UINT64_MAX,
    };
    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++)
        start(delays_ms[i], count, NULL);

    pump_until_quiet();

    ck_assert_uint_eq(ran, 0);
    ck_assert_int_gt(jd_event_loop_next_timeout_ms(the_loop), 1000 * 1000);
}
END_TEST

START_TEST(a_delay_of_more_than_2_to_the_31_ms_is_kept)
{
    static const int64_t delay_ms = ((int64_t)1 << 31) + 5;
    use_stepped_clock();
    start((uint64_t)delay_ms, count, NULL);

    stepped_by = (delay_ms - HOUR_MS) * MS;
    pump_turns(3 * engine_patience());
    ck_assert_uint_eq(ran, 0);

    stepped_by = delay_ms * MS;
    PUMP_UNTIL(ran == 1);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "timers");

    tcase_add_test(tests, a_repeated_timer_may_cancel_itself);
    tcase_add_test(tests, a_timer_may_cancel_another_that_is_due_in_the_same_turn);
    tcase_add_test(tests, a_timer_may_be_cancelled_from_another_thread);
    tcase_add_test(tests, a_timer_started_in_another_thread_knows_its_id_when_it_runs);
    tcase_add_test(tests, a_timer_that_starts_itself_without_delay_starves_no_connection);
    tcase_add_test(tests, a_clock_stepped_forward_makes_timers_due_once_each);
    tcase_add_test(tests, a_clock_stepped_back_makes_no_started_timer_early_and_loses_none);
    tcase_add_test(tests, delays_around_the_largest_numbers_neither_run_nor_keep_the_loop_awake);
    tcase_add_test(tests, a_delay_of_more_than_2_to_the_31_ms_is_kept);
}
