/* The files that peers can make a server hold open: max_queued_files. */
#include "tests/behaviour/connection/lender.h"

#include <fcntl.h>
#include <jinduo/error.h>
#include <stdio.h>
#include <unistd.h>

const char *const suite_name = "queued_files";

enum { DEFAULT_FILES = 16, REQUESTS = 3000, REQUEST_BYTES = 8, FILE_BYTES = 100 * KIB };

static unsigned opened, refused, answered, most_open, descriptors_before;

static void forget(void)
{
    opened = refused = answered = most_open = 0;
    descriptors_before = open_descriptors();
}

static void close_file(void *descriptor)
{
    close((int)(intptr_t)descriptor);
    opened--;
}

/* As a server does that opens a file for each request. */
static int answer_by_file_of(jd_tcp_connection *connection, uint64_t length)
{
    char path[32];
    int file, result;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", pattern_file);
    file = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(file, 0);
    result = jd_tcp_connection_send_file(connection, file, 0, length, close_file, (void *)(intptr_t)file);
    if (result < 0) {
        close(file);
        return result;
    }
    opened++;
    most_open = opened > most_open ? opened : most_open;
    return 0;
}

static int answer_by_file(jd_tcp_connection *connection)
{
    return answer_by_file_of(connection, FILE_BYTES);
}

/* ---- the watermark ---- */

static void answer_requests(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    while (jd_buffer_readable(input) >= REQUEST_BYTES && !jd_tcp_connection_is_above_watermark(connection)) {
        ck_assert_int_eq(answer_by_file(connection), 0);
        jd_buffer_consume(input, REQUEST_BYTES);
        answered++;
    }
}

START_TEST(a_peer_that_asks_for_thousands_of_files_and_does_not_read_makes_a_server_hold_a_few)
{
    static char requests[REQUESTS * REQUEST_BYTES];
    unsigned limit = _i == 0 ? DEFAULT_FILES : (unsigned)_i;
    serve(&(struct service){ .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .max_queued_files = _i },
                             .on_message = answer_requests });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);

    client_send(client, requests, sizeof(requests));
    pump_until_quiet();

    ck_assert_uint_eq(most_open, (limit + 1) / 2); /* half of them count as above the watermark */
    ck_assert_uint_le(open_descriptors(), descriptors_before + 3 + limit);
    for (unsigned i = 0; i < 3 * limit; i++)
        client_expect_pattern(client, 0, FILE_BYTES); /* it goes on at a quarter */
    ck_assert_uint_ge(answered, 3 * limit);
    ck_assert_uint_le(most_open, 2 * limit); /* what was sent in a turn is released at its end */
}
END_TEST

static void answer_requests_small(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    while (jd_buffer_readable(input) >= REQUEST_BYTES && !jd_tcp_connection_is_above_watermark(connection)) {
        ck_assert_int_eq(answer_by_file_of(connection, KIB), 0);
        jd_buffer_consume(input, REQUEST_BYTES);
        answered++;
    }
}

/* Such files are read at once where the engine would send them in the same thread, but stay open until the turn's end. */
START_TEST(requests_for_small_files_in_one_piece_hold_few_of_them_open)
{
    static char requests[REQUESTS * REQUEST_BYTES];
    serve(&(struct service){ .on_message = answer_requests_small });
    int client = client_connect_up();

    client_send(client, requests, sizeof(requests));
    for (unsigned i = 0; i < REQUESTS; i++)
        client_expect_pattern(client, 0, KIB);

    PUMP_UNTIL(opened == 0);
    ck_assert_uint_eq(answered, REQUESTS);
    ck_assert_uint_le(most_open, 4 * DEFAULT_FILES); /* those that were read and those that were queued, of a turn */
}
END_TEST

/* ---- the limit ---- */

static void answer_too_many(jd_tcp_connection *connection, void *arg)
{
    for (int i = 0; i < DEFAULT_FILES; i++)
        ck_assert_int_eq(answer_by_file(connection), 0);
    ck_assert(jd_tcp_connection_is_above_watermark(connection));
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), DEFAULT_FILES * FILE_COUNTS_BYTES);

    ck_assert_int_eq(answer_by_file(connection), JD_ENOBUFS);
    ck_assert_int_eq(jd_tcp_connection_send_file(connection, pattern_file, 0, 0, NULL, NULL), JD_ENOBUFS);

    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), DEFAULT_FILES * FILE_COUNTS_BYTES);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "bytes", 5), 0); /* other output is not limited by it */
}

static void answer_one_more(jd_tcp_connection *connection, void *arg)
{
    if (jd_tcp_connection_is_connected(connection) && answered++ == 0)
        ck_assert_int_eq(answer_by_file(connection), 0);
}

