/* Thread pool: work outside the loop, its end reported on the loop, exactly once whatever ends first. */
#include "tests/behaviour/pool/pool_fixture.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

const char *const suite_name = "pool";

/* ---- work and its end ---- */

static void work_elsewhere(void *arg)
{
    require(!jd_event_loop_is_in_loop_thread(the_loop));
    *(unsigned *)arg += 1; /* no lock: the end comes after it, and submitting before */
}

static void note_result(int error, void *arg)
{
    require(*(unsigned *)arg == 1);
    note_end_on_loop(error, NULL);
}

START_TEST(work_runs_in_the_pools_threads_and_its_end_is_reported_in_the_loops)
{
    enum { TASKS = 500 };
    unsigned results[TASKS] = { 0 };
    jd_thread_pool *pool = make_pool(3, TASKS);

    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(jd_thread_pool_submit(pool, work_elsewhere, &results[i], the_loop, note_result, &results[i]),
                         0);

    PUMP_UNTIL(reported == TASKS);
    ck_assert_uint_eq(reported_cancelled, 0);
    destroy(pool);
}
END_TEST

START_TEST(an_end_that_comes_while_the_loop_sleeps_wakes_it)
{
    jd_thread_pool *pool = make_pool(1, 0);
    enum { ROUNDS = 200 };

    for (unsigned i = 1; i <= ROUNDS; i++) {
        submit(pool, work);
        while (reported < i)
            ck_assert_int_ge(jd_event_loop_run_once(the_loop, -1), 0);
    }

    destroy(pool);
}
END_TEST

START_TEST(without_a_loop_the_end_is_reported_in_the_pool_and_without_a_function_nowhere)
{
    jd_thread_pool *pool = make_pool(2, 0);

    ck_assert_int_eq(jd_thread_pool_submit(pool, work, NULL, NULL, note_end, NULL), 0);
    ck_assert_int_eq(jd_thread_pool_submit(pool, work, NULL, NULL, NULL, NULL), 0);
    ck_assert_int_eq(jd_thread_pool_submit(pool, work, NULL, the_loop, NULL, NULL), 0);

    ck_assert_int_eq(jd_thread_pool_wait(pool), 0);
    ck_assert_uint_eq(worked, 3);
    ck_assert_uint_eq(reported, 1);
    destroy(pool);
}
END_TEST

enum { GENERATIONS = 6 };

static void submit_two_more(void *arg)
{
    uintptr_t generation = (uintptr_t)arg;

    for (int i = 0; i < 2 && generation < GENERATIONS; i++)
        require(jd_thread_pool_submit(working_pool, submit_two_more, (void *)(generation + 1), the_loop,
                                      note_end_on_loop, NULL) == 0);
    worked++;
}

START_TEST(work_may_submit_more_work_for_all_of_which_wait_waits)
{
    working_pool = make_pool(4, 0);
    ck_assert_int_eq(jd_thread_pool_submit(working_pool, submit_two_more, (void *)1, the_loop, note_end_on_loop, NULL),
                     0);

    ck_assert_int_eq(jd_thread_pool_wait(working_pool), 0);

    ck_assert_uint_eq(worked, (1u << GENERATIONS) - 1);
    destroy(working_pool);
    PUMP_UNTIL(reported == (1u << GENERATIONS) - 1);
    ck_assert_uint_eq(reported_cancelled, 0);
}
END_TEST

static void expect_busy(void *pool)
{
    require(jd_thread_pool_wait(pool) == JD_EBUSY);
    require(jd_thread_pool_destroy(pool) == JD_EBUSY);
    worked++;
}

START_TEST(in_a_thread_of_its_own_a_pool_is_neither_waited_for_nor_destroyed)
{
    jd_thread_pool *pool = make_pool(1, 0);

    ck_assert_int_eq(jd_thread_pool_submit(pool, expect_busy, pool, the_loop, note_end_on_loop, NULL), 0);

    PUMP_UNTIL(reported == 1);
    ck_assert_uint_eq(worked, 1);
    destroy(pool);
}
END_TEST

/* ---- the limit ---- */

