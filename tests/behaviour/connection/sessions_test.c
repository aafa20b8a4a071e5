/* Sessions: an object for each connection, made by a factory, with its callbacks and its destructor. */
#include "tests/behaviour/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const suite_name = "sessions";

enum { LIMIT = 16, KIB = 1024, LONG_MS = 3600 * 1000 };

/* Of each connection, in the order in which they were made. */
struct session {
    unsigned number;
    char text[128];
};

static struct {
    unsigned made, destroyed, down;
    char last[LIMIT][128]; /* the text of each session when it was destroyed */
} seen;

static void note(struct session *session, const char *text)
{
    ck_assert_uint_lt(strlen(session->text) + strlen(text) + 2, sizeof(session->text));
    strcat(session->text, text);
    strcat(session->text, " ");
}

static void *create(jd_tcp_connection *connection, void *arg)
{
    struct session *session = calloc(1, sizeof(*session));
    jd_endpoint peer;

    ck_assert(!jd_tcp_connection_is_connected(connection));
    ck_assert_ptr_null(jd_tcp_connection_context(connection));
    ck_assert_int_eq(jd_tcp_connection_peer_endpoint(connection, &peer), 0);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "early", 5), JD_ENOTCONN);
    session->number = seen.made++;
    ck_assert_uint_lt(session->number, LIMIT);
    note(session, arg);
    return session;
}

static void destroy(void *arg)
{
    struct session *session = arg;

    strcpy(seen.last[session->number], session->text);
    seen.destroyed++;
    free(session);
}

static void on_connection(jd_tcp_connection *connection, void *session)
{
    ck_assert_ptr_eq(jd_tcp_connection_context(connection), session);
    if (jd_tcp_connection_is_connected(connection)) {
        note(session, "up");
    } else {
        note(session, "down");
        seen.down++;
    }
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *session)
{
    struct session *mine = session;

    if (strstr(mine->text, "message") == NULL)
        note(mine, "message");
    echo(connection, input, received, NULL);
}

static void on_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                     void *session)
{
    char text[32];

    snprintf(text, sizeof(text), "[%.*s]", (int)length, (const char *)data);
    note(session, text);
}

static void on_frame_error(jd_tcp_connection *connection, const jd_frame_error *error, void *session)
{
    note(session, "bad");
}

