/* What is different on Windows' engine (docs/engines.md), its watches, its table of operations, and the memory that a message takes. */
#include "base/platform/clock.h"
#include "net/connection/tcp_connection.h"
#include "tests/behaviour/client/client_fixture.h"
#include "tests/behaviour/iocp/the_calls.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <jinduo/jinduo.h>
#include <jinduo/proactor.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

const char *const suite_name = "iocp";

/* ---- what the system has not ---- */

static int start_result(const jd_tcp_server_options *options)
{
    jd_tcp_server *server;
    int result;

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, options), 0);
    result = jd_tcp_server_start(server, NULL);
    jd_tcp_server_destroy(server, NULL, NULL);
    return result;
}

static int listen_result(const char *endpoint, bool reuse_port)
{
    return start_result(&(jd_tcp_server_options){ .listen = endpoint, .reuse_port = reuse_port });
}

START_TEST(unix_domain_endpoints_are_not_supported)
{
    const jd_tcp_server_options with_owner = {
        .listen = "unix:/tmp/jinduo-test", .unix_mode = 0600, .unix_uid = 1, .unix_gid = 1
    };

    ck_assert_int_eq(start_result(&with_owner), JD_ENOTSUP);
    ck_assert_int_eq(listen_result("unix:@jinduo-test", false), JD_ENOTSUP);
    ck_assert_int_eq(listen_result("unix:/tmp/jinduo-test", false), JD_ENOTSUP);
}
END_TEST

START_TEST(reuse_port_is_not_supported)
{
    ck_assert_int_eq(listen_result("127.0.0.1:0", true), JD_ENOTSUP);
}
END_TEST

START_TEST(user_timeout_ms_is_not_supported)
{
    ck_assert_int_eq(start_result(&(jd_tcp_server_options){ .listen = "127.0.0.1:0", .user_timeout_ms = 1000 }),
                     JD_ENOTSUP);
    serve(&(struct service){ .on_message = echo });
    start_client(&(struct client_use){ .options.user_timeout_ms = 1000 });
    PUMP_UNTIL(reports_noted() == 1);
    ck_assert_int_eq(noted_report(0)->report.error, JD_ENOTSUP);
}
END_TEST

/* Before Windows 10, 1709, and with Wine there is no such option. */
static void expect_the_count(jd_tcp_connection *connection, void *arg)
{
    jd_socket handle;
    int on = 0, count = 0, length = sizeof(on);

    ck_assert_int_eq(jd_tcp_connection_native_handle(connection, &handle), 0);
    ck_assert_int_eq(getsockopt((SOCKET)handle, SOL_SOCKET, SO_KEEPALIVE, (char *)&on, &length), 0);
    ck_assert_int_ne(on, 0);
    length = sizeof(count);
    if (getsockopt((SOCKET)handle, IPPROTO_TCP, TCP_KEEPCNT, (char *)&count, &length) == 0)
        ck_assert_int_eq(count, 3);
    else
        ck_assert_int_eq(WSAGetLastError(), WSAENOPROTOOPT);
}

START_TEST(keepalive_count_is_set_or_the_systems)
{
    serve(&(struct service){ .options = { .keepalive = true, .keepalive_idle_s = 40, .keepalive_count = 3 },
                             .on_up = expect_the_count });

    client_connect_up();
}
END_TEST

/* A system without the option refuses it. */
static int fast_open(jd_socket handle, jd_socket_moment moment, const jd_endpoint *endpoint, void *arg)
{
    int on = 1;

    setsockopt((SOCKET)handle, IPPROTO_TCP, TCP_FASTOPEN, (const char *)&on, sizeof(on));
    return 0;
}

START_TEST(connections_come_up_before_their_first_bytes)
{
    serve(&(struct service){ .options.socket_hook = fast_open });

    start_client(&(struct client_use){ .options.socket_hook = fast_open });

    PUMP_UNTIL(clients_up() == 1 && connections_up() == 2);
    ck_assert_uint_eq(statistics().bytes_received, 0);
}
END_TEST

static void never(jd_channel *channel, jd_handle handle, unsigned events, void *arg)
{
}

