/* Strands: tasks of a pool that run one after the other. */
#include "tests/behaviour/pool/pool_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

const char *const suite_name = "strand";

static jd_strand *make_strand(jd_thread_pool *pool)
{
    jd_strand *strand = NULL;

    ck_assert_int_eq(jd_strand_create(&strand, pool), 0);
    return strand;
}

enum { STRANDS = 3, SUBMITTERS = 4, SUBMITS = 2000 };

/* What only the tasks of one strand touch: no lock. */
static struct strand_state {
    jd_strand *strand;
    unsigned next[SUBMITTERS];
    unsigned tasks;
} states[STRANDS];

struct strand_task {
    struct strand_state *state;
    unsigned submitter, number;
};

static void run_in_strand(void *arg)
{
    const struct strand_task *task = arg;

    require(task->number == task->state->next[task->submitter]++);
    task->state->tasks++;
}

static void free_task(int error, void *arg)
{
    note_end_on_loop(error, NULL);
    free(arg);
}

static void *submit_to_strands(void *arg)
{
    for (unsigned i = 0; i < SUBMITS; i++) {
        for (unsigned k = 0; k < STRANDS; k++) {
            struct strand_task *task = malloc(sizeof(*task));
            int result;
            *task = (struct strand_task){ .state = &states[k], .submitter = (unsigned)(uintptr_t)arg, .number = i };
            while ((result = jd_strand_submit(states[k].strand, run_in_strand, task, the_loop, free_task, task)) ==
                   JD_EAGAIN)
                sched_yield();
            require(result == 0);
        }
    }
    return NULL;
}

START_TEST(a_strand_runs_one_task_at_a_time_and_each_submitters_in_order)
{
    pthread_t threads[SUBMITTERS];
    jd_thread_pool *pool = make_pool(4, 64);
    for (unsigned i = 0; i < STRANDS; i++)
        states[i].strand = make_strand(pool);

    for (uintptr_t i = 0; i < SUBMITTERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, submit_to_strands, (void *)i), 0);
    PUMP_UNTIL(reported == STRANDS * SUBMITTERS * SUBMITS);

    for (int i = 0; i < SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < STRANDS; i++)
        jd_strand_destroy(states[i].strand);
    destroy(pool);
    for (int i = 0; i < STRANDS; i++)
        ck_assert_uint_eq(states[i].tasks, SUBMITTERS * SUBMITS);
    ck_assert_uint_eq(reported_cancelled, 0);
}
END_TEST

static void expect_next(int error, void *arg)
{
    require((uintptr_t)arg == reported);
    note_end_on_loop(error, NULL);
}

START_TEST(the_ends_of_a_strands_tasks_are_reported_in_order)
{
    enum { TASKS = 500 };
    jd_thread_pool *pool = make_pool(4, 0);
    jd_strand *strand = make_strand(pool);

    for (uintptr_t i = 0; i < TASKS; i++)
        ck_assert_int_eq(jd_strand_submit(strand, work, NULL, the_loop, expect_next, (void *)i), 0);

    PUMP_UNTIL(reported == TASKS);
    jd_strand_destroy(strand);
    destroy(pool);
}
END_TEST

static _Atomic unsigned worked_before;

static void note_how_many_worked(void *arg)
{
    worked_before = worked;
}

START_TEST(a_strand_with_much_to_do_lets_others_go_first_now_and_then)
{
    enum { TASKS = 100, BUDGET = 16 };
    jd_thread_pool *pool = make_pool(1, 0);
    jd_strand *strand = make_strand(pool);
    submit(pool, wait_at_gate);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(jd_strand_submit(strand, work, NULL, the_loop, note_end_on_loop, NULL), 0);
    submit(pool, note_how_many_worked);

    gate_open = true;
    PUMP_UNTIL(reported == TASKS + 2);

    ck_assert_uint_eq(worked_before, BUDGET);
    jd_strand_destroy(strand);
    destroy(pool);
}
END_TEST

static void submit_itself(void *strand)
{
    jd_strand_submit(strand, submit_itself, strand, NULL, NULL, NULL);
}

START_TEST(a_strand_whose_task_submits_itself_without_end_starves_nobody)
{
    jd_thread_pool *pool = make_pool(1, 0);
    jd_strand *strand = make_strand(pool);
    ck_assert_int_eq(jd_strand_submit(strand, submit_itself, strand, NULL, NULL, NULL), 0);

    for (unsigned i = 1; i <= 20; i++) {
        submit(pool, work);
        PUMP_UNTIL(reported == i);
    }

    ck_assert_uint_eq(reported_cancelled, 0);
    destroy(pool);
    jd_strand_destroy(strand);
}
END_TEST