static void on_half_close(jd_tcp_connection *connection, void *session)
{
    note(session, "half");
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

static void on_write_complete(jd_tcp_connection *connection, void *session)
{
    struct session *mine = session;

    if (strstr(mine->text, "written") == NULL)
        note(mine, "written");
}

static const jd_session_callbacks plain = {
    .create = create, .destroy = destroy, .connection = on_connection, .message = on_message
};

static jd_tcp_server *serve_sessions(const jd_session_callbacks *callbacks, const jd_codec *codec,
                                     jd_tcp_server_options options)
{
    jd_tcp_server *server = make_server(&(struct service){ .options = options });

    jd_tcp_server_set_session(server, callbacks, (void *)(uintptr_t) "made");
    if (codec != NULL)
        jd_tcp_server_set_codec(server, codec, NULL, NULL);
    start_server(server);
    return server;
}

START_TEST(each_connection_has_a_session_until_it_is_down)
{
    serve_sessions(&plain, NULL, (jd_tcp_server_options){ 0 });
    int first = client_connect();
    PUMP_UNTIL(seen.made == 1);
    int second = client_connect();
    PUMP_UNTIL(seen.made == 2);

    client_send(second, "hello", 5);
    client_expect(second, "hello", 5);
    client_close(first);
    PUMP_UNTIL(seen.destroyed == 1);
    ck_assert_str_eq(seen.last[0], "made up down ");
    client_close(second);
    PUMP_UNTIL(seen.destroyed == 2);
    ck_assert_str_eq(seen.last[1], "made up message down ");
}
END_TEST

static jd_tcp_connection *kept;

static void keep_connection(jd_tcp_connection *connection, void *session)
{
    if (jd_tcp_connection_is_connected(connection))
        kept = jd_tcp_connection_ref(connection);
    on_connection(connection, session);
}

START_TEST(a_session_lives_as_long_as_its_connection_is_referenced)
{
    static const jd_session_callbacks keeping = { .create = create, .destroy = destroy, .connection = keep_connection };
    serve_sessions(&keeping, NULL, (jd_tcp_server_options){ 0 });
    int client = client_connect();

    PUMP_UNTIL(seen.made == 1);
    client_close(client);
    PUMP_UNTIL(seen.down == 1);
    pump_until_quiet();
    ck_assert_uint_eq(seen.destroyed, 0);
    ck_assert_str_eq(((struct session *)jd_tcp_connection_context(kept))->text, "made up down ");

    jd_tcp_connection_unref(kept);
    PUMP_UNTIL(seen.destroyed == 1);
}
END_TEST

/* ---- refusing ---- */

static unsigned asked;

static void *refuse_every_second(jd_tcp_connection *connection, void *arg)
{
    return asked++ % 2 == 1 ? NULL : create(connection, arg);
}

static void *make_and_close(jd_tcp_connection *connection, void *arg)
{
    if (asked++ % 2 == 1)
        ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
    return create(connection, arg);
}

START_TEST(a_connection_that_the_factory_refuses_is_not_reported)
{
    const jd_session_callbacks refusing = { .create = _i == 0 ? refuse_every_second : make_and_close,
                                            .destroy = destroy,
                                            .connection = on_connection,
                                            .message = on_message };
    unsigned made = _i == 0 ? 2 : 3;
    jd_tcp_server *server = serve_sessions(&refusing, NULL, (jd_tcp_server_options){ .max_connections = 2 });
    int first = client_connect();
    PUMP_UNTIL(asked == 1);
    int refused = client_connect();

    client_expect_end(refused);
    client_close(refused);
    ck_assert_uint_eq(jd_tcp_server_connection_count(server), 1);
    int third = client_connect();
    client_send(third, "hello", 5);
    client_expect(third, "hello", 5);
    ck_assert_uint_eq(seen.made, made);
    ck_assert_uint_eq(seen.down, 0);
    ck_assert_uint_eq(statistics().connections_failed, 1);

    client_close(first);
    client_close(third);
    PUMP_UNTIL(seen.destroyed == made && seen.down == 2);
}
END_TEST

/* ---- codecs and other settings ---- */

static const jd_session_callbacks framed = { .create = create,
                                             .destroy = destroy,
                                             .connection = on_connection,
                                             .frame = on_frame,
                                             .frame_error = on_frame_error,
                                             .message = on_message,
                                             .half_close = on_half_close,
                                             .write_complete = on_write_complete };

START_TEST(frames_and_all_other_callbacks_come_with_the_session)
{
    jd_codec *codec;
    ck_assert_int_eq(jd_delimiter_codec_create(&codec, &(jd_delimiter_codec_options){ .max_frame_bytes = 100 }), 0);
    serve_sessions(&framed, codec, (jd_tcp_server_options){ .allow_half_open = true });
    int client = client_connect(), other = client_connect();
    static const char line[200] = "x";

    client_send(client, "one\ntwo\n", 8);
    client_shutdown(client);
    client_expect_end(client);
    PUMP_UNTIL(seen.destroyed == 1);
    client_send(other, line, sizeof(line));
    PUMP_UNTIL(seen.destroyed == 2);

    ck_assert(strcmp(seen.last[0], "made up [one] [two] half down ") == 0 ||
              strcmp(seen.last[1], "made up [one] [two] half down ") == 0);
    ck_assert(strcmp(seen.last[0], "made up bad down ") == 0 || strcmp(seen.last[1], "made up bad down ") == 0);
    jd_codec_destroy(codec);
}
END_TEST

/* Of each further callback: how often it came. */
static struct {
    unsigned heartbeats, above, below, gone, asked;
} calls;

static bool is_session(jd_tcp_connection *connection, void *session)
{
    return session != NULL && session == jd_tcp_connection_context(connection);
}

static void count_heartbeat(jd_tcp_connection *connection, void *session)
{
    calls.heartbeats += is_session(connection, session);
}

static void count_above(jd_tcp_connection *connection, size_t queued_bytes, void *session)
{
    calls.above += is_session(connection, session);
}

static void count_below(jd_tcp_connection *connection, size_t queued_bytes, void *session)
{
    calls.below += is_session(connection, session);
}

static void count_gone(jd_tcp_connection *connection, int error, void *session)
{
    calls.gone += is_session(connection, session);
}

static void count_asked(jd_tcp_connection *connection, void *session)
{
    calls.asked += is_session(connection, session);
    jd_tcp_connection_pause_reading(connection);
}

static void send_above_the_watermark(jd_tcp_connection *connection, void *session)
{
    static const char much[4 * KIB];

    on_connection(connection, session);
    if (jd_tcp_connection_is_connected(connection))
        ck_assert_int_eq(jd_tcp_connection_send(connection, much, sizeof(much)), 0);
}

START_TEST(heartbeats_watermarks_ages_and_peers_that_have_gone_come_with_the_session)
{
    static const jd_session_callbacks callbacks = { .create = create,
                                                    .destroy = destroy,
                                                    .connection = send_above_the_watermark,
                                                    .high_watermark = count_above,
                                                    .low_watermark = count_below,
                                                    .heartbeat = count_heartbeat,
                                                    .peer_gone = count_gone,
                                                    .asked_to_end = count_asked };
    serve_sessions(&callbacks, NULL,
                   (jd_tcp_server_options){
                       .high_watermark = KIB, .heartbeat_ms = 10, .max_age_ms = 50, .max_age_drain_ms = LONG_MS });
    int client = client_connect();

    PUMP_UNTIL(calls.heartbeats > 0 && calls.asked == 1);
    ck_assert_uint_eq(calls.above, 1);
    PUMP_UNTIL(calls.below == 1);
    ck_assert_uint_eq(calls.gone, 0);
    client_close(client); /* behind unread bytes: a reset */
    PUMP_UNTIL(calls.gone == 1);
}
END_TEST

static void *create_with_codec(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_set_codec(connection, arg, NULL, NULL), 0);
    ck_assert_int_eq(jd_tcp_connection_set_timeouts(connection, &(jd_connection_timeouts){ .idle_ms = 1 << 29 }), 0);
    return create(connection, (void *)(uintptr_t) "made");
}

