/* Calls of Windows, their completions and allocations that fail, one after the other: a connection that is hit ends with its
 * error, the others are served, the server accepts again, and nothing is left. */
#include "tests/behaviour/harness.h"
#include "tests/behaviour/iocp/the_calls.h"
#include "tests/support/checking_memory.h"

#include <errno.h>
#include <jinduo/error.h>
#include <jinduo/proactor.h>
#include <string.h>
#include <sys/socket.h>

const char *const suite_name = "iocp_faults";

enum {
    KIB = 1024,
    CLIENTS = 3,
    ROUNDS = 2,
    MESSAGE_BYTES = 100,
    SWEEP_MAX = 60,
    LARGE = 1024 * KIB,
    TINY_BUFFER_BYTES = 4096
};

/* Of [MS-ERREF], 2.3.1. */
enum status { DISK_FULL = 1, NO_RESOURCES, NETNAME_DELETED, CANCELLED, RESET };
static const uint32_t status_values[] = {
    [DISK_FULL] = 0xC000007F, [NO_RESOURCES] = 0xC000009A, [NETNAME_DELETED] = 0xC00000C9,
    [CANCELLED] = 0xC0000120, [RESET] = 0xC000020D,
};

/* ---- one run: a server, some clients that exchange messages ---- */

static unsigned char message[LARGE];

/* Whether the client's connection has ended, which a client that was hit may only find when it sends. */
static bool exchange(int client)
{
    char data[MESSAGE_BYTES];
    size_t received = 0;
    ssize_t count = 0;

    if (client_is_over(client))
        return false;
    if (send(client, message, sizeof(data), MSG_NOSIGNAL) != sizeof(data))
        return false;
    PUMP_UNTIL((count = client_receive_some(client, data + received, sizeof(data) - received)) != -EAGAIN &&
               (count <= 0 || (received += (size_t)count) == sizeof(data)));
    if (count <= 0)
        return false;
    ck_assert_mem_eq(data, message, sizeof(data));
    return true;
}

/* Returns how many connections were lost. */
static unsigned run_clients(void)
{
    unsigned down_before = connections_down(), up_before = connections_up(), lost = 0;
    bool is_lost[CLIENTS] = { false };
    int clients[CLIENTS];

    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_connect();
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CLIENTS; i++)
            is_lost[i] = is_lost[i] || !exchange(clients[i]);
    for (int i = 0; i < CLIENTS; i++) {
        lost += is_lost[i];
        client_close(clients[i]);
    }
    PUMP_UNTIL(connections_up() - up_before == connections_down() - down_before);
    ck_assert_uint_ge(connections_up() - up_before, CLIENTS - lost);
    return lost;
}

static void check_that_others_are_served(void)
{
    int client = client_connect();

    ck_assert(exchange(client));
    client_close(client);
}

static jd_event_loop_options small_options(void)
{
    return (jd_event_loop_options){ .accepts_ahead = 2 };
}

/* Each run has a loop of its own. Returns whether something was made to fail. */
static bool run_with(void (*set_fault)(unsigned number), unsigned number)
{
    const jd_event_loop_options options = small_options();
    unsigned lost, struck;

    remake_the_loop(&options);
    serve(&(struct service){ .on_message = echo });
    calls_watch();
    set_fault(number);
    lost = run_clients();
    struck = calls_struck();
    ck_assert_msg(lost <= struck, "fault %u: %u connections lost, %u faults", number, lost, struck);
    calls_watch();
    check_that_others_are_served();
    pump_until_quiet();
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
    forget_services();
    the_loop = make_loop(&options);
    return struck > 0;
}

static void sweep(void (*set_fault)(unsigned number))
{
    unsigned number = 1;

    while (run_with(set_fault, number))
        ck_assert_uint_lt(number++, SWEEP_MAX);
    ck_assert_uint_gt(number, CLIENTS); /* one for each connection at least */
}

/* ---- calls that fail ---- */

