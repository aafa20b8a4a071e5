/* Settings of one connection: changed from inside callbacks, at any time; what has arrived behind the change goes to what was
 * set, in the same turn. */
#include "tests/behaviour/harness.h"
#include "tests/behaviour/recorder.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const suite_name = "switching";

enum { KIB = 1024 };

/* ---- a protocol of lines and bodies: "5" means that five bytes follow which are no line ---- */

static jd_codec *lines;

static void *named(const char *text)
{
    return (void *)(uintptr_t)text;
}

static void make_lines(void)
{
    ck_assert_int_eq(jd_delimiter_codec_create(&lines, NULL), 0);
}

static void free_lines(void)
{
    jd_codec_destroy(lines);
}

/* What one connection has got: lines in brackets, bodies in parentheses, the turns in which they came. */
struct record {
    char text[4 * KIB];
    size_t length;
    size_t body; /* bytes of it that are still to come */
    jd_timestamp turns[64];
    unsigned count;
};

static struct record got;

static void add(const char *before, const void *data, size_t length, const char *behind)
{
    got.turns[got.count++ % 64] = jd_event_loop_now(the_loop);
    got.length += (size_t)snprintf(got.text + got.length, sizeof(got.text) - got.length, "%s%.*s%s", before,
                                   (int)length, (const char *)data, behind);
    ck_assert_uint_lt(got.length, sizeof(got.text));
}

static void forget(void)
{
    got = (struct record){ .length = 0 };
}

static void on_line(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg);

/* Consumes the body and leaves what is behind it to the codec. */
static void on_body(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    size_t length = jd_buffer_readable(input);

    if (length > got.body)
        length = got.body;
    ck_assert_str_eq(arg, "body");
    ck_assert_uint_gt(length, 0);
    add("(", jd_buffer_peek(input, length), length, ")");
    jd_buffer_consume(input, length);
    got.body -= length;
    if (got.body == 0)
        ck_assert_int_eq(jd_tcp_connection_set_codec(connection, lines, on_line, named("line")), 0);
}

static void on_line(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    ck_assert_str_eq(arg, "line");
    add("[", data, length, "]");
    if (length > 0)
        got.body = strtoul(data, NULL, 10);
    if (got.body == 0)
        return;
    ck_assert_int_eq(jd_tcp_connection_set_message_callback(connection, on_body, named("body")), 0);
    ck_assert_int_eq(jd_tcp_connection_set_codec(connection, NULL, NULL, NULL), 0);
}

static jd_tcp_server *serve_lines(void)
{
    return serve(&(struct service){ .codec = lines, .on_frame = on_line, .arg = named("line") });
}

static void end_with(int client)
{
    client_close(client);
    PUMP_UNTIL(connections_down() == connections_up());
    pump_until_quiet();
}

/* What was got, without the marks that depend on where a body was cut. */
static void expect_bodies(const char *expected)
{
    char text[4 * KIB];
    size_t length = 0;

    for (const char *at = got.text; *at != '\0'; at++)
        if (strncmp(at, ")(", 2) == 0)
            at++;
        else
            text[length++] = *at;
    text[length] = '\0';
    ck_assert_str_eq(text, expected);
}

START_TEST(what_is_behind_a_switch_goes_to_the_new_one_in_the_same_turn)
{
    static const char bytes[] = "get\n5\nhello0\n3\nabc4\n\n\n\n\nend\n";
    serve_lines();
    int client = client_connect();

    client_send(client, bytes, sizeof(bytes) - 1);

    PUMP_UNTIL(strstr(got.text, "[end]") != NULL);
    expect_bodies("[get][5](hello)[0][3](abc)[4](\n\n\n\n)[end]");
    if (!engine_is("late")) /* which may deliver byte by byte */
        for (unsigned i = 1; i < got.count; i++)
            ck_assert_int_eq(got.turns[i], got.turns[0]);
    end_with(client);
}
END_TEST

