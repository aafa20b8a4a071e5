/* Answers that are owed when the peer ends its side or the server stops: jd_tcp_connection_expect and _answered. */
#include "tests/behaviour/harness.h"

#include <jinduo/error.h>
#include <pthread.h>

const char *const suite_name = "answers";

enum { REQUESTS = 50, DRAIN_MS = 120 * 1000, MOST_OWED = 16383 };

static jd_tcp_connection *asked; /* the connection with requests that are not answered yet */
static unsigned owed, dones;

static void forget(void)
{
    asked = NULL;
    owed = dones = 0;
}

static void note_done(void *arg)
{
    dones++;
}

/* Each byte is a request whose answer comes later. */
static void owe(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    asked = connection;
    for (size_t i = jd_buffer_readable(input); i > 0; i--, owed++)
        ck_assert_int_eq(jd_tcp_connection_expect(connection), 0);
    jd_buffer_consume(input, SIZE_MAX);
}

static void answer_one(jd_tcp_connection *connection)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, "a", 1), 0);
    ck_assert_int_eq(jd_tcp_connection_answered(connection), 0);
    owed--;
}

static void answer_all(void *arg)
{
    while (owed > 0)
        answer_one(asked);
}

/* A client that has sent requests, all of which have arrived. */
static int client_asks(unsigned requests)
{
    char bytes[REQUESTS] = { 0 };
    int client = client_connect_up();

    client_send(client, bytes, requests);
    PUMP_UNTIL(owed == requests);
    return client;
}

static void client_expect_answers(int client, unsigned answers)
{
    for (unsigned i = 0; i < answers; i++)
        client_expect(client, "a", 1);
    client_expect_end(client);
}

/* ---- the peer's FIN ---- */

START_TEST(after_the_peers_fin_the_connection_stays_until_the_last_answer_is_sent)
{
    serve(&(struct service){ .on_message = owe });
    int client = client_asks(REQUESTS);

    client_shutdown(client);
    pump_until_quiet();
    while (owed > 1)
        answer_one(asked);
    pump_until_quiet();
    ck_assert_uint_eq(connections_down(), 0);
    ck_assert(jd_tcp_connection_is_connected(asked));
    answer_one(asked);

    client_expect_answers(client, REQUESTS);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up message down");
    ck_assert_uint_eq(statistics().closed_by_peer, 1);
}
END_TEST

