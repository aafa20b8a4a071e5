/* Sends that copy nothing: shared payloads, referenced memory, ranges of files. Which bytes arrive, when references are
 * released, how bytes are counted, which sends are refused. Pitfall 33. */
#include "base/platform/clock.h"
#include "base/posix/system_calls.h"
#include "tests/behaviour/connection/lender.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const suite_name = "lending";

/* ---- order ---- */

static void send_mixed(jd_tcp_connection *connection, void *arg)
{
    const size_t bounds[] = { 2, 100, 1000, 20 * KIB, many_bytes() / 50 };
    uint64_t random = test_seed();

    for (size_t offset = 0, length; offset < many_bytes(); offset += length) {
        length = random_below(&random, bounds[random_below(&random, 5)]);
        if (length > many_bytes() - offset)
            length = many_bytes() - offset;
        ck_assert_int_eq(sends[random_below(&random, SENDS)](connection, offset, length), 0);
    }
}

START_TEST(sends_of_all_kinds_keep_their_order)
{
    serve(&(struct service){
        .options = { .send_buffer_bytes = _i == 0 ? 0 : TINY_BUFFER_BYTES, .max_queued_files = 1000 },
        .on_up = send_mixed });

    int client = _i == 0 ? client_connect() : client_connect_with_receive_buffer(TINY_BUFFER_BYTES);

    client_expect_pattern(client, 0, many_bytes());
    PUMP_UNTIL(back == lent);
    check_that_all_came_back();
    ck_assert_uint_gt(lent, 10);
}
END_TEST

static unsigned completions;

static void count_completion(jd_tcp_connection *connection, void *arg)
{
    completions++;
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 0);
}

static ssize_t refuse_sendfile(int socket, int fd, off_t *offset, size_t size)
{
    errno = EINVAL;
    return -1;
}

/* The last time by an engine that cannot send this kind of file as such (sendfile(2)). */
START_TEST(a_file_arrives_to_the_byte_between_header_and_trailer)
{
    const char *const endpoints[] = { "127.0.0.1:0", own_unix_endpoint("@jinduo-test-"), "127.0.0.1:0" };
    if (_i == 2)
        system_calls.sendfile = refuse_sendfile;
    serve(&(struct service){
        .options.listen = endpoints[_i], .on_up = send_file_between, .on_write_complete = count_completion });

    int client = client_connect();

    client_expect_pattern(client, 0, 2000 + file_bytes());
    PUMP_UNTIL(completions > 0);
    pump_until_quiet();
    check_that_all_came_back();
    ck_assert_uint_eq(completions, 1);
    ck_assert_uint_eq(statistics().bytes_sent, 2000 + file_bytes());
    system_calls_reset();
    ck_assert_int_eq(lseek(pattern_file, 0, SEEK_CUR), PATTERN_BYTES);
}
END_TEST

static void send_small_file(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, pattern, 100), 0);
    ck_assert_int_eq(jd_tcp_connection_send_file(connection, pattern_file, 100, 200, NULL, NULL), 0);
}

static unsigned segments_received(int client)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);

    ck_assert_int_eq(getsockopt(client, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
    return info.tcpi_data_segs_in;
}

/* So that a small file takes one segment, not two (send(2), MSG_MORE). The kernel waits for 200 ms (tcp(7), TCP_CORK), which
 * a thread that gets no turn may take. */
START_TEST(a_header_waits_for_the_file_behind_it)
{
    enum { LONG_NS = 150 * 1000000 };
    unsigned segments;
    jd_timestamp begun;
    serve(&(struct service){ .on_up = send_small_file });

    do {
        int client;
        begun = clock_now();
        client = client_connect();
        client_expect_pattern(client, 0, 300);
        segments = segments_received(client);
    } while (segments > 1 && clock_now() - begun > LONG_NS);

    ck_assert_uint_eq(segments, 1);
}
END_TEST

static void send_to_the_end(jd_tcp_connection *connection, void *arg)
{
    jd_shared *shared;
    int file = memfd_create("jinduo-lending", MFD_CLOEXEC);

    ck_assert_int_eq(write(file, pattern, 2000), 2000);
    ck_assert_int_eq(
        jd_tcp_connection_send_file(connection, file, 1000, JD_TO_END, jd_release_close_fd, (void *)(intptr_t)file), 0);
    ck_assert_int_eq(jd_shared_create(&shared, pattern, 3000), 0);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 2000, JD_TO_END), 0);
    jd_shared_unref(shared);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

