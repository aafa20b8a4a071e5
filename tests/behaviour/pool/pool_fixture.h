/* A pool's user: tasks that are counted, or wait until the test says so, and a record of the ends reported. Each test
 * starts anew, as it runs in a process of its own. */
#ifndef TESTS_POOL_FIXTURE_H
#define TESTS_POOL_FIXTURE_H

#include "tests/behaviour/harness.h"

jd_thread_pool *make_pool(unsigned threads, uint32_t task_limit);
jd_thread_pool_statistics statistics_of(jd_thread_pool *pool);

/* Checks as well that no require has failed. */
void destroy(jd_thread_pool *pool);

/* ck_assert is not for several threads: what they find goes here. */
void require(bool condition);

/* Work that lasts until the test says so. */
extern _Atomic bool gate_open;
extern _Atomic unsigned at_gate;
void wait_at_gate(void *arg);

extern _Atomic unsigned worked;
void work(void *arg);

/* Ends that were reported: all, and those with JD_ECANCELED. */
extern _Atomic unsigned reported, reported_cancelled;
void note_end(int error, void *arg);

/* The same on the_loop. */
void note_end_on_loop(int error, void *arg);

/* Whose end is noted on the_loop. */
void submit(jd_thread_pool *pool, jd_task task);

/* For work that submits: to this pool. */
extern jd_thread_pool *working_pool;
/* From the gate's opening on it fills the pool, and does not end before the pool is being destroyed. */
void submit_until_refused_for_good(void *arg);

#endif
