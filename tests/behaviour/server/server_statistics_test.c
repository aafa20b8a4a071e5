/* A server's statistics as text (jinduo/statistics.h), and what a loop measures with the option measure. */
#include "tests/behaviour/harness.h"

#include "base/platform/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const suite_name = "server_statistics";

enum { NS_PER_MS = 1000000, BLOCKED_MS = 20, TEXT_BYTES = 64 * 1024 };

static char text[TEXT_BYTES];

/* Sets text to the statistics. */
static void format(jd_tcp_server *server)
{
    jd_buffer *buffer;
    size_t length;

    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, "\n", 1), 0);
    ck_assert_int_eq(jd_statistics_format(server, buffer), 0);
    length = jd_buffer_readable(buffer);
    ck_assert_uint_lt(length, sizeof(text));
    ck_assert_int_eq(jd_buffer_copy_out(buffer, 0, text, length), 0);
    text[length] = '\0';
    jd_buffer_destroy(buffer);
}

static unsigned count(const char *what)
{
    unsigned found = 0;

    for (const char *where = text; (where = strstr(where, what)) != NULL; where += strlen(what))
        found++;
    return found;
}

static void expect_sample(const char *name, const char *labels, uint64_t value)
{
    char line[200];

    snprintf(line, sizeof(line), "\n%s{%s} %" PRIu64 "\n", name, labels, value);
    ck_assert_msg(count(line) == 1, "%u times: %s; the text is: %s", count(line), line, text);
}

START_TEST(each_member_is_one_sample_of_each_loop)
{
    /* All but connections_closed, which is the sum over its reasons; and one for the engine. */
    const unsigned samples = sizeof(jd_event_loop_statistics) / sizeof(uint64_t) - 1 + 1;
    static const char *const loops[] = { "{loop=\"0\"", "{loop=\"1\"", "{loop=\"accept\"" };
    jd_tcp_server *server = serve(&(struct service){ .options.io_threads = _i == 0 ? 0 : 2 });

    format(server);

    for (unsigned i = 0; i < (_i == 0 ? 1 : 3); i++)
        ck_assert_uint_eq(count(loops[i]), samples);
    ck_assert_uint_eq(count("{loop="), samples * (_i == 0 ? 1 : 3));
    ck_assert_uint_eq(count("# TYPE "), count("# HELP "));
}
END_TEST

START_TEST(samples_have_the_values_of_the_statistics)
{
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo });
    int clients[] = { client_connect(), client_connect() };
    char labels[100];

    client_send(clients[0], "hello", 5);
    client_expect(clients[0], "hello", 5);
    client_close(clients[1]);
    PUMP_UNTIL(connections_down() == 1);
    format(server);

    snprintf(labels, sizeof(labels), "loop=\"0\",engine=\"%s\"", engine_under_test()->name);
    expect_sample("jinduo_loop_info", labels, 1);
    expect_sample("jinduo_connections_opened_total", "loop=\"0\"", 2);
    expect_sample("jinduo_connections_open", "loop=\"0\"", 1);
    expect_sample("jinduo_connections_closed_total", "loop=\"0\",reason=\"peer\"", 1);
    expect_sample("jinduo_connections_closed_total", "loop=\"0\",reason=\"local\"", 0);
    expect_sample("jinduo_received_bytes_total", "loop=\"0\"", 5);
    expect_sample("jinduo_turns_total", "loop=\"0\"", statistics().turns);
    ck_assert_uint_eq(count("jinduo_busy_seconds_total{loop=\"0\"} 0.000000000\n"), 1);
    client_close(clients[0]);
}
END_TEST

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

START_TEST(the_text_of_a_server_that_has_stopped_is_that_of_its_own_loop)
{
    jd_tcp_server *server = serve(&(struct service){ .options.io_threads = 2 });
    bool stopped = false;

    ck_assert_int_eq(jd_tcp_server_stop(server, 0, set_flag, &stopped), 0);
    PUMP_UNTIL(stopped);

    format(server);
    ck_assert_uint_gt(count("{loop=\"accept\""), 0);
    ck_assert_uint_eq(count("{loop=\"0\""), 0); /* its thread has ended */
}
END_TEST

