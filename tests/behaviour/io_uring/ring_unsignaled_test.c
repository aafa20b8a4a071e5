/* Sends of whose success io_uring says nothing (proactor/io_uring/io_uring_unsignaled.c): who must hear of it does, and nothing waits. */
#include "net/connection/tcp_connection.h"
#include "net/loop/event_loop.h"
#include "tests/behaviour/io_uring/the_ring.h"

#include <string.h>

const char *const suite_name = "ring_unsignaled";

enum { KIB = 1024, MIB = 1024 * 1024 };

static bool can_be_unsignaled(void)
{
    return the_ring()->incremental;
}

static jd_tcp_connection *answering;

static void echo_and_remember(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    answering = connection;
    echo(connection, input, received, arg);
}

static size_t bytes_queued(void)
{
    return jd_tcp_connection_queued_bytes(answering);
}

static int sleep_without_end(void)
{
    return jd_event_loop_run_once(the_loop, -1);
}

/* So the call that sends the answer also waits for the next message. */
START_TEST(an_answer_that_the_kernel_took_has_no_completion)
{
    enum { ROUNDS = 50 };
    uint64_t before;
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    pump_until_quiet();
    before = statistics().events;

    for (int round = 0; round < ROUNDS; round++) {
        client_send(client, "!", 1);
        client_expect(client, "!", 1);
    }

    ck_assert_uint_eq(statistics().events - before, can_be_unsignaled() ? ROUNDS : 2 * ROUNDS);
}
END_TEST

START_TEST(a_loop_that_sleeps_wakes_to_count_what_it_sent)
{
    serve(&(struct service){ .on_message = echo_and_remember });
    int client = client_connect_up();
    client_send(client, "hello", 5);
    PUMP_UNTIL(answering != NULL);
    ck_assert_uint_eq(bytes_queued(), 5);

    pump_by(sleep_without_end);
    PUMP_UNTIL(bytes_queued() == 0);

    client_expect(client, "hello", 5);
    pump_until_quiet();
    ck_assert_uint_eq(statistics().bytes_sent, 5);
    ck_assert_uint_eq(the_ring()->unsignaled_count, 0);
}
END_TEST

/* Each of these is asked for when the send is in the ring's queue already. */
static void send_more(void)
{
    ck_assert_int_eq(jd_tcp_connection_send(answering, "more", 4), 0);
}

static void shut_down(void)
{
    jd_tcp_connection_shutdown(answering);
}

static void close_it(void)
{
    jd_tcp_connection_close(answering);
}

static const struct {
    void (*ask)(void);
    const char *rest;
    bool ends;
} afterthoughts[] = { { send_more, "more", false }, { shut_down, "", true }, { close_it, "", true } };

static void echo_and_think_again(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    echo_and_remember(connection, input, received, arg);
    connection_flush_early(connection);
    ck_assert_uint_eq(the_ring()->unsignaled_count, can_be_unsignaled());
    afterthoughts[*(int *)arg].ask();
}

START_TEST(output_behind_an_unsignaled_send_does_not_wait_until_the_loop_wakes)
{
    char rest[8];
    serve(&(struct service){ .on_message = echo_and_think_again, .arg = &_i });
    int client = client_connect_up();
    pump_until_quiet();
    the_ring()->unsignaled_timeout_armed = true; /* so that no timeout ends a sleep */
    pump_by(sleep_without_end);
    client_send(client, "hello", 5);

    client_expect(client, "hello", 5);
    if (afterthoughts[_i].ends)
        ck_assert_uint_eq(client_receive_to_end(client, rest, sizeof(rest)), 0);
    else
        client_expect(client, afterthoughts[_i].rest, strlen(afterthoughts[_i].rest));
}
END_TEST

