#include "net/loop/event_loop.h"
#include "proactor/engines.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"
#include "tests/support/loop_fixture.h"

#include <jinduo/error.h>
#include <sched.h>
#include <stdatomic.h>

const char *const suite_name = "loop_tasks";

static void destroy_test_loop(void)
{
    ck_assert_int_eq(jd_event_loop_destroy(test_loop), 0);
    test_loop = NULL;
}

/* ---- when tasks run ---- */

static void run_two(void *arg)
{
    ck_assert_int_eq(jd_event_loop_run_in_loop(test_loop, note_letter, letter('a')), 0);
    note_letter(letter('b'));
}

START_TEST(run_in_loop_inside_a_callback_of_the_loop_runs_the_task_at_once)
{
    jd_event_loop_queue_in_loop(test_loop, run_two, NULL);

    jd_event_loop_run_once(test_loop, 0);

    ck_assert_str_eq(noted, "ab");
}
END_TEST

START_TEST(run_in_loop_outside_the_callbacks_of_the_loop_queues_the_task)
{
    ck_assert_int_eq(jd_event_loop_run_in_loop(test_loop, note_letter, letter('a')), 0);

    ck_assert_str_eq(noted, "");
    jd_event_loop_run_once(test_loop, 0);
    ck_assert_str_eq(noted, "a");
}
END_TEST

static void *run_from_outside(void *arg)
{
    ck_assert_int_eq(jd_event_loop_run_in_loop(test_loop, note_letter, letter('a')), 0);
    return NULL;
}

START_TEST(run_in_loop_from_another_thread_queues_the_task)
{
    run_in_thread(run_from_outside, NULL);

    ck_assert_str_eq(noted, "");
    jd_event_loop_run_once(test_loop, 0);
    ck_assert_str_eq(noted, "a");
}
END_TEST

START_TEST(queue_in_loop_never_runs_the_task_at_once)
{
    ck_assert_int_eq(jd_event_loop_queue_in_loop(test_loop, note_letter, letter('a')), 0);

    ck_assert_str_eq(noted, "");
    jd_event_loop_run_once(test_loop, 0);
    ck_assert_str_eq(noted, "a");
}
END_TEST

START_TEST(tasks_run_once_in_the_order_they_were_queued)
{
    for (char name = 'a'; name <= 'd'; name++)
        jd_event_loop_queue_in_loop(test_loop, note_letter, letter(name));

    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 4);

    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 0);
    ck_assert_str_eq(noted, "abcd");
}
END_TEST

static void note_and_queue(void *name)
{
    note_letter(name);
    jd_event_loop_queue_in_loop(test_loop, note_letter, letter('z'));
}

START_TEST(a_task_queued_by_a_task_waits_for_the_next_turn)
{
    jd_event_loop_queue_in_loop(test_loop, note_and_queue, letter('a'));
    jd_event_loop_queue_in_loop(test_loop, note_letter, letter('b'));

    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 2);
    ck_assert_str_eq(noted, "ab");
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, -1), 1);
    ck_assert_str_eq(noted, "abz");
}
END_TEST

static unsigned in_order, out_of_order;

static void note_number(void *number)
{
    if ((uintptr_t)number == in_order)
        in_order++;
    else
        out_of_order++;
}

static int queue_number(uintptr_t number)
{
    return jd_event_loop_queue_in_loop(test_loop, note_number, (void *)number); // NOLINT(performance-no-int-to-ptr)
}

START_TEST(any_number_of_tasks_is_kept_in_order_while_the_loop_does_not_run)
{
    enum { TASKS = 100000 };
    for (uintptr_t number = 0; number < TASKS; number++)
        ck_assert_int_eq(queue_number(number), 0);

    while (in_order + out_of_order < TASKS)
        ck_assert_int_gt(jd_event_loop_run_once(test_loop, 0), 0);

    ck_assert_uint_eq(out_of_order, 0);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 0);
}
END_TEST

START_TEST(a_task_for_which_there_is_no_memory_never_runs)
{
    uintptr_t kept = 0;
    int result;
    /* The fixture's loop must be gone: the library holds memory of the other kind. */
    jd_event_loop_destroy(test_loop);
    checking_memory_install();
    ck_assert_int_eq(jd_event_loop_create(&test_loop, NULL), 0);

    /* Thousands need none. */
    checking_memory_fail_at(1);
    while ((result = queue_number(kept)) == 0)
        kept++;
    ck_assert_int_eq(result, JD_ENOMEM);
    ck_assert_uint_gt(kept, 1000);
    ck_assert_int_eq(queue_number(kept), 0); /* memory fails but once */

    while (in_order + out_of_order < kept + 1)
        ck_assert_int_gt(jd_event_loop_run_once(test_loop, 0), 0);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 0);
    ck_assert_uint_eq(in_order, kept + 1);
    jd_event_loop_destroy(test_loop);
    test_loop = NULL;
    checking_memory_remove();
}
END_TEST