START_TEST(a_stream_with_switches_may_be_cut_at_every_byte)
{
    static const char bytes[] = "get\n5\nhello0\n3\nabcend\n";
    uint64_t received = 0;
    serve_lines();

    for (size_t cut = 1; cut < sizeof(bytes) - 1; cut++) {
        int client = client_connect();
        forget();
        client_send(client, bytes, cut);
        received += cut;
        PUMP_UNTIL(statistics().bytes_received == received);
        client_send(client, bytes + cut, sizeof(bytes) - 1 - cut);
        received += sizeof(bytes) - 1 - cut;
        PUMP_UNTIL(statistics().bytes_received == received && strstr(got.text, "[end]") != NULL);
        expect_bodies("[get][5](hello)[0][3](abc)[end]");
        client_close(client);
    }
    PUMP_UNTIL(connections_down() == connections_up());
}
END_TEST

START_TEST(a_stream_with_switches_may_come_byte_by_byte)
{
    static const char bytes[] = "get\n5\nhello0\n3\nabcend\n";
    serve_lines();
    int client = client_connect();

    for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
        client_send(client, bytes + i, 1);
        PUMP_UNTIL(statistics().bytes_received == i + 1);
    }

    PUMP_UNTIL(strstr(got.text, "[end]") != NULL);
    expect_bodies("[get][5](hello)[0][3](abc)[end]");
    end_with(client);
}
END_TEST

/* ---- many switches in one block: they need no stack ---- */

static unsigned switches;

static void count_line(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                       void *arg);

static void count_byte(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    switches++;
    jd_buffer_consume(input, 1);
    ck_assert_int_eq(jd_tcp_connection_set_codec(connection, lines, count_line, NULL), 0);
}

static void count_line(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    switches++;
    ck_assert_int_eq(jd_tcp_connection_set_codec(connection, NULL, NULL, NULL), 0);
}

START_TEST(a_peer_may_cause_a_switch_with_every_byte)
{
    enum { PAIRS = 100000 };
    static char bytes[2 * PAIRS];
    serve(&(struct service){ .codec = lines, .on_frame = count_line, .on_message = count_byte });
    int client = client_connect();

    for (size_t i = 0; i < PAIRS; i++) {
        bytes[2 * i] = '\n';
        bytes[2 * i + 1] = 'x';
    }
    client_send(client, bytes, sizeof(bytes));

    PUMP_UNTIL(switches == 2 * PAIRS);
    end_with(client);
}
END_TEST

/* ---- one message callback after another ---- */

/* Everything, with arg before it if another callback came before. */
static void take_all(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    static const void *last;
    size_t length = jd_buffer_readable(input);

    add(last != arg ? arg : "", jd_buffer_peek(input, length), length, "");
    last = arg;
    jd_buffer_consume(input, length);
}

/* Looks at the first byte only. */
static void choose(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    const char *first = jd_buffer_peek(input, 1);

    ck_assert_int_eq(jd_tcp_connection_set_message_callback(connection, take_all, named(*first == 'a' ? "A:" : "B:")),
                     0);
}

START_TEST(a_callback_may_leave_all_bytes_to_another)
{
    serve(&(struct service){ .on_message = choose });
    int first = client_connect_up(), second = client_connect_up();

    client_send(first, "apple", 5);
    PUMP_UNTIL(got.length == 7);
    client_send(second, "bean", 4);
    PUMP_UNTIL(got.length == 13);
    client_send(first, "more", 4);
    PUMP_UNTIL(got.length == 19);

    ck_assert_str_eq(got.text, "A:appleB:beanA:more");
    client_close(first);
    end_with(second);
}
END_TEST

/* Writes to its input, which is then no view of what was received any more. */
static void choose_and_write(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    ck_assert_int_eq(jd_buffer_prepend(input, "<", 1), 0);
    choose(connection, input, received, arg);
}

START_TEST(what_a_callback_adds_to_its_input_goes_to_the_other_too)
{
    serve(&(struct service){ .on_message = choose_and_write });
    int client = client_connect();

    client_send(client, "apple", 5);

    PUMP_UNTIL(got.length == 8);
    ck_assert_str_eq(got.text, "B:<apple");
    end_with(client);
}
END_TEST

/* ---- switches together with pauses, FIN, and from elsewhere ---- */

static void resume(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_resume_reading(connection), 0);
}

static void pause_and_choose(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    choose(connection, input, received, arg);
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
}