START_TEST(the_factory_may_change_settings)
{
    jd_codec *codec;
    jd_session_callbacks callbacks = framed;
    callbacks.create = create_with_codec;
    ck_assert_int_eq(jd_delimiter_codec_create(&codec, NULL), 0);
    jd_tcp_server *server = make_server(&(struct service){ .arg = NULL });
    jd_tcp_server_set_session(server, &callbacks, codec);
    start_server(server);
    int client = client_connect();

    client_send(client, "one\ntwo\n", 8);
    client_close(client);

    PUMP_UNTIL(seen.destroyed == 1);
    ck_assert_str_eq(seen.last[0], "made up [one] [two] down ");
    jd_codec_destroy(codec);
}
END_TEST

static void upgrade(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                    void *session)
{
    struct session *next = calloc(1, sizeof(*next));

    on_frame(connection, data, length, received, session);
    next->number = seen.made++;
    note(next, "upgraded");
    ck_assert_int_eq(jd_tcp_connection_set_session(connection, &plain, next), 0);
    ck_assert_int_eq(jd_tcp_connection_set_codec(connection, NULL, NULL, NULL), 0);
}

START_TEST(a_connection_may_get_another_session)
{
    jd_codec *codec;
    jd_session_callbacks callbacks = framed;
    callbacks.frame = upgrade;
    ck_assert_int_eq(jd_delimiter_codec_create(&codec, NULL), 0);
    serve_sessions(&callbacks, codec, (jd_tcp_server_options){ 0 });
    int client = client_connect();

    client_send(client, "upgrade\nhello", 13);
    client_expect(client, "hello", 5);
    ck_assert_uint_eq(seen.destroyed, 1);
    ck_assert_str_eq(seen.last[0], "made up [upgrade] ");
    client_close(client);

    PUMP_UNTIL(seen.destroyed == 2);
    ck_assert_str_eq(seen.last[1], "upgraded message down ");
    jd_codec_destroy(codec);
}
END_TEST

/* ---- servers and clients ---- */

static void note_done(void *done)
{
    *(bool *)done = true;
}