/* ---- tasks and everything else ---- */

static unsigned rounds;

static void queue_itself(void *arg)
{
    rounds++;
    jd_event_loop_queue_in_loop(test_loop, queue_itself, arg);
}

START_TEST(a_task_that_queues_itself_runs_once_a_turn_and_starves_no_event)
{
    enum { TURNS = 100 };
    struct ready_pipe ready;
    ready_pipe_open(&ready);
    jd_event_loop_queue_in_loop(test_loop, queue_itself, NULL);

    for (int i = 0; i < TURNS; i++)
        ck_assert_int_eq(jd_event_loop_run_once(test_loop, -1), 2);

    ck_assert_uint_eq(rounds, TURNS);
    ck_assert_uint_eq(ready.reported, TURNS);
    ready_pipe_close(&ready);
}
END_TEST

START_TEST(a_task_that_queues_itself_starves_no_timer)
{
    jd_event_loop_queue_in_loop(test_loop, queue_itself, NULL);
    jd_event_loop_run_after(test_loop, 1, note_letter, letter('t'), NULL);

    while (noted[0] == '\0')
        jd_event_loop_run_once(test_loop, -1);
}
END_TEST

enum { SLOW_TASKS = 100 };
static unsigned slow_ran[SLOW_TASKS], slow_count;

static void run_slowly(void *arg)
{
    spend_ms(1);
    slow_ran[slow_count++] = *(unsigned *)arg;
}

START_TEST(many_slow_tasks_are_spread_over_turns_in_order_so_that_events_have_theirs)
{
    unsigned numbers[SLOW_TASKS];
    struct ready_pipe ready;
    ready_pipe_open(&ready);
    for (unsigned i = 0; i < SLOW_TASKS; i++) {
        numbers[i] = i;
        jd_event_loop_queue_in_loop(test_loop, run_slowly, &numbers[i]);
    }

    jd_event_loop_run_once(test_loop, 0);
    ck_assert_uint_lt(slow_count, SLOW_TASKS);
    jd_event_loop_queue_in_loop(test_loop, note_letter, letter('z'));
    while (slow_count < SLOW_TASKS) {
        ck_assert_str_eq(noted, "");
        ck_assert_int_gt(jd_event_loop_run_once(test_loop, -1), 1);
    }

    for (unsigned i = 0; i < SLOW_TASKS; i++)
        ck_assert_uint_eq(slow_ran[i], i);
    ck_assert_uint_ge(ready.reported, 3);
    jd_event_loop_run_once(test_loop, 0);
    ck_assert_str_eq(noted, "z");
    ready_pipe_close(&ready);
}
END_TEST

/* ---- several threads ---- */

enum { PUSHERS = 4, PUSHES = 5000 };

/* One for each push: who pushed it, and as which of his. */
static struct push {
    unsigned pusher, number, runs;
} pushes[PUSHERS][PUSHES];
static unsigned next_number[PUSHERS], total;

static void note_push(void *arg)
{
    struct push *push = arg;

    push->runs++;
    ck_assert_uint_eq(push->number, next_number[push->pusher]++);
    if (++total == PUSHERS * PUSHES)
        jd_event_loop_quit(test_loop);
}

static void *push_many(void *arg)
{
    struct push *mine = arg;

    for (unsigned i = 0; i < PUSHES; i++)
        ck_assert_int_eq(jd_event_loop_queue_in_loop(test_loop, note_push, &mine[i]), 0);
    return NULL;
}

START_TEST(tasks_from_several_threads_all_run_once_and_those_of_one_thread_in_order)
{
    pthread_t threads[PUSHERS];
    for (unsigned i = 0; i < PUSHERS * PUSHES; i++)
        pushes[i / PUSHES][i % PUSHES] = (struct push){ .pusher = i / PUSHES, .number = i % PUSHES };
    for (unsigned i = 0; i < PUSHERS; i++)
        threads[i] = start_thread(push_many, pushes[i]);

    ck_assert_int_eq(jd_event_loop_run(test_loop), 0);

    for (unsigned i = 0; i < PUSHERS; i++)
        join_thread(threads[i]);
    for (unsigned i = 0; i < PUSHERS * PUSHES; i++)
        ck_assert_uint_eq(pushes[i / PUSHES][i % PUSHES].runs, 1);
    ck_assert_uint_eq(statistics_of(test_loop).tasks, PUSHERS * PUSHES);
}
END_TEST

