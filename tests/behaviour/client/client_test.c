/* Clients: what they connect to, and how; their connections are like a server's. */
#include "tests/behaviour/client/client_fixture.h"
#include "tests/support/name_service.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "client";

/* The local ones are completed to names of this process's own. */
static const char *const endpoints[] = { "127.0.0.1:0", "[::1]:0", "@jinduo-test-", "/tmp/jinduo-test-" };
enum { ENDPOINTS = sizeof(endpoints) / sizeof(endpoints[0]) };

static bool has_ipv6(void)
{
    jd_endpoint endpoint;
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    bool works;

    ck_assert_int_eq(jd_endpoint_parse(&endpoint, "[::1]:0", NULL), 0);
    works = probe >= 0 && bind(probe, (const struct sockaddr *)endpoint.address.bytes, endpoint.length) == 0;
    close(probe);
    return works;
}

static void say_hello(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, "hello", 5), 0);
}

static void expect_hello(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    if (jd_buffer_readable(input) < 5)
        return;
    ck_assert_mem_eq(jd_buffer_peek(input, 5), "hello", 5);
    jd_buffer_consume(input, 5);
}

/* ---- endpoints ---- */

static char peer_of_client[JD_ENDPOINT_TEXT_BYTES];

static void note_peer_and_say_hello(jd_tcp_connection *connection, void *arg)
{
    jd_endpoint peer;

    ck_assert_int_eq(jd_tcp_connection_peer_endpoint(connection, &peer), 0);
    strcpy(peer_of_client, text_of_endpoint(&peer));
    say_hello(connection, arg);
}

START_TEST(a_client_connects_to_every_kind_of_endpoint_and_is_answered)
{
    const char *listen = endpoints[_i];
    bool is_local = strchr(listen, ':') == NULL;
    if (endpoints[_i][0] == '[' && !has_ipv6())
        return;
    if (is_local)
        listen = own_unix_endpoint(listen);
    serve(&(struct service){ .options.listen = listen, .on_message = echo });

    jd_tcp_client *client =
        start_client(&(struct client_use){ .on_up = note_peer_and_say_hello, .on_message = expect_hello });

    PUMP_UNTIL(client_bytes() == 5);
    ck_assert_uint_eq(clients_up(), 1);
    ck_assert_uint_eq(reports_noted(), 0);
    ck_assert_str_eq(peer_of_client, is_local ? "unix:" : text_of_endpoint(server_endpoint()));
    jd_tcp_client_destroy(client, NULL, NULL);
    PUMP_UNTIL(connections_down() == 2);
    ck_assert_uint_eq(clients_down(), 1);
}
END_TEST

static const struct {
    const char *connect, *bind;
    int result;
} targets[] = {
    { NULL, NULL, JD_EINVAL },
    { "", NULL, JD_EINVAL },
    { "127.0.0.1", NULL, JD_EINVAL },
    { "127.0.0.1:0", NULL, JD_EINVAL },
    { "127.0.0.1:65536", NULL, JD_EINVAL },
    { "*:80", NULL, JD_EINVAL },
    { "::1:80", NULL, JD_EINVAL },
    { "[::1]", NULL, JD_EINVAL },
    { "unix:", NULL, JD_EINVAL },
    { "example.org", NULL, JD_EINVAL },
    { "example.org:", NULL, JD_EINVAL },
    { "example.org:http", NULL, JD_EINVAL },
    { "example.org:0", NULL, JD_EINVAL },
    { ":80", NULL, JD_EINVAL },
    { "exa mple.org:80", NULL, JD_EINVAL },
    { "http://example.org:80", NULL, JD_EINVAL },
    { "example.org:80", "127.0.0.1", JD_EINVAL },
    { "example.org:80", "*:0", JD_EINVAL },
    { "example.org:80", "unix:@x", JD_EINVAL },
    { "example.org:80", "localhost:0", JD_EINVAL },
    { "example.org:80", "127.0.0.1:0", 0 },
    { "a-b_c.example.:1", NULL, 0 },
    { "[::1]:65535", "[::1]:0", 0 },
    { "unix:@x", NULL, 0 },
};

