/* Files on Windows: which handles send_file and the operations on files take, and what they do at the end of the file. */
#include "tests/behaviour/harness.h"
#include "tests/behaviour/iocp/the_calls.h"

#include <errno.h>
#include <jinduo/error.h>
#include <jinduo/proactor.h>
#include <string.h>

const char *const suite_name = "iocp_files";

enum { KIB = 1024, LARGEST = 1024 * KIB, TINY_BUFFER_BYTES = 4096 };

static unsigned char content[LARGEST];
static HANDLE file;
static unsigned released;

/* ---- files ---- */

/* A file of length bytes of the pattern, which goes with its last handle. flags: FILE_FLAG_OVERLAPPED or 0. */
static HANDLE make_file_for(DWORD access, size_t length, DWORD flags)
{
    char folder[MAX_PATH], path[MAX_PATH];
    HANDLE made;
    DWORD written;

    ck_assert_uint_ne(GetTempPathA(sizeof(folder), folder), 0);
    ck_assert_uint_ne(GetTempFileNameA(folder, "jd", 0, path), 0);
    made = CreateFileA(path, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    ck_assert(made != INVALID_HANDLE_VALUE);
    pattern_fill(content, 0, sizeof(content));
    ck_assert(WriteFile(made, content, (DWORD)length, &written, NULL) && written == length);
    CloseHandle(made);
    made = CreateFileA(path, access | DELETE, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                       OPEN_EXISTING, flags | FILE_FLAG_DELETE_ON_CLOSE, NULL);
    ck_assert(made != INVALID_HANDLE_VALUE);
    return made;
}

static HANDLE make_file(size_t length, DWORD flags)
{
    return make_file_for(GENERIC_READ | GENERIC_WRITE, length, flags);
}

static void note_release(void *arg)
{
    released++;
}

static int send_range(jd_tcp_connection *connection, HANDLE from, int64_t offset, uint64_t length)
{
    return jd_tcp_connection_send_file(connection, (jd_file)from, offset, length, note_release, NULL);
}

/* ---- send_file ---- */

/* Windows Server sends a file by TransmitFile; other editions read it (docs/iocp.md). */
static void choose_edition(bool is_server)
{
    calls_watch();
    calls_set_edition(is_server);
    remake_the_loop(NULL);
}

static void answer_by_file(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *length)
{
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "before", 6), 0);
    ck_assert_int_eq(send_range(connection, file, 0, *(const uint64_t *)length), 0);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "behind", 6), 0);
}

static LONGLONG position(HANDLE of)
{
    LARGE_INTEGER none = { 0 }, now;

    ck_assert(SetFilePointerEx(of, none, &now, FILE_CURRENT));
    return now.QuadPart;
}

START_TEST(files_of_all_sizes_arrive_between_other_bytes)
{
    static const DWORD flags[] = { FILE_FLAG_OVERLAPPED, 0 };
    static const size_t sizes[] = { 0, 1, 4096, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, LARGEST };
    uint64_t length = _i % 2 == 0 ? JD_TO_END : 0;
    choose_edition(_i / 4 == 0);
    serve(&(struct service){ .on_message = answer_by_file, .arg = &length });
    int client = client_connect_up();

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        file = make_file(sizes[i], flags[_i / 2 % 2]);
        if (_i % 2 == 1)
            length = sizes[i];
        client_send(client, "x", 1);
        client_expect(client, "before", 6);
        client_expect_pattern(client, 0, sizes[i]);
        client_expect(client, "behind", 6);
        PUMP_UNTIL(released == i + 1);
        if (_i < 6) /* else it is read, by a handle that is not overlapped (docs/engines.md) */
            ck_assert_int_eq(position(file), 0);
        CloseHandle(file);
    }
}
END_TEST