START_TEST(a_server_that_is_destroyed_destroys_its_sessions)
{
    bool done = false;
    jd_tcp_server *server = serve_sessions(&plain, NULL, (jd_tcp_server_options){ 0 });
    for (int i = 0; i < LIMIT; i++)
        client_connect();
    PUMP_UNTIL(seen.made == LIMIT);

    jd_tcp_server_destroy(server, note_done, &done);

    PUMP_UNTIL(done && seen.destroyed == LIMIT);
    for (int i = 0; i < LIMIT; i++)
        ck_assert_str_eq(seen.last[i], "made up down ");
}
END_TEST

static void greet(jd_tcp_connection *connection, void *session)
{
    on_connection(connection, session);
    if (jd_tcp_connection_is_connected(connection))
        ck_assert_int_eq(jd_tcp_connection_send(connection, "hello", 5), 0);
}

/* The client's: an echo would go to and fro. */
static void take_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *session)
{
    struct session *mine = session;

    jd_buffer_consume(input, SIZE_MAX);
    if (strstr(mine->text, "message") == NULL)
        note(mine, "message");
}

static int client_error;

static void note_failure(jd_tcp_client *client, const jd_connect_report *report, void *arg)
{
    client_error = report->error;
}

static void *refuse(jd_tcp_connection *connection, void *arg)
{
    return NULL;
}

static void *close_at_once(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
    return &seen;
}

static void *reset_at_once(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_reset(connection), 0);
    return &seen;
}

/* A client with sessions connects to a server that echoes. */
static jd_tcp_client *connect_session(const jd_session_callbacks *callbacks)
{
    static char text[JD_ENDPOINT_TEXT_BYTES];
    jd_tcp_client *client;

    serve(&(struct service){ .on_message = echo });
    ck_assert_int_ge(jd_endpoint_format(server_endpoint(), text, sizeof(text)), 0);
    ck_assert_int_eq(jd_tcp_client_create(&client, the_loop, &(jd_tcp_client_options){ .connect = text }), 0);
    jd_tcp_client_set_session(client, callbacks, (void *)(uintptr_t) "made");
    jd_tcp_client_set_connect_callback(client, note_failure, NULL);
    ck_assert_int_eq(jd_tcp_client_start(client), 0);
    return client;
}

START_TEST(a_client_has_sessions_too)
{
    jd_session_callbacks callbacks = framed;
    callbacks.connection = greet;
    callbacks.message = take_message;
    callbacks.half_close = NULL;
    jd_tcp_client *client = connect_session(&callbacks);

    PUMP_UNTIL(bytes_received() == 5);
    pump_until_quiet();
    jd_tcp_client_destroy(client, NULL, NULL);

    PUMP_UNTIL(seen.destroyed == 1);
    ck_assert_ptr_nonnull(strstr(seen.last[0], "message"));
    ck_assert_ptr_nonnull(strstr(seen.last[0], "written"));
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

START_TEST(a_client_reports_that_its_factory_has_refused)
{
    static const jd_session_callbacks refusing[] = {
        { .create = refuse, .connection = on_connection },
        { .create = close_at_once, .connection = on_connection },
        { .create = reset_at_once, .connection = on_connection },
    };
    client_error = 1;
    jd_tcp_client *client = connect_session(&refusing[_i]);

    PUMP_UNTIL(client_error != 1);
    ck_assert_int_eq(client_error, JD_ECANCELED);
    ck_assert_uint_eq(seen.down, 0);
    jd_tcp_client_destroy(client, NULL, NULL);
    PUMP_UNTIL(connections_down() == connections_up());
    pump_until_quiet();
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "sessions");

    tcase_add_test(tests, each_connection_has_a_session_until_it_is_down);
    tcase_add_test(tests, a_session_lives_as_long_as_its_connection_is_referenced);
    tcase_add_loop_test(tests, a_connection_that_the_factory_refuses_is_not_reported, 0, 2);
    tcase_add_test(tests, frames_and_all_other_callbacks_come_with_the_session);
    tcase_add_test(tests, heartbeats_watermarks_ages_and_peers_that_have_gone_come_with_the_session);
    tcase_add_test(tests, the_factory_may_change_settings);
    tcase_add_test(tests, a_connection_may_get_another_session);
    tcase_add_test(tests, a_server_that_is_destroyed_destroys_its_sessions);
    tcase_add_test(tests, a_client_has_sessions_too);
    tcase_add_loop_test(tests, a_client_reports_that_its_factory_has_refused, 0, 3);
}
