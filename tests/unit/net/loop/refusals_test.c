/* Each option that is refused is explained in the log, once: by its name, its value, and what is allowed. */
#include "tests/support/check_main.h"
#include "tests/support/loop_fixture.h"

#include <jinduo/error.h>
#include <jinduo/jinduo.h>
#include <jinduo/proactor.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const suite_name = "refusals";

enum { LONG_MS = 1 << 30 }; /* a millisecond more than the longest */

static char last_message[512];
static unsigned messages;

static void note_message(jd_log_level level, const char *message, void *arg)
{
    ck_assert_int_eq(level, JD_LOG_ERROR);
    messages++;
    strncpy(last_message, message, sizeof(last_message) - 1);
}

static void set_up(void)
{
    jd_log_set_sink(note_message, NULL);
}

static void expect_explained(int result, const char *text)
{
    ck_assert_int_eq(result, JD_EINVAL);
    ck_assert_uint_eq(messages, 1);
    ck_assert_str_eq(last_message, text);
    messages = 0;
}

/* ---- servers ---- */

static const struct {
    jd_tcp_server_options options;
    const char *message;
} refused_servers[] = {
    { { .listen = "local host:8000" }, "test: listen 'local host:8000': neither an IPv4 address nor a host name" },
    { { .listen = "1.2.3.256:80" }, "test: listen '1.2.3.256:80': neither an IPv4 address nor a host name" },
    { { .listen = "localhost:99999" }, "test: listen 'localhost:99999': port out of range (0 to 65535)" },
    { { .listen = "8000" }, "test: listen '8000': port is missing" },
    { { .listen = ":8000" }, "test: listen ':8000': address is missing (\"*\" stands for all)" },
    { { .listen = "127.0.0.1:99999" }, "test: listen '127.0.0.1:99999': port out of range (0 to 65535)" },
    { { .io_threads = 500 }, "test: io_threads 500 is too many; it must be at most 128" },
    { { .load_balance = 7 }, "test: load_balance 7 is none of the values of jd_load_balance" },
    { { .send_buffer_bytes = -1 }, "test: send_buffer_bytes of -1 bytes is negative; 0 is the system's choice" },
    { { .receive_buffer_bytes = -2 }, "test: receive_buffer_bytes of -2 bytes is negative; 0 is the system's choice" },
    { { .keepalive = true, .keepalive_idle_s = 32768 },
      "test: keepalive_idle_s 32768 is too large; it must be at most 32767" },
    { { .keepalive = true, .keepalive_interval_s = 1u << 31 },
      "test: keepalive_interval_s 2147483648 is too large; it must be at most 32767" },
    { { .keepalive = true, .keepalive_count = 128 }, "test: keepalive_count 128 is too large; it must be at most 127" },
    { { .keepalive_idle_s = 10 }, "test: keepalive_idle_s 10 has no effect without keepalive" },
    { { .user_timeout_ms = LONG_MS },
      "test: user_timeout_ms of 1073741824 ms is too long; it must be at most 1073741823 (12 days)" },
    { { .unix_mode = 01777 }, "test: unix_mode 01777 has other bits than permissions; it must be at most 0777" },
    { { .unix_uid = UINT32_MAX }, "test: unix_uid 4294967295 is none (chown(2))" },
    { { .unix_gid = UINT32_MAX }, "test: unix_gid 4294967295 is none (chown(2))" },
    { { .first_message_timeout_ms = LONG_MS },
      "test: first_message_timeout_ms of 1073741824 ms is too long; it must be "
      "at most 1073741823 (12 days)" },
    { { .idle_timeout_ms = 1u << 31 },
      "test: idle_timeout_ms of 2147483648 ms is too long; it must be at most 1073741823 (12 days)" },
    { { .read_timeout_ms = LONG_MS },
      "test: read_timeout_ms of 1073741824 ms is too long; it must be at most 1073741823 (12 days)" },
    { { .write_timeout_ms = LONG_MS },
      "test: write_timeout_ms of 1073741824 ms is too long; it must be at most 1073741823 (12 days)" },
    { { .heartbeat_ms = LONG_MS },
      "test: heartbeat_ms of 1073741824 ms is too long; it must be at most 1073741823 (12 days)" },
    { { .above_watermark = (jd_above_watermark)9 },
      "test: above_watermark 9 is none of the values of jd_above_watermark" },
    { { .output_limit = 1000, .high_watermark = 2000 },
      "test: high_watermark of 2000 bytes is above output_limit of 1000 and would never be reached; it must be at most "
      "output_limit" },
    { { .max_queued_files = 40000 }, "test: max_queued_files 40000 is too many; it must be at most 4094" },
    { { .high_watermark = 1000, .low_watermark = 2000 },
      "test: low_watermark of 2000 bytes is not below high_watermark of 1000" },
};

