/* A loop inside another: the other one waits, with epoll or with poll, and runs this one only when its descriptor is
 * readable or the time that it asked for is over. Nothing else may be needed. */
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

const char *const suite_name = "embedding";

enum { KIB = 1024, HOUR_MS = 3600 * 1000 };
enum { EPOLL, POLL, OUTER_LOOPS };

/* So long it waits at a time: then the test's condition is looked at, and the loop is not run. */
enum { STEP_MS = 1 };

static int outer_loop;
static int outer_epoll;
static _Atomic unsigned failures; /* ck_assert is not for several threads */

static void require(bool condition)
{
    failures += !condition;
}

/* Returns whether the descriptor is readable. */
static bool outer_wait(int timeout_ms)
{
    struct epoll_event event;
    struct pollfd polled = { .fd = jd_event_loop_pollable_fd(the_loop), .events = POLLIN };
    int ready = outer_loop == EPOLL ? epoll_wait(outer_epoll, &event, 1, timeout_ms) : poll(&polled, 1, timeout_ms);

    ck_assert(ready >= 0 || errno == EINTR);
    return ready > 0;
}

static int outer_step(void)
{
    int timeout_ms = jd_event_loop_next_timeout_ms(the_loop);
    bool shortened = timeout_ms < 0 || timeout_ms > STEP_MS;

    if (!outer_wait(shortened ? STEP_MS : timeout_ms) && shortened)
        return 0;
    return jd_event_loop_run_once(the_loop, 0);
}

/* From here on the_loop runs inside an outer loop. */
static void embed(int with)
{
    struct epoll_event event = { .events = EPOLLIN };

    outer_loop = with;
    outer_epoll = epoll_create1(EPOLL_CLOEXEC);
    ck_assert_int_ge(outer_epoll, 0);
    ck_assert_int_eq(epoll_ctl(outer_epoll, EPOLL_CTL_ADD, jd_event_loop_pollable_fd(the_loop), &event), 0);
    pump_by(outer_step);
}

static void un_embed(void)
{
    close(outer_epoll);
    ck_assert_uint_eq(failures, 0);
}

/* Until it is asleep, with nothing to do. */
static void settle(void)
{
    PUMP_UNTIL(jd_event_loop_next_timeout_ms(the_loop) == -1 && !outer_wait(0));
}

static void settle_until_timer(void)
{
    PUMP_UNTIL(jd_event_loop_next_timeout_ms(the_loop) > 0 && !outer_wait(0));
}

static unsigned noted;

static void note(void *arg)
{
    noted++;
}

/* ---- what wakes it ---- */

START_TEST(connections_are_accepted_served_and_closed)
{
    enum { CLIENTS = 5 };
    int clients[CLIENTS];
    embed(_i);
    serve(&(struct service){ .on_message = echo });

    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_connect_up();
    for (int i = 0; i < CLIENTS; i++) {
        client_send_pattern(clients[i], (size_t)i, 200 * KIB);
        client_expect_pattern(clients[i], (size_t)i, 200 * KIB);
    }
    for (int i = 0; i < CLIENTS; i++)
        client_close(clients[i]);

    PUMP_UNTIL(connections_down() == CLIENTS);
    un_embed();
}
END_TEST

/* Asking again might find what does not end the wait. */
START_TEST(what_comes_after_the_question_ends_the_outer_wait)
{
    int client;
    embed(_i);
    serve(&(struct service){ .on_message = echo });
    settle();

    ck_assert_int_eq(jd_event_loop_next_timeout_ms(the_loop), -1);
    client = client_connect();
    ck_assert(outer_wait(-1));
    PUMP_UNTIL(connections_up() == 1);
    settle();

    ck_assert_int_eq(jd_event_loop_next_timeout_ms(the_loop), -1);
    ck_assert_uint_eq(client_send_some(client, "x", 1), 1);
    ck_assert(outer_wait(-1));
    PUMP_UNTIL(bytes_received() == 1);
    settle();

    ck_assert_int_eq(jd_event_loop_next_timeout_ms(the_loop), -1);
    client_close(client);
    ck_assert(outer_wait(-1));
    PUMP_UNTIL(connections_down() == 1);
    un_embed();
}
END_TEST

