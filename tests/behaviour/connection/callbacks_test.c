/* Everything may be asked for inside every callback. Pitfalls 10 and 28. */
#include "tests/behaviour/harness.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

const char *const suite_name = "callbacks";

/* ---- every call in every callback ---- */

enum place { IN_UP, IN_MESSAGE, IN_HALF_CLOSE, IN_WRITE_COMPLETE, IN_DOWN, PLACES };

static void act_send(jd_tcp_connection *connection, bool open);
static void act_send_much(jd_tcp_connection *connection, bool open);
static void act_shut_down(jd_tcp_connection *connection, bool open);
static void act_send_and_shut_down(jd_tcp_connection *connection, bool open);
static void act_close(jd_tcp_connection *connection, bool open);
static void act_close_twice(jd_tcp_connection *connection, bool open);
static void act_reset(jd_tcp_connection *connection, bool open);
static void act_pause_for_a_while(jd_tcp_connection *connection, bool open);
static void act_pause_and_resume(jd_tcp_connection *connection, bool open);
static void act_destroy_server(jd_tcp_connection *connection, bool open);
static void act_destroy_server_twice(jd_tcp_connection *connection, bool open);
static void act_stop_server(jd_tcp_connection *connection, bool open);
static void act_stop_server_slowly(jd_tcp_connection *connection, bool open);
static void act_ref_and_unref(jd_tcp_connection *connection, bool open);
static void act_nest(jd_tcp_connection *connection, bool open);

static void (*const acts[])(jd_tcp_connection *connection, bool open) = {
    act_send,
    act_send_much,
    act_shut_down,
    act_send_and_shut_down,
    act_close,
    act_close_twice,
    act_reset,
    act_pause_for_a_while,
    act_pause_and_resume,
    act_destroy_server,
    act_destroy_server_twice,
    act_stop_server,
    act_stop_server_slowly,
    act_ref_and_unref,
    act_nest,
};
enum { ACTS = sizeof(acts) / sizeof(acts[0]) };

static jd_tcp_server *server;
static enum place place;
static unsigned act;
static unsigned acted, server_ended;

static void expect(int result, int open_result, bool open)
{
    ck_assert_int_eq(result, open ? open_result : JD_ENOTCONN);
}

static void act_send(jd_tcp_connection *connection, bool open)
{
    expect(jd_tcp_connection_send(connection, "hello", 5), 0, open);
}

static void act_send_much(jd_tcp_connection *connection, bool open)
{
    static const char data[300 * 1024];

    expect(jd_tcp_connection_send(connection, data, sizeof(data)), 0, open);
}

static void act_shut_down(jd_tcp_connection *connection, bool open)
{
    expect(jd_tcp_connection_shutdown(connection), 0, open);
    expect(jd_tcp_connection_send(connection, "late", 4), JD_ENOTCONN, open);
}

static void act_send_and_shut_down(jd_tcp_connection *connection, bool open)
{
    act_send_much(connection, open);
    act_shut_down(connection, open);
}

static void act_close(jd_tcp_connection *connection, bool open)
{
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
    ck_assert(!jd_tcp_connection_is_connected(connection));
}

static void act_close_twice(jd_tcp_connection *connection, bool open)
{
    act_close(connection, open);
    act_close(connection, open);
}

static void act_reset(jd_tcp_connection *connection, bool open)
{
    ck_assert_int_eq(jd_tcp_connection_reset(connection), 0);
    ck_assert(!jd_tcp_connection_is_connected(connection));
}

static void resume(jd_tcp_connection *connection, void *arg)
{
    if (connection != NULL)
        jd_tcp_connection_resume_reading(connection);
}

static void act_pause_for_a_while(jd_tcp_connection *connection, bool open)
{
    expect(jd_tcp_connection_pause_reading(connection), 0, open);
    ck_assert_int_eq(jd_tcp_connection_post(jd_tcp_connection_id(connection), resume, NULL), 0);
}

static void act_pause_and_resume(jd_tcp_connection *connection, bool open)
{
    expect(jd_tcp_connection_pause_reading(connection), 0, open);
    expect(jd_tcp_connection_pause_reading(connection), 0, open);
    expect(jd_tcp_connection_resume_reading(connection), 0, open);
    expect(jd_tcp_connection_resume_reading(connection), 0, open);
}

static void note_ended(void *arg)
{
    server_ended++;
}