START_TEST(a_target_or_a_local_address_that_makes_no_sense_is_refused_at_once)
{
    char too_long[300];
    jd_tcp_client *client;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        const jd_tcp_client_options options = { .connect = targets[i].connect, .bind = targets[i].bind };
        int result = jd_tcp_client_create(&client, the_loop, &options);
        ck_assert_msg(result == targets[i].result, "%s from %s: %d", targets[i].connect, targets[i].bind, result);
        if (result == 0)
            jd_tcp_client_destroy(client, NULL, NULL);
    }
    memset(too_long, 'a', sizeof(too_long));
    strcpy(too_long + 256, ":80");
    ck_assert_int_eq(jd_tcp_client_create(&client, the_loop, &(jd_tcp_client_options){ .connect = too_long }),
                     JD_EINVAL);
    ck_assert_int_eq(jd_tcp_client_create(&client, the_loop, NULL), JD_EINVAL);
}
END_TEST

START_TEST(options_out_of_range_are_refused)
{
    enum { TOO_LONG_MS = 1 << 30 };
    const jd_tcp_client_options wrong[] = {
        { .connect_timeout_ms = TOO_LONG_MS },      { .reconnect_max_ms = TOO_LONG_MS },
        { .reconnect_initial_ms = TOO_LONG_MS },    { .reconnect_initial_ms = 2, .reconnect_max_ms = 1 },
        { .idle_timeout_ms = TOO_LONG_MS },         { .send_buffer_bytes = -1 },
        { .high_watermark = 5, .low_watermark = 5 }
    };
    jd_tcp_client *client;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        jd_tcp_client_options options = wrong[i];
        options.connect = "127.0.0.1:1";
        ck_assert_int_eq(jd_tcp_client_create(&client, the_loop, &options), JD_EINVAL);
    }
}
END_TEST

static char peer_of_server[JD_ENDPOINT_TEXT_BYTES];

static void note_peer(jd_tcp_connection *connection, void *arg)
{
    jd_endpoint peer;

    ck_assert_int_eq(jd_tcp_connection_peer_endpoint(connection, &peer), 0);
    strcpy(peer_of_server, text_of_endpoint(&peer));
}

static const struct {
    const char *listen, *bind, *peer;
} local_addresses[] = {
    { "127.0.0.1:0", "127.0.0.9:0", "127.0.0.9:" },
    { "[::1]:0", "[::1]:0", "[::1]:" },
};

START_TEST(a_client_can_be_bound_to_a_local_address)
{
    if (local_addresses[_i].listen[0] == '[' && !has_ipv6())
        return;
    serve(&(struct service){ .options.listen = local_addresses[_i].listen, .on_up = note_peer });

    start_client(&(struct client_use){ .options.bind = local_addresses[_i].bind });

    PUMP_UNTIL(connections_up() == 2);
    ck_assert_int_eq(strncmp(peer_of_server, local_addresses[_i].peer, strlen(local_addresses[_i].peer)), 0);
}
END_TEST

/* A port of one's own is used again although the last connection from it lingers (tcp(7), TIME_WAIT). */
START_TEST(a_client_reconnects_from_its_own_port)
{
    char bind[JD_ENDPOINT_TEXT_BYTES];
    strcpy(bind, at_dead_port("127.0.0.9"));
    serve(&(struct service){ .on_message = echo, .on_up = note_peer });
    jd_tcp_client *client = make_client(&(struct client_use){ .options.bind = bind });

    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_int_eq(jd_tcp_client_start(client), 0);
        PUMP_UNTIL(connections_up() == 2 * i);
        ck_assert_str_eq(peer_of_server, bind);
        ck_assert_int_eq(jd_tcp_client_disconnect(client, 1000, NULL, NULL), 0);
        PUMP_UNTIL(connections_down() == 2 * i);
    }
}
END_TEST