/* A turn reports the sends that ended before it, whatever its first callbacks queue. */
START_TEST(unsignaled_sends_are_reported_in_the_next_turn_while_other_input_is_deferred)
{
    enum { TURNS = 300 };
    static unsigned char flood[64 * KIB];
    unsigned unsignaled_turns = 0;
    serve(&(struct service){ .options.budget_bytes = 16 * KIB });
    int flooder = client_connect_up();
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();

    for (unsigned turn = 0; turn < TURNS; turn++) {
        uint64_t sent = statistics().bytes_sent;
        bool is_unsignaled = the_ring()->unsignaled_count > 0;
        while (client_send_some(flooder, flood, sizeof(flood)) > 0)
            continue;
        client_send_some(client, "!", 1);
        pump_turns(1);
        client_receive_some(client, flood, sizeof(flood));
        unsignaled_turns += is_unsignaled;
        ck_assert(!is_unsignaled || statistics().bytes_sent > sent);
    }
    ck_assert(unsignaled_turns > 0 || !can_be_unsignaled());
}
END_TEST

/* Other threads' sends would be refused for output that has been sent. */
START_TEST(much_of_the_output_limit_is_not_sent_in_silence)
{
    char data[600];
    serve(&(struct service){ .options = { .output_limit = 1000, .high_watermark = 900 },
                             .on_message = echo_and_remember });
    int client = client_connect_up();
    client_send_pattern(client, 0, sizeof(data));

    PUMP_UNTIL(answering != NULL);

    ck_assert_uint_eq(the_ring()->unsignaled_count, 0);
    client_expect_pattern(client, 0, sizeof(data));
}
END_TEST

static bool given_back;

static void give_back(void *arg)
{
    given_back = true;
}

static void answer_from_own_memory(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    static const char answer[OUTPUT_COPY_BYTES + 1] = "not copied";

    ck_assert_int_eq(jd_tcp_connection_send_reference(connection, answer, sizeof(answer), give_back, NULL), 0);
}

START_TEST(referenced_memory_is_released_at_once)
{
    serve(&(struct service){ .on_message = answer_from_own_memory });
    int client = client_connect_up();
    pump_until_quiet();
    the_ring()->unsignaled_timeout_armed = true; /* so that no timeout ends a sleep */
    pump_by(sleep_without_end);
    client_send(client, "?", 1);

    PUMP_UNTIL(given_back);
}
END_TEST

/* Each takes a part or nothing of what it is sent. */
START_TEST(unsignaled_sends_to_peers_that_do_not_read_lose_nothing_and_do_not_spin)
{
    enum { SLOW = 40, BYTES = 300 * KIB, TURNS = 2000 };
    int slow[SLOW];
    serve(&(struct service){ .options.send_buffer_bytes = 4096, .options.high_watermark = MIB, .on_message = echo });
    for (int i = 0; i < SLOW; i++)
        slow[i] = client_connect_with_receive_buffer(4096);
    for (size_t offset = 0; offset < BYTES; offset += 10 * KIB)
        for (int i = 0; i < SLOW; i++)
            client_send_pattern(slow[i], offset, 10 * KIB);
    PUMP_UNTIL(bytes_received() == (uint64_t)SLOW * BYTES);
    pump_until_quiet(); /* it would never come to rest if it tried again and again */

    for (size_t offset = 0; offset < BYTES; offset += 10 * KIB)
        for (int i = SLOW - 1; i >= 0; i--)
            client_expect_pattern(slow[i], offset, 10 * KIB);
    pump_until_quiet();
    ck_assert_uint_eq(statistics().bytes_sent, (uint64_t)SLOW * BYTES);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "ring_unsignaled");

    tcase_add_test(tests, an_answer_that_the_kernel_took_has_no_completion);
    tcase_add_test(tests, a_loop_that_sleeps_wakes_to_count_what_it_sent);
    tcase_add_loop_test(tests, output_behind_an_unsignaled_send_does_not_wait_until_the_loop_wakes, 0, 3);
    tcase_add_test(tests, unsignaled_sends_are_reported_in_the_next_turn_while_other_input_is_deferred);
    tcase_add_test(tests, much_of_the_output_limit_is_not_sent_in_silence);
    tcase_add_test(tests, referenced_memory_is_released_at_once);
    tcase_add_test(tests, unsignaled_sends_to_peers_that_do_not_read_lose_nothing_and_do_not_spin);
}