static void act_destroy_server(jd_tcp_connection *connection, bool open)
{
    jd_tcp_server_destroy(server, note_ended, NULL);
    ck_assert_uint_eq(server_ended, 0);
}

static void act_destroy_server_twice(jd_tcp_connection *connection, bool open)
{
    act_destroy_server(connection, open);
    jd_tcp_server_destroy(server, NULL, NULL);
}

static void act_stop_server(jd_tcp_connection *connection, bool open)
{
    ck_assert_int_eq(jd_tcp_server_stop(server, 0, note_ended, NULL), 0);
    ck_assert_int_eq(jd_tcp_server_stop(server, 0, note_ended, NULL), JD_EALREADY);
    ck_assert_uint_eq(server_ended, 0);
}

static void act_stop_server_slowly(jd_tcp_connection *connection, bool open)
{
    act_send(connection, open);
    ck_assert_int_eq(jd_tcp_server_stop(server, 1000, note_ended, NULL), 0);
}

static void act_ref_and_unref(jd_tcp_connection *connection, bool open)
{
    jd_tcp_connection_unref(jd_tcp_connection_ref(connection));
    ck_assert_int_eq(jd_tcp_connection_is_connected(connection), open);
}

static void act_nest(jd_tcp_connection *connection, bool open)
{
    ck_assert_int_eq(jd_event_loop_run(the_loop), JD_EBUSY);
    ck_assert_int_eq(jd_event_loop_run_once(the_loop, 0), JD_EBUSY);
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), JD_EBUSY);
}

static void arrive(enum place here, jd_tcp_connection *connection)
{
    if (here != place || acted > 0)
        return;
    acted++;
    acts[act](connection, here != IN_DOWN);
}

static void on_up(jd_tcp_connection *connection, void *arg)
{
    arrive(IN_UP, connection);
}

static void on_down(jd_tcp_connection *connection, void *arg)
{
    ck_assert(!jd_tcp_connection_is_connected(connection));
    arrive(IN_DOWN, connection);
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    if (jd_tcp_connection_send(connection, "answer", 6) < 0) /* after a shutdown, say */
        ck_assert_ptr_nonnull(strstr(story(0), "up"));
    arrive(IN_MESSAGE, connection);
    jd_buffer_consume(input, SIZE_MAX);
}

static void on_write_complete(jd_tcp_connection *connection, void *arg)
{
    arrive(IN_WRITE_COMPLETE, connection);
}

static void on_half_close(jd_tcp_connection *connection, void *arg)
{
    arrive(IN_HALF_CLOSE, connection);
    jd_tcp_connection_shutdown(connection);
}

/* The client says something, waits for an answer or the end, ends its side, and reads to the end. */
static void play_client(int client)
{
    unsigned char received[4096];
    ssize_t result;

    send(client, "question", 8, MSG_NOSIGNAL);
    PUMP_UNTIL((result = client_receive_some(client, received, sizeof(received))) != -EAGAIN);
    if (place == IN_WRITE_COMPLETE)
        PUMP_UNTIL(acted == 1);
    shutdown(client, SHUT_WR);
    while (result > 0)
        PUMP_UNTIL((result = client_receive_some(client, received, sizeof(received))) != -EAGAIN);
}

START_TEST(everything_may_be_asked_for_inside_every_callback)
{
    place = (enum place)(_i / ACTS);
    act = (unsigned)(_i % ACTS);
    server = serve(&(struct service){ .options.allow_half_open = true,
                                      .on_up = on_up,
                                      .on_down = on_down,
                                      .on_message = on_message,
                                      .on_write_complete = on_write_complete,
                                      .on_half_close = on_half_close });

    play_client(client_connect_up());

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(acted, 1);
    if (acts[act] == act_destroy_server || acts[act] == act_destroy_server_twice || acts[act] == act_stop_server ||
        acts[act] == act_stop_server_slowly)
        PUMP_UNTIL(server_ended == 1);
    pump_until_quiet();
    ck_assert_uint_le(server_ended, 1);
}
END_TEST

/* ---- another connection, later in the same batch: pitfall 10 ---- */

enum { CROWD = 10 };

static unsigned how;