START_TEST(channels_and_a_pollable_descriptor_are_not_supported)
{
    jd_channel *channel;

    ck_assert_int_eq(jd_channel_create(&channel, the_loop, 4, JD_READABLE, never, NULL), JD_ENOTSUP);
    ck_assert_int_eq(jd_event_loop_pollable_fd(the_loop), JD_ENOTSUP);
}
END_TEST

START_TEST(only_iocp_is_built_in_and_the_default)
{
    static const jd_engine absent[] = { JD_ENGINE_REACTOR, JD_ENGINE_IO_URING, JD_ENGINE_SIMULATED };
    const char *reason;
    jd_event_loop *loop;

    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        ck_assert_int_eq(jd_engine_available(absent[i], &reason), JD_ENOTSUP);
        ck_assert_str_eq(reason, "not built in");
    }
    ck_assert_int_eq(jd_engine_available(JD_ENGINE_PROACTOR, NULL), 0);
    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), 0);
    ck_assert_int_eq(jd_event_loop_engine(loop), JD_ENGINE_IOCP);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

START_TEST(a_port_in_use_is_not_taken_over)
{
    char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint;

    serve(&(struct service){ .on_message = echo });
    endpoint = *server_endpoint();
    jd_endpoint_format(&endpoint, text, sizeof(text));

    ck_assert_int_eq(listen_result(text, false), JD_EADDRINUSE);
}
END_TEST

/* ---- what the system does not report ---- */

static jd_tcp_connection *half_closed;

static void keep_half_closed(jd_tcp_connection *connection, void *arg)
{
    half_closed = connection;
}

START_TEST(a_reset_behind_a_fin_is_noticed_by_the_next_send)
{
    serve(&(struct service){ .options.allow_half_open = true, .on_half_close = keep_half_closed });
    int client = client_connect_up();
    client_shutdown(client);
    PUMP_UNTIL(half_closed != NULL);

    client_reset(client);
    pump_until_quiet();
    ck_assert_uint_eq(connections_down(), 0);

    PUMP_UNTIL(connections_down() == 1 || jd_tcp_connection_send(half_closed, "x", 1) < 0);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

static void note_unacknowledged(jd_tcp_connection *connection, void *bytes)
{
    *(ssize_t *)bytes = socket_unacknowledged(connection->stream.socket);
}

START_TEST(unacknowledged_bytes_are_not_known)
{
    ssize_t bytes = 0;
    serve(&(struct service){ .on_up = note_unacknowledged, .arg = &bytes });

    client_connect_up();

    ck_assert_int_eq(bytes, JD_ENOTSUP);
}
END_TEST

static void note_time(void *at)
{
    *(jd_timestamp *)at = clock_now();
}

START_TEST(a_timer_is_never_early)
{
    static const uint64_t delays_ms[] = { 1, 5, 20 };
    enum { NS_PER_MS = 1000000 };

    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++) {
        jd_timestamp begin = clock_now(), at = 0;
        ck_assert_int_eq(jd_event_loop_run_after(the_loop, delays_ms[i], note_time, &at, NULL), 0);
        PUMP_UNTIL(at != 0);
        ck_assert_int_ge(at - begin, (int64_t)delays_ms[i] * NS_PER_MS);
    }
}
END_TEST

/* ---- sockets of the program's own ---- */

static SOCKET connect_a_socket(void)
{
    SOCKET socket = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    to.sin_port = htons(jd_endpoint_port(server_endpoint()));
    ck_assert_int_eq(WSAConnect(socket, (struct sockaddr *)&to, sizeof(to), NULL, NULL, NULL, NULL), 0);
    return socket;
}

enum { BLOCK_BYTES = 64 * 1024 };

static void send_a_block(jd_tcp_connection *connection, void *arg)
{
    static const unsigned char bytes[BLOCK_BYTES];

    ck_assert_int_eq(jd_tcp_connection_send(connection, bytes, sizeof(bytes)), 0);
}

static int64_t received_bytes, last_result;

static void note_received(jd_operation *operation, int64_t result, void *arg)
{
    received_bytes += result > 0 ? result : 0;
    last_result = result;
}

static bool has_a_block(SOCKET socket)
{
    u_long bytes = 0;

    return ioctlsocket(socket, (long)FIONREAD, &bytes) == 0 && bytes == BLOCK_BYTES;
}