enum { REFUSED_SERVERS = sizeof(refused_servers) / sizeof(*refused_servers) };

START_TEST(an_option_of_a_server)
{
    jd_tcp_server_options options = refused_servers[_i].options;
    jd_tcp_server *server = NULL;

    options.name = "test";
    expect_explained(jd_tcp_server_create(&server, test_loop, &options), refused_servers[_i].message);

    ck_assert_ptr_null(server);
}
END_TEST

START_TEST(a_start_without_an_endpoint_and_an_empty_endpoint)
{
    const jd_tcp_server_options options = { .name = "none" };
    const jd_endpoint empty = { 0 };
    jd_tcp_server *server;
    ck_assert_int_eq(jd_tcp_server_create(&server, test_loop, &options), 0);

    expect_explained(jd_tcp_server_start(server, NULL),
                     "none: start: there is no endpoint; set the option listen, or call jd_tcp_server_listen");
    expect_explained(jd_tcp_server_listen(server, &empty, NULL), "none: listen: the endpoint is empty");
    expect_explained(jd_tcp_server_listen_text(server, ""), "none: listen '': endpoint is empty");
    expect_explained(jd_tcp_server_listen_text(server, NULL), "none: listen '': endpoint is empty");
    expect_explained(jd_tcp_server_listen_text(server, "[::1:80"), "none: listen '[::1:80': the bracket is not closed");

    jd_tcp_server_destroy(server, NULL, NULL);
}
END_TEST

START_TEST(a_socket_that_is_to_listen_nowhere)
{
    const jd_endpoint empty = { 0 };
    jd_socket listener;

    expect_explained(jd_socket_listen(&listener, &empty, NULL), "listen: the endpoint is empty");
}
END_TEST

/* ---- clients ---- */

static const struct {
    jd_tcp_client_options options;
    const char *message;
} refused_clients[] = {
    { { 0 }, "test: the option connect is missing" },
    { { .connect = "localhost" },
      "test: connect 'localhost': must be NAME:PORT or an endpoint, such as 127.0.0.1:80, [::1]:80 or unix:/path" },
    { { .connect = "local host:80" },
      "test: connect 'local host:80': must be NAME:PORT or an endpoint, such as 127.0.0.1:80, [::1]:80 or unix:/path" },
    { { .connect = "*:80" }, "test: connect '*:80': \"*\" is no address to connect to" },
    { { .connect = "127.0.0.1:0" }, "test: connect '127.0.0.1:0': port 0 is no port to connect to" },
    { { .connect = "[::1]:8", .bind = "nonsense" }, "test: bind 'nonsense': port is missing" },
    { { .connect = "[::1]:8", .bind = "unix:/x" },
      "test: bind 'unix:/x': must be an IP address with a port; port 0 lets the system choose" },
    { { .connect = "[::1]:8", .bind = "*:8" },
      "test: bind '*:8': must be an IP address with a port; port 0 lets the system choose" },
    { { .connect = "localhost:80", .connect_timeout_ms = 1u << 31 },
      "test: connect_timeout_ms of 2147483648 ms is too long; it must be at most 1073741823 (12 days)" },
    { { .connect = "localhost:80", .reconnect_max_ms = LONG_MS },
      "test: reconnect_max_ms of 1073741824 ms is too long; it must be at most 1073741823 (12 days)" },
    { { .connect = "localhost:80", .reconnect_initial_ms = 200, .reconnect_max_ms = 100 },
      "test: reconnect_initial_ms 200 is above reconnect_max_ms 100" },
    { { .connect = "localhost:80", .keepalive_count = 3 }, "test: keepalive_count 3 has no effect without keepalive" },
    { { .connect = "localhost:80", .high_watermark = 1000, .low_watermark = 1000 },
      "test: low_watermark of 1000 bytes is not below high_watermark of 1000" },
};