/* That the descriptor is closed and the shared memory freed sees the harness at the end. */
START_TEST(to_the_end_means_all_that_there_is_from_the_offset_on)
{
    serve(&(struct service){ .on_up = send_to_the_end });
    unsigned char received[4000];

    int client = client_connect();

    ck_assert_uint_eq(client_receive_to_end(client, received, sizeof(received)), 2000);
    pattern_expect(received, 1000, 2000);
}
END_TEST

/* ---- one payload for many ---- */

enum { RECEIVERS = 40, SHARED_BYTES = 300 * KIB };

static void send_to(jd_tcp_connection *connection, void *arg)
{
    ck_assert_ptr_nonnull(connection);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, arg, 0, JD_TO_END), 0);
}

START_TEST(one_payload_goes_to_many_without_a_copy_and_comes_back_after_the_last)
{
    int clients[RECEIVERS];
    jd_shared *shared;
    size_t before;
    serve(&(struct service){ .options.send_buffer_bytes = TINY_BUFFER_BYTES });
    for (unsigned i = 0; i < RECEIVERS; i++)
        clients[i] = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    PUMP_UNTIL(connections_up() == RECEIVERS);
    pump_until_quiet();
    before = jd_memory_in_use();

    ck_assert_int_eq(jd_shared_create_owned(&shared, pattern, SHARED_BYTES, give_back, next_number()), 0);
    for (unsigned i = 0; i < RECEIVERS; i++)
        ck_assert_int_eq(jd_tcp_connection_post(connection_id(i), send_to, shared), 0);
    pump_turns(20);
    ck_assert_uint_eq(jd_shared_length(shared), SHARED_BYTES);
    ck_assert_ptr_eq(jd_shared_data(shared), pattern);
    jd_shared_unref(shared);

    ck_assert_uint_le(jd_memory_in_use(), before + 64 * KIB);
    for (unsigned i = 0; i < RECEIVERS; i++) {
        ck_assert_uint_eq(back, 0);
        client_expect_pattern(clients[i], 0, SHARED_BYTES);
    }
    PUMP_UNTIL(back == 1);
    ck_assert_uint_eq(back_wrongly, 0);
}
END_TEST

/* ---- when it comes back ---- */

static void send_much(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_owned(connection, 0, 100 * KIB), 0); /* flushed in the call */
    ck_assert_uint_eq(back, 0);
    ck_assert_int_eq(send_owned(connection, 100 * KIB, 10), 0);
    ck_assert_uint_eq(back, 0);
}

START_TEST(nothing_comes_back_from_inside_the_call)
{
    serve(&(struct service){ .on_up = send_much });

    int client = client_connect();

    client_expect_pattern(client, 0, 100 * KIB + 10);
    PUMP_UNTIL(back == 2);
    check_that_all_came_back();
}
END_TEST

enum { STREAM_PIECE = 10 * KIB };

static size_t streamed;

static void stream_on(void *connection)
{
    size_t offset = streamed;

    back_wrongly += is_calling;
    if (streamed + STREAM_PIECE > many_bytes())
        return;
    streamed += STREAM_PIECE;
    is_calling = true;
    ck_assert_int_eq(
        jd_tcp_connection_send_reference(connection, pattern + offset, STREAM_PIECE, stream_on, connection), 0);
    is_calling = false;
}

static void begin_to_stream(jd_tcp_connection *connection, void *arg)
{
    stream_on(connection);
}

START_TEST(a_release_function_may_send_on_its_connection)
{
    serve(&(struct service){ .on_up = begin_to_stream });

    int client = client_connect();

    client_expect_pattern(client, 0, many_bytes() / STREAM_PIECE * STREAM_PIECE);
    ck_assert_uint_eq(back_wrongly, 0);
}
END_TEST