START_TEST(what_came_before_the_descriptor_was_asked_for_is_pending)
{
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    PUMP_UNTIL(jd_event_loop_next_timeout_ms(the_loop) == -1);
    ck_assert_uint_eq(client_send_some(client, "x", 1), 1);

    embed(_i);

    PUMP_UNTIL(bytes_received() == 1);
    un_embed();
}
END_TEST

START_TEST(timers_run)
{
    embed(_i);
    ck_assert_int_eq(jd_event_loop_run_after(the_loop, HOUR_MS, note, NULL, NULL), 0);
    settle_until_timer();
    ck_assert_int_le(jd_event_loop_next_timeout_ms(the_loop), HOUR_MS + 1);

    ck_assert_int_eq(jd_event_loop_run_after(the_loop, 5, note, NULL, NULL), 0);
    PUMP_UNTIL(noted == 1);
    ck_assert_int_eq(jd_event_loop_run_every(the_loop, 2, note, NULL, NULL), 0);
    PUMP_UNTIL(noted == 5);
    un_embed();
}
END_TEST

enum { POSTERS = 2, POSTS = 5000, LONGEST_MOMENT = 2000, LOST_MS = 20 * 1000 };

static _Atomic unsigned arrived[POSTERS];

static void note_arrival(void *arg)
{
    *(_Atomic unsigned *)arg += 1;
}

/* Each one is awaited, and the next comes a random moment later: so it meets the loop wherever it is in falling asleep. */
static void *post(void *arg)
{
    uint64_t random = (uintptr_t)arg;

    for (unsigned i = 1; i <= POSTS; i++) {
        for (volatile uint64_t moment = random_below(&random, LONGEST_MOMENT); moment > 0; moment--)
            continue;
        require(jd_event_loop_queue_in_loop(the_loop, note_arrival, arg) == 0);
        while (*(_Atomic unsigned *)arg < i)
            sched_yield();
    }
    return NULL;
}

/* Asks once for each wait, as asking again might find what has not woken it. */
static void outer_turn(void)
{
    int timeout_ms = jd_event_loop_next_timeout_ms(the_loop);

    if (!outer_wait(timeout_ms < 0 ? LOST_MS : timeout_ms))
        ck_assert_msg(timeout_ms >= 0, "a wake-up was lost");
    ck_assert_int_ge(jd_event_loop_run_once(the_loop, 0), 0);
}

START_TEST(a_task_from_another_thread_always_ends_the_outer_wait)
{
    unsigned posters = 1 + (unsigned)_i / OUTER_LOOPS;
    pthread_t threads[POSTERS];
    embed(_i % OUTER_LOOPS);

    for (unsigned i = 0; i < posters; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post, &arrived[i]), 0);
    while (arrived[0] + arrived[1] < posters * POSTS)
        outer_turn();

    for (unsigned i = 0; i < posters; i++)
        pthread_join(threads[i], NULL);
    un_embed();
}
END_TEST

static void *post_once(void *arg)
{
    require(jd_event_loop_queue_in_loop(the_loop, note, NULL) == 0);
    return NULL;
}

START_TEST(a_task_between_the_question_and_the_outer_wait_is_noticed)
{
    pthread_t thread;
    embed(_i);
    settle();
    ck_assert_int_eq(jd_event_loop_next_timeout_ms(the_loop), -1);

    ck_assert_int_eq(pthread_create(&thread, NULL, post_once, NULL), 0);
    pthread_join(thread, NULL);

    ck_assert(outer_wait(-1));
    PUMP_UNTIL(noted == 1);
    un_embed();
}
END_TEST

static void send_elsewhere(void *arg)
{
    require(jd_tcp_connection_send(arg, "hello", 5) == 0);
    jd_tcp_connection_unref(arg);
}

