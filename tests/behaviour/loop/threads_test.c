/* Other threads: io loops of a server, and users that send, close and post from anywhere. Pitfall 29. */
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

const char *const suite_name = "threads";

enum { KIB = 1024, USERS = 4 };

static pthread_t users[USERS];
static _Atomic bool may_go;

static void start_users(void *(*function)(void *))
{
    for (uintptr_t i = 0; i < USERS; i++)
        ck_assert_int_eq(pthread_create(&users[i], NULL, function, (void *)i), 0);
    may_go = true;
}

static void wait_for_go(void)
{
    while (!may_go)
        sched_yield();
}

/* ck_assert is not for several threads: what they find goes here. */
static _Atomic unsigned failures;

static void require(bool condition)
{
    failures += !condition;
}

static _Atomic unsigned users_done;

static void join_users(void)
{
    PUMP_UNTIL(users_done == USERS);
    for (int i = 0; i < USERS; i++)
        pthread_join(users[i], NULL);
    ck_assert_uint_eq(failures, 0);
}

/* ---- io loops ---- */

enum { CROWD = 12 };

static jd_event_loop *loops[CROWD];
static _Atomic unsigned loop_count;

static void note_loop(jd_tcp_connection *connection, void *arg)
{
    jd_event_loop *loop = jd_tcp_connection_loop(connection);

    require(jd_event_loop_is_in_loop_thread(loop));
    require(!jd_event_loop_is_in_loop_thread(the_loop));
    loops[loop_count++] = loop;
}

START_TEST(io_threads_serve_connections_in_turn)
{
    static const unsigned thread_counts[] = { 1, 3 };
    unsigned threads = thread_counts[_i];
    jd_event_loop_statistics total;
    int clients[CROWD];
    jd_tcp_server *server =
        serve(&(struct service){ .options.io_threads = threads, .on_up = note_loop, .on_message = echo });

    for (unsigned i = 0; i < CROWD; i++) {
        clients[i] = client_connect_up();
        PUMP_UNTIL(loop_count == i + 1); /* before the next, in another thread */
    }
    for (int i = 0; i < CROWD; i++) {
        client_send_pattern(clients[i], (size_t)i, 100 * KIB);
        client_expect_pattern(clients[i], (size_t)i, 100 * KIB);
    }

    for (unsigned i = threads; i < CROWD; i++)
        ck_assert_ptr_eq(loops[i], loops[i - threads]);
    for (unsigned i = 1; i < threads; i++)
        ck_assert_ptr_ne(loops[i], loops[0]);
    ck_assert_uint_eq(failures, 0);
    jd_tcp_server_get_statistics(server, &total);
    ck_assert_uint_eq(total.connections_opened, CROWD);
    ck_assert_uint_eq(total.bytes_received, CROWD * 100 * KIB);
    ck_assert_uint_eq(statistics().connections_opened, 0);
    for (int i = 0; i < CROWD; i++)
        client_close(clients[i]);
    PUMP_UNTIL(connections_down() == CROWD);
}
END_TEST

START_TEST(io_threads_take_connections_that_come_and_go)
{
    serve(&(struct service){ .options.io_threads = 3, .on_message = echo });

    for (int i = 0; i < 200; i++) {
        int client = client_connect();
        client_send_some(client, "x", 1);
        if (i % 3 == 0)
            client_expect(client, "x", 1);
        if (i % 2 == 0)
            client_close(client);
        else
            client_reset(client);
    }

    PUMP_UNTIL(connections_up() > 0 && connections_down() == connections_up());
}
END_TEST

static jd_tcp_server *doomed;
static unsigned doomed_done;

static void note_done(void *arg)
{
    doomed_done++;
}

static void destroy_server(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_tcp_server_destroy(doomed, note_done, NULL);
}

START_TEST(a_server_may_be_destroyed_in_a_callback_on_an_io_thread)
{
    doomed = serve(&(struct service){ .options.io_threads = 2, .on_message = destroy_server });
    int clients[4];
    for (int i = 0; i < 4; i++)
        clients[i] = client_connect_up();

    client_send(clients[1], "x", 1);

    PUMP_UNTIL(doomed_done == 1);
    ck_assert_uint_eq(connections_down(), 4);
}
END_TEST

/* ---- sending from elsewhere ---- */

static jd_tcp_connection *_Atomic kept;

static void keep(jd_tcp_connection *connection, void *arg)
{
    kept = jd_tcp_connection_ref(connection);
}

enum { MESSAGES = 2000, MESSAGE_BYTES = 8 };