START_TEST(beyond_the_limit_send_file_fails_whole_and_when_files_are_sent_it_succeeds_again)
{
    serve(&(struct service){ .on_up = answer_too_many, .on_write_complete = answer_one_more });
    int client = client_connect();

    for (int i = 0; i < DEFAULT_FILES; i++)
        client_expect_pattern(client, 0, FILE_BYTES);
    client_expect(client, "bytes", 5);
    client_expect_pattern(client, 0, FILE_BYTES);
    PUMP_UNTIL(opened == 0);
}
END_TEST

static void send_nothing_of_a_file(jd_tcp_connection *connection, void *arg)
{
    for (int i = 0; i < 3 * DEFAULT_FILES; i++)
        ck_assert_int_eq(jd_tcp_connection_send_file(connection, pattern_file, 0, 0, NULL, NULL), 0);
    ck_assert(!jd_tcp_connection_is_above_watermark(connection));
}

START_TEST(an_empty_range_of_a_file_is_not_queued)
{
    serve(&(struct service){ .on_up = send_nothing_of_a_file });

    client_connect_up();
}
END_TEST

/* ---- threads ---- */

static void *answer_from_afar(void *connection)
{
    for (int i = 0; i < 10 * DEFAULT_FILES; i++)
        refused += jd_tcp_connection_send_file(connection, pattern_file, 0, FILE_BYTES, NULL, NULL) == JD_ENOBUFS;
    jd_tcp_connection_unref(connection);
    return NULL;
}

static void ask_a_thread(jd_tcp_connection *connection, void *arg)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, answer_from_afar, jd_tcp_connection_ref(connection)), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

START_TEST(sends_of_other_threads_count_from_the_moment_of_the_call)
{
    serve(&(struct service){ .on_up = ask_a_thread });
    int client = client_connect();

    PUMP_UNTIL(connections_up() == 1);

    ck_assert_uint_eq(refused, 9 * DEFAULT_FILES);
    for (int i = 0; i < DEFAULT_FILES; i++)
        client_expect_pattern(client, 0, FILE_BYTES);
}
END_TEST

static void *ask_for_too_many(void *connection)
{
    for (int i = 0; i < 2000; i++)
        jd_tcp_connection_send_file(connection, pattern_file, 0, 1, NULL, NULL);
    jd_tcp_connection_unref(connection);
    return NULL;
}

static pthread_t asking;
static jd_tcp_connection *asked;

static void begin_to_ask(jd_tcp_connection *connection, void *arg)
{
    asked = connection;
    ck_assert_int_eq(pthread_create(&asking, NULL, ask_for_too_many, jd_tcp_connection_ref(connection)), 0);
}

/* A refused send must not be counted even for a moment: the loop may look just then, and never again. */
START_TEST(refused_sends_of_another_thread_keep_no_connection_above_the_watermark)
{
    serve(&(struct service){ .options.max_queued_files = 1, .on_up = begin_to_ask });
    int client = client_connect_up();

    ck_assert_int_eq(pthread_join(asking, NULL), 0);

    PUMP_UNTIL(!jd_tcp_connection_is_above_watermark(asked)); /* when the last file that was queued is read and sent */
    client_send(client, "still read", 10);
    PUMP_UNTIL(bytes_received() == 10);
}
END_TEST

static void answer_fully(jd_tcp_connection *connection, void *arg)
{
    for (int i = 0; i < DEFAULT_FILES; i++)
        ck_assert_int_eq(answer_by_file(connection), 0);
}

START_TEST(files_that_are_dropped_no_longer_count)
{
    serve(&(struct service){ .options.send_buffer_bytes = TINY_BUFFER_BYTES, .on_up = answer_fully });
    for (int i = 0; i < 3; i++) {
        int client = client_connect_up();
        client_reset(client);
        PUMP_UNTIL(connections_down() == (unsigned)i + 1);
        PUMP_UNTIL(opened == 0);
    }
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = lender_case(suite, "queued files");

    tcase_add_checked_fixture(tests, forget, NULL);
    tcase_add_loop_test(tests, a_peer_that_asks_for_thousands_of_files_and_does_not_read_makes_a_server_hold_a_few, 0,
                        4);
    tcase_add_test(tests, requests_for_small_files_in_one_piece_hold_few_of_them_open);
    tcase_add_test(tests, beyond_the_limit_send_file_fails_whole_and_when_files_are_sent_it_succeeds_again);
    tcase_add_test(tests, an_empty_range_of_a_file_is_not_queued);
    tcase_add_test(tests, sends_of_other_threads_count_from_the_moment_of_the_call);
    tcase_add_test(tests, refused_sends_of_another_thread_keep_no_connection_above_the_watermark);
    tcase_add_test(tests, files_that_are_dropped_no_longer_count);
}