START_TEST(on_a_server_one_call_sends_a_part_of_a_file_and_nothing_is_read_before)
{
    enum { BUDGET = 256 * KIB };
    uint64_t length = LARGEST;
    choose_edition(true);
    serve(&(struct service){ .on_message = answer_by_file, .arg = &length, .options.budget_bytes = BUDGET });
    int client = client_connect_up();
    file = make_file(LARGEST, 0);

    calls_watch();
    client_send(client, "x", 1);
    client_expect(client, "before", 6);
    client_expect_pattern(client, 0, LARGEST);
    client_expect(client, "behind", 6);

    ck_assert_uint_eq(calls_of(CALL_SEND_FILE), LARGEST / BUDGET);
    ck_assert_uint_eq(calls_of(CALL_READ_FILE), 0);
    CloseHandle(file);
}
END_TEST

START_TEST(on_other_editions_a_file_is_read_and_sent)
{
    uint64_t length = LARGEST;
    choose_edition(false);
    serve(&(struct service){ .on_message = answer_by_file, .arg = &length });
    int client = client_connect_up();
    file = make_file(LARGEST, FILE_FLAG_OVERLAPPED);

    calls_watch();
    client_send(client, "x", 1);
    client_expect(client, "before", 6);
    client_expect_pattern(client, 0, LARGEST);
    client_expect(client, "behind", 6);

    ck_assert_uint_eq(calls_of(CALL_SEND_FILE), 0);
    ck_assert_uint_gt(calls_of(CALL_READ_FILE), 0);
    CloseHandle(file);
}
END_TEST

static void try_bad_ranges(jd_tcp_connection *connection, void *arg)
{
    HANDLE read_end, write_end, only_written = make_file_for(GENERIC_WRITE, KIB, FILE_FLAG_OVERLAPPED);

    ck_assert(CreatePipe(&read_end, &write_end, NULL, 0));
    ck_assert_int_eq(send_range(connection, file, 0, KIB + 1), JD_ERANGE);
    ck_assert_int_eq(send_range(connection, file, 1, KIB), JD_ERANGE);
    ck_assert_int_eq(send_range(connection, file, KIB + 1, JD_TO_END), JD_ERANGE);
    ck_assert_int_eq(send_range(connection, file, -1, KIB), JD_EINVAL);
    ck_assert_int_eq(send_range(connection, read_end, 0, 1), JD_EINVAL);
    ck_assert_int_eq(send_range(connection, only_written, 0, 1), JD_EINVAL);
    CloseHandle(only_written);
    ck_assert_int_eq(send_range(connection, only_written, 0, 1), -EBADF);
    ck_assert_int_eq(jd_tcp_connection_queued_bytes(connection), 0);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
    ck_assert_int_eq(send_range(connection, file, 0, KIB), JD_ENOTCONN);
    CloseHandle(read_end);
    CloseHandle(write_end);
}

START_TEST(a_range_that_cannot_be_sent_is_refused_and_not_released)
{
    file = make_file(KIB, FILE_FLAG_OVERLAPPED);
    serve(&(struct service){ .on_up = try_bad_ranges });

    client_expect_end(client_connect_up());

    ck_assert_uint_eq(released, 0);
    CloseHandle(file);
}
END_TEST

static void send_whole_file(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_range(connection, file, 0, LARGEST), 0);
}

static void note_error(jd_tcp_connection *connection, void *error)
{
    *(int *)error = jd_tcp_connection_error(connection);
}

START_TEST(a_file_that_becomes_shorter_ends_the_connection)
{
    LARGE_INTEGER end = { .QuadPart = LARGEST / 2 };
    int error = 0;
    choose_edition(_i / 2 == 0);
    file = make_file(LARGEST, _i % 2 == 0 ? FILE_FLAG_OVERLAPPED : 0);
    serve(&(struct service){ .on_up = send_whole_file,
                             .on_down = note_error,
                             .arg = &error,
                             .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .budget_bytes = 16 * KIB } });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    PUMP_UNTIL(connections_up() == 1);

    ck_assert(SetFilePointerEx(file, end, NULL, FILE_BEGIN) && SetEndOfFile(file));
    client_expect_pattern(client, 0, LARGEST / 2);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(error, JD_ENODATA);
    ck_assert_uint_eq(released, 1);
    CloseHandle(file);
}
END_TEST