START_TEST(a_full_pool_refuses_tasks_until_others_have_ended)
{
    enum { LIMIT = 4 };
    jd_thread_pool *pool = make_pool(1, LIMIT);
    for (int i = 0; i < LIMIT; i++)
        submit(pool, wait_at_gate);

    ck_assert_int_eq(jd_thread_pool_submit(pool, work, NULL, the_loop, note_end_on_loop, NULL), JD_EAGAIN);
    ck_assert_uint_eq(statistics_of(pool).refused, 1);
    gate_open = true;
    jd_thread_pool_wait(pool);
    /* The loop has not taken them back yet: they count still, or a slow loop would make them pile up. */
    ck_assert_int_eq(jd_thread_pool_submit(pool, work, NULL, the_loop, note_end_on_loop, NULL), JD_EAGAIN);
    PUMP_UNTIL(reported == LIMIT);

    for (int i = 0; i < LIMIT; i++)
        submit(pool, work);
    PUMP_UNTIL(reported == 2 * LIMIT);
    jd_thread_pool_wait(pool);
    ck_assert_uint_eq(worked, LIMIT);
    ck_assert_uint_eq(statistics_of(pool).completed, 2 * LIMIT);
    destroy(pool);
}
END_TEST

static void submit_again(int error, void *arg)
{
    unsigned *left = arg;

    note_end_on_loop(error, NULL);
    if (--*left > 0)
        require(jd_thread_pool_submit(working_pool, work, NULL, the_loop, submit_again, left) == 0);
}

START_TEST(in_the_end_of_a_task_there_is_room_for_the_next)
{
    unsigned left = 100;
    working_pool = make_pool(2, 1);

    ck_assert_int_eq(jd_thread_pool_submit(working_pool, work, NULL, the_loop, submit_again, &left), 0);

    PUMP_UNTIL(reported == 100);
    ck_assert_uint_eq(worked, 100);
    destroy(working_pool);
}
END_TEST

/* ---- connections ---- */

struct request {
    jd_connection_id id;
    size_t length;
    char text[64];
};

static _Atomic unsigned answered, too_late;

static void compute(void *arg)
{
    struct request *request = arg;

    for (size_t i = 0; i < request->length; i++)
        request->text[i] = (char)toupper((unsigned char)request->text[i]);
    wait_at_gate(NULL);
}

static void answer(int error, void *arg)
{
    struct request *request = arg;
    jd_tcp_connection *connection = error == 0 ? jd_tcp_connection_find(request->id) : NULL;

    if (connection != NULL)
        require(jd_tcp_connection_send(connection, request->text, request->length) == 0);
    *(connection != NULL ? &answered : &too_late) += 1;
    free(request);
}

static void ask(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *pool)
{
    struct request *request = calloc(1, sizeof(*request));

    request->id = jd_tcp_connection_id(connection);
    request->length = jd_buffer_readable(input);
    require(request->length <= sizeof(request->text));
    memcpy(request->text, jd_buffer_peek(input, request->length), request->length);
    jd_buffer_consume(input, request->length);
    require(jd_thread_pool_submit(pool, compute, request, jd_tcp_connection_loop(connection), answer, request) == 0);
}

START_TEST(a_request_computed_by_the_pool_is_answered_on_its_connection)
{
    enum { CLIENTS = 8 };
    jd_thread_pool *pool = make_pool(2, 0);
    int clients[CLIENTS];
    gate_open = true;
    serve(&(struct service){ .options.io_threads = (unsigned)_i, .on_message = ask, .arg = pool });
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_connect_up();

    for (int i = 0; i < CLIENTS; i++)
        client_send(clients[i], &"abcdefgh"[i], 1);

    for (int i = 0; i < CLIENTS; i++)
        client_expect(clients[i], &"ABCDEFGH"[i], 1);
    ck_assert_uint_eq(answered, CLIENTS);
    destroy(pool);
}
END_TEST

START_TEST(the_result_for_a_connection_that_has_gone_finds_none)
{
    jd_thread_pool *pool = make_pool(2, 0);
    serve(&(struct service){ .options.io_threads = (unsigned)_i, .on_message = ask, .arg = pool });
    int leaver = client_connect_up(), stayer = client_connect_up();
    client_send(leaver, "a", 1);
    client_send(stayer, "b", 1);
    PUMP_UNTIL(at_gate == 2);

    client_reset(leaver);
    PUMP_UNTIL(connections_down() == 1);
    gate_open = true;

    client_expect(stayer, "B", 1);
    PUMP_UNTIL(too_late == 1);
    ck_assert_uint_eq(answered, 1);
    destroy(pool);
}
END_TEST