static void lend_nothing(void *connection)
{
    ck_assert_int_eq(send_owned(connection, 0, 0), 0);
    ck_assert_int_eq(send_file(connection, 0, 0), 0);
}

static void take(jd_tcp_connection *connection, void *arg)
{
    *(jd_tcp_connection **)arg = connection;
}

/* The loop would wait without end if it did not know of them. */
START_TEST(a_range_of_no_length_comes_back_without_anything_else_to_happen)
{
    jd_tcp_connection *connection = NULL;
    serve(&(struct service){ .on_up = take, .arg = &connection });
    client_connect_up();
    pump_until_quiet();

    lend_nothing(connection);
    ck_assert_uint_eq(back, 0);
    ck_assert_int_ge(jd_event_loop_run_once(the_loop, -1), 0);

    check_that_all_came_back();
    ck_assert_uint_eq(lent, 2);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 0);
}
END_TEST

/* ---- limits ---- */

static unsigned high_marks;

static void count_high_mark(jd_tcp_connection *connection, size_t queued, void *arg)
{
    high_marks++;
}

static void send_file_over_the_limit(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_file(connection, 0, PATTERN_BYTES), 0);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), FILE_COUNTS_BYTES);
    ck_assert_int_eq(send_file(connection, 0, PATTERN_BYTES), 0);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 2 * FILE_COUNTS_BYTES);
    ck_assert_int_eq(send_owned(connection, 0, 10 * KIB), JD_ENOBUFS);
    ck_assert_int_eq(send_shared(connection, 0, 10 * KIB), JD_ENOBUFS);
}

START_TEST(a_file_for_a_peer_that_never_reads_takes_no_memory_and_stops_nothing)
{
    serve(&(struct service){
        .options = { .output_limit = 10 * KIB, .high_watermark = 5 * KIB, .send_buffer_bytes = TINY_BUFFER_BYTES },
        .on_up = send_file_over_the_limit,
        .on_high_watermark = count_high_mark });
    size_t before = jd_memory_in_use();
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    PUMP_UNTIL(connections_up() == 1);

    client_send(client, "still heard", 11);

    PUMP_UNTIL(bytes_received() == 11);
    ck_assert_uint_eq(high_marks, 0);
    /* The late engine reads the file in parts, a block at a time. */
    ck_assert_uint_le(jd_memory_in_use(), before + 1024 * KIB);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    check_that_all_came_back();
}
END_TEST

static void send_memory_over_the_mark(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_owned(connection, 0, 40 * KIB), 0);
    ck_assert_int_eq(send_shared(connection, 40 * KIB, 40 * KIB), 0);
}

START_TEST(referenced_memory_counts_like_copies)
{
    remake_the_loop(&(jd_event_loop_options){ .flush_bytes = MIB });
    serve(&(struct service){ .options = { .high_watermark = 64 * KIB, .send_buffer_bytes = TINY_BUFFER_BYTES },
                             .on_up = send_memory_over_the_mark,
                             .on_high_watermark = count_high_mark });

    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);

    PUMP_UNTIL(high_marks == 1);
    client_expect_pattern(client, 0, 80 * KIB);
    PUMP_UNTIL(back == 2);
}
END_TEST

/* ---- refusals ---- */

static void try_wrong_files(jd_tcp_connection *connection, void *arg)
{
    int write_only = open("/dev/shm", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int ends[2];
    bool piped = pipe(ends) == 0;
    const struct {
        int fd;
        int64_t offset;
        uint64_t length;
        int result;
    } wrong[] = {
        { ends[0], 0, 10, JD_EINVAL },
        { directory, 0, 10, JD_EINVAL },
        { write_only, 0, 0, JD_EINVAL },
        { -1, 0, 10, -EBADF },
        { pattern_file, -1, 10, JD_EINVAL },
        { pattern_file, 0, PATTERN_BYTES + 1, JD_ERANGE },
        { pattern_file, 10, PATTERN_BYTES - 9, JD_ERANGE },
        { pattern_file, PATTERN_BYTES + 1, 0, JD_ERANGE },
        { pattern_file, INT64_MAX, JD_TO_END, JD_ERANGE },
        { pattern_file, 1, UINT64_MAX - 1, JD_ERANGE },
    };

    ck_assert(piped && write_only >= 0 && directory >= 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_int_eq(
            jd_tcp_connection_send_file(connection, wrong[i].fd, wrong[i].offset, wrong[i].length, give_back, NULL),
            wrong[i].result);
    close(write_only);
    close(directory);
    close(ends[0]);
    close(ends[1]);
}

static void try_wrong_ranges(jd_tcp_connection *connection, void *arg)
{
    jd_shared *shared;

    ck_assert_int_eq(jd_shared_create(&shared, pattern, 1000), 0);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 1001, 0), JD_ERANGE);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 1001, JD_TO_END), JD_ERANGE);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 0, 1001), JD_ERANGE);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 500, SIZE_MAX - 1), JD_ERANGE);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 1000, JD_TO_END), 0);
    jd_shared_unref(shared);
}