START_TEST(a_reset_or_a_close_while_a_file_is_being_sent_releases_it_once)
{
    choose_edition(_i / 2 == 0);
    file = make_file(LARGEST, FILE_FLAG_OVERLAPPED);
    jd_tcp_server *server = serve(&(struct service){
        .on_up = send_whole_file, .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .budget_bytes = LARGEST } });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    PUMP_UNTIL(connections_up() == 1);
    pump_until_quiet();

    ck_assert_uint_eq(released, 0);
    if (_i % 2 == 0)
        client_reset(client);
    else
        jd_tcp_server_destroy(server, NULL, NULL);
    PUMP_UNTIL(connections_down() == 1);

    PUMP_UNTIL(released == 1);
    pump_until_quiet();
    ck_assert_uint_eq(released, 1);
    CloseHandle(file);
}
END_TEST

/* Of [MS-ERREF], 2.3.1. */
enum { STATUS_OF_RESET = -1073741299 }; /* 0xC000020D, STATUS_CONNECTION_RESET */

START_TEST(a_file_that_cannot_be_sent_ends_the_connection_and_is_released_once)
{
    static const int errors[] = { JD_ENOBUFS, JD_ECONNRESET, -EIO };
    int error = 0;
    choose_edition(_i < 2);
    file = make_file(LARGEST, FILE_FLAG_OVERLAPPED);
    if (_i == 0)
        calls_fail(CALL_SEND_FILE, 1, 1, WSAENOBUFS);
    else if (_i == 1)
        calls_complete_with(CALL_SEND_FILE, 1, 1, (uint32_t)STATUS_OF_RESET, 0);
    else
        calls_fail(CALL_READ_FILE, 1, 1, ERROR_CRC);
    serve(&(struct service){ .on_up = send_whole_file, .on_down = note_error, .arg = &error });

    client_connect();
    PUMP_UNTIL(connections_down() == 1);
    pump_until_quiet();

    ck_assert_uint_eq(calls_struck(), 1);
    ck_assert_int_eq(error, errors[_i]);
    ck_assert_uint_eq(released, 1);
    CloseHandle(file);
}
END_TEST

/* ---- operations ---- */

struct completed {
    jd_operation operation;
    int64_t result;
    bool over;
};

static void note_completion(jd_operation *operation, int64_t result, void *arg)
{
    struct completed *completed = arg;

    ck_assert(!completed->over);
    completed->result = result;
    completed->over = true;
}

static int64_t read_at(HANDLE from, uint64_t offset, void *data, size_t size)
{
    struct completed completed = { 0 };

    ck_assert_int_eq(
        jd_async_read(the_loop, &completed.operation, (jd_file)from, offset, data, size, note_completion, &completed),
        0);
    PUMP_UNTIL(completed.over);
    return completed.result;
}

static int64_t write_at(HANDLE to, uint64_t offset, const void *data, size_t length)
{
    struct completed completed = { 0 };

    ck_assert_int_eq(
        jd_async_write(the_loop, &completed.operation, (jd_file)to, offset, data, length, note_completion, &completed),
        0);
    PUMP_UNTIL(completed.over);
    return completed.result;
}

START_TEST(operations_read_and_write_at_offsets_up_to_the_end)
{
    unsigned char data[64];
    file = make_file(100, FILE_FLAG_OVERLAPPED);

    ck_assert_int_eq(read_at(file, 10, data, 64), 64);
    ck_assert_mem_eq(data, content + 10, 64);
    ck_assert_int_eq(read_at(file, 90, data, 64), 10);
    ck_assert_int_eq(read_at(file, 100, data, 64), 0);
    ck_assert_int_eq(read_at(file, 1000000, data, 64), 0);
    ck_assert_int_eq(write_at(file, 98, "written", 7), 7);
    ck_assert_int_eq(read_at(file, 98, data, 64), 7);
    ck_assert_mem_eq(data, "written", 7);
    CloseHandle(file);
}
END_TEST