/* ---- a pool that ends ---- */

START_TEST(a_destroyed_pool_lets_running_work_end_and_cancels_the_rest)
{
    enum { THREADS = 2, LIMIT = 20 };
    working_pool = make_pool(THREADS, LIMIT);
    for (int i = 0; i < THREADS; i++)
        submit(working_pool, submit_until_refused_for_good);
    PUMP_UNTIL(at_gate == THREADS);
    gate_open = true;
    PUMP_UNTIL(statistics_of(working_pool).waiting == LIMIT - THREADS);

    destroy(working_pool);

    ck_assert_uint_eq(worked, 0);
    ck_assert_uint_eq(reported, 0);
    PUMP_UNTIL(reported == LIMIT);
    ck_assert_uint_eq(reported_cancelled, LIMIT - THREADS);
}
END_TEST

START_TEST(a_destroyed_pool_also_cancels_tasks_reported_in_the_pool)
{
    enum { LIMIT = 20 };
    working_pool = make_pool(1, LIMIT);
    submit(working_pool, submit_until_refused_for_good);
    for (int i = 1; i < LIMIT; i++)
        ck_assert_int_eq(jd_thread_pool_submit(working_pool, work, NULL, NULL, note_end, NULL), 0);

    gate_open = true;
    destroy(working_pool);

    ck_assert_uint_eq(reported, LIMIT - 1);
    ck_assert_uint_eq(reported_cancelled, LIMIT - 1);
    ck_assert_uint_eq(worked, 0);
}
END_TEST

/* ---- loops that end ---- */

static void expect_no_loop(int error, void *arg)
{
    require(error == JD_ECANCELED);
    require(!pthread_equal(pthread_self(), *(pthread_t *)arg));
    note_end(error, arg);
}

START_TEST(an_end_is_reported_in_the_pool_if_the_loop_was_destroyed_before)
{
    enum { TASKS = 3 };
    pthread_t self = pthread_self();
    jd_thread_pool *pool = make_pool(1, 0);
    jd_event_loop *loop = make_loop(NULL);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(jd_thread_pool_submit(pool, wait_at_gate, NULL, loop, expect_no_loop, &self), 0);
    PUMP_UNTIL(at_gate == 1);

    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
    ck_assert_uint_eq(reported, 0);
    gate_open = true;

    PUMP_UNTIL(reported == TASKS);
    ck_assert_uint_eq(at_gate, TASKS);
    destroy(pool);
}
END_TEST

START_TEST(ends_on_their_way_when_the_loop_is_destroyed_are_reported_by_it)
{
    enum { TASKS = 10 };
    jd_thread_pool *pool = make_pool(2, 0);
    for (int i = 0; i < TASKS; i++)
        submit(pool, work);
    jd_thread_pool_wait(pool);
    ck_assert_uint_eq(reported, 0);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);

    ck_assert_uint_eq(reported, TASKS);
    ck_assert_uint_eq(reported_cancelled, 0);
    the_loop = NULL;
    destroy(pool);
}
END_TEST

START_TEST(ends_may_be_reported_after_the_pool_is_gone)
{
    jd_thread_pool *pool = make_pool(2, 0);
    submit(pool, work);
    jd_thread_pool_wait(pool);

    destroy(pool);

    PUMP_UNTIL(reported == 1);
    ck_assert_uint_eq(reported_cancelled, 0);
}
END_TEST

static void destroy_the_pool(int error, void *pool)
{
    require(error == 0);
    require(jd_thread_pool_destroy(pool) == 0);
    note_end_on_loop(error, NULL);
}

static void *submit_the_last(void *pool)
{
    require(jd_thread_pool_submit(pool, work, NULL, the_loop, destroy_the_pool, pool) == 0);
    return NULL;
}