START_TEST(what_is_behind_a_switch_waits_while_reading_is_paused)
{
    serve(&(struct service){ .on_message = pause_and_choose });
    int client = client_connect_up();

    client_send(client, "apple", 5);
    PUMP_UNTIL(statistics().bytes_received == 5);
    pump_until_quiet();
    ck_assert_uint_eq(got.count, 0);
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), resume, NULL), 0);

    PUMP_UNTIL(got.length == 7);
    ck_assert_str_eq(got.text, "A:apple");
    end_with(client);
}
END_TEST

START_TEST(the_peers_end_waits_for_what_is_behind_a_switch)
{
    serve_lines();
    int client = client_connect();

    client_send(client, "5\nhelloend\n", 11);
    client_shutdown(client);

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    expect_bodies("[5](hello)[end]");
}
END_TEST

static void end_framing(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_set_message_callback(connection, take_all, named("rest:")), 0);
    ck_assert_int_eq(jd_tcp_connection_set_codec(connection, NULL, NULL, NULL), 0);
}

static void begin_framing(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_set_codec(connection, lines, on_line, named("line")), 0);
}

START_TEST(half_a_frame_goes_to_the_callback_that_a_task_sets)
{
    serve_lines();
    int client = client_connect_up();

    client_send(client, "one\ntw", 6);
    PUMP_UNTIL(statistics().bytes_received == 6);
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), end_framing, NULL), 0);
    PUMP_UNTIL(got.length == 12);
    ck_assert_str_eq(got.text, "[one]rest:tw");

    client_send(client, "o!", 2);
    PUMP_UNTIL(got.length == 14);
    ck_assert_str_eq(got.text, "[one]rest:two!");
    end_with(client);
}
END_TEST

static void leave_all(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
}

START_TEST(bytes_that_were_left_go_to_the_codec_that_a_task_sets)
{
    serve(&(struct service){ .on_message = leave_all });
    int client = client_connect_up();

    client_send(client, "one\ntw", 6);
    PUMP_UNTIL(statistics().bytes_received == 6);
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), begin_framing, NULL), 0);
    PUMP_UNTIL(got.count == 1);
    client_send(client, "o\n", 2);

    PUMP_UNTIL(got.count == 2);
    ck_assert_str_eq(got.text, "[one][two]");
    end_with(client);
}
END_TEST

static void on_length(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    add("<", data, length, ">");
}

static void upgrade(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    jd_codec *old = lines;

    add("[", data, length, "]");
    ck_assert_int_eq(jd_tcp_connection_set_codec(connection, arg, on_length, NULL), 0);
    make_lines();
    jd_codec_destroy(old); /* nothing uses it any more */
}

START_TEST(one_codec_may_replace_another_which_may_be_freed_then)
{
    jd_codec *codec;
    ck_assert_int_eq(jd_length_codec_create(&codec, &(jd_length_codec_options){ .length_bytes = 1, .strip_bytes = 1 }),
                     0);
    serve(&(struct service){ .codec = lines, .on_frame = upgrade, .arg = codec });
    int client = client_connect();

    client_send(client, "upgrade\n\5hello\2n", 16);
    PUMP_UNTIL(got.count == 2);
    client_send(client, "o", 1);

    PUMP_UNTIL(got.count == 3);
    ck_assert_str_eq(got.text, "[upgrade]<hello><no>");
    end_with(client);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- each callback with its argument ---- */

static char events[256];

static void event(jd_tcp_connection *connection, void *arg)
{
    strcat(events, arg);
    strcat(events, " ");
}

static void watermark_event(jd_tcp_connection *connection, size_t queued, void *arg)
{
    event(connection, arg);
}

static void gone_event(jd_tcp_connection *connection, int error, void *arg)
{
    event(connection, arg);
}

static void error_event(jd_tcp_connection *connection, const jd_frame_error *error, void *arg)
{
    event(connection, arg);
}

/* In place of the harness's. */
static void down_event(jd_tcp_connection *connection, void *arg)
{
    record(connection, CALLED_DOWN);
    event(connection, arg);
    record_return(CALLED_DOWN);
}

static void set_all(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_set_connection_callback(connection, down_event, named("down")), 0);
    ck_assert_int_eq(jd_tcp_connection_set_write_complete_callback(connection, event, named("written")), 0);
    ck_assert_int_eq(jd_tcp_connection_set_high_watermark_callback(connection, watermark_event, named("high")), 0);
    ck_assert_int_eq(jd_tcp_connection_set_low_watermark_callback(connection, watermark_event, named("low")), 0);
    ck_assert_int_eq(jd_tcp_connection_set_half_close_callback(connection, event, named("half")), 0);
    ck_assert_int_eq(jd_tcp_connection_set_peer_gone_callback(connection, gone_event, named("gone")), 0);
    ck_assert_int_eq(jd_tcp_connection_set_frame_error_callback(connection, error_event, named("bad")), 0);
}

