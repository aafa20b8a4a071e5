/* Watermarks: a peer that asks and never takes its answers costs bounded memory (pitfall 33), and is served again when it
 * takes them. */
#include "net/connection/tcp_connection.h"
#include "tests/behaviour/harness.h"

#include <jinduo/error.h>
#include <jinduo/memory.h>
#include <string.h>

const char *const suite_name = "watermarks";

enum {
    HIGH = 64 * 1024,
    LOW = 8 * 1024,
    KERNEL_BYTES = 4096,
    MESSAGE = 4096,
    MANY = 2 * 1024 * 1024,
    MORE_THAN_KERNELS_KEEP = 32 * 1024 * 1024
};

static char calls[64];
static size_t most_queued;

static void on_high(jd_tcp_connection *connection, size_t queued, void *arg)
{
    ck_assert_uint_le(strlen(calls) + 2, sizeof(calls));
    strcat(calls, "H");
    ck_assert_uint_eq(queued, jd_tcp_connection_queued_bytes(connection));
}

static void on_low(jd_tcp_connection *connection, size_t queued, void *arg)
{
    ck_assert_uint_le(strlen(calls) + 2, sizeof(calls));
    strcat(calls, "L");
    ck_assert_uint_le(queued, LOW);
}

static void answer_twice(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    size_t length = jd_buffer_readable(input);
    const void *data = jd_buffer_peek(input, length);

    ck_assert_int_eq(jd_tcp_connection_send(connection, data, length), 0);
    ck_assert_int_eq(jd_tcp_connection_send(connection, data, length), 0);
    jd_buffer_consume(input, length);
    if (jd_tcp_connection_queued_bytes(connection) > most_queued)
        most_queued = jd_tcp_connection_queued_bytes(connection);
}

static struct service doubling_service(void)
{
    return (struct service){
        .options = { .high_watermark = HIGH,
                     .low_watermark = LOW,
                     .send_buffer_bytes = KERNEL_BYTES,
                     .receive_buffer_bytes = KERNEL_BYTES,
                     .budget_bytes = MESSAGE },
        .on_message = answer_twice,
        .on_high_watermark = on_high,
        .on_low_watermark = on_low,
    };
}

/* Sends until output has risen above the mark and the server takes no more, for many turns on end. */
static size_t send_until_stuck(int client, size_t most)
{
    char data[MESSAGE];
    size_t sent = 0;

    for (unsigned stuck = 0; (stuck < 200 || calls[0] == '\0') && sent < most;) {
        size_t now;
        pattern_fill(data, sent, sizeof(data));
        now = client_send_some(client, data, sizeof(data));
        stuck = now > 0 ? 0 : stuck + 1;
        sent += now;
        jd_event_loop_run_once(the_loop, now > 0 ? 0 : 1);
    }
    PUMP_UNTIL(calls[0] != '\0'); /* the kernel may hold all */
    return sent;
}

START_TEST(a_peer_that_never_reads_is_not_read_from_either)
{
    struct service service = doubling_service();
    size_t before, sent;
    int client;

    serve(&service);
    client = client_connect_with_receive_buffer(KERNEL_BYTES);
    PUMP_UNTIL(connections_up() == 1);
    before = jd_memory_in_use();

    sent = send_until_stuck(client, MORE_THAN_KERNELS_KEEP);

    ck_assert_uint_lt(sent, MORE_THAN_KERNELS_KEEP);
    ck_assert_str_eq(calls, "H");
    ck_assert_uint_gt(most_queued, HIGH);
    /* The message that crossed the mark, and what the engine had received by then. */
    ck_assert_uint_le(most_queued, HIGH + 4 * 64 * 1024);
    /* The kernel's thread receives while the loop takes the receive back. */
    ck_assert_uint_le(jd_memory_in_use(), before + 1024 * 1024);
    ck_assert_uint_eq(connections_down(), 0);
}
END_TEST