/* A block that is full does not say whether there is more. */
START_TEST(a_multishot_receive_on_a_blocking_socket_does_not_block_the_loop)
{
    jd_operation operation = { 0 };
    SOCKET socket;
    serve(&(struct service){ .on_up = send_a_block });
    socket = connect_a_socket();
    PUMP_UNTIL(has_a_block(socket));

    ck_assert_int_eq(jd_async_receive_multishot(the_loop, &operation, (jd_socket)socket, note_received, NULL), 0);
    PUMP_UNTIL(received_bytes == BLOCK_BYTES);
    pump_turns(2);
    ck_assert_int_eq(jd_operation_cancel(&operation), 0);
    PUMP_UNTIL(last_result == JD_ECANCELED);

    closesocket(socket);
}
END_TEST

/* ---- operations and their table ---- */

static jd_tcp_connection *paused;

static void pause_it(jd_tcp_connection *connection, void *arg)
{
    paused = connection;
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
}

/* Both wait for input, and it is not said that one arrival completes both. */
START_TEST(a_watch_of_a_paused_connection_does_not_wait_ahead_of_its_receive)
{
    serve(&(struct service){ .on_up = pause_it, .on_message = echo });
    int client = client_connect_up();
    pump_until_quiet();
    calls_watch();

    ck_assert_int_eq(jd_tcp_connection_resume_reading(paused), 0);
    pump_until_quiet();
    ck_assert_uint_eq(calls_of(CALL_CANCEL), 1);

    client_send(client, "arrives", 7);
    client_expect(client, "arrives", 7);
    ck_assert_int_eq(jd_tcp_connection_pause_reading(paused), 0);
    ck_assert_int_eq(jd_tcp_connection_resume_reading(paused), 0);
    client_send(client, "again", 5);
    client_expect(client, "again", 5);
}
END_TEST

enum { TABLE_OPERATIONS = 20000, TABLE_SOCKETS = 8 }; /* the table is made for 8192 */

static unsigned cancelled;

static void note_cancelled(jd_operation *operation, int64_t result, void *arg)
{
    ck_assert_int_eq(result, JD_ECANCELED);
    cancelled++;
}

START_TEST(more_operations_than_the_table_is_made_for_are_found_again)
{
    static jd_operation operations[TABLE_OPERATIONS];
    static char byte;
    jd_socket sockets[TABLE_SOCKETS];
    serve(&(struct service){ 0 });
    for (int i = 0; i < TABLE_SOCKETS; i++)
        sockets[i] = (jd_socket)connect_a_socket();
    PUMP_UNTIL(connections_up() == TABLE_SOCKETS);
    pump_until_quiet();
    calls_watch();

    for (int i = 0; i < TABLE_OPERATIONS; i++)
        ck_assert_int_eq(
            jd_async_receive(the_loop, &operations[i], sockets[i % TABLE_SOCKETS], &byte, 1, 0, note_cancelled, NULL),
            0);
    PUMP_UNTIL(calls_of(CALL_RECEIVE) == TABLE_OPERATIONS);
    for (int i = 0; i < TABLE_OPERATIONS; i++)
        ck_assert_int_eq(jd_operation_cancel(&operations[i]), 0);

    PUMP_UNTIL(cancelled == TABLE_OPERATIONS);
    for (int i = 0; i < TABLE_SOCKETS; i++)
        closesocket((SOCKET)sockets[i]);
}
END_TEST

enum { WAKEUPS = 5, REFUSALS = 3 };

static atomic_uint tasks_run;

static void run_a_task(void *arg)
{
    tasks_run++;
}

/* Each while the loop sleeps, or is about to. */
static void *wake_again_and_again(void *arg)
{
    for (unsigned i = 0; i < WAKEUPS; i++) {
        calls_fail(CALL_POST, 1, REFUSALS, ERROR_NO_SYSTEM_RESOURCES);
        jd_event_loop_queue_in_loop(the_loop, run_a_task, NULL);
        while (tasks_run == i)
            Sleep(1);
    }
    jd_event_loop_quit(the_loop);
    return NULL;
}