static void send_above(jd_tcp_connection *connection, void *arg)
{
    static const char zeroes[KIB];

    set_all(connection, arg);
    ck_assert_int_eq(jd_tcp_connection_set_watermarks(connection, 100, 10, JD_ABOVE_WATERMARK_DEFAULT), 0);
    ck_assert_int_eq(jd_tcp_connection_send(connection, zeroes, sizeof(zeroes)), 0);
}

static void ask_to_shut_down(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

START_TEST(each_callback_of_a_connection_has_its_own_argument)
{
    serve(&(struct service){ .on_up = send_above });
    int client = client_connect_up();

    client_receive(client, (char[KIB]){ 0 }, KIB);
    PUMP_UNTIL(strstr(events, "low") != NULL && strstr(events, "written") != NULL);
    client_shutdown(client);
    PUMP_UNTIL(strstr(events, "half") != NULL);
    ck_assert_uint_eq(connections_down(), 0);
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), ask_to_shut_down, NULL), 0);

    client_expect_end(client);
    PUMP_UNTIL(strstr(events, "down") != NULL);
    ck_assert_msg(strncmp(events, "high ", 5) == 0, "%s", events);
}
END_TEST

static void pause_with_all(jd_tcp_connection *connection, void *arg)
{
    set_all(connection, arg);
    ck_assert_int_eq(jd_tcp_connection_set_half_close_callback(connection, NULL, NULL), 0);
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
}

static void never(jd_tcp_connection *connection, void *arg)
{
    ck_abort_msg("a callback that was taken back has been invoked");
}

static void send_and_take_back(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    static char answer[100 * 1024];

    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, answer, sizeof(answer)), 0); /* flushed at once */
    ck_assert_int_eq(jd_tcp_connection_set_write_complete_callback(connection, NULL, NULL), 0);
}

START_TEST(a_callback_that_is_taken_back_while_its_report_is_due_is_not_invoked)
{
    static char answer[100 * 1024];
    serve(&(struct service){ .on_message = send_and_take_back, .on_write_complete = never });
    int client = client_connect_up();

    client_send(client, "x", 1);
    client_receive(client, answer, sizeof(answer));
    pump_until_quiet();
    ck_assert_uint_eq(connections_down(), 0);
}
END_TEST

static void set_oneself_and_leave(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    unsigned *calls = arg;

    ++*calls;
    ck_assert_int_eq(jd_tcp_connection_set_message_callback(connection, set_oneself_and_leave, calls), 0);
}

static void count_turns(void *arg)
{
    ++*(unsigned *)arg;
}

START_TEST(a_callback_that_only_sets_itself_again_does_not_hold_up_the_loop)
{
    unsigned calls = 0, timers = 0;
    jd_timer_id timer;
    serve(&(struct service){ .on_message = set_oneself_and_leave, .arg = &calls });
    int client = client_connect_up();

    ck_assert_int_eq(jd_event_loop_run_every(the_loop, 1, count_turns, &timers, &timer), 0);
    client_send(client, "left", 4);
    PUMP_UNTIL(calls > 10 && timers > 10);
    jd_event_loop_cancel_timer(the_loop, timer);
}
END_TEST

static void note_gone(jd_tcp_connection *connection, int error, void *arg)
{
    ++*(unsigned *)arg;
}

static void keep_pointer(jd_tcp_connection *connection, void *arg)
{
    *(jd_tcp_connection **)arg = connection;
}