/* TCP's simultaneous open, RFC 9293, 3.5: a socket that is bound to the port it connects to meets itself. */
START_TEST(a_client_that_has_met_itself_is_not_connected)
{
    char self[JD_ENDPOINT_TEXT_BYTES];
    int holder = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof(address);
    ck_assert_int_eq(setsockopt(holder, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    ck_assert_int_eq(bind(holder, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(getsockname(holder, (struct sockaddr *)&address, &length), 0);
    client_adopt(holder);
    snprintf(self, sizeof(self), "127.0.0.1:%u", ntohs(address.sin_port));

    start_client(&(struct client_use){ .options = { .connect = self, .bind = self } });

    PUMP_UNTIL(reports_noted() == 1);
    ck_assert_int_eq(noted_report(0)->report.error, JD_ECONNREFUSED);
    ck_assert_uint_eq(clients_up(), 0);
}
END_TEST

/* ---- names ---- */

static void set_bool(void *arg)
{
    *(bool *)arg = true;
}

START_TEST(a_name_is_looked_up_off_the_loop)
{
    static const char *const addresses[] = { "127.0.0.1", NULL };
    bool timer_ran = false;
    name_service_install();
    name_service_answer(addresses);
    name_service_block();
    serve(&(struct service){ .on_message = echo });

    jd_tcp_client *client = start_client(&(struct client_use){
        .options.connect = at_server_port("server.test"), .on_up = say_hello, .on_message = expect_hello });

    PUMP_UNTIL(name_service_blocked_lookups() == 1);
    ck_assert_int_eq(jd_event_loop_run_after(the_loop, 1, set_bool, &timer_ran, NULL), 0);
    PUMP_UNTIL(timer_ran);
    ck_assert_uint_eq(connections_up(), 0);
    name_service_unblock();
    PUMP_UNTIL(client_bytes() == 5);
    ck_assert_uint_eq(name_service_lookups(), 1);
    jd_tcp_client_destroy(client, NULL, NULL);
    PUMP_UNTIL(connections_down() == 2);
    name_service_remove();
}
END_TEST

START_TEST(an_address_is_not_looked_up)
{
    name_service_install();
    serve(&(struct service){ .on_message = echo });

    start_client(&(struct client_use){ 0 });

    PUMP_UNTIL(connections_up() == 2);
    ck_assert_uint_eq(name_service_lookups(), 0);
    name_service_remove();
}
END_TEST

START_TEST(the_systems_name_service_is_asked)
{
    serve(&(struct service){ .on_message = echo });

    start_client(&(struct client_use){
        .options.connect = at_server_port("localhost"), .on_up = say_hello, .on_message = expect_hello });

    PUMP_UNTIL(client_bytes() == 5);
}
END_TEST

START_TEST(the_addresses_of_a_name_are_tried_in_turn)
{
    static const char *const addresses[] = { "127.0.0.2", "127.0.0.3", "127.0.0.1", NULL };
    static const char *const refused[] = { "127.0.0.2", "127.0.0.3" };
    name_service_install();
    name_service_answer(addresses);
    serve(&(struct service){ .on_message = echo });

    start_client(&(struct client_use){ .options.connect = at_server_port("server.test"),
                                       .on_up = note_peer_and_say_hello,
                                       .on_message = expect_hello });

    PUMP_UNTIL(client_bytes() == 5);
    ck_assert_uint_eq(reports_noted(), 2);
    for (unsigned i = 0; i < 2; i++) {
        const struct noted_report *noted = noted_report(i);
        ck_assert_int_eq(noted->report.event, JD_CONNECT_ADDRESS_FAILED);
        ck_assert_int_eq(noted->report.error, JD_ECONNREFUSED);
        ck_assert_str_eq(noted->report.reason, "connection refused");
        ck_assert_str_eq(noted->endpoint, at_server_port(refused[i]));
        ck_assert_uint_eq(noted->report.attempt, 1);
        ck_assert_int_eq(noted->report.retry_after_ms, 0);
    }
    ck_assert_str_eq(peer_of_client, text_of_endpoint(server_endpoint()));
    ck_assert_uint_eq(statistics().connects_failed, 2);
    name_service_remove();
}
END_TEST

START_TEST(when_all_addresses_have_failed_the_last_is_reported_and_the_client_can_be_started_again)
{
    static const char *const addresses[] = { "127.0.0.2", "127.0.0.3", NULL };
    name_service_install();
    name_service_answer(addresses);
    jd_tcp_client *client = make_client(&(struct client_use){ .options.connect = at_dead_port("server.test") });

    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(jd_tcp_client_start(client), 0);
        ck_assert_int_eq(jd_tcp_client_start(client), JD_EALREADY);
        PUMP_UNTIL(reports_noted() == 2 * (i + 1));
        ck_assert_int_eq(noted_report(2 * i)->report.event, JD_CONNECT_ADDRESS_FAILED);
        ck_assert_int_eq(noted_report(2 * i + 1)->report.event, JD_CONNECT_FAILED);
        ck_assert_str_eq(noted_report(2 * i + 1)->endpoint, at_dead_port("127.0.0.3"));
        ck_assert_int_lt(noted_report(2 * i + 1)->report.retry_after_ms, 0);
        ck_assert_uint_eq(noted_report(2 * i + 1)->report.attempt, 1);
    }
    pump_until_quiet();
    ck_assert_uint_eq(reports_noted(), 6);
    name_service_remove();
}
END_TEST

/* ---- Unix-domain errors ---- */

START_TEST(a_missing_path_and_one_whose_server_is_gone_give_different_errors)
{
    struct sockaddr_storage address = { .ss_family = AF_UNIX };
    const char *text = own_unix_endpoint("/tmp/jinduo-test-");
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy((char *)&address + sizeof(sa_family_t), text + 5);
    unlink(text + 5);

    jd_tcp_client *client = start_client(&(struct client_use){ .options.connect = text });
    PUMP_UNTIL(reports_noted() == 1);
    ck_assert_int_eq(bind(stale, (struct sockaddr *)&address, sizeof(sa_family_t) + strlen(text + 5) + 1), 0);
    close(stale);
    ck_assert_int_eq(jd_tcp_client_start(client), 0);
    PUMP_UNTIL(reports_noted() == 2);

    ck_assert_int_eq(noted_report(0)->report.error, JD_ENOENT);
    ck_assert_str_eq(noted_report(0)->endpoint, text);
    ck_assert_int_eq(noted_report(1)->report.error, JD_ECONNREFUSED);
    unlink(text + 5);
}
END_TEST

/* ---- its connection ---- */

START_TEST(its_connection_is_known_from_up_to_down)
{
    serve(&(struct service){ .on_message = echo });
    jd_tcp_client *client = start_client(&(struct client_use){ 0 });
    ck_assert_ptr_null(jd_tcp_client_connection(client));

    PUMP_UNTIL(connections_up() == 2);

    ck_assert_ptr_nonnull(jd_tcp_client_connection(client));
    ck_assert_ptr_eq(jd_tcp_connection_loop(jd_tcp_client_connection(client)), the_loop);
    ck_assert_ptr_eq(jd_tcp_client_loop(client), the_loop);
    ck_assert_int_eq(jd_tcp_connection_close(jd_tcp_client_connection(client)), 0);
    PUMP_UNTIL(clients_down() == 1);
    ck_assert_ptr_null(jd_tcp_client_connection(client));
    ck_assert_uint_eq(reports_noted(), 0);
    PUMP_UNTIL(connections_down() == 2);
    ck_assert_uint_eq(statistics().connections_opened, 2);
    ck_assert_uint_eq(statistics().connections_closed, 2);
    ck_assert_uint_eq(statistics().connections_failed, 0);
}
END_TEST

enum { SENDS = 500 };

static jd_tcp_connection *shared;
static _Atomic bool sent;

static void *send_from_afar(void *arg)
{
    for (unsigned i = 0; i < SENDS; i++)
        if (jd_tcp_connection_send(shared, "hello", 5) < 0)
            return NULL;
    jd_tcp_connection_unref(shared);
    sent = true;
    return NULL;
}

static void keep(jd_tcp_connection *connection, void *arg)
{
    shared = jd_tcp_connection_ref(connection);
}

static void expect_hellos(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    while (jd_buffer_readable(input) >= 5)
        expect_hello(connection, input, received, arg);
}

START_TEST(other_threads_send_on_it)
{
    pthread_t thread;
    serve(&(struct service){ .on_message = echo });
    start_client(&(struct client_use){ .on_up = keep, .on_message = expect_hellos });
    PUMP_UNTIL(clients_up() == 1);

    ck_assert_int_eq(pthread_create(&thread, NULL, send_from_afar, NULL), 0);
    PUMP_UNTIL(client_bytes() == (size_t)SENDS * 5);

    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(sent);
}
END_TEST

static unsigned frames, frame_errors;

static void count_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                        void *arg)
{
    frames += length == 5 && memcmp(data, "hello", 5) == 0;
}

static void count_frame_error(jd_tcp_connection *connection, const jd_frame_error *error, void *arg)
{
    frame_errors++;
    ck_assert_int_eq(error->error, JD_EMSGSIZE);
}

static void send_frames(jd_tcp_connection *connection, void *arg)
{
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(jd_codec_send(arg, connection, "hello", 5), 0);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "\xff\xff\xff\xff", 4), 0);
}

