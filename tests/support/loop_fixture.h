/* A loop for each test, and what tests of loops need besides. Use it as a test case's checked fixture:
 * loop_fixture_set_up, loop_fixture_tear_down. */
#ifndef TESTS_LOOP_FIXTURE_H
#define TESTS_LOOP_FIXTURE_H

#include <jinduo/channel.h>
#include <jinduo/event_loop.h>
#include <pthread.h>

/* A test that destroys it sets it to NULL. */
extern jd_event_loop *test_loop;

/* Makes the loop, with the defaults of the library. */
void loop_fixture_set_up(void);

/* Destroys it; fails the test if memory or a descriptor was not given back. */
void loop_fixture_tear_down(void);

jd_event_loop_statistics statistics_of(const jd_event_loop *loop);

/* From another thread: returns when the loop has gone to sleep after the sleeps-th time. */
void wait_for_sleep(const jd_event_loop *loop, uint64_t sleeps);

/* Runs a function in a thread of its own, to its end. */
void run_in_thread(void *(*function)(void *), void *arg);

pthread_t start_thread(void *(*function)(void *), void *arg);
void join_thread(pthread_t thread);

/* Spends at least so many milliseconds. */
void spend_ms(unsigned ms);

/* A task that notes its letter, and what was noted so far:
 * jd_event_loop_queue_in_loop(loop, note_letter, letter('a')). */
extern char noted[64];
void *letter(char name);
void note_letter(void *letter);

/* A pipe on the test's loop that is always readable, and how often its callback has come. */
struct ready_pipe {
    jd_channel *channel;
    int ends[2];
    unsigned told;
};

void ready_pipe_open(struct ready_pipe *ready);
void ready_pipe_close(struct ready_pipe *ready);

#endif
