#include "tests/behaviour/client/client_fixture.h"

#include "base/endpoint.h"
#include "tests/behaviour/recorder.h"

#include <stdio.h>
#include <unistd.h>

enum { CLIENTS_MAX = 600, REPORTS_MAX = 256, TEXTS = 2 };

static struct client_use uses[CLIENTS_MAX];
static unsigned use_count, up_count, down_count, report_count;
static size_t byte_count;
static struct noted_report reports[REPORTS_MAX];
/* The test's variables are gone when the loop ends (harness.h). */
static bool test_is_over;

static void on_connect(jd_tcp_client *client, const jd_connect_report *report, void *arg)
{
    const struct client_use *use = arg;

    if (report_count < REPORTS_MAX) {
        reports[report_count].report = *report;
        jd_endpoint_format(&report->endpoint, reports[report_count].endpoint, JD_ENDPOINT_TEXT_BYTES);
        snprintf(reports[report_count].target, JD_ENDPOINT_TEXT_BYTES, "%s", report->target);
    }
    report_count++;
    if (use->on_connect != NULL && !test_is_over)
        use->on_connect(client, report, use->arg);
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    const struct client_use *use = arg;
    bool up = jd_tcp_connection_is_connected(connection);
    jd_connection_callback callback = up ? use->on_up : use->on_down;

    record(connection, up ? CALLED_UP : CALLED_DOWN);
    up_count += up;
    down_count += !up;
    if (callback != NULL && !test_is_over)
        callback(connection, use->arg);
    record_return(up ? CALLED_UP : CALLED_DOWN);
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    const struct client_use *use = arg;
    size_t before = jd_buffer_readable(input);

    record(connection, CALLED_MESSAGE);
    if (use->on_message != NULL && !test_is_over)
        use->on_message(connection, input, received, use->arg);
    else
        jd_buffer_consume(input, SIZE_MAX);
    byte_count += before - jd_buffer_readable(input);
}

jd_tcp_client *make_client(const struct client_use *use)
{
    struct client_use *kept = &uses[use_count++];
    jd_tcp_client_options options = use->options;
    jd_tcp_client *client;

    ck_assert_uint_le(use_count, CLIENTS_MAX);
    *kept = *use;
    options.connect = options.connect != NULL ? options.connect : text_of_endpoint(server_endpoint());
    ck_assert_int_eq(jd_tcp_client_create(&client, the_loop, &options), 0);
    jd_tcp_client_set_connect_callback(client, on_connect, kept);
    jd_tcp_client_set_connection_callback(client, on_connection, kept);
    jd_tcp_client_set_message_callback(client, on_message, kept);
    jd_tcp_client_set_write_complete_callback(client, use->on_write_complete, use->arg);
    jd_tcp_client_set_half_close_callback(client, use->on_half_close, use->arg);
    jd_tcp_client_set_high_watermark_callback(client, use->on_high_watermark, use->arg);
    jd_tcp_client_set_low_watermark_callback(client, use->on_low_watermark, use->arg);
    jd_tcp_client_set_heartbeat_callback(client, use->on_heartbeat, use->arg);
    jd_tcp_client_set_frame_error_callback(client, use->on_frame_error, use->arg);
    if (use->codec != NULL)
        jd_tcp_client_set_codec(client, use->codec, use->on_frame, use->arg);
    return client;
}

jd_tcp_client *start_client(const struct client_use *use)
{
    jd_tcp_client *client = make_client(use);

    ck_assert_int_eq(jd_tcp_client_start(client), 0);
    return client;
}

unsigned clients_up(void)
{
    return up_count;
}

unsigned clients_down(void)
{
    return down_count;
}

size_t client_bytes(void)
{
    return byte_count;
}

unsigned reports_noted(void)
{
    return report_count;
}

const struct noted_report *noted_report(unsigned index)
{
    ck_assert_uint_lt(index, report_count);
    ck_assert_uint_lt(index, REPORTS_MAX);
    return &reports[index];
}

const char *text_of_endpoint(const jd_endpoint *endpoint)
{
    static char texts[TEXTS][JD_ENDPOINT_TEXT_BYTES];
    static unsigned next;
    char *text = texts[next++ % TEXTS];

    jd_endpoint_format(endpoint, text, JD_ENDPOINT_TEXT_BYTES);
    return text;
}

static const char *at_port(const char *host, unsigned port)
{
    static char text[HOST_NAME_BYTES + 8];

    snprintf(text, sizeof(text), "%s:%u", host, port);
    return text;
}

const char *at_server_port(const char *host)
{
    return at_port(host, jd_endpoint_port(server_endpoint()));
}

/* Bound and never listening while the test runs: no other socket can. */
const char *at_dead_port(const char *host)
{
    static unsigned port;
    jd_endpoint endpoint;
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    int holder;

    if (port == 0) {
        ck_assert_int_eq(jd_endpoint_parse(&endpoint, "127.0.0.1:0", NULL), 0);
        holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(holder, endpoint_sockaddr(&endpoint), endpoint.length), 0);
        ck_assert_int_eq(getsockname(holder, (struct sockaddr *)&address, &length), 0);
        endpoint_from_sockaddr(&endpoint, (const struct sockaddr *)&address, length);
        port = jd_endpoint_port(&endpoint);
        client_adopt(holder);
    }
    return at_port(host, port);
}

static void end_test(void)
{
    test_is_over = true;
}

/* Its teardown comes before the harness's: Check runs them in the reverse order. */
TCase *client_case(Suite *suite, const char *name)
{
    TCase *tests = harness_case(suite, name);

    tcase_add_checked_fixture(tests, NULL, end_test);
    return tests;
}