START_TEST(a_callback_that_is_set_late_reports_a_peer_that_has_gone_before)
{
    unsigned gone = 0;
    jd_tcp_connection *connection = NULL;
    jd_tcp_server *server = make_server(&(struct service){ .on_up = keep_pointer, .arg = &connection });
    jd_tcp_server_set_peer_gone_callback(server, NULL, NULL);
    start_server(server);
    int client = client_connect_up();

    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
    client_shutdown(client);
    pump_until_quiet();
    ck_assert_int_eq(jd_tcp_connection_set_peer_gone_callback(connection, note_gone, &gone), 0);

    PUMP_UNTIL(gone == 1);
}
END_TEST

START_TEST(a_connections_own_callback_reports_that_its_peer_has_gone)
{
    serve(&(struct service){ .on_up = pause_with_all });
    int client = client_connect_up();

    client_shutdown(client);
    PUMP_UNTIL(strstr(events, "gone") != NULL);
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), resume, NULL), 0);

    client_expect_end(client);
    PUMP_UNTIL(strstr(events, "down") != NULL);
    ck_assert_str_eq(events, "gone down ");
}
END_TEST

static void set_small_codec(jd_tcp_connection *connection, void *arg)
{
    set_all(connection, arg);
    ck_assert_int_eq(jd_tcp_connection_set_codec(connection, arg, NULL, NULL), 0);
}

START_TEST(a_connections_own_callback_reports_its_bad_frames)
{
    jd_codec *codec;
    ck_assert_int_eq(jd_length_codec_create(&codec, &(jd_length_codec_options){ .max_frame_bytes = 100 }), 0);
    serve(&(struct service){ .on_up = set_small_codec, .arg = codec });
    int client = client_connect_up();

    client_send(client, "\1\1\1\1", 4);

    PUMP_UNTIL(strstr(events, "down") != NULL);
    ck_assert_str_eq(events, "bad down ");
    pump_until_quiet();
    jd_codec_destroy(codec);
}
END_TEST

/* ---- timeouts ---- */

enum { SHORT_MS = 60, LONG_MS = 1000 * 1000 };

static int last_error;
static jd_timestamp set_at, down_at;

static void note_down(jd_tcp_connection *connection, void *arg)
{
    last_error = jd_tcp_connection_error(connection);
    down_at = jd_event_loop_now(the_loop);
}

static void set_timeouts(jd_tcp_connection *connection, void *timeouts)
{
    set_at = jd_event_loop_now(the_loop);
    ck_assert_int_eq(jd_tcp_connection_set_timeouts(connection, timeouts), 0);
}

static const jd_connection_timeouts short_timeouts[] = {
    { .first_message_ms = SHORT_MS },
    { .idle_ms = SHORT_MS },
    { .read_ms = SHORT_MS },
};

START_TEST(a_connection_may_get_a_timeout_when_it_is_up_for_long)
{
    jd_connection_timeouts timeouts = short_timeouts[_i];
    serve(&(struct service){ .on_message = echo, .on_down = note_down });
    int client = client_connect_up();
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);

    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), set_timeouts, &timeouts), 0);

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
    ck_assert_int_ge(down_at - set_at, (jd_timestamp)SHORT_MS * 1000000);
}
END_TEST

/* Each message is awaited anew. */
static void echo_and_await(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    echo(connection, input, received, arg);
    set_timeouts(connection, &(jd_connection_timeouts){ .first_message_ms = SHORT_MS });
}

START_TEST(the_next_message_may_be_awaited_as_the_first_was)
{
    serve(&(struct service){ .on_message = echo_and_await, .on_down = note_down });
    int client = client_connect();
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
    ck_assert_int_ge(down_at - set_at, (jd_timestamp)SHORT_MS * 1000000);
}
END_TEST

START_TEST(a_timeout_that_was_taken_back_does_not_expire)
{
    jd_connection_timeouts longer = { .idle_ms = LONG_MS }, none = { 0 };
    serve(&(struct service){
        .options.idle_timeout_ms = SHORT_MS, .on_up = set_timeouts, .arg = _i == 0 ? &longer : &none });
    int client = client_connect_up();
    jd_timestamp begun = jd_event_loop_now(the_loop);

    PUMP_UNTIL(jd_event_loop_now(the_loop) - begun > 4 * (jd_timestamp)SHORT_MS * 1000000);

    ck_assert_uint_eq(connections_down(), 0);
    end_with(client);
}
END_TEST

