/* The message callback and its buffer: what it leaves comes again. */
#include "tests/behaviour/harness.h"

#include <string.h>

const char *const suite_name = "messages";

enum { KIB = 1024 };

/* Stores the messages in text. */
struct notebook {
    char text[4096];
    size_t length;
};

static void note(struct notebook *notebook, const void *data, size_t length)
{
    ck_assert_uint_lt(notebook->length + length, sizeof(notebook->text));
    memcpy(notebook->text + notebook->length, data, length);
    notebook->length += length;
    notebook->text[notebook->length] = '\0';
}

/* ---- pitfall 6 ---- */

static void take_only_whole_words(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    ssize_t length;

    while ((length = jd_buffer_find(input, " ", 1, 0)) >= 0) {
        note(arg, "[", 1);
        note(arg, jd_buffer_peek(input, (size_t)length), (size_t)length);
        note(arg, "]", 1);
        jd_buffer_consume(input, (size_t)length + 1);
    }
}

START_TEST(what_a_handler_leaves_comes_again_with_the_next_bytes)
{
    struct notebook words = { .length = 0 };
    serve(&(struct service){ .on_message = take_only_whole_words, .arg = &words });
    int client = client_connect();

    client_send(client, "one tw", 6);
    PUMP_UNTIL(strcmp(words.text, "[one]") == 0);
    client_send(client, "o three four", 12);
    PUMP_UNTIL(strcmp(words.text, "[one][two][three]") == 0);
    client_send(client, " ", 1);

    PUMP_UNTIL(strcmp(words.text, "[one][two][three][four]") == 0);
}
END_TEST

static void take_at_the_end_only(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    size_t length = jd_buffer_readable(input);
    const void *data = jd_buffer_peek(input, length);

    if (length < 100 * KIB)
        return;
    pattern_expect(data, 0, length);
    ck_assert_int_eq(jd_tcp_connection_send_buffer(connection, input), 0);
}

START_TEST(a_handler_that_takes_nothing_gets_it_all_again)
{
    serve(&(struct service){ .on_message = take_at_the_end_only });
    int client = client_connect();

    client_send_pattern(client, 0, 100 * KIB);

    client_expect_pattern(client, 0, 100 * KIB);
}
END_TEST

static void take_too_much(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    size_t readable = jd_buffer_readable(input);

    ck_assert_uint_gt(readable, 0);
    ck_assert_uint_eq(jd_buffer_consume(input, readable + 1000), readable);
    ck_assert_uint_eq(jd_buffer_readable(input), 0);
    ck_assert_ptr_null(jd_buffer_peek(input, 1));
}

START_TEST(a_handler_that_consumes_more_than_there_is_consumes_all)
{
    serve(&(struct service){ .on_message = take_too_much });
    int client = client_connect();

    client_send(client, "0123456789", 10);
    PUMP_UNTIL(bytes_received() == 10);
    client_send(client, "0123456789", 10);

    PUMP_UNTIL(bytes_received() == 20);
}
END_TEST

/* A view of a block on loan is written to. */
static void answer_in_brackets(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    ck_assert_int_eq(jd_buffer_prepend(input, "<", 1), 0);
    ck_assert_int_eq(jd_buffer_append(input, ">", 1), 0);
    ck_assert_int_eq(jd_tcp_connection_send_buffer(connection, input), 0);
}

START_TEST(a_handler_may_write_to_its_input)
{
    serve(&(struct service){ .on_message = answer_in_brackets });
    int client = client_connect();
    char received[1], previous = '>';
    size_t count = 0;

    client_send_pattern(client, 0, 10);

    /* How many messages the ten bytes came in depends on the engine. */
    while (count < 10 || previous != '>') {
        client_receive(client, received, 1);
        if (previous == '>')
            ck_assert_int_eq(received[0], '<');
        else if (received[0] != '>' || (unsigned char)received[0] == pattern_byte(count))
            ck_assert_uint_eq((unsigned char)received[0], pattern_byte(count++));
        previous = received[0];
    }
}
END_TEST

static void expect_time_to_go_on(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_timestamp *last = arg;

    ck_assert_int_ge(received, *last);
    ck_assert_int_eq(received, jd_event_loop_now(jd_tcp_connection_loop(connection)));
    *last = received;
    jd_buffer_consume(input, SIZE_MAX);
}

START_TEST(a_message_says_when_the_loop_learned_of_it)
{
    jd_timestamp last = 0;
    serve(&(struct service){ .on_message = expect_time_to_go_on, .arg = &last });
    int client = client_connect();

    for (size_t i = 1; i <= 20; i++) {
        client_send(client, "x", 1);
        PUMP_UNTIL(bytes_received() == i);
    }

    ck_assert_int_gt(last, 0);
}
END_TEST

/* ---- the input limit ---- */

static void take_nothing(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
}

static void note_error(jd_tcp_connection *connection, void *arg)
{
    *(int *)arg = jd_tcp_connection_error(connection);
}

START_TEST(a_connection_with_too_much_unread_input_is_closed_and_others_are_not)
{
    int error = 0;
    size_t memory_before;
    static const char data[400 * KIB];
    serve(&(struct service){ .options.input_limit = 200 * KIB,
                             .options.name = "greedy",
                             .on_message = take_nothing,
                             .on_down = note_error,
                             .arg = &error });
    int greedy = client_connect_up(), other = client_connect_up();
    client_send(other, "x", 1);
    pump_until_quiet();
    memory_before = jd_memory_in_use();

    for (size_t sent = 0; sent < sizeof(data);) {
        sent += client_send_some(greedy, data + sent, 10 * KIB < sizeof(data) - sent ? 10 * KIB : sizeof(data) - sent);
        pump_turns(1);
        ck_assert_uint_lt(jd_memory_in_use(), memory_before + 1024 * KIB);
        if (connections_down() > 0)
            break;
    }

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(error, JD_ENOBUFS);
    ck_assert(was_logged("greedy: 127.0.0.1:"));
    ck_assert_str_eq(story(0), "up message down");
    ck_assert_str_eq(story(1), "up message");
    client_close(other);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "messages");

    tcase_add_test(tests, what_a_handler_leaves_comes_again_with_the_next_bytes);
    tcase_add_test(tests, a_handler_that_takes_nothing_gets_it_all_again);
    tcase_add_test(tests, a_handler_that_consumes_more_than_there_is_consumes_all);
    tcase_add_test(tests, a_handler_may_write_to_its_input);
    tcase_add_test(tests, a_message_says_when_the_loop_learned_of_it);
    tcase_add_test(tests, a_connection_with_too_much_unread_input_is_closed_and_others_are_not);
}
