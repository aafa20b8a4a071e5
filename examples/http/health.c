#include "examples/http/health.h"

#include <string.h>

enum { ANSWER_SECONDS = 5, MS_PER_S = 1000 };

struct question {
    jd_event_loop *loop;
    bool sends_proxy_header; /* the server expects one: --proxy-protocol */
    bool serves;
    const char *reason;
};

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    static const char serves[] = "HTTP/1.1 200 ";
    struct question *question = arg;
    const char *answer = jd_buffer_peek(input, sizeof(serves) - 1);

    if (answer == NULL)
        return; /* its first bytes */
    question->serves = memcmp(answer, serves, sizeof(serves) - 1) == 0;
    question->reason = "another answer than 200";
    jd_event_loop_quit(question->loop);
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    static const char header[] = "PROXY UNKNOWN\r\n";
    static const char request[] = "GET /health HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n";
    struct question *question = arg;

    if (jd_tcp_connection_is_connected(connection)) {
        question->reason = "no answer";
        if (question->sends_proxy_header)
            jd_tcp_connection_send(connection, header, sizeof(header) - 1);
        jd_tcp_connection_send(connection, request, sizeof(request) - 1);
    } else {
        jd_event_loop_quit(question->loop);
    }
}

static void on_connect(jd_tcp_client *client, const jd_connect_report *report, void *arg)
{
    struct question *question = arg;

    if (report->event == JD_CONNECT_ADDRESS_FAILED)
        return;
    question->reason = report->reason;
    jd_event_loop_quit(question->loop);
}

static void on_time_up(void *arg)
{
    struct question *question = arg;

    question->reason = "no answer within 5 s";
    jd_event_loop_quit(question->loop);
}

/* A server that listens on all addresses is asked at this host's own. */
static void address_of(const struct program *program, char text[JD_ENDPOINT_TEXT_BYTES])
{
    static const struct {
        const char *every, *own;
    } hosts[] = { { "*:", "127.0.0.1" }, { "0.0.0.0:", "127.0.0.1" }, { "[::]:", "[::1]" } };
    jd_endpoint here = program->endpoints[0];

    jd_endpoint_format(&here, text, JD_ENDPOINT_TEXT_BYTES);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        if (strncmp(text, hosts[i].every, strlen(hosts[i].every)) == 0)
            snprintf(text, JD_ENDPOINT_TEXT_BYTES, "%s:%u", hosts[i].own, (unsigned)jd_endpoint_port(&here));
}

int health_ask(struct program *program)
{
    char address[JD_ENDPOINT_TEXT_BYTES];
    struct question question = { 0 };
    jd_tcp_client_options options = { .name = program->name, .connect = address };
    jd_tcp_client *client;
    int result;

    program->processes = 0;
    program_make_loop(program);
    question.loop = program->loop;
    question.sends_proxy_header = program->server_options.proxy_sources != NULL;
    address_of(program, address);
    result = jd_tcp_client_create(&client, program->loop, &options);
    if (result < 0)
        program_fail(program, address, result);
    jd_tcp_client_set_connect_callback(client, on_connect, &question);
    jd_tcp_client_set_connection_callback(client, on_connection, &question);
    jd_tcp_client_set_message_callback(client, on_message, &question);
    result = jd_event_loop_run_after(program->loop, ANSWER_SECONDS * MS_PER_S, on_time_up, &question, NULL);
    if (result == 0)
        result = jd_tcp_client_start(client);
    if (result == 0)
        result = jd_event_loop_run(program->loop);
    if (result < 0)
        question.reason = jd_strerror(result);
    jd_event_loop_destroy(program->loop);
    if (question.serves)
        return 0;
    fprintf(stderr, "%s: %s: %s\n", program->name, address, question.reason);
    return PROGRAM_FAILED;
}