static void block(void *arg)
{
    int64_t until = clock_now() + (int64_t)BLOCKED_MS * NS_PER_MS;

    while (clock_now() < until)
        continue;
}

static void block_and_echo(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    block(NULL);
    echo(connection, input, received, NULL);
}

START_TEST(a_loop_that_measures_finds_its_longest_callback)
{
    remake_the_loop(&(jd_event_loop_options){ .measure = _i != 0 });
    serve(&(struct service){ .on_message = block_and_echo });
    int client = client_connect();

    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
    pump_turns(2);

    jd_event_loop_statistics now = statistics();
    if (_i == 0) {
        ck_assert_uint_eq(now.longest_callback_ns + now.busy_ns + now.latest_timer_ns + now.timers_late_ns, 0);
    } else {
        ck_assert_uint_ge(now.longest_callback_ns, (uint64_t)BLOCKED_MS * NS_PER_MS);
        ck_assert_uint_ge(now.busy_ns, now.longest_callback_ns);
    }
    client_close(client);
}
END_TEST

START_TEST(a_loop_that_measures_finds_how_late_a_timer_is)
{
    bool fired = false;
    jd_event_loop_statistics now;

    remake_the_loop(&(jd_event_loop_options){ .measure = true });
    ck_assert_int_eq(jd_event_loop_run_after(the_loop, 1, set_flag, &fired, NULL), 0);
    block(NULL);
    PUMP_UNTIL(fired);

    now = statistics();
    ck_assert_uint_ge(now.latest_timer_ns, (uint64_t)(BLOCKED_MS - 2) * NS_PER_MS);
    ck_assert_uint_eq(now.timers_late_ns, now.latest_timer_ns);
}
END_TEST

START_TEST(a_loop_that_measures_serves_as_any_other)
{
    enum { CLIENTS = 50, ROUNDS = 20 };
    int clients[CLIENTS];

    remake_the_loop(&(jd_event_loop_options){ .measure = true, .flush_connections = 1 + (uint32_t)_i * 100 });
    serve(&(struct service){ .on_message = echo });
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = client_connect();
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < CLIENTS; i++)
            client_send(clients[i], "hello", 5);
        for (unsigned i = 0; i < CLIENTS; i++)
            client_expect(clients[i], "hello", 5);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        client_close(clients[i]);
    PUMP_UNTIL(connections_down() == CLIENTS);
    ck_assert_uint_eq(bytes_received(), CLIENTS * ROUNDS * 5);
}
END_TEST

/* Computes meanwhile: on Windows the time is counted in ticks, which a thread that sleeps does not meet. */
static bool cpu_time_is_beyond(uint64_t ns)
{
    jd_timestamp end = clock_now() + NS_PER_MS;

    while (clock_now() < end)
        ;
    return statistics().cpu_ns > ns;
}

START_TEST(cpu_time_of_the_loops_thread_grows)
{
    uint64_t before;

    pump_turns(1); /* the thread is known from the first run on */
    PUMP_UNTIL(cpu_time_is_beyond(0));
    before = statistics().cpu_ns;
    PUMP_UNTIL(cpu_time_is_beyond(before));
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "statistics");

    tcase_add_loop_test(tests, each_member_is_one_sample_of_each_loop, 0, 2);
    tcase_add_test(tests, samples_have_the_values_of_the_statistics);
    tcase_add_test(tests, the_text_of_a_server_that_has_stopped_is_that_of_its_own_loop);
    tcase_add_loop_test(tests, a_loop_that_measures_finds_its_longest_callback, 0, 2);
    tcase_add_test(tests, a_loop_that_measures_finds_how_late_a_timer_is);
    tcase_add_loop_test(tests, a_loop_that_measures_serves_as_any_other, 0, 2);
    tcase_add_test(tests, cpu_time_of_the_loops_thread_grows);
}