static void *send_from_thread(void *arg)
{
    send_elsewhere(arg);
    return NULL;
}

static jd_tcp_connection *kept;

static void keep(jd_tcp_connection *connection, void *arg)
{
    kept = jd_tcp_connection_ref(connection);
}

START_TEST(what_another_thread_sends_is_sent)
{
    pthread_t thread;
    embed(_i);
    serve(&(struct service){ .on_up = keep });
    int client = client_connect_up();
    settle();

    ck_assert_int_eq(pthread_create(&thread, NULL, send_from_thread, kept), 0);

    client_expect(client, "hello", 5);
    pthread_join(thread, NULL);
    un_embed();
}
END_TEST

static void note_signal(int signal_number, void *arg)
{
    noted++;
}

START_TEST(a_signal_ends_the_outer_wait)
{
    embed(_i);
    ck_assert_int_eq(jd_event_loop_watch_signal(the_loop, SIGUSR1, note_signal, NULL), 0);
    settle();
    ck_assert_int_eq(jd_event_loop_next_timeout_ms(the_loop), -1);

    raise(SIGUSR1);

    ck_assert(outer_wait(-1));
    PUMP_UNTIL(noted == 1);
    un_embed();
}
END_TEST

static void read_byte(jd_channel *channel, int fd, unsigned events, void *arg)
{
    char byte;

    require(read(fd, &byte, 1) == 1);
    noted++;
}

START_TEST(channels_are_watched)
{
    jd_channel *channel;
    int ends[2];
    embed(_i);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(jd_channel_create(&channel, the_loop, ends[0], JD_READABLE, read_byte, NULL), 0);
    settle();

    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_int_eq(write(ends[1], "x", 1), 1);
        PUMP_UNTIL(noted == i);
        settle();
    }

    jd_channel_destroy(channel);
    pump_turns(2 * engine_patience());
    close(ends[0]);
    close(ends[1]);
    un_embed();
}
END_TEST

/* ---- what keeps it from sleeping ---- */

START_TEST(what_a_turn_left_over_is_pending)
{
    static char data[100 * KIB];
    /* More than one receive takes, which the budget does not cut: a block, and on the late engine a few bytes. */
    const size_t length = engine_is("late") ? 8 * KIB : sizeof(data);
    embed(_i);
    serve(&(struct service){ .options.budget_bytes = 1 });
    int client = client_connect_up();
    settle();

    /* One edge for all of it: no other will report the rest. */
    ck_assert_uint_eq(client_send_some(client, data, length), length);

    PUMP_UNTIL(bytes_received() == length);
    un_embed();
}
END_TEST

START_TEST(output_queued_outside_of_callbacks_is_pending)
{
    embed(_i);
    serve(&(struct service){ .on_up = keep });
    int client = client_connect_up();
    settle();

    send_elsewhere(kept);

    ck_assert_int_eq(jd_event_loop_next_timeout_ms(the_loop), 0);
    client_expect(client, "hello", 5);
    un_embed();
}
END_TEST

START_TEST(a_queued_task_is_pending)
{
    embed(_i);
    settle();

    ck_assert_int_eq(jd_event_loop_queue_in_loop(the_loop, note, NULL), 0);

    ck_assert_int_eq(jd_event_loop_next_timeout_ms(the_loop), 0);
    jd_event_loop_run_once(the_loop, 0);
    ck_assert_uint_eq(noted, 1);
    ck_assert_int_eq(jd_event_loop_next_timeout_ms(the_loop), -1);
    un_embed();
}
END_TEST

/* ---- where it is asked ---- */

static void ask_in_callback(void *arg)
{
    *(int *)arg = jd_event_loop_next_timeout_ms(the_loop);
}

static void *ask_in_thread(void *arg)
{
    ask_in_callback(arg);
    return NULL;
}