static void *push_to_sleeper(void *arg)
{
    wait_for_sleep(test_loop, 1);
    ck_assert_int_eq(jd_event_loop_queue_in_loop(test_loop, note_letter, letter('a')), 0);
    return NULL;
}

START_TEST(a_task_for_a_sleeping_loop_wakes_it_once)
{
    pthread_t thread = start_thread(push_to_sleeper, NULL);

    while (noted[0] == '\0')
        jd_event_loop_run_once(test_loop, -1);

    join_thread(thread);
    ck_assert_uint_eq(statistics_of(test_loop).wakeups_sent, 1);
    ck_assert_uint_eq(statistics_of(test_loop).wakeups_saved, 0);
}
END_TEST

static void let_others_push(void *arg)
{
    run_in_thread(push_many, arg);
}

START_TEST(thousands_of_tasks_for_a_busy_loop_send_not_one_wake_up)
{
    for (unsigned i = 0; i < PUSHES; i++)
        pushes[0][i] = (struct push){ .number = i };
    jd_event_loop_queue_in_loop(test_loop, let_others_push, pushes[0]);

    while (total < PUSHES)
        jd_event_loop_run_once(test_loop, -1);

    ck_assert_uint_eq(statistics_of(test_loop).wakeups_sent, 0);
    ck_assert_uint_ge(statistics_of(test_loop).wakeups_saved, PUSHES);
    ck_assert_uint_eq(statistics_of(test_loop).sleeps, 0);
}
END_TEST

START_TEST(a_task_queued_inside_a_callback_of_the_loop_is_no_wake_up_at_all)
{
    jd_event_loop_queue_in_loop(test_loop, note_and_queue, letter('a'));
    jd_event_loop_run_once(test_loop, 0);
    uint64_t saved = statistics_of(test_loop).wakeups_saved;

    jd_event_loop_queue_in_loop(test_loop, note_and_queue, letter('b'));
    jd_event_loop_run_once(test_loop, 0);

    ck_assert_str_eq(noted, "azb");
    ck_assert_uint_eq(statistics_of(test_loop).wakeups_sent, 0);
    ck_assert_uint_eq(statistics_of(test_loop).wakeups_saved, saved + 1);
}
END_TEST

static void run_nothing(struct task_node *task)
{
}

/* ---- the last look ---- */

static const struct engine_ops *real_engine;
static unsigned clock_readings, readings_before_wait, push_at_reading;
static int64_t last_timeout_ns;

static jd_timestamp push_and_tell_time(const struct engine *engine)
{
    if (++clock_readings == push_at_reading)
        run_in_thread(run_from_outside, NULL);
    return real_engine->now(engine);
}

static int note_timeout(struct engine *engine, int64_t timeout_ns)
{
    last_timeout_ns = timeout_ns;
    readings_before_wait = clock_readings;
    return real_engine->wait(engine, 0);
}

/* The last thing that the loop asks before it sleeps is the time, and it has found its queue empty before. The pusher sees a loop that is awake and does not
 * wake it: so the loop has to look again before it sleeps. */
START_TEST(a_task_that_comes_between_looking_and_sleeping_is_not_slept_upon)
{
    enum { FAR_MS = 3600 * 1000 };
    struct engine_ops hooked;
    jd_timer_id timer;
    destroy_test_loop();
    real_engine = engines_compiled_in[0];
    hooked = *real_engine;
    hooked.now = push_and_tell_time;
    hooked.wait = note_timeout;
    ck_assert_int_eq(event_loop_create_on(&test_loop, NULL, &hooked), 0);
    ck_assert_int_eq(jd_event_loop_run_after(test_loop, FAR_MS, note_letter, letter('z'), &timer), 0);
    clock_readings = 0;
    jd_event_loop_run_once(test_loop, -1);
    ck_assert_int_gt(last_timeout_ns, 0);
    ck_assert_uint_gt(readings_before_wait, 0);
    push_at_reading = readings_before_wait;
    clock_readings = 0;

    jd_event_loop_run_once(test_loop, -1);

    ck_assert_int_eq(last_timeout_ns, 0);
    ck_assert_str_eq(noted, "a");
    ck_assert_uint_eq(statistics_of(test_loop).wakeups_sent, 0);
    destroy_test_loop();
}
END_TEST