static void beat(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, arg, 4), 0);
}

static void start_beats(jd_tcp_connection *connection, void *arg)
{
    if (arg != NULL)
        ck_assert_int_eq(jd_tcp_connection_set_timeouts(connection, arg), 0);
    ck_assert_int_eq(jd_tcp_connection_set_heartbeat_callback(connection, beat, named("beat")), 0);
}

START_TEST(a_connection_may_get_heartbeats)
{
    jd_connection_timeouts timeouts = { .heartbeat_ms = SHORT_MS / 4 };
    serve(&(struct service){
        .options.heartbeat_ms = _i == 0 ? SHORT_MS / 4 : 0, .on_up = start_beats, .arg = _i == 0 ? NULL : &timeouts });
    int client = client_connect();

    for (int i = 0; i < 3; i++)
        client_expect(client, "beat", 4);

    end_with(client);
}
END_TEST

/* ---- watermarks ---- */

static void fill(jd_tcp_connection *connection, void *arg)
{
    static const char zeroes[64 * KIB];

    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(jd_tcp_connection_send(connection, zeroes, sizeof(zeroes)), 0);
    ck_assert(!jd_tcp_connection_is_above_watermark(connection));
}

static void lower_watermarks(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_set_watermarks(connection, 64 * KIB, 0, JD_ABOVE_WATERMARK_DEFAULT), 0);
    ck_assert(jd_tcp_connection_is_above_watermark(connection));
}

static void keep_reading(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_set_watermarks(connection, 64 * KIB, 0, JD_ABOVE_WATERMARK_KEEP_READING), 0);
    ck_assert(jd_tcp_connection_is_above_watermark(connection));
}

static void raise_watermarks(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(
        jd_tcp_connection_set_watermarks(connection, 63 * KIB * KIB, 62 * KIB * KIB, JD_ABOVE_WATERMARK_DEFAULT), 0);
    ck_assert(!jd_tcp_connection_is_above_watermark(connection));
}

START_TEST(other_watermarks_take_effect_on_what_is_queued)
{
    static char much[64 * 64 * KIB];
    serve(&(struct service){ .options = { .high_watermark = 32 * KIB * KIB, .send_buffer_bytes = 4096 },
                             .on_up = fill,
                             .on_message = take_all,
                             .on_high_watermark = watermark_event,
                             .on_low_watermark = watermark_event,
                             .arg = named("+") });
    int client = client_connect_with_receive_buffer(4096);
    PUMP_UNTIL(connections_up() == 1);

    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), lower_watermarks, NULL), 0);
    PUMP_UNTIL(strcmp(events, "+ ") == 0);
    client_send(client, "hello", 5);
    pump_until_quiet();
    ck_assert_uint_eq(got.count, 0);

    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), _i == 0 ? keep_reading : raise_watermarks, NULL), 0);
    PUMP_UNTIL(got.length == 6);
    ck_assert_str_eq(events, _i == 0 ? "+ " : "+ + ");
    client_receive(client, much, sizeof(much));
    PUMP_UNTIL(strcmp(events, "+ + ") == 0);
    end_with(client);
}
END_TEST

static void try_bad_settings(jd_tcp_connection *connection, void *arg)
{
    size_t memory = jd_memory_in_use();
    const jd_above_watermark none = JD_ABOVE_WATERMARK_DEFAULT;

    ck_assert_int_eq(jd_tcp_connection_set_watermarks(connection, 10, 10, none), JD_EINVAL);
    ck_assert_int_eq(jd_tcp_connection_set_watermarks(connection, SIZE_MAX, 10, none), JD_EINVAL);
    ck_assert_int_eq(jd_tcp_connection_set_watermarks(connection, 0, SIZE_MAX, none), JD_EINVAL);
    ck_assert_int_eq(jd_tcp_connection_set_watermarks(connection, 10, 5, (jd_above_watermark)3), JD_EINVAL);
    ck_assert_int_eq(jd_tcp_connection_set_timeouts(connection, &(jd_connection_timeouts){ .idle_ms = 1u << 30 }),
                     JD_EINVAL);
    ck_assert_msg(was_logged("idle_ms of 1073741824 ms is too long"), "%s", logged());
    ck_assert_msg(was_logged("low watermark of 10 bytes is not below the high one of 10"), "%s", logged());
    ck_assert_uint_eq(jd_memory_in_use(), memory);
}