/* The first connection whose message is delivered ends all the others, whose messages wait in the same batch of events. */
static void end_the_others(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    for (unsigned i = 0; i < CROWD; i++) {
        jd_tcp_connection *other = jd_tcp_connection_find(connection_id(i));
        if (other == connection || other == NULL)
            continue;
        if (how == 0)
            ck_assert_int_eq(jd_tcp_connection_close(other), 0);
        else if (how == 1)
            ck_assert_int_eq(jd_tcp_connection_reset(other), 0);
        else
            ck_assert_int_eq(jd_tcp_connection_pause_reading(other), 0);
    }
}

START_TEST(a_callback_may_end_or_pause_others_whose_events_come_later_in_the_batch)
{
    int clients[CROWD];
    unsigned reported = 0;
    how = (unsigned)_i;
    serve(&(struct service){ .on_message = end_the_others });
    for (int i = 0; i < CROWD; i++)
        clients[i] = client_connect_up();

    for (int i = 0; i < CROWD; i++)
        client_send(clients[i], "x", 1);
    PUMP_UNTIL(bytes_received() == 1);
    pump_until_quiet();

    PUMP_UNTIL(how == 2 || connections_down() == CROWD - 1);
    for (unsigned i = 0; i < CROWD; i++)
        reported += strstr(story(i), "message") != NULL;
    ck_assert_uint_eq(reported, 1);
}
END_TEST

/* A connection's end takes all others with it, from its down callback. */
static void close_all(jd_tcp_connection *connection, void *arg)
{
    for (unsigned i = 0; i < CROWD; i++) {
        jd_tcp_connection *other = jd_tcp_connection_find(connection_id(i));
        if (other != NULL)
            ck_assert_int_eq(jd_tcp_connection_close(other), 0);
    }
}

START_TEST(a_down_callback_may_close_others)
{
    int clients[CROWD];
    serve(&(struct service){ .on_down = close_all });
    for (int i = 0; i < CROWD; i++)
        clients[i] = client_connect_up();

    for (int i = 0; i < CROWD; i += 2)
        client_close(clients[i]);

    PUMP_UNTIL(connections_down() == CROWD);
    for (int i = 1; i < CROWD; i += 2)
        client_expect_end(clients[i]);
}
END_TEST

/* ---- descriptors' numbers come again: pitfall 10 ---- */

enum { ROUNDS = 200 };

static char expected_of_round[ROUNDS * 2];
static unsigned rounds_up;

/* Each connection gets its own letter from its client and must never see another's. */
static void expect_own_letter(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    const char *data = jd_buffer_peek(input, jd_buffer_readable(input));
    char *letter = jd_tcp_connection_context(connection);

    for (size_t i = 0; i < jd_buffer_readable(input); i++) {
        if (*letter == '\0')
            *letter = data[i];
        ck_assert_int_eq(data[i], *letter);
    }
    echo(connection, input, received, arg);
}

static void give_letter(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_set_context(connection, &expected_of_round[rounds_up++], NULL);
}

START_TEST(a_descriptors_number_used_again_mixes_nothing_up)
{
    serve(&(struct service){ .on_up = give_letter, .on_message = expect_own_letter });

    for (int round = 0; round < ROUNDS; round++) {
        char letter = (char)('a' + round % 26);
        int leaving = client_connect(), coming;
        for (int i = 0; i < 5; i++)
            client_send(leaving, &letter, 1);
        pump_turns((unsigned)round % 4);
        client_reset(leaving);
        coming = client_connect();
        letter = (char)('A' + round % 26);
        client_send(coming, &letter, 1);
        client_expect(coming, &letter, 1);
        if (round % 2 == 0)
            client_close(coming);
        else
            client_reset(coming);
    }
}
END_TEST

/* IN, RDHUP, HUP and ERR in one event: the first half's callback closes. */
static void close_in_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

START_TEST(nothing_comes_after_a_close_although_the_same_event_said_more)
{
    serve(&(struct service){ .options.allow_half_open = true, .on_message = close_in_message });
    int client = client_connect_up();

    client_send(client, "the last words", 14);
    client_shutdown(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up message down");
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "callbacks");

    tcase_add_loop_test(tests, everything_may_be_asked_for_inside_every_callback, 0, PLACES * ACTS);
    tcase_add_loop_test(tests, a_callback_may_end_or_pause_others_whose_events_come_later_in_the_batch, 0, 3);
    tcase_add_test(tests, a_down_callback_may_close_others);
    tcase_add_test(tests, a_descriptors_number_used_again_mixes_nothing_up);
    tcase_add_test(tests, nothing_comes_after_a_close_although_the_same_event_said_more);
}