static void *send_messages(void *arg)
{
    char message[MESSAGE_BYTES + 1];

    wait_for_go();
    for (unsigned i = 0; i < MESSAGES; i++) {
        snprintf(message, sizeof(message), "%02u%05u\n", (unsigned)(uintptr_t)arg, i);
        require(jd_tcp_connection_send(kept, message, MESSAGE_BYTES) == 0);
    }
    users_done++;
    return NULL;
}

START_TEST(what_several_threads_send_arrives_whole_and_in_each_ones_order)
{
    unsigned next[USERS] = { 0 };
    serve(&(struct service){ .options.io_threads = (unsigned)_i, .on_up = keep });
    int client = client_connect_up();

    start_users(send_messages);

    for (unsigned i = 0; i < USERS * MESSAGES; i++) {
        char message[MESSAGE_BYTES + 1] = "";
        unsigned user, number;
        client_receive(client, message, MESSAGE_BYTES);
        ck_assert_int_eq(sscanf(message, "%2u%5u\n", &user, &number), 2);
        ck_assert_uint_lt(user, USERS);
        ck_assert_uint_eq(number, next[user]++);
    }
    join_users();
    jd_tcp_connection_unref(kept);
}
END_TEST

static _Atomic size_t promised;

static void *send_until_refused(void *arg)
{
    char message[100];
    int result;

    memset(message, 'm', sizeof(message));
    wait_for_go();
    while ((result = jd_tcp_connection_send(kept, message, sizeof(message))) == 0 || result == JD_ENOBUFS) {
        if (result == 0)
            promised += sizeof(message);
        else
            sched_yield();
    }
    require(result == JD_ENOTCONN);
    users_done++;
    return NULL;
}

static void *shut_down(void *arg)
{
    wait_for_go();
    while (promised < 100 * KIB)
        sched_yield();
    require(jd_tcp_connection_shutdown(kept) == 0);
    return NULL;
}

START_TEST(what_was_promised_before_a_shutdown_from_elsewhere_is_sent_and_nothing_else)
{
    pthread_t closer;
    size_t received;
    serve(&(struct service){ .options = { .io_threads = (unsigned)_i, .output_limit = 64 * KIB }, .on_up = keep });
    int client = client_connect_up();

    start_users(send_until_refused);
    ck_assert_int_eq(pthread_create(&closer, NULL, shut_down, NULL), 0);
    received = client_receive_to_end(client, NULL, 0);

    pthread_join(closer, NULL);
    join_users();
    ck_assert_uint_eq(received, promised);
    jd_tcp_connection_unref(kept);
}
END_TEST

/* ---- closing, sending, posting, all at once ---- */

enum { ROUNDS = 60, POSTS_UNDER_WAY = 10000 };

static jd_connection_id _Atomic current_id;
static _Atomic unsigned posts_accepted, posts_run;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

/* Under a lock, so that a user can take a reference of its own. */
static void publish(jd_tcp_connection *connection, void *arg)
{
    pthread_mutex_lock(&kept_lock);
    if (kept != NULL)
        jd_tcp_connection_unref(kept);
    kept = jd_tcp_connection_ref(connection);
    current_id = jd_tcp_connection_id(connection);
    pthread_mutex_unlock(&kept_lock);
}

static jd_tcp_connection *take_reference(void)
{
    jd_tcp_connection *connection = NULL;

    pthread_mutex_lock(&kept_lock);
    if (kept != NULL)
        connection = jd_tcp_connection_ref(kept);
    pthread_mutex_unlock(&kept_lock);
    return connection;
}

static void count_post(jd_tcp_connection *connection, void *arg)
{
    posts_run++;
    if (connection != NULL && arg != NULL)
        jd_tcp_connection_close(connection);
}

static _Atomic bool enough;

static void *use_connections(void *arg)
{
    uintptr_t number = (uintptr_t)arg;
    uint64_t random = number;

    wait_for_go();
    while (!enough) {
        jd_tcp_connection *connection = take_reference();
        if (connection == NULL)
            continue;
        for (int i = 0; i < 20; i++) {
            int result = jd_tcp_connection_send(connection, "from elsewhere", 14);
            require(result == 0 || result == JD_ENOTCONN || result == JD_ENOBUFS);
            if (jd_tcp_connection_post(current_id, count_post, number == 1 && i == 10 ? &enough : NULL) == 0)
                posts_accepted++;
        }
        switch (random_below(&random, 4)) {
        case 0:
            require(jd_tcp_connection_close(connection) == 0);
            break;
        case 1:
            jd_tcp_connection_shutdown(connection);
            break;
        case 2:
            require(jd_tcp_connection_reset(connection) == 0);
            break;
        default:
            break;
        }
        jd_tcp_connection_unref(connection);
        do
            sched_yield();
        while (!enough && posts_accepted > posts_run + POSTS_UNDER_WAY); /* or the loop does nothing else */
    }
    users_done++;
    return NULL;
}

