/* One connection's flood delays no other by more than a number of turns, and what a turn leaves over is not lost: no
 * engine may wait for an event that has come already. Pitfalls 8 and 37. */
#include "tests/behaviour/harness.h"

#include <string.h>
#include <sys/socket.h>

const char *const suite_name = "fairness";

enum {
    KIB = 1024,
    MIB = 1024 * 1024,
    RECEIVE_BLOCK_BYTES = 64 * KIB,
    LARGEST_CROWD = 1000,
    PACKETS_A_WAIT = 64, /* IOCP_BATCH of proactor/iocp/iocp_backend.h */
    EVENTS_A_WAIT = 256, /* at most: POLLER_BATCH of base/posix/poller.h */
    RECEIVES_A_TURN =
        141, /* on a ring: three quarters of 189 small blocks (uring_collect_more in proactor/io_uring/io_uring.c) */
};

/* Puts as much into the client's and the server's socket buffers as they take. Returns the bytes. */
static size_t stuff(int client, size_t offset, size_t most)
{
    static unsigned char data[64 * KIB];
    size_t sent = 0, some;

    do {
        size_t count = most - sent < sizeof(data) ? most - sent : sizeof(data);
        pattern_fill(data, offset + sent, count);
        some = client_send_some(client, data, count);
        sent += some;
    } while (some > 0 && sent < most);
    return sent;
}

/* ---- what is left over ---- */

START_TEST(a_connection_dispatches_no_more_than_its_budget_in_a_turn_and_loses_nothing)
{
    static const size_t budgets[] = { 0, 16 * KIB, 1 };
    size_t budget = budgets[_i] > 0 ? budgets[_i] : 256 * KIB;
    size_t sent, received = 0;
    unsigned turns = 0;
    serve(&(struct service){ .options.budget_bytes = budgets[_i] });
    int client = client_connect_up();
    sent = stuff(client, 0, budget < KIB ? 100 * KIB : 3 * MIB);
    ck_assert_uint_gt(sent, RECEIVE_BLOCK_BYTES);

    /* What a turn left over and what came since share the next one. */
    while (bytes_received() < sent) {
        received = bytes_received();
        pump_turns(1);
        turns++;
        ck_assert_uint_le(bytes_received() - received, 2 * (budget + RECEIVE_BLOCK_BYTES));
        ck_assert_uint_lt(turns, (unsigned)(sent / KIB + 100) * 50 * engine_patience());
    }
    ck_assert_uint_eq(bytes_received(), sent);
}
END_TEST

static void expect_pattern(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    size_t *offset = arg;
    size_t length = jd_buffer_readable(input);
    const void *data = jd_buffer_peek(input, length);

    pattern_expect(data, *offset, length);
    *offset += length;
    jd_buffer_consume(input, length);
}

START_TEST(data_and_the_fin_behind_it_in_one_event_are_both_reported)
{
    size_t sent, offset = 0;
    serve(&(struct service){ .options.allow_half_open = true, .on_message = expect_pattern, .arg = &offset });
    int client = client_connect_up();

    sent = stuff(client, 0, MIB);
    client_shutdown(client);

    PUMP_UNTIL(strstr(story(0), "half-close") != NULL);
    ck_assert_uint_eq(offset, sent);
    ck_assert_str_eq(story(0), "up message half-close");
}
END_TEST

/* Few bytes and a FIN: the receive is short, and yet it does not mean that all was received. */
START_TEST(a_fin_behind_a_short_receive_is_reported)
{
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();

    client_send(client, "bye", 3);
    client_shutdown(client);

    client_expect(client, "bye", 3);
    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

/* tcp(7): a receive stops short at the urgent mark, with bytes behind it. */
START_TEST(bytes_behind_urgent_data_do_not_wait_for_another_event)
{
    char before[100], behind[100];
    size_t expected = sizeof(before) + sizeof(behind);
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    memset(before, 'a', sizeof(before));
    memset(behind, 'z', sizeof(behind));

    client_send(client, before, sizeof(before));
    ck_assert_int_eq(send(client, "!", 1, MSG_OOB), 1);
    client_send(client, behind, sizeof(behind));

    PUMP_UNTIL(bytes_received() == expected);
    client_expect(client, before, sizeof(before));
    client_expect(client, behind, sizeof(behind));
}
END_TEST

START_TEST(bytes_behind_urgent_data_that_came_first_do_not_wait_either)
{
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();

    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(send(client, "!", 1, MSG_OOB), 1);
        pump_turns((unsigned)i % 3);
        client_send(client, "behind", 6);
        client_expect(client, "behind", 6);
    }
}
END_TEST

static void resume(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_resume_reading(connection), 0);
}

static void pause_at_first(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
}

START_TEST(bytes_that_arrived_during_a_pause_are_delivered_at_resume)
{
    size_t offset = 0;
    serve(&(struct service){ .on_up = pause_at_first, .on_message = expect_pattern, .arg = &offset });
    int client = client_connect_up();
    client_send_pattern(client, 0, 100 * KIB);
    pump_until_quiet();
    ck_assert_uint_eq(offset, 0);

    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), resume, NULL), 0);

    PUMP_UNTIL(offset == 100 * KIB);
}
END_TEST

/* ---- one among many ---- */

/* Returns 1, or 0 if nothing happened: threads of the engine's own had not come to it yet. */
static unsigned pump_busy_turn(void)
{
    uint64_t idle_before = statistics().idle_turns;

    ck_assert_int_ge(jd_event_loop_run_once(the_loop, 1), 0);
    return statistics().idle_turns == idle_before;
}