START_TEST(when_it_reads_again_it_is_served_again_in_order_and_whole)
{
    struct service service = doubling_service();
    int client;

    service.on_message = echo;
    serve(&service);
    client = client_connect_with_receive_buffer(KERNEL_BYTES);
    size_t sent = send_until_stuck(client, MANY);

    client_expect_pattern(client, 0, sent);

    client_send_pattern(client, sent, MESSAGE);
    client_expect_pattern(client, sent, MESSAGE);
    ck_assert_int_eq(calls[0], 'H');
    ck_assert_int_eq(calls[strlen(calls) - 1], 'L');
    for (size_t i = 0; i < strlen(calls); i++)
        ck_assert_int_eq(calls[i], i % 2 == 0 ? 'H' : 'L');
}
END_TEST

static void pause_too(jd_tcp_connection *connection, size_t queued, void *arg)
{
    on_high(connection, queued, arg);
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
}

START_TEST(the_users_pause_outlasts_the_low_watermark)
{
    struct service service = doubling_service();
    size_t received;
    int client;

    service.on_message = echo;
    service.on_high_watermark = pause_too;
    serve(&service);
    client = client_connect_with_receive_buffer(KERNEL_BYTES);
    send_until_stuck(client, MANY);
    pump_until_quiet(); /* the client's kernel may have taken it all before the server gets the report */
    received = bytes_received();

    client_expect_pattern(client, 0, received);
    pump_until_quiet();

    ck_assert_str_eq(calls, "HL");
    ck_assert_uint_eq(bytes_received(), received);
}
END_TEST

/* ---- a message callback that loops over many requests ---- */

enum { REQUEST = 16, REQUESTS = 500 };

/* Answers until it is above: then it leaves the other requests, and knows no more than that. */
static void answer_requests(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    static char data[MESSAGE];
    size_t *answered = arg;

    while (jd_buffer_readable(input) >= REQUEST && !jd_tcp_connection_is_above_watermark(connection)) {
        jd_buffer_consume(input, REQUEST);
        pattern_fill(data, *answered, sizeof(data));
        *answered += sizeof(data);
        ck_assert_int_eq(jd_tcp_connection_send(connection, data, sizeof(data)), 0);
    }
    if (jd_tcp_connection_queued_bytes(connection) > most_queued)
        most_queued = jd_tcp_connection_queued_bytes(connection);
}

static const jd_above_watermark above_choices[] = { JD_ABOVE_WATERMARK_PAUSE_READING, JD_ABOVE_WATERMARK_KEEP_READING };
enum { ABOVE_CHOICES = sizeof(above_choices) / sizeof(above_choices[0]) };

/* All requests come in one piece, and no further byte ever follows but a FIN. */
START_TEST(a_loop_that_stops_above_the_watermark_goes_on_at_the_low_one)
{
    struct service service = doubling_service();
    size_t answered = 0;
    int client;

    service.options.above_watermark = above_choices[_i];
    service.on_message = answer_requests;
    service.on_high_watermark = service.on_low_watermark = NULL;
    service.arg = &answered;
    serve(&service);
    client = client_connect_with_receive_buffer(KERNEL_BYTES);

    client_send_pattern(client, 0, REQUEST * REQUESTS);
    client_shutdown(client);
    client_expect_pattern(client, 0, MESSAGE * REQUESTS);

    client_expect_end(client);
    ck_assert_uint_le(most_queued, HIGH + MESSAGE);
}
END_TEST

enum { READ_TIMEOUT_MS = 250 };

static void note_error(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_error(connection), 0);
}

