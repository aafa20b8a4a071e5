#include "tests/behaviour/pool/pool_fixture.h"

#include <sched.h>

jd_thread_pool *make_pool(unsigned threads, uint32_t task_limit)
{
    jd_thread_pool_options options = { .threads = threads, .task_limit = task_limit };
    jd_thread_pool *pool = NULL;

    ck_assert_int_eq(jd_thread_pool_create(&pool, &options), 0);
    return pool;
}

jd_thread_pool_statistics statistics_of(jd_thread_pool *pool)
{
    jd_thread_pool_statistics now;

    jd_thread_pool_get_statistics(pool, &now);
    return now;
}

static _Atomic unsigned failures;

void require(bool condition)
{
    failures += !condition;
}

_Atomic bool gate_open;
_Atomic unsigned at_gate;

void wait_at_gate(void *arg)
{
    at_gate++;
    while (!gate_open)
        sched_yield();
}

_Atomic unsigned worked;

void work(void *arg)
{
    worked++;
}

_Atomic unsigned reported, reported_cancelled;

void note_end(int error, void *arg)
{
    require(error == 0 || error == JD_ECANCELED);
    reported++;
    reported_cancelled += error == JD_ECANCELED;
}

void note_end_on_loop(int error, void *arg)
{
    require(jd_event_loop_is_in_loop_thread(the_loop));
    note_end(error, arg);
}

void submit(jd_thread_pool *pool, jd_task task)
{
    ck_assert_int_eq(jd_thread_pool_submit(pool, task, NULL, the_loop, note_end_on_loop, NULL), 0);
}

void destroy(jd_thread_pool *pool)
{
    ck_assert_int_eq(jd_thread_pool_destroy(pool), 0);
    ck_assert_uint_eq(failures, 0);
}

jd_thread_pool *working_pool;

void submit_until_refused_for_good(void *arg)
{
    int result;

    wait_at_gate(NULL);
    while ((result = jd_thread_pool_submit(working_pool, work, NULL, the_loop, note_end_on_loop, NULL)) == 0 ||
           result == JD_EAGAIN)
        sched_yield();
    require(result == JD_ECANCELED);
}