START_TEST(the_end_of_a_task_may_be_the_pools_before_its_submitter_is_back)
{
    enum { POOLS = 200 };

    for (unsigned i = 1; i <= POOLS; i++) {
        pthread_t submitter;
        ck_assert_int_eq(pthread_create(&submitter, NULL, submit_the_last, make_pool(1, 0)), 0);
        PUMP_UNTIL(reported == i);
        pthread_join(submitter, NULL);
    }
    destroy(NULL);
}
END_TEST

START_TEST(a_loop_that_has_quit_gets_ends_when_it_runs_again)
{
    jd_thread_pool *pool = make_pool(1, 0);
    submit(pool, wait_at_gate);
    jd_event_loop_quit(the_loop);
    ck_assert_int_eq(jd_event_loop_run(the_loop), 0);

    gate_open = true;
    jd_thread_pool_wait(pool);
    ck_assert_uint_eq(reported, 0);
    ck_assert_int_eq(jd_event_loop_run_once(the_loop, -1), 1);

    ck_assert_uint_eq(reported, 1);
    destroy(pool);
}
END_TEST

/* Loops come, submit, and go at any moment, in threads of their own. */
enum { LOOPS = 3, LIVES = 30, TASKS_A_LIFE = 20 };

static _Atomic unsigned submitted;

static void note_own_end(int error, void *loop)
{
    if (error == 0)
        require(jd_event_loop_is_in_loop_thread(loop));
    note_end(error, NULL);
}

static void *live(void *pool)
{
    for (int life = 0; life < LIVES; life++) {
        jd_event_loop *loop = make_loop(NULL);
        for (int i = 0; i < TASKS_A_LIFE; i++) {
            int result = jd_thread_pool_submit(pool, work, NULL, loop, note_own_end, loop);
            require(result == 0 || result == JD_EAGAIN);
            submitted += result == 0;
            if (i % 4 == life % 4)
                require(jd_event_loop_run_once(loop, 0) >= 0);
        }
        require(jd_event_loop_destroy(loop) == 0);
    }
    return NULL;
}

START_TEST(loops_in_several_threads_share_a_pool_and_end_at_any_moment)
{
    pthread_t threads[LOOPS];
    jd_thread_pool *pool = make_pool(3, 100);

    for (int i = 0; i < LOOPS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, live, pool), 0);
    for (int i = 0; i < LOOPS; i++)
        pthread_join(threads[i], NULL);

    destroy(pool);
    ck_assert_uint_eq(reported, submitted);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "pool");

    tcase_add_test(tests, work_runs_in_the_pools_threads_and_its_end_is_reported_in_the_loops);
    tcase_add_test(tests, an_end_that_comes_while_the_loop_sleeps_wakes_it);
    tcase_add_test(tests, without_a_loop_the_end_is_reported_in_the_pool_and_without_a_function_nowhere);
    tcase_add_test(tests, work_may_submit_more_work_for_all_of_which_wait_waits);
    tcase_add_test(tests, in_a_thread_of_its_own_a_pool_is_neither_waited_for_nor_destroyed);
    tcase_add_test(tests, a_full_pool_refuses_tasks_until_others_have_ended);
    tcase_add_test(tests, in_the_end_of_a_task_there_is_room_for_the_next);
    tcase_add_loop_test(tests, a_request_computed_by_the_pool_is_answered_on_its_connection, 0, 3);
    tcase_add_loop_test(tests, the_result_for_a_connection_that_has_gone_finds_none, 0, 3);
    tcase_add_test(tests, a_destroyed_pool_lets_running_work_end_and_cancels_the_rest);
    tcase_add_test(tests, a_destroyed_pool_also_cancels_tasks_reported_in_the_pool);
    tcase_add_test(tests, an_end_is_reported_in_the_pool_if_the_loop_was_destroyed_before);
    tcase_add_test(tests, ends_on_their_way_when_the_loop_is_destroyed_are_reported_by_it);
    tcase_add_test(tests, ends_may_be_reported_after_the_pool_is_gone);
    tcase_add_test(tests, the_end_of_a_task_may_be_the_pools_before_its_submitter_is_back);
    tcase_add_test(tests, a_loop_that_has_quit_gets_ends_when_it_runs_again);
    tcase_add_test(tests, loops_in_several_threads_share_a_pool_and_end_at_any_moment);
}