/* The FIN has been received, so nothing is overdue. */
START_TEST(a_fin_that_waits_for_the_low_watermark_is_not_timed_out)
{
    struct service service = doubling_service();
    size_t answered = 0;
    jd_timestamp begin;
    int client;

    service.options.above_watermark = JD_ABOVE_WATERMARK_KEEP_READING;
    service.options.read_timeout_ms = READ_TIMEOUT_MS;
    service.on_message = answer_requests;
    service.on_high_watermark = service.on_low_watermark = NULL;
    service.on_down = note_error;
    service.arg = &answered;
    serve(&service);
    client = client_connect_with_receive_buffer(KERNEL_BYTES);
    client_send_pattern(client, 0, REQUEST * REQUESTS);
    client_shutdown(client);
    begin = jd_event_loop_now(the_loop);

    while (jd_event_loop_now(the_loop) - begin < 2 * READ_TIMEOUT_MS * (jd_timestamp)1000000)
        jd_event_loop_run_once(the_loop, 10);

    ck_assert_uint_eq(connections_down(), 0);
    client_expect_pattern(client, 0, MESSAGE * REQUESTS);
    client_expect_end(client);
}
END_TEST

static void send_above_at_once(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    static const char data[HIGH + 1];

    jd_buffer_consume(input, SIZE_MAX);
    ck_assert(!jd_tcp_connection_is_above_watermark(connection));
    ck_assert_int_eq(jd_tcp_connection_send(connection, data, sizeof(data)), 0);
    ck_assert(jd_tcp_connection_is_above_watermark(connection));
}

/* The kernel has room for all of it: at the turn's end nothing is queued. */
START_TEST(a_rise_and_a_fall_within_one_turn_are_both_told)
{
    remake_the_loop(&(jd_event_loop_options){ .flush_bytes = 4 * HIGH });
    serve(&(struct service){ .options = { .high_watermark = HIGH, .low_watermark = LOW, .send_buffer_bytes = 8 * HIGH },
                             .on_message = send_above_at_once,
                             .on_high_watermark = on_high,
                             .on_low_watermark = on_low });
    int client = client_connect_up();

    client_send(client, "x", 1);
    PUMP_UNTIL(calls[0] != '\0' && calls[1] != '\0');
    ck_assert_str_eq(calls, "HL");

    client_send(client, "x", 1);
    PUMP_UNTIL(calls[2] != '\0' && calls[3] != '\0');
    ck_assert_str_eq(calls, "HLHL");
}
END_TEST

static bool has_risen_again;

static void rise_again(void *arg)
{
    static char data[2 * HIGH];

    /* Between the engine's report that output has sunk and the turn's end, when the callback is invoked. */
    has_risen_again = jd_tcp_connection_queued_bytes(arg) <= LOW;
    if (has_risen_again)
        ck_assert_int_eq(jd_tcp_connection_send(arg, data, sizeof(data)), 0);
    else
        ck_assert_int_eq(jd_event_loop_queue_in_loop(the_loop, rise_again, arg), 0);
}

static void send_and_watch(jd_tcp_connection *connection, void *arg)
{
    static char data[2 * HIGH];

    ck_assert_int_eq(jd_tcp_connection_send(connection, data, sizeof(data)), 0);
    rise_again(connection);
}

START_TEST(the_last_watermark_report_is_true)
{
    struct service service = doubling_service();
    char received[KERNEL_BYTES];
    int client;

    service.on_up = send_and_watch;
    serve(&service);
    client = client_connect_with_receive_buffer(KERNEL_BYTES);
    while (!has_risen_again) {
        client_receive_some(client, received, sizeof(received));
        pump_turns(1);
    }

    ck_assert_int_eq(calls[strlen(calls) - 1], 'H');
}
END_TEST

static void send_above(jd_tcp_connection *connection, void *arg)
{
    static char data[2 * HIGH];

    ck_assert_int_eq(jd_tcp_connection_send(connection, data, sizeof(data)), 0);
}