enum { REFUSED_CLIENTS = sizeof(refused_clients) / sizeof(*refused_clients) };

START_TEST(an_option_of_a_client)
{
    jd_tcp_client_options options = refused_clients[_i].options;
    jd_tcp_client *client = NULL;

    options.name = "test";
    expect_explained(jd_tcp_client_create(&client, test_loop, &options), refused_clients[_i].message);

    ck_assert_ptr_null(client);
}
END_TEST

START_TEST(a_client_without_options)
{
    jd_tcp_client *client;

    expect_explained(jd_tcp_client_create(&client, test_loop, NULL),
                     "client: there are no options; connect is required");
}
END_TEST

/* ---- codecs ---- */

START_TEST(an_option_of_a_length_codec)
{
    static const struct {
        jd_length_codec_options options;
        const char *message;
    } refused[] = {
        { { .length_bytes = 5 }, "length codec: length_bytes 5: must be 1, 2, 3, 4, 8 or JD_LENGTH_VARINT" },
        { { .length_offset = 65536 }, "length codec: length_offset 65536: must be at most 65535" },
        { { .byte_order = (jd_byte_order)3 }, "length codec: byte_order 3 is none of the values of jd_byte_order" },
        { { .max_frame_bytes = 2 },
          "length codec: max_frame_bytes 2: must be from 4, the length of the header, to "
          "9223372036854775807" },
        { { .max_frame_bytes = 50, .strip_bytes = 100 }, "length codec: strip_bytes 100 is above max_frame_bytes 50" },
    };
    jd_codec *codec;

    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        expect_explained(jd_length_codec_create(&codec, &refused[i].options), refused[i].message);
}
END_TEST

START_TEST(an_option_of_a_delimiter_codec)
{
    static const struct {
        jd_delimiter_codec_options options;
        const char *message;
    } refused[] = {
        { { .delimiter = "" }, "delimiter codec: delimiter of 0 bytes: must have 1 to 16" },
        { { .delimiter_bytes = 2 }, "delimiter codec: delimiter_bytes 2 without a delimiter" },
        { { .delimiter = "\r\n", .max_frame_bytes = 1 },
          "delimiter codec: max_frame_bytes 1: must be from 2, the length "
          "of the delimiter, to 9223372036854775807" },
    };
    jd_codec *codec;

    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        expect_explained(jd_delimiter_codec_create(&codec, &refused[i].options), refused[i].message);
}
END_TEST

/* ---- loops, channels, pools ---- */

static void on_channel(jd_channel *channel, jd_handle handle, unsigned events, void *arg)
{
}