static const struct call_fault {
    enum watched_call call;
    DWORD code;
} call_faults[] = {
    { CALL_ACCEPT, WSAENOBUFS },
    { CALL_ACCEPT, WSAECONNRESET },
    { CALL_BIND, ERROR_NOT_ENOUGH_MEMORY },
    { CALL_SOCKET, WSAEMFILE },
    { CALL_RECEIVE, WSAENOBUFS },
    { CALL_RECEIVE, WSAECONNRESET },
    { CALL_SEND, WSAENOBUFS },
    { CALL_SEND, ERROR_NETNAME_DELETED },
    { CALL_SEND, WSAECONNABORTED },
    { CALL_RECEIVE_AT_ONCE, WSAENOBUFS },
    { CALL_RECEIVE_AT_ONCE, WSAECONNRESET },
};
enum { CALL_FAULTS = sizeof(call_faults) / sizeof(call_faults[0]) };

static int fault_index;

static void fail_a_call(unsigned number)
{
    calls_fail(call_faults[fault_index].call, number, 1, call_faults[fault_index].code);
}

START_TEST(a_call_that_fails_ends_at_most_its_connection)
{
    fault_index = _i;
    sweep(fail_a_call);
}
END_TEST

/* ---- operations that complete with an error ---- */

static const struct status_fault {
    enum watched_call call;
    enum status status;
} status_faults[] = {
    { CALL_ACCEPT, NETNAME_DELETED },  { CALL_ACCEPT, NO_RESOURCES },  { CALL_ACCEPT, CANCELLED },
    { CALL_RECEIVE, NETNAME_DELETED }, { CALL_RECEIVE, NO_RESOURCES }, { CALL_RECEIVE, RESET },
    { CALL_SEND, NETNAME_DELETED },    { CALL_SEND, NO_RESOURCES },    { CALL_SEND, RESET },
};
enum { STATUS_FAULTS = sizeof(status_faults) / sizeof(status_faults[0]) };

static void fail_an_operation(unsigned number)
{
    calls_complete_with(status_faults[fault_index].call, number, 1, status_values[status_faults[fault_index].status],
                        0);
}

START_TEST(an_operation_that_completes_with_an_error_ends_at_most_its_connection)
{
    fault_index = _i;
    sweep(fail_an_operation);
}
END_TEST

START_TEST(a_cancelled_send_that_sent_a_part_is_continued_behind_that_part)
{
    enum { PART = 7, SENDS = 5 };
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    calls_watch();

    calls_complete_with(CALL_SEND, 1, SENDS, status_values[CANCELLED], PART);
    client_send_pattern(client, 0, MESSAGE_BYTES);
    client_expect_pattern(client, 0, MESSAGE_BYTES);

    ck_assert_uint_eq(calls_struck(), SENDS);
    ck_assert_uint_eq(calls_of(CALL_SEND), SENDS + 1);
    client_send(client, "next", 4);
    client_expect(client, "next", 4);
}
END_TEST

/* ---- ends with operations in flight ---- */

static void send_much(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, message, sizeof(message)), 0);
}

static void note_error(jd_tcp_connection *connection, void *error)
{
    *(int *)error = jd_tcp_connection_error(connection);
}

START_TEST(a_reset_with_a_receive_and_a_send_in_flight_is_one_end_with_its_error)
{
    int error = 0;
    serve(&(struct service){ .on_up = send_much,
                             .on_down = note_error,
                             .arg = &error,
                             .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .output_limit = 2 * LARGE } });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    PUMP_UNTIL(connections_up() == 1);
    pump_until_quiet();

    client_reset(client);
    PUMP_UNTIL(connections_down() == 1);
    pump_until_quiet();

    ck_assert_int_eq(error, JD_ECONNRESET);
    ck_assert_str_eq(story(0), "up down");
}
END_TEST

START_TEST(a_loop_is_destroyed_with_accepts_receives_and_sends_in_flight)
{
    serve(&(struct service){ .on_up = send_much,
                             .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .output_limit = 2 * LARGE } });
    for (int i = 0; i < CLIENTS; i++)
        client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    PUMP_UNTIL(connections_up() == CLIENTS);
    pump_until_quiet();

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
}
END_TEST

static void keep_sending(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *error)
{
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "answer", 6), 0);
}

