/* Clients whose system calls or allocations fail: one that reconnects gets through whatever fails, and nothing is left
 * behind. The server is a plain socket, so that what fails is the client's. */
#include "base/endpoint.h"
#include "net/client/resolver.h"
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"
#include "tests/support/checking_memory.h"
#include "tests/support/faults.h"
#include "tests/support/name_service.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "client_faults";

enum {
    NUMBERS_MAX = 40, /* of one call's calls: a loop may wait as often as it likes */
    PEERS_MAX = 32,
    PATIENCE_MS = 20 * 1000,
    TIMEOUT_S = 110,
    IN_A_ROW = 12,
};

static const char question[] = "what comes of it?";

/* ---- the server ---- */

static struct {
    int listener;
    int peers[PEERS_MAX]; /* 0: none */
    jd_endpoint endpoint;
} server;

static void server_open(void)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    jd_endpoint endpoint;

    ck_assert_int_eq(jd_endpoint_parse(&endpoint, "127.0.0.1:0", NULL), 0);
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(server.listener, endpoint_sockaddr(&endpoint), endpoint.length), 0);
    ck_assert_int_eq(listen(server.listener, PEERS_MAX), 0);
    ck_assert_int_eq(getsockname(server.listener, (struct sockaddr *)&address, &length), 0);
    endpoint_from_sockaddr(&server.endpoint, (const struct sockaddr *)&address, length);
}

static void serve_peer(int *peer)
{
    char data[64];
    ssize_t received = recv(*peer, data, sizeof(data), MSG_DONTWAIT);

    if (received > 0)
        ck_assert_int_eq(send(*peer, data, (size_t)received, MSG_NOSIGNAL), received);
    if (received > 0 || (received < 0 && errno == EAGAIN))
        return;
    close(*peer);
    *peer = 0;
}

static void server_turn(void)
{
    for (int i = 0; i < PEERS_MAX; i++) {
        if (server.peers[i] == 0 && (server.peers[i] = accept(server.listener, NULL, NULL)) < 0)
            server.peers[i] = 0;
        if (server.peers[i] > 0)
            serve_peer(&server.peers[i]);
    }
}

static void server_close(void)
{
    for (int i = 0; i < PEERS_MAX; i++)
        if (server.peers[i] > 0)
            close(server.peers[i]);
    close(server.listener);
    memset(&server, 0, sizeof(server));
}

/* ---- a run ---- */

static struct {
    const char *what, *error;
    unsigned number;
    jd_event_loop *loop;
    bool answered, destroyed;
    unsigned ups, downs;
} run;

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    bool up = jd_tcp_connection_is_connected(connection);

    run.ups += up;
    run.downs += !up;
    if (up && jd_tcp_connection_send(connection, question, sizeof(question)) < 0)
        jd_tcp_connection_close(connection);
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    if (jd_buffer_readable(input) < sizeof(question))
        return;
    run.answered = true;
    jd_buffer_consume(input, SIZE_MAX);
}

static void on_destroyed(void *arg)
{
    run.destroyed = true;
}

static void turn_until(const bool *condition)
{
    struct patience patience = patience_begin(PATIENCE_MS);

    while (!*condition) {
        jd_event_loop_run_once(run.loop, 1); /* its error may be the fault */
        server_turn();
        if (patience_is_over(&patience))
            ck_abort_msg("%s, %s, number %u: the client hangs", run.what, run.error, run.number);
    }
}

static jd_tcp_client *make(const char *connect)
{
    const jd_tcp_client_options options = {
        .connect = connect, .reconnect = true, .reconnect_initial_ms = 1, .reconnect_max_ms = 2
    };
    jd_tcp_client *client;
    int failed = 0;

    /* What may fail in a row has an end. */
    while (event_loop_create_on(&run.loop, NULL, engine_under_test()) < 0)
        ck_assert_int_lt(failed++, IN_A_ROW);
    while (jd_tcp_client_create(&client, run.loop, &options) < 0)
        ck_assert_int_lt(failed++, IN_A_ROW);
    jd_tcp_client_set_connection_callback(client, on_connection, NULL);
    jd_tcp_client_set_message_callback(client, on_message, NULL);
    return client;
}