START_TEST(an_argument_of_a_channel)
{
    jd_channel *channel;

    expect_explained(jd_channel_create(&channel, test_loop, -1, JD_READABLE, on_channel, NULL),
                     "channel: the handle -1 is none");
    expect_explained(jd_channel_create(&channel, test_loop, 0, JD_READABLE, NULL, NULL),
                     "channel: there is no callback");
    expect_explained(jd_channel_create(&channel, test_loop, 0, 1u << 10, on_channel, NULL),
                     "channel: events 0x400 has bits other than JD_READABLE, JD_WRITABLE and JD_EDGE");
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_int_eq(jd_channel_create(&channel, test_loop, pipes[0], 0, on_channel, NULL), 0);
    expect_explained(jd_channel_set_events(channel, 1u << 10),
                     "channel: events 0x400 has bits other than JD_READABLE, JD_WRITABLE and JD_EDGE");
    jd_channel_destroy(channel);
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

static void never_signal(int number, void *arg)
{
}

START_TEST(a_signal_that_is_none)
{
    static const int numbers[] = { -1, 0, 64 };
    static const char *const messages_of[] = {
        "watch_signal: signal_number -1: must be from 1 to 63",
        "watch_signal: signal_number 0: must be from 1 to 63",
        "watch_signal: signal_number 64: must be from 1 to 63",
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        expect_explained(jd_event_loop_watch_signal(test_loop, numbers[i], never_signal, NULL), messages_of[i]);
    expect_explained(jd_event_loop_watch_signal(test_loop, SIGKILL, never_signal, NULL),
                     "watch_signal: signal_number 9 cannot be caught");
}
END_TEST

static void never_run(void *arg)
{
}

START_TEST(an_interval_of_a_timer)
{
    expect_explained(jd_event_loop_run_every(test_loop, 0, never_run, NULL, NULL),
                     "run_every: interval_ms 0: must be from 1 to 70368744177664");
    expect_explained(jd_event_loop_run_every(test_loop, UINT64_MAX, never_run, NULL, NULL),
                     "run_every: interval_ms 18446744073709551615: must be from 1 to 70368744177664");
}
END_TEST

START_TEST(an_option_of_a_thread_pool)
{
    const jd_thread_pool_options threads = { .threads = 5000 }, tasks = { .name = "work", .task_limit = 2000000 };
    jd_thread_pool *pool;

    expect_explained(jd_thread_pool_create(&pool, &threads), "pool: threads 5000: must be at most 1024");
    expect_explained(jd_thread_pool_create(&pool, &tasks), "work: task_limit 2000000: must be at most 1048576");
}
END_TEST

START_TEST(an_option_of_a_loop)
{
    const jd_event_loop_options spins = { .busy_poll_us = 2000000 }, engine = { .engine = (jd_engine)99 },
                                accepts = { .accepts_ahead = 1025 };
    jd_event_loop *loop;

    expect_explained(jd_event_loop_create(&loop, &spins),
                     "event loop: busy_poll_us 2000000: must be at most 1000000 (1 s)");
    expect_explained(jd_event_loop_create(&loop, &accepts), "event loop: accepts_ahead 1025: must be at most 1024");
    expect_explained(jd_event_loop_create(&loop, &engine), "event loop: engine: unknown engine '99'; allowed: auto, "
                                                           "reactor, proactor, io_uring, simulated, iocp");
}
END_TEST

static void never(jd_operation *operation, int64_t result, void *arg)
{
}

START_TEST(a_connect_to_nowhere)
{
    const jd_endpoint empty = { 0 };
    jd_operation operation = { 0 };

    expect_explained(jd_async_connect(test_loop, &operation, &empty, never, NULL),
                     "jd_async_connect: the endpoint is empty");
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("refused with an explanation");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, loop_fixture_set_up, loop_fixture_tear_down);
    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_add_loop_test(tests, an_option_of_a_server, 0, REFUSED_SERVERS);
    tcase_add_test(tests, a_start_without_an_endpoint_and_an_empty_endpoint);
    tcase_add_test(tests, a_socket_that_is_to_listen_nowhere);
    tcase_add_loop_test(tests, an_option_of_a_client, 0, REFUSED_CLIENTS);
    tcase_add_test(tests, a_client_without_options);
    tcase_add_test(tests, an_option_of_a_length_codec);
    tcase_add_test(tests, an_option_of_a_delimiter_codec);
    tcase_add_test(tests, an_argument_of_a_channel);
    tcase_add_test(tests, a_signal_that_is_none);
    tcase_add_test(tests, an_interval_of_a_timer);
    tcase_add_test(tests, an_option_of_a_thread_pool);
    tcase_add_test(tests, an_option_of_a_loop);
    tcase_add_test(tests, a_connect_to_nowhere);
}