START_TEST(after_a_send_has_failed_the_connection_ends_with_its_error_and_no_more_input)
{
    int error = 0;
    serve(&(struct service){ .on_message = keep_sending, .on_down = note_error, .arg = &error });
    int client = client_connect_up();
    calls_watch();
    calls_fail(CALL_SEND, 1, 1, WSAENOBUFS);

    client_send(client, "first", 5);
    PUMP_UNTIL(calls_struck() == 1);
    send(client, "second", 6, MSG_NOSIGNAL);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(error, JD_ENOBUFS);
    ck_assert_uint_eq(bytes_received(), 5);
}
END_TEST

/* ---- operations of a program ---- */

static int64_t completed_with;
static bool is_completed;

static void note_completion(jd_operation *operation, int64_t result, void *arg)
{
    completed_with = result;
    is_completed = true;
}

START_TEST(a_loop_without_a_port_is_not_made)
{
    const jd_event_loop_options options = { .engine = JD_ENGINE_IOCP };
    jd_event_loop *loop;
    calls_watch();

    calls_fail(CALL_BIND, 1, 1, ERROR_NOT_ENOUGH_MEMORY);

    ck_assert_int_eq(jd_event_loop_create(&loop, &options), JD_ENOMEM);
    ck_assert_uint_eq(calls_struck(), 1);
}
END_TEST

static int64_t connect_to_server(void)
{
    static jd_operation operation;

    is_completed = false;
    ck_assert_int_eq(jd_async_connect(the_loop, &operation, server_endpoint(), note_completion, NULL), 0);
    PUMP_UNTIL(is_completed);
    return completed_with;
}

START_TEST(a_connect_that_fails_is_an_error_and_leaves_no_handle_and_the_next_may_succeed)
{
    static jd_operation operation;
    int64_t connected;
    serve(&(struct service){ .on_message = echo });
    pump_turns(2); /* which bind the listener */
    calls_watch();

    calls_fail(CALL_BIND, 1, 1, ERROR_NOT_ENOUGH_MEMORY);
    ck_assert_int_eq(connect_to_server(), JD_ENOMEM);
    calls_fail(CALL_CONNECT, 1, 1, WSAENOBUFS);
    ck_assert_int_eq(connect_to_server(), JD_ENOBUFS);
    calls_complete_with(CALL_CONNECT, 1, 1, status_values[NETNAME_DELETED], 0);
    ck_assert_int_eq(connect_to_server(), JD_ECONNRESET);
    connected = connect_to_server();

    ck_assert_int_ge(connected, 0);
    ck_assert_uint_eq(calls_struck(), 3);
    is_completed = false;
    ck_assert_int_eq(jd_async_close(the_loop, &operation, (jd_handle)connected, note_completion, NULL), 0);
    PUMP_UNTIL(is_completed);
}
END_TEST

/* ---- files ---- */

static int64_t write_to(HANDLE file)
{
    static jd_operation operation;

    is_completed = false;
    ck_assert_int_eq(jd_async_write(the_loop, &operation, (jd_file)file, 0, message, KIB, note_completion, NULL), 0);
    PUMP_UNTIL(is_completed);
    return completed_with;
}

START_TEST(a_full_disk_is_an_error_of_the_write_and_the_next_may_succeed)
{
    char folder[MAX_PATH], path[MAX_PATH];
    HANDLE file;
    ck_assert_uint_ne(GetTempPathA(sizeof(folder), folder), 0);
    ck_assert_uint_ne(GetTempFileNameA(folder, "jd", 0, path), 0);
    file = CreateFileA(path, GENERIC_WRITE | DELETE, 0, NULL, CREATE_ALWAYS,
                       FILE_FLAG_OVERLAPPED | FILE_FLAG_DELETE_ON_CLOSE, NULL);
    ck_assert(file != INVALID_HANDLE_VALUE);
    calls_watch();

    calls_fail(CALL_WRITE_FILE, 1, 1, ERROR_DISK_FULL);
    ck_assert_int_eq(write_to(file), -ENOSPC);
    calls_complete_with(CALL_WRITE_FILE, 1, 1, status_values[DISK_FULL], 0);
    ck_assert_int_eq(write_to(file), -ENOSPC);
    calls_complete_with(CALL_WRITE_FILE, 1, 1, status_values[DISK_FULL], 512); /* a part had room */
    ck_assert_int_eq(write_to(file), 512);
    ck_assert_int_eq(write_to(file), KIB);
    ck_assert_uint_eq(calls_struck(), 3);
    CloseHandle(file);
}
END_TEST