START_TEST(other_threads_may_use_connections_that_are_closing_under_them)
{
    serve(&(struct service){ .options.io_threads = (unsigned)_i, .on_up = publish });
    start_users(use_connections);

    for (int i = 0; i < ROUNDS; i++) {
        int client = client_connect_up();
        char received[KIB];
        ssize_t result;
        PUMP_UNTIL((result = client_receive_some(client, received, sizeof(received))) != -EAGAIN);
        if (i % 2 == 0)
            client_reset(client);
        else
            client_close(client);
    }

    enough = true;
    join_users();
    PUMP_UNTIL(connections_down() == ROUNDS);
    PUMP_UNTIL(posts_run == posts_accepted);
    jd_tcp_connection_unref(kept);
}
END_TEST

/* References given back while the loop they belong to ends. The library itself sees to it that no one wakes an engine
 * that is gone. */
static jd_tcp_connection *last_references[USERS];

static void *give_back(void *arg)
{
    wait_for_go();
    jd_tcp_connection_send(last_references[(uintptr_t)arg], "late", 4);
    jd_tcp_connection_unref(last_references[(uintptr_t)arg]);
    users_done++;
    return NULL;
}

static unsigned references_kept;

static void keep_another(jd_tcp_connection *connection, void *arg)
{
    last_references[references_kept++] = jd_tcp_connection_ref(connection);
}

START_TEST(references_may_be_given_back_while_the_loop_ends)
{
    for (int round = 0; round < 30; round++) {
        references_kept = 0;
        users_done = 0;
        may_go = false;
        serve(&(struct service){ .on_up = keep_another });
        for (int i = 0; i < USERS; i++)
            client_connect_up();

        start_users(give_back);
        for (int i = 0; i < round % 3; i++)
            jd_event_loop_run_once(the_loop, 0);
        ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
        the_loop = NULL;

        join_users();
        clients_close_all();
        the_loop = make_loop(NULL);
        forget_services();
    }
}
END_TEST

/* ---- tasks ---- */

enum { TASKS = 5000 };

static unsigned tasks_run;
static unsigned last_task[USERS];

static void run_task(void *arg)
{
    unsigned user = (unsigned)((uintptr_t)arg >> 16), number = (unsigned)((uintptr_t)arg & 0xffff);

    tasks_run++;
    require(number == last_task[user]++);
}

static void *queue_tasks(void *arg)
{
    wait_for_go();
    for (uintptr_t i = 0; i < TASKS; i++) {
        require(jd_event_loop_queue_in_loop(the_loop, run_task, (void *)((uintptr_t)arg << 16 | i)) == 0);
        if (i == TASKS / 2 && arg == NULL)
            jd_event_loop_quit(the_loop);
    }
    users_done++;
    return NULL;
}

START_TEST(tasks_queued_while_the_loop_quits_run_once_each_in_their_threads_order)
{
    start_users(queue_tasks);

    ck_assert_int_eq(jd_event_loop_run(the_loop), 0);
    while (users_done < USERS)
        sched_yield();
    for (int i = 0; i < USERS; i++)
        pthread_join(users[i], NULL);
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    ck_assert_uint_eq(tasks_run, USERS * TASKS);
    ck_assert_uint_eq(failures, 0);
}
END_TEST

static void run_and_tell(void *arg)
{
    users_done++;
}

/* No wake-up is lost: each task is queued while the loop sleeps or is about to. */
static void *wake_again_and_again(void *arg)
{
    for (unsigned i = 0; i < 2000; i++) {
        require(jd_event_loop_queue_in_loop(the_loop, run_and_tell, NULL) == 0);
        while (users_done == i)
            sched_yield();
    }
    jd_event_loop_quit(the_loop);
    return NULL;
}

START_TEST(a_task_from_another_thread_always_wakes_the_loop)
{
    pthread_t waker;
    ck_assert_int_eq(pthread_create(&waker, NULL, wake_again_and_again, NULL), 0);

    ck_assert_int_eq(jd_event_loop_run(the_loop), 0);

    pthread_join(waker, NULL);
    ck_assert_uint_eq(users_done, 2000);
    ck_assert_uint_eq(failures, 0);
}
END_TEST

/* ---- quitting ---- */

START_TEST(quit_before_run_ends_the_first_run)
{
    jd_event_loop_quit(the_loop);

    ck_assert_int_eq(jd_event_loop_run(the_loop), 0);
    ck_assert_uint_eq(statistics().turns, 1);
}
END_TEST

static void quit_on_signal(int number)
{
    jd_event_loop_quit(the_loop);
}

