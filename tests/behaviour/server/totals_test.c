/* What all connections of a server hold together: total_output_limit and total_input_limit. */
#include "tests/behaviour/connection/lender.h"

#include <jinduo/error.h>
#include <jinduo/length_codec.h>
#include <pthread.h>
#include <string.h>

const char *const suite_name = "totals";

enum {
    LIMIT = MIB,
    PART = 320 * KIB, /* three of them are above seven eighths of the limit, four above the limit */
    STEP = 64 * KIB,
    CLIENTS = 6,
};

static char zeros[2 * LIMIT], received[2 * LIMIT]; /* an engine's threads may be reading zeros */
static jd_tcp_connection *latest;
static unsigned messages;
static unsigned rises; /* above the watermark, of connections with little queued */
static size_t answer_bytes;

static void forget(void)
{
    latest = NULL;
    messages = 0;
    answer_bytes = PART;
    rises = 0;
}

static void note_up(jd_tcp_connection *connection, void *arg)
{
    latest = connection;
}

/* A peer that takes hardly anything, and its connection. */
static int slow_client(jd_tcp_connection **connection)
{
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);

    latest = NULL;
    PUMP_UNTIL(latest != NULL);
    *connection = latest;
    return client;
}

static size_t queued_on(jd_tcp_connection *const *connections, unsigned count)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < count; i++)
        bytes += jd_tcp_connection_queued_bytes(connections[i]);
    return bytes;
}

/* ---- output ---- */

START_TEST(a_send_beyond_the_total_queues_nothing_and_succeeds_when_a_peer_has_read)
{
    jd_tcp_connection *connections[CLIENTS];
    int clients[CLIENTS];
    serve(&(struct service){ .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .total_output_limit = LIMIT },
                             .on_up = note_up });
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = slow_client(&connections[i]);

    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(jd_tcp_connection_send(connections[i], zeros, PART), 0);
    pump_until_quiet();
    ck_assert_int_eq(jd_tcp_connection_send(connections[3], zeros, PART + STEP), JD_ENOBUFS);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connections[3]), 0);
    ck_assert(!jd_tcp_connection_can_send(connections[3], PART + STEP));
    ck_assert(jd_tcp_connection_can_send(connections[3], 1));
    ck_assert_int_eq(jd_tcp_connection_send_reference(connections[3], zeros, PART + STEP, NULL, NULL), JD_ENOBUFS);
    ck_assert_int_eq(jd_tcp_connection_send(connections[3], zeros, 1), 0);
    ck_assert_uint_le(queued_on(connections, CLIENTS), LIMIT + STEP);

    for (unsigned i = 0; i < 3; i++)
        client_receive(clients[i], received, PART);
    PUMP_UNTIL(queued_on(connections, 3) == 0);
    ck_assert_int_eq(jd_tcp_connection_send(connections[3], zeros, PART + STEP), 0);
    client_receive(clients[3], received, PART + STEP + 1);
}
END_TEST

static void answer_by_parts(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp time, void *arg)
{
    messages++;
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, zeros, answer_bytes), 0);
}

/* The third answer reaches seven eighths. */
START_TEST(under_pressure_only_peers_that_read_are_served)
{
    jd_tcp_connection *connections[CLIENTS];
    int clients[CLIENTS];
    serve(&(struct service){ .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .total_output_limit = LIMIT },
                             .on_message = answer_by_parts,
                             .on_up = note_up });
    for (unsigned i = 0; i < 3; i++) {
        clients[i] = slow_client(&connections[i]);
        client_send(clients[i], "?", 1);
        PUMP_UNTIL(messages == i + 1);
    }
    pump_until_quiet();
    ck_assert(was_logged("total_output_limit is 1048576"));

    for (unsigned i = 0; i < 3; i++)
        client_send(clients[i], "?", 1);
    pump_until_quiet();
    ck_assert_uint_eq(messages, 3);

    answer_bytes = KIB;
    client_receive(clients[0], received, PART + KIB); /* the total falls below three quarters */
    PUMP_UNTIL(messages == 6);
    client_receive(clients[1], received, PART + KIB);
    client_receive(clients[2], received, PART + KIB);
}
END_TEST

static void note_rise(jd_tcp_connection *connection, size_t queued_bytes, void *arg)
{
    rises += queued_bytes < KIB;
}

static void answer_small(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp time, void *arg)
{
    messages++;
    ck_assert_int_eq(jd_tcp_connection_send_buffer(connection, input), 0);
}