START_TEST(the_waiting_tasks_of_a_strand_keep_no_thread)
{
    jd_thread_pool *pool = make_pool(2, 0);
    jd_strand *strand = make_strand(pool);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(jd_strand_submit(strand, wait_at_gate, NULL, the_loop, note_end_on_loop, NULL), 0);

    submit(pool, work);

    PUMP_UNTIL(reported == 1);
    ck_assert_uint_eq(worked, 1);
    gate_open = true;
    PUMP_UNTIL(reported == 6);
    jd_strand_destroy(strand);
    destroy(pool);
}
END_TEST

START_TEST(a_destroyed_strand_lets_running_work_end_and_cancels_the_rest)
{
    enum { TASKS = 40 };
    jd_thread_pool *pool = make_pool(2, 0);
    jd_strand *strand = make_strand(pool), *other = make_strand(pool);
    ck_assert_int_eq(jd_strand_submit(strand, wait_at_gate, NULL, the_loop, expect_next, (void *)0), 0);
    for (uintptr_t i = 1; i < TASKS; i++)
        ck_assert_int_eq(jd_strand_submit(strand, work, NULL, the_loop, expect_next, (void *)i), 0);
    PUMP_UNTIL(at_gate == 1);

    jd_strand_destroy(strand);
    jd_strand_destroy(other);
    ck_assert_uint_eq(reported, 0);
    gate_open = true;

    PUMP_UNTIL(reported == TASKS);
    ck_assert_uint_eq(worked, 0);
    ck_assert_uint_eq(reported_cancelled, TASKS - 1);
    destroy(pool);
}
END_TEST

static void destroy_strand(void *strand)
{
    jd_strand_destroy(strand);
}

START_TEST(a_strand_may_be_destroyed_in_work_of_its_own)
{
    jd_thread_pool *pool = make_pool(2, 0);
    jd_strand *strand = make_strand(pool);
    ck_assert_int_eq(jd_strand_submit(strand, wait_at_gate, NULL, the_loop, note_end_on_loop, NULL), 0);
    ck_assert_int_eq(jd_strand_submit(strand, destroy_strand, strand, the_loop, note_end_on_loop, NULL), 0);
    ck_assert_int_eq(jd_strand_submit(strand, work, NULL, the_loop, note_end_on_loop, NULL), 0);

    gate_open = true;

    PUMP_UNTIL(reported == 3);
    ck_assert_uint_eq(worked, 0);
    ck_assert_uint_eq(reported_cancelled, 1);
    destroy(pool);
}
END_TEST

START_TEST(a_destroyed_pool_cancels_the_tasks_of_its_strands_which_may_outlive_it)
{
    enum { LIMIT = 60 };
    working_pool = make_pool(1, LIMIT);
    jd_strand *strand = make_strand(working_pool), *idle = make_strand(working_pool);
    ck_assert_int_eq(jd_strand_submit(strand, submit_until_refused_for_good, NULL, the_loop, note_end_on_loop, NULL),
                     0);
    for (int i = 0; i < LIMIT / 2; i++)
        ck_assert_int_eq(jd_strand_submit(strand, work, NULL, the_loop, note_end_on_loop, NULL), 0);
    gate_open = true;
    PUMP_UNTIL(statistics_of(working_pool).waiting == LIMIT - 1);

    destroy(working_pool);

    ck_assert_int_eq(jd_strand_submit(strand, work, NULL, the_loop, note_end_on_loop, NULL), JD_ECANCELED);
    PUMP_UNTIL(reported == LIMIT);
    ck_assert_uint_eq(reported_cancelled, LIMIT - 1);
    ck_assert_uint_eq(worked, 0);
    jd_strand_destroy(strand);
    jd_strand_destroy(idle);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "strand");

    tcase_add_test(tests, a_strand_runs_one_task_at_a_time_and_each_submitters_in_order);
    tcase_add_test(tests, the_ends_of_a_strands_tasks_are_reported_in_order);
    tcase_add_test(tests, a_strand_with_much_to_do_lets_others_go_first_now_and_then);
    tcase_add_test(tests, a_strand_whose_task_submits_itself_without_end_starves_nobody);
    tcase_add_test(tests, the_waiting_tasks_of_a_strand_keep_no_thread);
    tcase_add_test(tests, a_destroyed_strand_lets_running_work_end_and_cancels_the_rest);
    tcase_add_test(tests, a_strand_may_be_destroyed_in_work_of_its_own);
    tcase_add_test(tests, a_destroyed_pool_cancels_the_tasks_of_its_strands_which_may_outlive_it);
}