START_TEST(a_wakeup_that_the_system_refuses_for_want_of_memory_is_not_lost)
{
    pthread_t waker;
    calls_watch();

    ck_assert_int_eq(pthread_create(&waker, NULL, wake_again_and_again, NULL), 0);
    ck_assert_int_eq(jd_event_loop_run(the_loop), 0);
    pthread_join(waker, NULL);

    ck_assert_uint_gt(calls_struck(), REFUSALS);
    ck_assert_uint_eq(tasks_run, WAKEUPS);
}
END_TEST

/* ---- memory and calls ---- */

enum { WARM_UP = 20, MESSAGES = 50 };

static void exchange(int client, unsigned messages)
{
    for (unsigned i = 0; i < messages; i++) {
        client_send(client, "message", 7);
        client_expect(client, "message", 7);
    }
}

START_TEST(after_the_first_messages_a_message_allocates_nothing)
{
    unsigned allocations;
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    checking_memory_install();
    the_loop = make_loop(NULL);
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    exchange(client, WARM_UP);

    allocations = checking_memory_allocations();
    exchange(client, MESSAGES);

    ck_assert_uint_eq(checking_memory_allocations(), allocations);
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
    checking_memory_remove();
}
END_TEST

/* A message is received and answered by a receive of no bytes, whose packet says that there is input, a receive and a send. The
 * send is over at once, so that no packet comes of it. */
START_TEST(an_echoed_message_costs_three_calls_one_packet_and_a_share_of_a_wait)
{
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    exchange(client, WARM_UP);
    pump_until_quiet();

    calls_watch();
    exchange(client, MESSAGES);
    pump_until_quiet();

    ck_assert_uint_eq(calls_of(CALL_RECEIVE), MESSAGES);
    ck_assert_uint_eq(calls_of(CALL_RECEIVE_AT_ONCE), MESSAGES);
    ck_assert_uint_eq(calls_of(CALL_SEND), MESSAGES);
    ck_assert_uint_eq(calls_packets(), MESSAGES);
    windows_calls_reset();
}
END_TEST

/* The first connection brings memory for 1024 of them. */
START_TEST(an_idle_connection_takes_232_bytes)
{
    enum { CONNECTIONS = 512, IDLE_MAX_BYTES = 232 };
    size_t before;
    serve(&(struct service){ .on_message = echo });
    exchange(client_connect_up(), 1);
    pump_until_quiet();

    before = jd_memory_in_use();
    for (int i = 0; i < CONNECTIONS; i++)
        exchange(client_connect(), 1);
    pump_until_quiet();

    ck_assert_uint_eq(connections_up(), CONNECTIONS + 1);
    ck_assert_uint_le(sizeof(jd_tcp_connection) + (jd_memory_in_use() - before) / CONNECTIONS, IDLE_MAX_BYTES);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "iocp");

    tcase_add_test(tests, unix_domain_endpoints_are_not_supported);
    tcase_add_test(tests, reuse_port_is_not_supported);
    tcase_add_test(tests, user_timeout_ms_is_not_supported);
    tcase_add_test(tests, keepalive_count_is_set_or_the_systems);
    tcase_add_test(tests, connections_come_up_before_their_first_bytes);
    tcase_add_test(tests, channels_and_a_pollable_descriptor_are_not_supported);
    tcase_add_test(tests, only_iocp_is_built_in_and_the_default);
    tcase_add_test(tests, a_port_in_use_is_not_taken_over);
    tcase_add_test(tests, a_multishot_receive_on_a_blocking_socket_does_not_block_the_loop);
    tcase_add_test(tests, a_reset_behind_a_fin_is_noticed_by_the_next_send);
    tcase_add_test(tests, unacknowledged_bytes_are_not_known);
    tcase_add_test(tests, a_timer_is_never_early);
    tcase_add_test(tests, a_watch_of_a_paused_connection_does_not_wait_ahead_of_its_receive);
    tcase_add_test(tests, more_operations_than_the_table_is_made_for_are_found_again);
    tcase_add_test(tests, a_wakeup_that_the_system_refuses_for_want_of_memory_is_not_lost);
    tcase_add_test(tests, after_the_first_messages_a_message_allocates_nothing);
    tcase_add_test(tests, an_echoed_message_costs_three_calls_one_packet_and_a_share_of_a_wait);
    tcase_add_test(tests, an_idle_connection_takes_232_bytes);
}