static void *send_signal(void *arg)
{
    while (statistics().sleeps == 0)
        sched_yield();
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

START_TEST(quit_from_a_signal_handler_ends_a_sleeping_run)
{
    struct sigaction action = { .sa_handler = quit_on_signal };
    pthread_t self = pthread_self(), sender;
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    ck_assert_int_eq(pthread_create(&sender, NULL, send_signal, &self), 0);

    ck_assert_int_eq(jd_event_loop_run(the_loop), 0);

    pthread_join(sender, NULL);
}
END_TEST

static void quit(void *loop)
{
    jd_event_loop_quit(loop);
}

enum { WAYS_TO_QUIT = 3, LOOPS_TO_QUIT = 200 };

static int quit_by(int way, jd_event_loop *loop)
{
    if (way == 0)
        return jd_event_loop_queue_in_loop(loop, quit, loop);
    if (way == 1)
        return jd_event_loop_run_after(loop, 0, quit, loop, NULL);
    quit(loop);
    return 0;
}

static _Atomic(jd_event_loop *) made;

/* As a program's thread that has a loop of its own. */
static void *make_run_and_destroy(void *arg)
{
    jd_event_loop *loop;

    require(event_loop_create_on(&loop, NULL, engine_under_test()) == 0);
    made = loop;
    require(jd_event_loop_run(loop) == 0);
    require(jd_event_loop_destroy(loop) == 0);
    return NULL;
}

START_TEST(a_loop_may_end_by_what_another_thread_has_just_asked_for)
{
    for (int i = 0; i < LOOPS_TO_QUIT; i++) {
        pthread_t thread;
        made = NULL;
        ck_assert_int_eq(pthread_create(&thread, NULL, make_run_and_destroy, NULL), 0);
        while (made == NULL)
            sched_yield();
        for (volatile int pause = 0; pause < i * 20; pause++)
            continue; /* it is on its way to sleep, or has come there */
        ck_assert_int_eq(quit_by(_i, made), 0);
        pthread_join(thread, NULL);
        ck_assert_uint_eq(failures, 0);
    }
}
END_TEST

static void *expect_refusal(void *arg)
{
    jd_tcp_server *server;

    require(jd_event_loop_run(the_loop) == JD_EPERM);
    require(jd_event_loop_run_once(the_loop, 0) == JD_EPERM);
    require(jd_event_loop_destroy(the_loop) == JD_EPERM);
    require(!jd_event_loop_is_in_loop_thread(the_loop));
    require(jd_tcp_server_create(&server, the_loop, NULL) == JD_EPERM);
    require(jd_tcp_connection_pause_reading(kept) == JD_EPERM);
    require(jd_tcp_connection_resume_reading(kept) == JD_EPERM);
    require(jd_tcp_connection_find(jd_tcp_connection_id(kept)) == NULL);
    return NULL;
}

START_TEST(what_is_for_the_loops_thread_alone_is_refused_in_others)
{
    pthread_t other;
    serve(&(struct service){ .on_up = keep });
    client_connect_up();

    ck_assert_int_eq(pthread_create(&other, NULL, expect_refusal, NULL), 0);
    pthread_join(other, NULL);

    ck_assert_uint_eq(failures, 0);
    jd_tcp_connection_unref(kept);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "threads");

    tcase_add_loop_test(tests, io_threads_serve_connections_in_turn, 0, 2);
    tcase_add_test(tests, io_threads_take_connections_that_come_and_go);
    tcase_add_test(tests, a_server_may_be_destroyed_in_a_callback_on_an_io_thread);
    tcase_add_loop_test(tests, what_several_threads_send_arrives_whole_and_in_each_ones_order, 0, 2);
    tcase_add_loop_test(tests, what_was_promised_before_a_shutdown_from_elsewhere_is_sent_and_nothing_else, 0, 2);
    tcase_add_loop_test(tests, other_threads_may_use_connections_that_are_closing_under_them, 0, 3);
    tcase_add_test(tests, references_may_be_given_back_while_the_loop_ends);
    tcase_add_test(tests, tasks_queued_while_the_loop_quits_run_once_each_in_their_threads_order);
    tcase_add_test(tests, a_task_from_another_thread_always_wakes_the_loop);
    tcase_add_test(tests, quit_before_run_ends_the_first_run);
    tcase_add_test(tests, quit_from_a_signal_handler_ends_a_sleeping_run);
    tcase_add_loop_test(tests, a_loop_may_end_by_what_another_thread_has_just_asked_for, 0, WAYS_TO_QUIT);
    tcase_add_test(tests, what_is_for_the_loops_thread_alone_is_refused_in_others);
}