/* How many connections' messages one turn delivers, if as many have arrived. */
static unsigned messages_a_turn(void)
{
    if (engine_is("iocp"))
        return PACKETS_A_WAIT / 2; /* every other turn ends sends only */
    return engine_is("io_uring") ? RECEIVES_A_TURN : EVENTS_A_WAIT;
}

START_TEST(a_flood_on_one_connection_delays_the_others_by_a_few_turns_only)
{
    static const unsigned crowds[] = { 40, LARGEST_CROWD };
    unsigned crowd = crowds[_i], turns = 0, answered = 0;
    int clients[LARGEST_CROWD], flooding;
    size_t flooded = 0;
    bool has_answer[LARGEST_CROWD] = { false };
    serve(&(struct service){ .on_message = NULL });
    flooding = client_connect_up();
    serve(&(struct service){ .on_message = echo });
    for (unsigned i = 0; i < crowd; i++)
        clients[i] = client_connect_up();

    for (unsigned i = 0; i < crowd; i++)
        client_send_some(clients[i], "x", 1);
    while (answered < crowd) {
        flooded += stuff(flooding, flooded, 4 * MIB);
        turns += pump_busy_turn();
        for (unsigned i = 0; i < crowd; i++) {
            char byte;
            if (!has_answer[i] && client_receive_some(clients[i], &byte, 1) == 1) {
                has_answer[i] = true;
                answered++;
            }
        }
        ck_assert_uint_le(turns, (4 + crowd / messages_a_turn()) * engine_patience());
    }
    ck_assert_uint_gt(flooded, 0);
}
END_TEST

START_TEST(a_crowd_of_floods_is_served_evenly)
{
    enum { FLOODS = 5 };
    int clients[FLOODS];
    size_t sent[FLOODS] = { 0 }, least = SIZE_MAX, most = 0;
    serve(&(struct service){ .options.budget_bytes = 64 * KIB });
    for (int i = 0; i < FLOODS; i++)
        clients[i] = client_connect_up();

    for (unsigned turn = 0; turn < 20 * engine_patience(); turn++) {
        for (int i = 0; i < FLOODS; i++)
            sent[i] += stuff(clients[i], sent[i], 4 * MIB);
        pump_turns(1);
    }

    for (int i = 0; i < FLOODS; i++) {
        least = sent[i] < least ? sent[i] : least;
        most = sent[i] > most ? sent[i] : most;
    }
    ck_assert_uint_gt(least, most / 2);
}
END_TEST

static void pause_reading(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_pause_reading(connection);
}

static void resume_reading(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_resume_reading(connection);
}

/* Floods that a turn's budget never stops take all that an engine has to receive into. */
START_TEST(one_that_reads_again_is_served_among_floods)
{
    enum { FLOODS = 12, TURNS = 200 };
    int floods[FLOODS];
    unsigned turn = 0;
    serve(&(struct service){ .options.budget_bytes = MIB });
    for (int i = 0; i < FLOODS; i++)
        floods[i] = client_connect_up();
    serve(&(struct service){ .on_up = pause_reading, .on_message = echo });
    int paused = client_connect_up();
    pump_until_quiet();

    jd_tcp_connection_post(connection_id(FLOODS), resume_reading, NULL);
    client_send(paused, "!", 1);
    for (char byte; client_receive_some(paused, &byte, 1) != 1; turn++) {
        ck_assert_uint_lt(turn, TURNS * engine_patience());
        for (int i = 0; i < FLOODS; i++)
            stuff(floods[i], 0, 512 * KIB);
        pump_turns(1);
    }
}
END_TEST

/* A task that queues itself runs in each turn, and never keeps the loop from its connections. */
static unsigned task_runs;

static void queue_again(void *arg)
{
    if (++task_runs < 1000 * 1000)
        ck_assert_int_eq(jd_event_loop_queue_in_loop(the_loop, queue_again, NULL), 0);
}

START_TEST(a_task_that_queues_itself_starves_nobody)
{
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    queue_again(NULL);

    for (int i = 0; i < 20; i++) {
        client_send(client, "hello", 5);
        client_expect(client, "hello", 5);
    }

    ck_assert_uint_lt(task_runs, 1000 * 1000);
    task_runs = 1000 * 1000;
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "fairness");

    tcase_add_loop_test(tests, a_connection_dispatches_no_more_than_its_budget_in_a_turn_and_loses_nothing, 0, 3);
    tcase_add_test(tests, data_and_the_fin_behind_it_in_one_event_are_both_reported);
    tcase_add_test(tests, a_fin_behind_a_short_receive_is_reported);
    tcase_add_test(tests, bytes_behind_urgent_data_do_not_wait_for_another_event);
    tcase_add_test(tests, bytes_behind_urgent_data_that_came_first_do_not_wait_either);
    tcase_add_test(tests, bytes_that_arrived_during_a_pause_are_delivered_at_resume);
    tcase_add_loop_test(tests, a_flood_on_one_connection_delays_the_others_by_a_few_turns_only, 0, 2);
    tcase_add_test(tests, a_crowd_of_floods_is_served_evenly);
    tcase_add_test(tests, one_that_reads_again_is_served_among_floods);
    tcase_add_test(tests, a_task_that_queues_itself_starves_nobody);
}