START_TEST(before_the_first_turn_in_callbacks_and_in_other_threads_there_is_no_time_to_wait)
{
    int in_callback = -2, in_thread = -2;
    pthread_t thread;

    ck_assert_int_eq(jd_event_loop_next_timeout_ms(the_loop), 0);
    pump_turns(1);
    ck_assert_int_eq(jd_event_loop_next_timeout_ms(the_loop), -1);

    jd_event_loop_queue_in_loop(the_loop, ask_in_callback, &in_callback);
    pump_turns(1);
    ck_assert_int_eq(in_callback, 0);

    ck_assert_int_eq(pthread_create(&thread, NULL, ask_in_thread, &in_thread), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(in_thread, 0);
}
END_TEST

START_TEST(an_engine_that_cannot_says_so)
{
    struct engine_ops without = *engine_under_test();
    jd_event_loop *loop;
    without.pollable = NULL;
    without.prepare_wait = NULL;
    ck_assert_int_eq(event_loop_create_on(&loop, NULL, &without), 0);
    ck_assert_int_eq(jd_event_loop_run_once(loop, 0), 0);

    ck_assert_int_eq(jd_event_loop_pollable_fd(loop), JD_ENOTSUP);
    ck_assert_int_eq(jd_event_loop_next_timeout_ms(loop), 0);

    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

/* ---- its end ---- */

static unsigned wake_ups;

static void count_wake_up(struct engine *engine)
{
    wake_ups++;
}

/* The latest moment for the wake-up of a thread that has queued a task: the loop no longer waits for such threads. */
static void wake_and_destroy(struct engine *engine)
{
    event_loop_wake(engine->loop->shared.wake);
    engine_under_test()->destroy(engine);
}

START_TEST(a_loop_destroyed_while_it_is_asleep_in_another_is_not_woken_any_more)
{
    struct engine_ops watched = *engine_under_test();
    jd_event_loop *loop;
    watched.wake = count_wake_up;
    watched.destroy = wake_and_destroy;
    ck_assert_int_eq(event_loop_create_on(&loop, NULL, &watched), 0);
    ck_assert_int_eq(jd_event_loop_run_once(loop, 0), 0);
    ck_assert_int_eq(jd_event_loop_next_timeout_ms(loop), -1);

    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);

    ck_assert_uint_eq(wake_ups, 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "embedding");

    tcase_add_loop_test(tests, connections_are_accepted_served_and_closed, 0, OUTER_LOOPS);
    tcase_add_loop_test(tests, what_comes_after_the_question_ends_the_outer_wait, 0, OUTER_LOOPS);
    tcase_add_loop_test(tests, what_came_before_the_descriptor_was_asked_for_is_pending, 0, OUTER_LOOPS);
    tcase_add_loop_test(tests, timers_run, 0, OUTER_LOOPS);
    tcase_add_loop_test(tests, a_task_from_another_thread_always_ends_the_outer_wait, 0, POSTERS * OUTER_LOOPS);
    tcase_add_loop_test(tests, a_task_between_the_question_and_the_outer_wait_is_noticed, 0, OUTER_LOOPS);
    tcase_add_loop_test(tests, what_another_thread_sends_is_sent, 0, OUTER_LOOPS);
    tcase_add_loop_test(tests, a_signal_ends_the_outer_wait, 0, OUTER_LOOPS);
    tcase_add_loop_test(tests, channels_are_watched, 0, OUTER_LOOPS);
    tcase_add_loop_test(tests, what_a_turn_left_over_is_pending, 0, OUTER_LOOPS);
    tcase_add_loop_test(tests, output_queued_outside_of_callbacks_is_pending, 0, OUTER_LOOPS);
    tcase_add_loop_test(tests, a_queued_task_is_pending, 0, OUTER_LOOPS);
    tcase_add_test(tests, before_the_first_turn_in_callbacks_and_in_other_threads_there_is_no_time_to_wait);
    tcase_add_test(tests, an_engine_that_cannot_says_so);
    tcase_add_test(tests, a_loop_destroyed_while_it_is_asleep_in_another_is_not_woken_any_more);
}