START_TEST(it_has_codecs_as_a_servers)
{
    const jd_length_codec_options codec_options = { .strip_bytes = 4 };
    jd_codec *codec;
    ck_assert_int_eq(jd_length_codec_create(&codec, &codec_options), 0);
    serve(&(struct service){ .on_message = echo });

    start_client(&(struct client_use){ .codec = codec,
                                       .on_frame = count_frame,
                                       .on_frame_error = count_frame_error,
                                       .on_up = send_frames,
                                       .arg = codec });

    PUMP_UNTIL(clients_down() == 1);
    ck_assert_uint_eq(frames, 3);
    ck_assert_uint_eq(frame_errors, 1);
    PUMP_UNTIL(connections_down() == 2);
    jd_codec_destroy(codec);
}
END_TEST

static unsigned beats, highs, lows, completes, half_closes;
static int down_error;

static void beat(jd_tcp_connection *connection, void *arg)
{
    beats++;
}

static void note_high(jd_tcp_connection *connection, size_t queued, void *arg)
{
    highs++;
}

static void note_low(jd_tcp_connection *connection, size_t queued, void *arg)
{
    lows++;
}

static void note_complete(jd_tcp_connection *connection, void *arg)
{
    completes++;
}

static void note_half_close(jd_tcp_connection *connection, void *arg)
{
    half_closes++;
}