START_TEST(settings_out_of_range_are_refused_and_change_nothing)
{
    serve(&(struct service){ .on_up = try_bad_settings });
    int client = client_connect_up();

    end_with(client);
}
END_TEST

/* ---- life ---- */

START_TEST(a_connection_costs_more_only_if_it_has_settings_of_its_own)
{
    enum { AT_MOST = 512 };
    size_t before;
    serve(&(struct service){ .codec = lines, .on_frame = on_line, .arg = named("line") });
    int client = client_connect_up();
    pump_until_quiet();
    before = memory_in_use();

    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), end_framing, NULL), 0);
    PUMP_UNTIL(memory_in_use() > before);
    pump_until_quiet();
    ck_assert_uint_le(memory_in_use(), before + AT_MOST);
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), end_framing, NULL), 0);
    pump_until_quiet();
    ck_assert_uint_le(memory_in_use(), before + AT_MOST);
    end_with(client);
}
END_TEST

static unsigned visits;

static void visit(jd_tcp_connection *connection, void *arg)
{
    visits++;
}

static void note_done(void *done)
{
    *(bool *)done = true;
}

static void switch_all(jd_tcp_connection *connection, void *arg)
{
    set_all(connection, arg);
    ck_assert_int_eq(jd_tcp_connection_set_message_callback(connection, echo, NULL), 0);
    ck_assert_int_eq(jd_tcp_connection_set_codec(connection, NULL, NULL, NULL), 0);
    visit(connection, arg);
}

/* At once; draining. */
START_TEST(a_server_whose_connections_have_all_switched_stops_and_is_destroyed)
{
    enum { CLIENTS = 20, DRAIN_MS = 30 * 1000 };
    bool done = false;
    int clients[CLIENTS];
    jd_tcp_server *server = make_server(&(struct service){ .codec = lines, .on_frame = on_line, .on_up = switch_all });
    start_server(server);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_connect_up();
    ck_assert_uint_eq(visits, CLIENTS);
    ck_assert_int_eq(jd_tcp_server_for_each(server, visit, NULL, note_done, &done), 0);
    PUMP_UNTIL(done);
    ck_assert_uint_eq(visits, 2 * CLIENTS);
    ck_assert_uint_eq(jd_tcp_server_connection_count(server), CLIENTS);

    done = false;
    ck_assert_int_eq(jd_tcp_server_stop(server, _i == 0 ? 0 : DRAIN_MS, note_done, &done), 0);
    PUMP_UNTIL(done);
    ck_assert_uint_eq(jd_tcp_server_connection_count(server), 0);
    done = false;
    jd_tcp_server_destroy(server, note_done, &done);
    PUMP_UNTIL(done);
    for (int i = 0; i < CLIENTS; i++)
        client_expect_end(clients[i]);
}
END_TEST

static jd_tcp_connection *kept;

static void keep(jd_tcp_connection *connection, void *arg)
{
    kept = jd_tcp_connection_ref(connection);
}

static void *set_from_elsewhere(void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_set_codec(kept, NULL, NULL, NULL), JD_EPERM);
    ck_assert_int_eq(jd_tcp_connection_set_message_callback(kept, NULL, NULL), JD_EPERM);
    ck_assert_int_eq(jd_tcp_connection_set_timeouts(kept, &(jd_connection_timeouts){ 0 }), JD_EPERM);
    ck_assert_int_eq(jd_tcp_connection_set_watermarks(kept, 0, 0, JD_ABOVE_WATERMARK_DEFAULT), JD_EPERM);
    return NULL;
}

