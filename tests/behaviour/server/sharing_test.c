/* Several processes serve one port: SO_REUSEPORT, one loop each. */
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const suite_name = "sharing";

enum { PROCESSES = 3, CLIENTS = 120 };

static pid_t processes[PROCESSES];
static int go_on[2]; /* a pipe: the children end when its writing end is closed */

static void say_who(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    pid_t me = getpid();

    jd_buffer_consume(input, SIZE_MAX);
    jd_tcp_connection_send(connection, &me, sizeof(me));
}

static void quit(void *arg)
{
    jd_event_loop_quit(arg);
}

static jd_tcp_server *server;

static void on_order(jd_channel *channel, int fd, unsigned events, void *loop)
{
    jd_channel_destroy(channel);
    if (jd_tcp_server_stop(server, 1000, quit, loop) < 0)
        _exit(3);
}

/* ck_assert is the parent's: this one ends with what went wrong. */
static _Noreturn void serve_in_child(const char *where, int ready)
{
    const jd_tcp_server_options options = { .listen = where, .reuse_port = true };
    jd_event_loop *loop;
    jd_channel *channel;

    close(go_on[1]);
    if (event_loop_create_on(&loop, NULL, engine_under_test()) < 0 || jd_tcp_server_create(&server, loop, &options) < 0)
        _exit(1);
    jd_tcp_server_set_message_callback(server, say_who, NULL);
    if (jd_tcp_server_start(server, NULL) < 0 ||
        jd_channel_create(&channel, loop, go_on[0], JD_READABLE, on_order, loop) < 0 || write(ready, "r", 1) != 1)
        _exit(2);
    if (jd_event_loop_run(loop) < 0 || jd_event_loop_destroy(loop) < 0)
        _exit(4);
    _exit(0);
}

static void start_processes(const char *where)
{
    int ready[2];
    char byte;

    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(go_on), 0);
    for (int i = 0; i < PROCESSES; i++) {
        processes[i] = fork();
        ck_assert_int_ge(processes[i], 0);
        if (processes[i] == 0)
            serve_in_child(where, ready[1]);
    }
    close(ready[1]);
    for (int i = 0; i < PROCESSES; i++)
        ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(go_on[0]);
}

static void end_processes(void)
{
    close(go_on[1]);
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        ck_assert_int_eq(waitpid(processes[i], &status, 0), processes[i]);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: %d", status);
    }
}

/* A port that nobody listens on, kept by a socket that is only bound. */
static int keep_a_port(char *where, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    jd_endpoint any, bound = { .length = 0 };
    int keeper = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    ck_assert_int_eq(jd_endpoint_parse(&any, "127.0.0.1:0", NULL), 0);
    ck_assert_int_eq(setsockopt(keeper, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    ck_assert_int_eq(setsockopt(keeper, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    ck_assert_int_eq(bind(keeper, (const struct sockaddr *)any.address.bytes, any.length), 0);
    ck_assert_int_eq(getsockname(keeper, (struct sockaddr *)&address, &length), 0);
    memcpy(bound.address.bytes, &address, length);
    bound.length = length;
    jd_endpoint_format(&bound, where, size);
    return keeper;
}

START_TEST(processes_share_a_port_and_each_gets_connections)
{
    unsigned served[PROCESSES] = { 0 }, all = 0;
    char where[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint;
    int keeper = keep_a_port(where, sizeof(where));
    ck_assert_int_eq(jd_endpoint_parse(&endpoint, where, NULL), 0);

    start_processes(where);
    for (int i = 0; i < CLIENTS; i++) {
        int client = client_connect_to(&endpoint);
        pid_t who;
        client_send(client, "?", 1);
        client_receive(client, &who, sizeof(who));
        for (int j = 0; j < PROCESSES; j++)
            served[j] += who == processes[j];
        client_close(client);
    }
    end_processes();
    close(keeper);

    /* None at all by chance: (2/3)^120. */
    for (int j = 0; j < PROCESSES; j++) {
        ck_assert_uint_gt(served[j], 0);
        all += served[j];
    }
    ck_assert_uint_eq(all, CLIENTS);
}
END_TEST

START_TEST(without_the_option_a_port_is_not_shared)
{
    char where[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint taken;
    serve(&(struct service){ .options.reuse_port = true });
    taken = *server_endpoint();
    jd_endpoint_format(&taken, where, sizeof(where));

    ck_assert_int_eq(jd_tcp_server_start(make_server(&(struct service){ .options.listen = where }), NULL),
                     JD_EADDRINUSE);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "sharing");

    tcase_add_test(tests, processes_share_a_port_and_each_gets_connections);
    tcase_add_test(tests, without_the_option_a_port_is_not_shared);
}