START_TEST(reading_above_the_watermark_can_be_asked_for)
{
    struct service service = doubling_service();
    int client;

    service.options.above_watermark = JD_ABOVE_WATERMARK_KEEP_READING;
    service.on_up = send_above;
    service.on_message = NULL;
    serve(&service);
    client = client_connect_with_receive_buffer(KERNEL_BYTES);
    PUMP_UNTIL(connections_up() == 1);
    PUMP_UNTIL(calls[0] == 'H');

    client_send_pattern(client, 0, MANY / 8);
    PUMP_UNTIL(bytes_received() == MANY / 8);
}
END_TEST

START_TEST(a_low_watermark_that_is_not_below_the_high_one_is_refused)
{
    jd_tcp_server_options options = { .high_watermark = 100, .low_watermark = 100 };
    jd_tcp_server *server;

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &options), JD_EINVAL);
    ck_assert(was_logged("low_watermark of 100 bytes is not below high_watermark of 100"));
}
END_TEST

START_TEST(a_high_watermark_above_the_output_limit_is_refused_with_the_reason)
{
    jd_tcp_server_options options = { .name = "odd", .output_limit = 100, .high_watermark = 101 };
    jd_tcp_server *server;

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &options), JD_EINVAL);
    ck_assert(was_logged("odd: high_watermark of 101 bytes is above output_limit of 100"));

    options.high_watermark = 100;
    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &options), 0);
    options.high_watermark = 0; /* a default adapts itself */
    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &options), 0);
    ck_assert_uint_eq(log_messages(), 1);
}
END_TEST

START_TEST(a_value_that_above_watermark_does_not_have_is_refused_with_the_reason)
{
    jd_tcp_server_options options = { .name = "odd", .above_watermark = (jd_above_watermark)3 };
    jd_tcp_server *server;

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &options), JD_EINVAL);
    ck_assert(was_logged("odd: above_watermark 3 is none of the values of jd_above_watermark"));
}
END_TEST

/* The first of several sends of a turn is not above it yet, and the others join what waits to be flushed. */
static void send_above_the_mark(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    static const char data[HIGH / 4 + 1];

    jd_buffer_consume(input, SIZE_MAX);
    for (int i = 1; i <= 4; i++) {
        ck_assert_int_eq(jd_tcp_connection_send(connection, data, sizeof(data)), 0);
        ck_assert_int_eq((connection->flags & CONNECTION_ABOVE_WATERMARK) != 0, i == 4);
    }
    ++*(unsigned *)arg;
}

START_TEST(several_sends_of_a_turn_rise_above_the_mark_together)
{
    unsigned reported = 0;
    remake_the_loop(&(jd_event_loop_options){ .flush_bytes = 4 * HIGH });
    serve(&(struct service){ .options = { .high_watermark = HIGH, .low_watermark = LOW },
                             .on_message = send_above_the_mark,
                             .arg = &reported });
    int client = client_connect_up();

    client_send(client, "x", 1);

    PUMP_UNTIL(reported == 1);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "watermarks");

    tcase_add_test(tests, a_peer_that_never_reads_is_not_read_from_either);
    tcase_add_test(tests, when_it_reads_again_it_is_served_again_in_order_and_whole);
    tcase_add_test(tests, the_users_pause_outlasts_the_low_watermark);
    tcase_add_loop_test(tests, a_loop_that_stops_above_the_watermark_goes_on_at_the_low_one, 0, ABOVE_CHOICES);
    tcase_add_test(tests, a_fin_that_waits_for_the_low_watermark_is_not_timed_out);
    tcase_add_test(tests, a_rise_and_a_fall_within_one_turn_are_both_told);
    tcase_add_test(tests, the_last_watermark_report_is_true);
    tcase_add_test(tests, several_sends_of_a_turn_rise_above_the_mark_together);
    tcase_add_test(tests, reading_above_the_watermark_can_be_asked_for);
    tcase_add_test(tests, a_high_watermark_above_the_output_limit_is_refused_with_the_reason);
    tcase_add_test(tests, a_value_that_above_watermark_does_not_have_is_refused_with_the_reason);
    tcase_add_test(tests, a_low_watermark_that_is_not_below_the_high_one_is_refused);
}