START_TEST(settings_are_refused_in_another_thread_and_when_the_connection_is_down)
{
    pthread_t thread;
    serve(&(struct service){ .on_up = keep });
    int client = client_connect_up();

    ck_assert_int_eq(pthread_create(&thread, NULL, set_from_elsewhere, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    end_with(client);

    ck_assert_int_eq(jd_tcp_connection_set_codec(kept, NULL, NULL, NULL), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_set_message_callback(kept, NULL, NULL), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_set_timeouts(kept, &(jd_connection_timeouts){ 0 }), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_set_watermarks(kept, 0, 0, JD_ABOVE_WATERMARK_DEFAULT), JD_ENOTCONN);
    jd_tcp_connection_unref(kept);
}
END_TEST

enum { REMOTE_SENDS = 1000 };

static void *send_from_elsewhere(void *arg)
{
    for (int i = 0; i < REMOTE_SENDS; i++)
        ck_assert_int_eq(jd_tcp_connection_send(kept, "hello", 5), 0);
    jd_tcp_connection_unref(kept);
    return NULL;
}

START_TEST(other_threads_may_send_while_settings_change)
{
    pthread_t thread;
    char *received = malloc(5 * REMOTE_SENDS);
    serve(&(struct service){ .on_up = keep, .codec = lines, .on_frame = on_line });
    int client = client_connect_up();

    ck_assert_int_eq(pthread_create(&thread, NULL, send_from_elsewhere, NULL), 0);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), i % 2 == 0 ? end_framing : begin_framing, NULL), 0);
    client_receive(client, received, 5 * REMOTE_SENDS);

    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    end_with(client);
    free(received);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "switching");

    tcase_add_checked_fixture(tests, make_lines, free_lines);
    tcase_add_test(tests, what_is_behind_a_switch_goes_to_the_new_one_in_the_same_turn);
    tcase_add_test(tests, a_stream_with_switches_may_be_cut_at_every_byte);
    tcase_add_test(tests, a_stream_with_switches_may_come_byte_by_byte);
    tcase_add_test(tests, a_peer_may_cause_a_switch_with_every_byte);
    tcase_add_test(tests, a_callback_may_leave_all_bytes_to_another);
    tcase_add_test(tests, what_a_callback_adds_to_its_input_goes_to_the_other_too);
    tcase_add_test(tests, what_is_behind_a_switch_waits_while_reading_is_paused);
    tcase_add_test(tests, the_peers_end_waits_for_what_is_behind_a_switch);
    tcase_add_test(tests, half_a_frame_goes_to_the_callback_that_a_task_sets);
    tcase_add_test(tests, bytes_that_were_left_go_to_the_codec_that_a_task_sets);
    tcase_add_test(tests, one_codec_may_replace_another_which_may_be_freed_then);
    tcase_add_test(tests, each_callback_of_a_connection_has_its_own_argument);
    tcase_add_test(tests, a_connections_own_callback_reports_that_its_peer_has_gone);
    tcase_add_test(tests, a_callback_that_is_taken_back_while_its_report_is_due_is_not_invoked);
    tcase_add_test(tests, a_callback_that_only_sets_itself_again_does_not_hold_up_the_loop);
    tcase_add_test(tests, a_callback_that_is_set_late_reports_a_peer_that_has_gone_before);
    tcase_add_test(tests, a_connections_own_callback_reports_its_bad_frames);
    tcase_add_loop_test(tests, a_connection_may_get_a_timeout_when_it_is_up_for_long, 0, 3);
    tcase_add_test(tests, the_next_message_may_be_awaited_as_the_first_was);
    tcase_add_loop_test(tests, a_timeout_that_was_taken_back_does_not_expire, 0, 2);
    tcase_add_loop_test(tests, a_connection_may_get_heartbeats, 0, 2);
    tcase_add_loop_test(tests, other_watermarks_take_effect_on_what_is_queued, 0, 2);
    tcase_add_test(tests, settings_out_of_range_are_refused_and_change_nothing);
    tcase_add_test(tests, a_connection_costs_more_only_if_it_has_settings_of_its_own);
    tcase_add_loop_test(tests, a_server_whose_connections_have_all_switched_stops_and_is_destroyed, 0, 2);
    tcase_add_test(tests, settings_are_refused_in_another_thread_and_when_the_connection_is_down);
    tcase_add_test(tests, other_threads_may_send_while_settings_change);
}