START_TEST(a_peer_that_reads_its_answers_is_served_under_pressure)
{
    enum { REQUESTS = 100 };
    jd_tcp_connection *slow[3];
    serve(&(struct service){ .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .total_output_limit = LIMIT },
                             .on_message = answer_small,
                             .on_high_watermark = note_rise,
                             .on_up = note_up });
    for (unsigned i = 0; i < 3; i++) {
        slow_client(&slow[i]);
        ck_assert_int_eq(jd_tcp_connection_send(slow[i], zeros, PART), 0);
    }
    pump_until_quiet();
    ck_assert(was_logged("total_output_limit is 1048576"));
    int client = client_connect_up();

    for (int i = 0; i < REQUESTS; i++) {
        client_send(client, "hello", 5);
        client_expect(client, "hello", 5);
    }

    ck_assert_uint_ge(queued_on(slow, 3), LIMIT - LIMIT / 4); /* it was so all the time */
    /* Nor is it paused, where the kernel takes a send at once. */
    ck_assert(rises == 0 || engine_is("late") || engine_is("simulated"));
    ck_assert(jd_tcp_connection_is_above_watermark(slow[0]));
}
END_TEST

/* Of each loop's queue five steps are counted by all. */
enum { LOOP_PART = 344 * KIB };

static _Atomic unsigned messages_on_loops;

static void answer_by_parts_on_loops(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp time, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, zeros, LOOP_PART), 0);
    messages_on_loops++;
}

START_TEST(all_loops_of_a_server_share_the_limit)
{
    enum { LOOPS = 3 };
    int clients[LOOPS];
    messages_on_loops = 0;
    serve(&(struct service){
        .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .total_output_limit = LIMIT, .io_threads = LOOPS },
        .on_message = answer_by_parts_on_loops });
    for (unsigned i = 0; i < LOOPS; i++) { /* one on each */
        clients[i] = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
        PUMP_UNTIL(connections_up() == i + 1);
        client_send(clients[i], "?", 1);
        PUMP_UNTIL(messages_on_loops == i + 1);
    }
    PUMP_UNTIL(was_logged("total_output_limit is 1048576"));
    /* The pressure reaches each loop by a task; a connection closed later shows that all have it. */
    for (unsigned i = 0; i < LOOPS; i++) {
        client_reset(clients[i]);
        PUMP_UNTIL(connections_down() == i + 1);
    }

    int client = client_connect();
    client_send(client, "?", 1);
    client_receive(client, received, LOOP_PART);
    client_close(client);
}
END_TEST

/* ---- the count ---- */

static void send_in_every_way(jd_tcp_connection *connection, jd_shared *shared)
{
    jd_buffer *buffer;

    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, zeros, PART / 4), 0);
    ck_assert_int_eq(jd_tcp_connection_send(connection, zeros, PART / 4), 0);
    ck_assert_int_eq(jd_tcp_connection_send_buffer(connection, buffer), 0);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 0, PART / 4), 0);
    ck_assert_int_eq(jd_tcp_connection_send_reference(connection, zeros, PART / 4, NULL, NULL), 0);
    ck_assert_int_eq(jd_tcp_connection_send_file(connection, pattern_file, 0, PART, NULL, NULL), 0);
    ck_assert_int_eq(jd_tcp_connection_send(connection, zeros, 100), 0);
    jd_buffer_destroy(buffer);
}

static void *send_elsewhere(void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(latest, zeros, PART), 0);
    ck_assert_int_eq(jd_tcp_connection_send(latest, zeros, 2 * LIMIT), JD_ENOBUFS);
    ck_assert_int_eq(jd_tcp_connection_send_file(latest, pattern_file, 0, PART, NULL, NULL), 0);
    jd_tcp_connection_unref(latest);
    return NULL;
}

static void send_in_another_thread(void)
{
    pthread_t thread;

    jd_tcp_connection_ref(latest);
    ck_assert_int_eq(pthread_create(&thread, NULL, send_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
}

/* What is counted wrongly adds up, until a send of the whole limit is refused, or one beyond it is taken. */
START_TEST(when_everything_is_sent_or_dropped_the_whole_limit_is_free_again)
{
    jd_shared *shared;
    jd_tcp_connection *connection;
    serve(&(struct service){ .options = { .total_output_limit = LIMIT }, .on_up = note_up });
    ck_assert_int_eq(jd_shared_create(&shared, zeros, PART), 0);

    for (int i = 0; i < 20; i++) {
        int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
        latest = NULL;
        PUMP_UNTIL(latest != NULL);
        send_in_every_way(latest, shared);
        if (i % 2 == 0)
            send_in_another_thread();
        switch (i % 4) {
        case 0:
            client_reset(client);
            break;
        case 1:
            client_receive(client, received, 2 * PART + 100);
            client_close(client);
            break;
        case 2:
            send_in_another_thread();
            jd_tcp_connection_close(latest); /* before the sends arrive */
            break;
        default:
            client_receive(client, received, PART);
            jd_tcp_connection_reset(latest);
        }
        PUMP_UNTIL(connections_down() == (unsigned)i + 1);
    }
    jd_shared_unref(shared);

    slow_client(&connection);
    ck_assert_int_eq(jd_tcp_connection_send(connection, zeros, LIMIT + 1), JD_ENOBUFS);
    ck_assert_int_eq(jd_tcp_connection_send(connection, zeros, LIMIT), 0);
}
END_TEST

/* ---- input ---- */

static void leave(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp time, void *arg)
{
    messages++;
}

static int client_with_unread(size_t length)
{
    int client = client_connect_up();

    for (size_t sent = 0; sent < length;) {
        sent += client_send_some(client, zeros, length - sent);
        PUMP_UNTIL(messages > 0);
        messages = 0;
    }
    pump_until_quiet();
    return client;
}

START_TEST(above_the_total_the_connection_with_the_most_unread_input_is_closed)
{
    serve(&(struct service){ .options.total_input_limit = LIMIT, .on_message = leave });
    int small = client_with_unread(LIMIT / 4), most = client_with_unread(LIMIT / 2);
    ck_assert_uint_eq(connections_down(), 0);

    int last = client_with_unread(LIMIT / 4 + STEP);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(1), "up message down");
    ck_assert_uint_eq(statistics().closed_by_input_limit, 1);
    ck_assert(was_logged("(total_input_limit); this one has the most of its loop, 524288; connection closed"));
    client_expect_end(most);
    int again = client_with_unread(LIMIT / 4); /* its place is free */
    ck_assert_uint_eq(connections_down(), 1);
    (void)small, (void)last, (void)again;
}
END_TEST

START_TEST(input_that_is_consumed_no_longer_counts)
{
    serve(&(struct service){ .options.total_input_limit = LIMIT, .on_message = echo });
    jd_tcp_server *server = serve(&(struct service){ .options.total_input_limit = LIMIT, .on_message = leave });

    for (int i = 0; i < 3; i++) {
        int client = client_with_unread(LIMIT / 2);
        client_reset(client);
        PUMP_UNTIL(connections_down() == (unsigned)i + 1);
    }
    int client = client_with_unread(LIMIT - STEP);

    ck_assert_uint_eq(statistics().closed_by_input_limit, 0);
    ck_assert_uint_eq(jd_tcp_server_connection_count(server), 1);
    (void)client;
}
END_TEST

static void take_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp time, void *arg)
{
    messages++;
}