START_TEST(an_answer_given_before_the_fin_does_not_delay_the_end)
{
    serve(&(struct service){ .on_message = owe });
    int client = client_asks(1);

    answer_all(NULL);
    client_shutdown(client);

    client_expect_answers(client, 1);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

START_TEST(a_request_that_is_withdrawn_lets_the_connection_close)
{
    serve(&(struct service){ .on_message = owe });
    int client = client_asks(1);

    client_shutdown(client);
    pump_until_quiet();
    ck_assert_int_eq(jd_tcp_connection_answered(asked), 0);

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

START_TEST(a_peer_that_resets_behind_its_fin_does_not_leave_a_connection_that_owes_answers)
{
    serve(&(struct service){ .on_message = owe });
    int client = client_asks(1);

    client_shutdown(client);
    pump_until_quiet();
    ck_assert_uint_eq(connections_down(), 0);
    client_reset(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up message down");
}
END_TEST

START_TEST(without_a_deadline_the_idle_timeout_ends_the_wait)
{
    serve(&(struct service){ .options.idle_timeout_ms = 50, .on_message = owe });
    int client = client_asks(1);

    client_shutdown(client);

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(statistics().closed_by_idle_timeout, 1);
}
END_TEST

/* ---- other threads ---- */

static void *answer_elsewhere(void *arg)
{
    answer_all(NULL);
    jd_tcp_connection_unref(asked);
    return NULL;
}

static void answer_in_another_thread(void)
{
    pthread_t thread;

    jd_tcp_connection_ref(asked);
    ck_assert_int_eq(pthread_create(&thread, NULL, answer_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
}

START_TEST(the_answers_of_another_thread_are_sent_before_the_connection_closes)
{
    serve(&(struct service){ .on_message = owe });
    int client = client_asks(REQUESTS);

    if (_i == 0) {
        client_shutdown(client);
        pump_until_quiet();
    }
    answer_in_another_thread();
    if (_i == 1)
        client_shutdown(client);

    client_expect_answers(client, REQUESTS);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

static void *expect_elsewhere(void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_expect(asked), 0);
    return NULL;
}

START_TEST(another_thread_may_promise_an_answer)
{
    pthread_t thread;
    serve(&(struct service){ .on_message = owe });
    int client = client_asks(1);

    ck_assert_int_eq(pthread_create(&thread, NULL, expect_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    owed++;
    client_shutdown(client);
    pump_until_quiet();
    answer_one(asked);
    pump_until_quiet();
    ck_assert_uint_eq(connections_down(), 0);
    answer_one(asked);

    client_expect_answers(client, 2);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

/* ---- drain ---- */

START_TEST(a_drain_waits_for_answers_and_takes_no_further_requests)
{
    jd_tcp_server *server = serve(&(struct service){ .on_message = owe });
    int idle = client_connect_up(), client = client_asks(2);

    ck_assert_int_eq(jd_tcp_server_stop(server, DRAIN_MS, note_done, NULL), 0);
    client_expect_end(idle);
    client_send(client, "more", 4);
    pump_until_quiet();
    ck_assert_uint_eq(owed, 2);
    ck_assert_uint_eq(dones, 0);
    if (_i == 0)
        answer_all(NULL);
    else
        answer_in_another_thread();

    client_expect_answers(client, 2);
    client_close(client);
    PUMP_UNTIL(dones == 1);
    ck_assert_uint_eq(statistics().closed_by_drain_deadline, 0);
}
END_TEST

static void owe_and_stop(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *server)
{
    asked = connection;
    owed++;
    ck_assert_int_eq(jd_tcp_connection_expect(connection), 0);
    ck_assert_int_eq(jd_tcp_server_stop(*(jd_tcp_server **)server, DRAIN_MS, note_done, NULL), 0);
    ck_assert_mem_eq(jd_buffer_peek(input, 1), "x", 1); /* the input is valid until the callback returns */
}

START_TEST(a_callback_may_promise_an_answer_and_stop_the_server)
{
    jd_tcp_server *server = NULL;
    server = serve(&(struct service){ .on_message = owe_and_stop, .arg = &server });
    int client = client_connect_up();

    client_send(client, "x", 1);
    PUMP_UNTIL(owed == 1);
    pump_until_quiet();
    answer_one(asked);

    client_expect_answers(client, 1);
    client_close(client);
    PUMP_UNTIL(dones == 1);
}
END_TEST

START_TEST(at_the_drains_deadline_a_connection_closes_although_it_owes_answers)
{
    jd_tcp_server *server = serve(&(struct service){ .on_message = owe });
    int client = client_asks(1);

    ck_assert_int_eq(jd_tcp_server_stop(server, 50, note_done, NULL), 0);

    client_expect_end(client);
    PUMP_UNTIL(dones == 1);
    ck_assert_uint_eq(statistics().closed_by_drain_deadline, 1);
}
END_TEST

START_TEST(a_stop_without_a_drain_does_not_wait)
{
    jd_tcp_server *server = serve(&(struct service){ .on_message = owe });
    client_asks(1);

    ck_assert_int_eq(jd_tcp_server_stop(server, 0, note_done, NULL), 0);

    PUMP_UNTIL(dones == 1);
}
END_TEST

/* ---- refusals ---- */

START_TEST(answers_that_nobody_owes_are_refused_with_words)
{
    serve(&(struct service){ .on_message = owe });
    int client = client_asks(1);

    answer_all(NULL);
    ck_assert_int_eq(jd_tcp_connection_answered(asked), JD_EINVAL);

    ck_assert(was_logged("test: jd_tcp_connection_answered: no answer is owed"));
    client_close(client);
}
END_TEST

START_TEST(a_connection_that_is_ending_promises_nothing)
{
    serve(&(struct service){ .on_message = owe });
    client_asks(1);

    ck_assert_int_eq(jd_tcp_connection_shutdown(asked), 0);

    ck_assert_int_eq(jd_tcp_connection_expect(asked), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_answered(asked), 0); /* the one from before */
}
END_TEST

/* The count shares a variable with the bytes of other threads and the files. */
START_TEST(as_many_answers_as_documented_can_be_owed_and_limits_hold_meanwhile)
{
    static char bytes[1000];
    serve(&(struct service){ .options = { .output_limit = sizeof(bytes) }, .on_message = owe });
    int client = client_asks(1);

    for (; owed < MOST_OWED; owed++)
        ck_assert_int_eq(jd_tcp_connection_expect(asked), 0);
    ck_assert_int_eq(jd_tcp_connection_expect(asked), JD_ENOBUFS);
    ck_assert_int_eq(jd_tcp_connection_send(asked, bytes, sizeof(bytes) + 1), JD_ENOBUFS);
    ck_assert_int_eq(jd_tcp_connection_send(asked, bytes, sizeof(bytes)), 0);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(asked), sizeof(bytes));

    for (; owed > 0; owed--)
        ck_assert_int_eq(jd_tcp_connection_answered(asked), 0);
    client_expect(client, bytes, sizeof(bytes));
    client_shutdown(client);
    client_expect_end(client);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *fin = harness_case(suite, "the peer's FIN");
    TCase *threads = harness_case(suite, "other threads");
    TCase *drain = harness_case(suite, "drain");
    TCase *refusals = harness_case(suite, "refusals");

    tcase_add_checked_fixture(fin, forget, NULL);
    tcase_add_test(fin, after_the_peers_fin_the_connection_stays_until_the_last_answer_is_sent);
    tcase_add_test(fin, an_answer_given_before_the_fin_does_not_delay_the_end);
    tcase_add_test(fin, a_request_that_is_withdrawn_lets_the_connection_close);
    tcase_add_test(fin, a_peer_that_resets_behind_its_fin_does_not_leave_a_connection_that_owes_answers);
    tcase_add_test(fin, without_a_deadline_the_idle_timeout_ends_the_wait);
    tcase_add_checked_fixture(threads, forget, NULL);
    tcase_add_loop_test(threads, the_answers_of_another_thread_are_sent_before_the_connection_closes, 0, 2);
    tcase_add_test(threads, another_thread_may_promise_an_answer);
    tcase_add_checked_fixture(drain, forget, NULL);
    tcase_add_loop_test(drain, a_drain_waits_for_answers_and_takes_no_further_requests, 0, 2);
    tcase_add_test(drain, a_callback_may_promise_an_answer_and_stop_the_server);
    tcase_add_test(drain, at_the_drains_deadline_a_connection_closes_although_it_owes_answers);
    tcase_add_test(drain, a_stop_without_a_drain_does_not_wait);
    tcase_add_checked_fixture(refusals, forget, NULL);
    tcase_add_test(refusals, answers_that_nobody_owes_are_refused_with_words);
    tcase_add_test(refusals, a_connection_that_is_ending_promises_nothing);
    tcase_add_test(refusals, as_many_answers_as_documented_can_be_owed_and_limits_hold_meanwhile);
}