/* ---- a waker that is slow ---- */

static atomic_bool is_in_wake, is_ending;
static bool destroyed_under_waker;

static void wake_and_linger(struct engine *engine)
{
    real_engine->wake(engine);
    atomic_store(&is_in_wake, true);
    while (!atomic_load(&is_ending))
        sched_yield();
    spend_ms(20); /* for a loop that would not wait */
    atomic_store(&is_in_wake, false);
}

static void note_and_destroy(struct engine *engine)
{
    destroyed_under_waker = atomic_load(&is_in_wake);
    real_engine->destroy(engine);
}

static void *queue_when_asleep(void *arg)
{
    wait_for_sleep(test_loop, 1);
    return run_from_outside(arg);
}

/* It has woken the loop, which ends; the descriptor that it may be writing to must not end before it is out. */
START_TEST(the_engine_of_a_loop_does_not_end_while_another_thread_wakes_it)
{
    struct engine_ops hooked;
    pthread_t waker;
    destroy_test_loop();
    real_engine = engines_compiled_in[0];
    hooked = *real_engine;
    hooked.wake = wake_and_linger;
    hooked.destroy = note_and_destroy;
    ck_assert_int_eq(event_loop_create_on(&test_loop, NULL, &hooked), 0);
    waker = start_thread(queue_when_asleep, NULL);
    while (noted[0] == '\0')
        jd_event_loop_run_once(test_loop, -1);
    while (!atomic_load(&is_in_wake))
        sched_yield();

    atomic_store(&is_ending, true);
    destroy_test_loop();

    ck_assert(!destroyed_under_waker);
    join_thread(waker);
}
END_TEST

/* What it queued was the end of the loop; only then does it come to the wake-up. */
START_TEST(a_waker_that_comes_after_the_loops_end_touches_it_no_more)
{
    struct loop_wake *wake = test_loop->shared.wake;
    destroy_test_loop();

    event_loop_wake(wake);

    ck_assert_int_eq(jd_event_loop_create(&test_loop, NULL), 0);
    ck_assert_ptr_eq(test_loop->shared.wake, wake);
    event_loop_wake(wake);
    ck_assert_uint_eq(statistics_of(test_loop).wakeups_sent, 0);
}
END_TEST

static void *wake_when_asleep(void *wake)
{
    wait_for_sleep(test_loop, 1);
    event_loop_wake(wake);
    return NULL;
}

START_TEST(a_waker_that_comes_after_the_loops_end_wakes_the_next_of_its_index_for_nothing)
{
    struct loop_wake *wake = test_loop->shared.wake;
    pthread_t waker;
    destroy_test_loop();
    ck_assert_int_eq(jd_event_loop_create(&test_loop, NULL), 0);
    waker = start_thread(wake_when_asleep, wake);

    ck_assert_int_ge(jd_event_loop_run_once(test_loop, -1), 0);

    join_thread(waker);
    ck_assert_uint_eq(statistics_of(test_loop).tasks, 0);
}
END_TEST

START_TEST(a_task_for_an_index_that_no_loop_has_is_refused)
{
    struct task_node task = { .run = run_nothing };
    uint8_t index = test_loop->index;

    ck_assert_int_eq(event_loop_push_by_index(0, &task), JD_ENOENT);
    ck_assert_int_eq(event_loop_push_by_index((uint8_t)(index + 1), &task), JD_ENOENT);
    ck_assert_int_eq(event_loop_push_by_index(index, &task), 0);
    ck_assert_int_eq(jd_event_loop_run_once(test_loop, 0), 1);
    ck_assert_int_eq(jd_event_loop_destroy(test_loop), 0);
    test_loop = NULL;
    ck_assert_int_eq(event_loop_push_by_index(index, &task), JD_ENOENT);
}
END_TEST

/* ---- the loop's end ---- */

START_TEST(destroying_a_loop_runs_what_is_queued_once_in_order)
{
    jd_event_loop_queue_in_loop(test_loop, note_letter, letter('a'));
    jd_event_loop_queue_in_loop(test_loop, note_letter, letter('b'));

    destroy_test_loop();

    ck_assert_str_eq(noted, "ab");
}
END_TEST