static void note_error(jd_tcp_connection *connection, void *arg)
{
    down_error = jd_tcp_connection_error(connection);
}

static void send_much(jd_tcp_connection *connection, void *arg)
{
    static const char much[64 * 1024];

    ck_assert_int_eq(jd_tcp_connection_send(connection, much, sizeof(much)), 0);
}

START_TEST(it_has_the_limits_and_callbacks_of_a_servers)
{
    enum { SMALL_BYTES = 4 * 1024 };
    serve(&(struct service){ .options.receive_buffer_bytes = SMALL_BYTES });

    start_client(&(struct client_use){
        .options = { .send_buffer_bytes = SMALL_BYTES, .high_watermark = SMALL_BYTES, .heartbeat_ms = 1 },
        .on_heartbeat = beat,
        .on_high_watermark = note_high,
        .on_low_watermark = note_low,
        .on_write_complete = note_complete,
        .on_up = send_much });

    PUMP_UNTIL(completes == 1 && beats > 0);
    ck_assert_uint_eq(highs, 1);
    ck_assert_uint_eq(lows, 1);
}
END_TEST

START_TEST(it_has_the_timeouts_of_a_servers)
{
    serve(&(struct service){ 0 });

    start_client(&(struct client_use){ .options.read_timeout_ms = 5, .on_down = note_error });

    PUMP_UNTIL(connections_down() == 2);
    ck_assert_uint_eq(clients_down(), 1);
    ck_assert_int_eq(down_error, JD_ETIMEDOUT);
}
END_TEST

static void end_our_side(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

START_TEST(it_may_be_half_open)
{
    serve(&(struct service){ .on_up = end_our_side });
    jd_tcp_client *client =
        start_client(&(struct client_use){ .options.allow_half_open = true, .on_half_close = note_half_close });

    PUMP_UNTIL(half_closes == 1);
    pump_until_quiet();

    ck_assert_uint_eq(clients_down(), 0);
    ck_assert_int_eq(jd_tcp_connection_send(jd_tcp_client_connection(client), "x", 1), 0);
    PUMP_UNTIL(bytes_received() == 1);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = client_case(suite, "client");

    tcase_add_loop_test(tests, a_client_connects_to_every_kind_of_endpoint_and_is_answered, 0, ENDPOINTS);
    tcase_add_test(tests, a_target_or_a_local_address_that_makes_no_sense_is_refused_at_once);
    tcase_add_test(tests, options_out_of_range_are_refused);
    tcase_add_loop_test(tests, a_client_can_be_bound_to_a_local_address, 0, 2);
    tcase_add_test(tests, a_client_reconnects_from_its_own_port);
    tcase_add_test(tests, a_client_that_has_met_itself_is_not_connected);
    tcase_add_test(tests, a_name_is_looked_up_off_the_loop);
    tcase_add_test(tests, an_address_is_not_looked_up);
    tcase_add_test(tests, the_systems_name_service_is_asked);
    tcase_add_test(tests, the_addresses_of_a_name_are_tried_in_turn);
    tcase_add_test(tests, when_all_addresses_have_failed_the_last_is_reported_and_the_client_can_be_started_again);
    tcase_add_test(tests, a_missing_path_and_one_whose_server_is_gone_give_different_errors);
    tcase_add_test(tests, its_connection_is_known_from_up_to_down);
    tcase_add_test(tests, other_threads_send_on_it);
    tcase_add_test(tests, it_has_codecs_as_a_servers);
    tcase_add_test(tests, it_has_the_limits_and_callbacks_of_a_servers);
    tcase_add_test(tests, it_has_the_timeouts_of_a_servers);
    tcase_add_test(tests, it_may_be_half_open);
}