/* ---- allocations ---- */

static bool try_to_serve(unsigned number)
{
    jd_tcp_server *server = NULL;
    const jd_tcp_server_options options = { .listen = "127.0.0.1:0" };
    const jd_event_loop_options loop_options = { .engine = JD_ENGINE_IOCP, .accepts_ahead = 2 };
    jd_event_loop *loop = NULL;
    int result;

    checking_memory_fail_at(number);
    result = jd_event_loop_create(&loop, &loop_options);
    if (result == 0)
        result = jd_tcp_server_create(&server, loop, &options);
    if (result == 0)
        result = jd_tcp_server_start(server, NULL);
    for (int i = 0; result == 0 && i < 3; i++)
        result = jd_event_loop_run_once(loop, 0);
    ck_assert_msg(result >= 0 || (result == JD_ENOMEM && checking_memory_has_failed()), "allocation %u: %s", number,
                  jd_strerror(result));
    if (server != NULL)
        jd_tcp_server_destroy(server, NULL, NULL);
    if (loop != NULL)
        ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
    return checking_memory_has_failed();
}

START_TEST(an_allocation_that_fails_while_a_server_begins_is_reported_and_nothing_is_lost)
{
    unsigned number = 1;
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
    checking_memory_install();

    while (try_to_serve(number))
        ck_assert_uint_lt(number++, SWEEP_MAX);

    ck_assert_uint_gt(number, 5);
    checking_memory_fail_at(0);
    checking_memory_remove();
}
END_TEST

/* An allocation that fails while connections come and exchange messages: at most one of them is lost. */
START_TEST(an_allocation_that_fails_while_serving_ends_at_most_one_connection)
{
    const jd_event_loop_options options = small_options();
    unsigned failures = 1, number = 1;
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    checking_memory_install();

    for (; failures > 0; number++) {
        unsigned lost, before = checking_memory_failures();
        int clients[CLIENTS];
        the_loop = make_loop(&options);
        serve(&(struct service){ .on_message = echo });
        pump_turns(2);
        checking_memory_fail(number, 1);
        lost = 0;
        for (int i = 0; i < CLIENTS; i++)
            clients[i] = client_connect();
        for (int i = 0; i < CLIENTS; i++)
            lost += !exchange(clients[i]);
        failures = checking_memory_failures() - before;
        ck_assert_uint_le(lost, failures);
        checking_memory_fail(1, 0);
        check_that_others_are_served();
        for (int i = 0; i < CLIENTS; i++)
            client_close(clients[i]);
        pump_until_quiet();
        ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
        the_loop = NULL;
        forget_services();
        ck_assert_uint_lt(number, SWEEP_MAX);
    }
    ck_assert_uint_gt(number, 3);
    checking_memory_remove();
}
END_TEST

static void restore_calls(void)
{
    windows_calls_reset();
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "iocp faults");

    tcase_add_checked_fixture(tests, NULL, restore_calls);
    tcase_add_loop_test(tests, a_call_that_fails_ends_at_most_its_connection, 0, CALL_FAULTS);
    tcase_add_loop_test(tests, an_operation_that_completes_with_an_error_ends_at_most_its_connection, 0, STATUS_FAULTS);
    tcase_add_test(tests, a_cancelled_send_that_sent_a_part_is_continued_behind_that_part);
    tcase_add_test(tests, a_reset_with_a_receive_and_a_send_in_flight_is_one_end_with_its_error);
    tcase_add_test(tests, a_loop_is_destroyed_with_accepts_receives_and_sends_in_flight);
    tcase_add_test(tests, after_a_send_has_failed_the_connection_ends_with_its_error_and_no_more_input);
    tcase_add_test(tests, a_loop_without_a_port_is_not_made);
    tcase_add_test(tests, a_connect_that_fails_is_an_error_and_leaves_no_handle_and_the_next_may_succeed);
    tcase_add_test(tests, a_full_disk_is_an_error_of_the_write_and_the_next_may_succeed);
    tcase_add_test(tests, an_allocation_that_fails_while_a_server_begins_is_reported_and_nothing_is_lost);
    tcase_add_test(tests, an_allocation_that_fails_while_serving_ends_at_most_one_connection);
}