START_TEST(incomplete_frames_count)
{
    enum { CUT = 100 };
    static const unsigned char head[4] = { 0, 0x10, 0, 0 }; /* 1 MiB */
    jd_codec *codec;
    ck_assert_int_eq(jd_length_codec_create(&codec, NULL), 0);
    serve(&(struct service){ .options.total_input_limit = LIMIT + LIMIT / 2, .codec = codec, .on_frame = take_frame });
    int clients[2];

    for (int round = 0; round < 3; round++) { /* whole ones do not */
        clients[0] = client_connect_up();
        client_send(clients[0], head, sizeof(head));
        client_send(clients[0], zeros, LIMIT);
        PUMP_UNTIL(messages == (unsigned)round + 1);
        client_close(clients[0]);
        PUMP_UNTIL(connections_down() == (unsigned)round + 1);
    }
    for (int i = 0; i < 2; i++) {
        clients[i] = client_connect_up();
        client_send(clients[i], head, sizeof(head));
        client_send(clients[i], zeros, LIMIT - STEP - CUT * (size_t)i);
    }

    PUMP_UNTIL(connections_down() == 4);
    ck_assert_uint_eq(statistics().closed_by_input_limit, 1);
    pump_until_quiet();
    ck_assert_uint_eq(connections_down(), 4);
    jd_event_loop_destroy(the_loop);
    the_loop = NULL;
    jd_codec_destroy(codec);
}
END_TEST

/* ---- options ---- */

START_TEST(a_limit_that_the_loops_would_pass_is_refused_with_words)
{
    jd_tcp_server *server;
    const jd_tcp_server_options output = { .total_output_limit = 3 * STEP, .io_threads = 2 };
    const jd_tcp_server_options input = { .total_input_limit = 1 };

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &output), JD_EINVAL);
    ck_assert(was_logged("total_output_limit of 196608 bytes is too small; it must be at least 262144"));
    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &input), JD_EINVAL);
    ck_assert(was_logged("total_input_limit of 1 bytes is too small; it must be at least 131072"));
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *output = harness_case(suite, "output");
    TCase *count = lender_case(suite, "the count");
    TCase *input = harness_case(suite, "input");
    TCase *options = harness_case(suite, "options");

    tcase_add_checked_fixture(output, forget, NULL);
    tcase_add_test(output, a_send_beyond_the_total_queues_nothing_and_succeeds_when_a_peer_has_read);
    tcase_add_test(output, under_pressure_only_peers_that_read_are_served);
    tcase_add_test(output, a_peer_that_reads_its_answers_is_served_under_pressure);
    tcase_add_test(output, all_loops_of_a_server_share_the_limit);
    tcase_add_checked_fixture(count, forget, NULL);
    tcase_add_test(count, when_everything_is_sent_or_dropped_the_whole_limit_is_free_again);
    tcase_add_checked_fixture(input, forget, NULL);
    tcase_add_test(input, above_the_total_the_connection_with_the_most_unread_input_is_closed);
    tcase_add_test(input, input_that_is_consumed_no_longer_counts);
    tcase_add_test(input, incomplete_frames_count);
    tcase_add_test(options, a_limit_that_the_loops_would_pass_is_refused_with_words);
}