START_TEST(operations_on_a_file_that_is_not_overlapped_are_an_error_with_its_reason)
{
    unsigned char data[64];
    file = make_file(100, 0);

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(read_at(file, 0, data, sizeof(data)), JD_EINVAL);
        ck_assert_int_eq(write_at(file, 0, data, sizeof(data)), JD_EINVAL);
    }

    ck_assert_uint_eq(log_messages(), 4);
    ck_assert(was_logged("without FILE_FLAG_OVERLAPPED"));
    CloseHandle(file);
}
END_TEST

START_TEST(operations_on_a_socket_that_is_not_overlapped_are_an_error_with_its_reason)
{
    struct completed completed = { 0 };
    SOCKET socket = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, 0);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char byte;
    serve(&(struct service){ .on_message = echo });
    to.sin_port = htons(jd_endpoint_port(server_endpoint()));
    ck_assert_int_eq(WSAConnect(socket, (struct sockaddr *)&to, sizeof(to), NULL, NULL, NULL, NULL), 0);

    ck_assert_int_eq(
        jd_async_receive(the_loop, &completed.operation, (jd_socket)socket, &byte, 1, 0, note_completion, &completed),
        0);
    PUMP_UNTIL(completed.over);

    ck_assert_int_eq(completed.result, JD_EINVAL);
    ck_assert(was_logged("without FILE_FLAG_OVERLAPPED"));
    closesocket(socket);
}
END_TEST

START_TEST(one_file_serves_operations_and_send_file_of_two_loops)
{
    unsigned char data[64];
    jd_event_loop *second = make_loop(NULL);
    struct completed completed = { 0 };
    uint64_t length = 100;
    file = make_file(100, FILE_FLAG_OVERLAPPED);

    ck_assert_int_eq(read_at(file, 20, data, 64), 64);
    ck_assert_mem_eq(data, content + 20, 64);
    ck_assert_int_eq(
        jd_async_read(second, &completed.operation, (jd_file)file, 10, data, 64, note_completion, &completed), 0);
    PUMP_UNTIL(jd_event_loop_run_once(second, 1) >= 0 && completed.over); /* the_loop passes the packet on */
    ck_assert_int_eq(completed.result, 64);
    ck_assert_mem_eq(data, content + 10, 64);
    serve(&(struct service){ .on_message = answer_by_file, .arg = &length });
    int client = client_connect_up();
    client_send(client, "x", 1);
    client_expect(client, "before", 6);
    client_expect_pattern(client, 0, 100);
    ck_assert_int_eq(jd_event_loop_destroy(second), 0);
    CloseHandle(file);
}
END_TEST

static void restore_calls(void)
{
    windows_calls_reset();
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "iocp files");

    tcase_add_checked_fixture(tests, NULL, restore_calls);
    tcase_add_loop_test(tests, files_of_all_sizes_arrive_between_other_bytes, 0, 8);
    tcase_add_test(tests, on_a_server_one_call_sends_a_part_of_a_file_and_nothing_is_read_before);
    tcase_add_test(tests, on_other_editions_a_file_is_read_and_sent);
    tcase_add_test(tests, a_range_that_cannot_be_sent_is_refused_and_not_released);
    tcase_add_loop_test(tests, a_file_that_becomes_shorter_ends_the_connection, 0, 4);
    tcase_add_loop_test(tests, a_reset_or_a_close_while_a_file_is_being_sent_releases_it_once, 0, 4);
    tcase_add_loop_test(tests, a_file_that_cannot_be_sent_ends_the_connection_and_is_released_once, 0, 3);
    tcase_add_test(tests, operations_read_and_write_at_offsets_up_to_the_end);
    tcase_add_test(tests, operations_on_a_file_that_is_not_overlapped_are_an_error_with_its_reason);
    tcase_add_test(tests, operations_on_a_socket_that_is_not_overlapped_are_an_error_with_its_reason);
    tcase_add_test(tests, one_file_serves_operations_and_send_file_of_two_loops);
}
