/* A loop for each test, and helpers for tests of loops. Use it as a test case's checked fixture: loop_fixture_set_up,
 * loop_fixture_tear_down. */
#ifndef TESTS_LOOP_FIXTURE_H
#define TESTS_LOOP_FIXTURE_H

#include <jinduo/channel.h>
#include <jinduo/event_loop.h>
#include <pthread.h>

/* A test that destroys the loop sets this to NULL. */
extern jd_event_loop *test_loop;

/* Creates the loop with the library's default options. JD_TEST_ENGINE names its engine. */
void loop_fixture_set_up(void);

/* Destroys the loop. Fails the test if memory or a descriptor has not been released. */
void loop_fixture_tear_down(void);

jd_event_loop_statistics statistics_of(const jd_event_loop *loop);

/* Called from another thread: returns when the loop has gone to sleep at least sleeps times. */
void wait_for_sleep(const jd_event_loop *loop, uint64_t sleeps);

/* Runs function in a new thread and waits until it has ended. */
void run_in_thread(void *(*function)(void *), void *arg);

pthread_t start_thread(void *(*function)(void *), void *arg);
void join_thread(pthread_t thread);

/* Sleeps for at least so many milliseconds. */
void spend_ms(unsigned ms);

/* A task that appends its letter to noted:
 * jd_event_loop_queue_in_loop(loop, note_letter, letter('a')). */
extern char noted[64];
void *letter(char name);
void note_letter(void *letter);

/* A pipe on the test's loop that is always readable. */
struct ready_pipe {
    jd_channel *channel;
    int ends[2];
    unsigned reported; /* how often its callback has been invoked */
};

void ready_pipe_open(struct ready_pipe *ready);
void ready_pipe_close(struct ready_pipe *ready);

#endif