static void try_wrong_things(jd_tcp_connection *connection, void *arg)
{
    try_wrong_files(connection, arg);
    try_wrong_ranges(connection, arg);
    ck_assert_int_eq(send_owned(connection, 0, 10 * KIB + 1), JD_ENOBUFS);
    ck_assert_int_eq(jd_tcp_connection_send_reference(connection, pattern, SIZE_MAX, give_back, NULL), JD_ENOBUFS);
    jd_tcp_connection_close(connection);
    ck_assert_int_eq(send_owned(connection, 0, 10), JD_ENOTCONN);
    ck_assert_int_eq(send_owned(connection, 0, 0), JD_ENOTCONN);
    ck_assert_int_eq(send_file(connection, 0, 10), JD_ENOTCONN);
}

START_TEST(what_is_refused_has_not_been_taken)
{
    serve(&(struct service){ .options.output_limit = 10 * KIB, .on_up = try_wrong_things });

    int client = client_connect();

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(back, 0);
    ck_assert_uint_eq(statistics().bytes_dropped, 0);
}
END_TEST

/* ---- turns ---- */

static void send_whole_file(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_file(connection, 0, PATTERN_BYTES), 0);
}

START_TEST(a_file_takes_no_more_of_a_turn_than_its_share)
{
    enum { BUDGET = 64 * KIB };
    const unsigned budgets = engine_is("reactor") ? 4 : 1; /* tcp_server.h, budget_bytes: sendfile(2) */
    uint64_t sent = 0, most = 0;
    char data[64 * KIB];
    serve(&(struct service){ .options.budget_bytes = BUDGET, .on_up = send_whole_file });
    int client = client_connect();

    for (size_t received = 0; received < many_bytes();) {
        ssize_t count = client_receive_some(client, data, sizeof(data));
        received += count > 0 ? (size_t)count : 0;
        pump_turns(1);
        if (statistics().bytes_sent - sent > most)
            most = statistics().bytes_sent - sent;
        sent = statistics().bytes_sent;
    }

    ck_assert_uint_gt(most, budgets > 1 ? BUDGET : 0);
    ck_assert_uint_le(most, budgets * BUDGET);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = lender_case(suite, "lending");

    tcase_add_loop_test(tests, sends_of_all_kinds_keep_their_order, 0, 2);
    tcase_add_loop_test(tests, a_file_arrives_to_the_byte_between_header_and_trailer, 0, 3);
    if (!engine_is("late"))
        tcase_add_test(tests, a_header_waits_for_the_file_behind_it);
    tcase_add_test(tests, to_the_end_means_all_that_there_is_from_the_offset_on);
    tcase_add_test(tests, one_payload_goes_to_many_without_a_copy_and_comes_back_after_the_last);
    tcase_add_test(tests, nothing_comes_back_from_inside_the_call);
    tcase_add_test(tests, a_release_function_may_send_on_its_connection);
    tcase_add_test(tests, a_range_of_no_length_comes_back_without_anything_else_to_happen);
    tcase_add_test(tests, a_file_for_a_peer_that_never_reads_takes_no_memory_and_stops_nothing);
    tcase_add_test(tests, referenced_memory_counts_like_copies);
    tcase_add_test(tests, what_is_refused_has_not_been_taken);
    tcase_add_test(tests, a_file_takes_no_more_of_a_turn_than_its_share);
}