/* named: by a name of two addresses, of which the second is right. */
static void run_client(bool named)
{
    char connect[64];
    jd_tcp_client *client;

    snprintf(connect, sizeof(connect), "%s:%u", named ? "server.test" : "127.0.0.1",
             jd_endpoint_port(&server.endpoint));
    run.answered = run.destroyed = false;
    run.ups = run.downs = 0;
    client = make(connect);
    jd_tcp_client_start(client);
    turn_until(&run.answered);
    jd_tcp_client_destroy(client, on_destroyed, NULL);
    turn_until(&run.destroyed);
    ck_assert_uint_eq(run.ups, run.downs);
    while (jd_event_loop_destroy(run.loop) < 0)
        continue;
    while (lookups_in_use() > 0)
        poll(NULL, 0, 1);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
}

static void note_plan(const char *what, const char *error, unsigned number)
{
    run.what = what;
    run.error = error;
    run.number = number;
    if (getenv("JD_TEST_VERBOSE") != NULL)
        fprintf(stderr, "%s, %s, number %u\n", what, error, number);
}

START_TEST(whichever_system_call_fails_the_client_gets_through)
{
    unsigned calls[FAULT_CALLS], struck = 0, descriptors;
    note_plan("nothing", "", 0);
    faults_set(NULL, 0, 0);
    run_client(_i);
    for (enum fault_call call = 0; call < FAULT_CALLS; call++)
        calls[call] = faults_calls(call) < NUMBERS_MAX ? faults_calls(call) : NUMBERS_MAX;
    ck_assert_uint_ge(calls[CALL_CONNECT], 1);
    ck_assert_uint_ge(calls[CALL_GETPEERNAME], 1);
    while (server.peers[0] > 0)
        server_turn();
    descriptors = open_descriptors();

    for (const struct fault *fault = known_faults; fault->call < FAULT_CALLS; fault++) {
        for (unsigned number = 1; number <= calls[fault->call]; number++) {
            note_plan(fault_call_name(fault->call), fault_error_name(fault), number);
            faults_set(fault, number, 1);
            run_client(_i);
            struck += faults_injected() > 0;
            faults_stop();
        }
    }

    ck_assert_uint_gt(struck, 50);
    for (int i = 0; i < PEERS_MAX; i++)
        while (server.peers[i] > 0)
            server_turn();
    ck_assert_uint_eq(open_descriptors(), descriptors);
}
END_TEST

START_TEST(whichever_allocation_fails_the_client_gets_through)
{
    unsigned before = checking_memory_allocations(), allocations, failures = 0;
    note_plan("nothing", "", 0);
    run_client(_i);
    allocations = checking_memory_allocations() - before;

    for (unsigned count = 1; count < IN_A_ROW; count += IN_A_ROW - 2) {
        for (unsigned number = 1; number <= allocations; number++) {
            note_plan("allocation", count == 1 ? "one" : "many in a row", number);
            checking_memory_fail(number, count);
            run_client(_i);
            failures += checking_memory_failures() > 0;
            checking_memory_fail(0, 0);
        }
    }

    ck_assert_uint_ge(failures, allocations);
}
END_TEST

static void set_up(void)
{
    static const char *const addresses[] = { "127.0.0.2", "127.0.0.1", NULL };

    faults_install();
    name_service_install();
    name_service_answer(addresses);
    checking_memory_install();
    server_open();
}

static void tear_down(void)
{
    server_close();
    checking_memory_remove();
    name_service_remove();
    faults_remove();
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("client faults");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, TIMEOUT_S);
    tcase_add_loop_test(tests, whichever_system_call_fails_the_client_gets_through, 0, 2);
    tcase_add_loop_test(tests, whichever_allocation_fails_the_client_gets_through, 0, 2);
}