START_TEST(destroying_a_loop_runs_what_the_last_turn_left_over)
{
    unsigned numbers[SLOW_TASKS];
    for (unsigned i = 0; i < SLOW_TASKS; i++) {
        numbers[i] = i;
        jd_event_loop_queue_in_loop(test_loop, run_slowly, &numbers[i]);
    }
    jd_event_loop_run_once(test_loop, 0);
    ck_assert_uint_lt(slow_count, SLOW_TASKS);

    destroy_test_loop();

    ck_assert_uint_eq(slow_count, SLOW_TASKS);
    for (unsigned i = 0; i < SLOW_TASKS; i++)
        ck_assert_uint_eq(slow_ran[i], i);
}
END_TEST

START_TEST(a_task_queued_by_a_task_while_the_loop_is_destroyed_runs_too)
{
    jd_event_loop_queue_in_loop(test_loop, note_and_queue, letter('a'));

    destroy_test_loop();

    ck_assert_str_eq(noted, "az");
}
END_TEST

static int last_result;

static void queue_itself_for_ever(void *arg)
{
    rounds++;
    last_result = jd_event_loop_queue_in_loop(test_loop, queue_itself_for_ever, arg);
}

START_TEST(a_task_that_queues_itself_is_refused_at_last_when_the_loop_is_destroyed)
{
    jd_event_loop_queue_in_loop(test_loop, queue_itself_for_ever, NULL);

    destroy_test_loop();

    ck_assert_uint_ge(rounds, 1);
    ck_assert_int_eq(last_result, JD_ECANCELED);
}
END_TEST

START_TEST(quitting_with_thousands_of_tasks_queued_loses_none)
{
    for (unsigned i = 0; i < PUSHES; i++) {
        pushes[0][i] = (struct push){ .number = i };
        jd_event_loop_queue_in_loop(test_loop, note_push, &pushes[0][i]);
        if (i == PUSHES / 2)
            jd_event_loop_quit(test_loop);
    }

    ck_assert_int_eq(jd_event_loop_run(test_loop), 0);
    destroy_test_loop();

    ck_assert_uint_eq(total, PUSHES);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("loop_tasks");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, loop_fixture_set_up, loop_fixture_tear_down);
    tcase_add_test(tests, run_in_loop_inside_a_callback_of_the_loop_runs_the_task_at_once);
    tcase_add_test(tests, run_in_loop_outside_the_callbacks_of_the_loop_queues_the_task);
    tcase_add_test(tests, run_in_loop_from_another_thread_queues_the_task);
    tcase_add_test(tests, queue_in_loop_never_runs_the_task_at_once);
    tcase_add_test(tests, tasks_run_once_in_the_order_they_were_queued);
    tcase_add_test(tests, a_task_queued_by_a_task_waits_for_the_next_turn);
    tcase_add_test(tests, any_number_of_tasks_is_kept_in_order_while_the_loop_does_not_run);
    tcase_add_test(tests, a_task_for_which_there_is_no_memory_never_runs);
    tcase_add_test(tests, a_task_that_queues_itself_runs_once_a_turn_and_starves_no_event);
    tcase_add_test(tests, a_task_that_queues_itself_starves_no_timer);
    tcase_add_test(tests, many_slow_tasks_are_spread_over_turns_in_order_so_that_events_have_theirs);
    tcase_add_test(tests, tasks_from_several_threads_all_run_once_and_those_of_one_thread_in_order);
    tcase_add_test(tests, a_task_for_a_sleeping_loop_wakes_it_once);
    tcase_add_test(tests, thousands_of_tasks_for_a_busy_loop_send_not_one_wake_up);
    tcase_add_test(tests, a_task_queued_inside_a_callback_of_the_loop_is_no_wake_up_at_all);
    tcase_add_test(tests, a_task_that_comes_between_looking_and_sleeping_is_not_slept_upon);
    tcase_add_test(tests, the_engine_of_a_loop_does_not_end_while_another_thread_wakes_it);
    tcase_add_test(tests, a_waker_that_comes_after_the_loops_end_touches_it_no_more);
    tcase_add_test(tests, a_waker_that_comes_after_the_loops_end_wakes_the_next_of_its_index_for_nothing);
    tcase_add_test(tests, a_task_for_an_index_that_no_loop_has_is_refused);
    tcase_add_test(tests, destroying_a_loop_runs_what_is_queued_once_in_order);
    tcase_add_test(tests, destroying_a_loop_runs_what_the_last_turn_left_over);
    tcase_add_test(tests, a_task_queued_by_a_task_while_the_loop_is_destroyed_runs_too);
    tcase_add_test(tests, a_task_that_queues_itself_is_refused_at_last_when_the_loop_is_destroyed);
    tcase_add_test(tests, quitting_with_thousands_of_tasks_queued_loses_none);
}
