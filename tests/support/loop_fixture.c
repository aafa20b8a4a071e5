#include "tests/support/loop_fixture.h"

#include "tests/support/sockets.h"

#include <check.h>
#include <fcntl.h>
#include <jinduo/error.h>
#include <jinduo/memory.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

jd_event_loop *test_loop;
char noted[64];

static int descriptors_before;

/* JD_TEST_ENGINE names the engine. Without it the default engine is tested, whatever JINDUO_ENGINE says. */
static void choose_engine(void)
{
    const char *engine = getenv("JD_TEST_ENGINE");

    if (engine != NULL)
        setenv("JINDUO_ENGINE", engine, 1);
    else
        unsetenv("JINDUO_ENGINE");
}

static void assert_engine_chosen(void)
{
    const char *engine = getenv("JD_TEST_ENGINE");

    ck_assert_str_eq(jd_engine_name(jd_event_loop_engine(test_loop)), engine != NULL ? engine : "reactor");
}

void loop_fixture_set_up(void)
{
    choose_engine();
    descriptors_before = open_descriptors();
    ck_assert_int_eq(jd_event_loop_create(&test_loop, NULL), 0);
    assert_engine_chosen();
}

void loop_fixture_tear_down(void)
{
    ck_assert_int_eq(jd_event_loop_destroy(test_loop), 0);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
    ck_assert_int_eq(open_descriptors(), descriptors_before);
}

jd_event_loop_statistics statistics_of(const jd_event_loop *loop)
{
    jd_event_loop_statistics statistics;

    jd_event_loop_get_statistics(loop, &statistics);
    return statistics;
}

void wait_for_sleep(const jd_event_loop *loop, uint64_t sleeps)
{
    while (statistics_of(loop).sleeps < sleeps)
        sched_yield();
}

pthread_t start_thread(void *(*function)(void *), void *arg)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, function, arg), 0);
    return thread;
}

void join_thread(pthread_t thread)
{
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

void run_in_thread(void *(*function)(void *), void *arg)
{
    join_thread(start_thread(function, arg));
}

void spend_ms(unsigned ms)
{
    struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

    while (nanosleep(&left, &left) < 0)
        continue;
}

void *letter(char name)
{
    static char alphabet[] = "abcdefghijklmnopqrstuvwxyz";

    return &alphabet[name - 'a'];
}

void note_letter(void *letter)
{
    ck_assert_uint_lt(strlen(noted), sizeof(noted) - 1);
    strncat(noted, letter, 1);
}

static void ready_pipe_on_ready(jd_channel *channel, jd_handle fd, unsigned events, void *arg)
{
    struct ready_pipe *ready = arg;

    ck_assert_ptr_eq(channel, ready->channel);
    ck_assert_int_eq(fd, ready->ends[0]);
    ready->reported++;
}

void ready_pipe_open(struct ready_pipe *ready)
{
    ready->reported = 0;
    ck_assert_int_eq(pipe2(ready->ends, O_CLOEXEC), 0);
    ck_assert_int_eq(write(ready->ends[1], "x", 1), 1);
    ck_assert_int_eq(
        jd_channel_create(&ready->channel, test_loop, ready->ends[0], JD_READABLE, ready_pipe_on_ready, ready), 0);
}

void ready_pipe_close(struct ready_pipe *ready)
{
    jd_channel_destroy(ready->channel);
    close(ready->ends[0]);
    close(ready->ends[1]);
}
