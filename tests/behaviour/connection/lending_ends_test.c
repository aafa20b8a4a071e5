/* A reference is released exactly once, however the connection ends, and from any thread. Pitfall 39; 42 in the faults
 * suite. */
#include "base/posix/system_calls.h"
#include "tests/behaviour/connection/lender.h"
#include "tests/behaviour/gone_peers.h"

#include <unistd.h>

const char *const suite_name = "lending_ends";

/* ---- rough ends ---- */

enum { EACH_BYTES = 1000 * KIB };

static unsigned back_at_down;
static int down_error;

static void note_down(jd_tcp_connection *connection, void *arg)
{
    back_at_down = back;
    down_error = jd_tcp_connection_error(connection);
}

static void send_each(jd_tcp_connection *connection, void *arg)
{
    for (unsigned i = 0; i < SENDS; i++)
        ck_assert_int_eq(sends[i](connection, i * EACH_BYTES, EACH_BYTES), 0);
}

static void close_it(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_close(connection);
}

static void reset_it(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_reset(connection);
}

/* Before the first byte, within each of the four. */
START_TEST(all_comes_back_once_and_before_down_however_the_connection_ends)
{
    static const size_t received[] = { 1, EACH_BYTES + 10, 2 * EACH_BYTES + 10, 3 * EACH_BYTES + 10 };
    size_t bytes = engine_is("late") ? 1000 : received[_i % 4];
    serve(&(struct service){ .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .high_watermark = 8 * MIB },
                             .on_up = send_each,
                             .on_down = note_down });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    client_expect_pattern(client, 0, bytes);

    if (_i / 4 == 0)
        client_reset(client);
    else
        ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), _i / 4 == 1 ? close_it : reset_it, NULL), 0);

    PUMP_UNTIL(connections_down() == 1);
    check_that_all_came_back();
    ck_assert_uint_eq(back_at_down, SENDS - 1);
    ck_assert_uint_eq(statistics().bytes_sent + statistics().bytes_dropped, SENDS * EACH_BYTES);
    ck_assert_uint_gt(statistics().bytes_dropped, 0);
    ck_assert_str_eq(story(0), "up down");
}
END_TEST

START_TEST(what_is_queued_when_the_loop_is_destroyed_comes_back)
{
    serve(&(struct service){ .options.send_buffer_bytes = TINY_BUFFER_BYTES, .on_up = send_each });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    client_expect_pattern(client, 0, 10);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);

    the_loop = NULL;
    check_that_all_came_back();
}
END_TEST

static void truncate_it(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_copy(connection, 0, 10), 0);
    ck_assert_int_eq(send_file(connection, 10, PATTERN_BYTES - 10), 0);
    ck_assert_int_eq(send_copy(connection, 0, 10), 0);
}

START_TEST(a_file_that_has_become_shorter_ends_the_connection)
{
    size_t left = _i == 0 ? 0 : 500 * KIB;
    size_t received;
    serve(&(struct service){
        .options.send_buffer_bytes = TINY_BUFFER_BYTES, .on_up = truncate_it, .on_down = note_down });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    client_expect_pattern(client, 0, 1000);

    ck_assert_int_eq(ftruncate(pattern_file, (off_t)left), 0);
    received = 1000 + client_receive_to_end(client, NULL, 0);

    ck_assert_uint_le(received, _i == 0 ? 500 * KIB : left);
    ck_assert_uint_ge(received, left);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_ENODATA);
    check_that_all_came_back();
    ck_assert_uint_eq(statistics().bytes_sent + statistics().bytes_dropped, PATTERN_BYTES + 10);
}
END_TEST

/* As if the peer took everything as fast as it is sent. */
static ssize_t send_file_to_nowhere(int socket, int fd, off_t *offset, size_t size)
{
    return (ssize_t)size;
}

static void close_behind_endless_file(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(ftruncate(pattern_file, (off_t)1 << 40), 0);
    ck_assert_int_eq(send_file(connection, 0, (size_t)1 << 40), 0);
    jd_tcp_connection_close(connection);
}

START_TEST(closing_does_not_continue_a_long_file_for_a_peer_that_keeps_up)
{
    system_calls.sendfile = send_file_to_nowhere;
    serve(&(struct service){ .on_up = close_behind_endless_file });

    client_connect();

    PUMP_UNTIL(connections_down() == 1);
    check_that_all_came_back();
    ck_assert_uint_gt(statistics().bytes_sent, 0);
    ck_assert_uint_le(statistics().bytes_sent, 32 * MIB);
    system_calls_reset();
    ck_assert_uint_eq(statistics().bytes_sent + statistics().bytes_dropped, (uint64_t)1 << 40);
}
END_TEST

static jd_tcp_connection *idle;
static unsigned contexts_freed;

static void free_context(void *context)
{
    contexts_freed++;
}

static void ignore(jd_tcp_connection *connection, void *arg)
{
}

static void set_freed_context(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_set_context(connection, connection, free_context);
    idle = idle != NULL ? idle : connection;
}

/* As if the peer made room between the flush and the close of one turn. */
static ssize_t send_file_not_at_once(int socket, int fd, off_t *offset, size_t size)
{
    system_calls_reset();
    errno = EAGAIN;
    return -1;
}

/* Whichever ends first waits to be freed when the other's end comes. */
static void close_idle_then_behind_file(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_close(idle), 0);
    ck_assert_int_eq(send_file(connection, 0, 64 * KIB), 0);
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

START_TEST(closing_that_drains_the_queue_leaves_nothing_to_be_done_on_what_is_freed)
{
    idle = NULL;
    contexts_freed = 0;
    serve(&(struct service){
        .options = { .send_buffer_bytes = 256 * KIB, .high_watermark = 100, .low_watermark = 10 },
        .on_up = set_freed_context,
        .on_write_complete = ignore,
    });
    client_connect_up();
    client_connect_up();
    system_calls.sendfile = send_file_not_at_once;

    ck_assert_int_eq(jd_tcp_connection_post(connection_id(1), close_idle_then_behind_file, NULL), 0);

    PUMP_UNTIL(connections_down() == 2);
    PUMP_UNTIL(contexts_freed == 2);
    check_that_all_came_back();
    ck_assert_str_eq(story(1), "up down");
}
END_TEST

/* ---- half-close ---- */

static void answer_and_shut_down(jd_tcp_connection *connection, void *arg)
{
    send_file_between(connection, arg);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
    ck_assert_int_eq(send_file(connection, 0, 1000), JD_ENOTCONN);
}

START_TEST(a_file_is_sent_whole_to_a_peer_that_has_ended_its_side)
{
    serve(&(struct service){ .options.allow_half_open = true, .on_half_close = answer_and_shut_down });
    int client = client_connect_up();

    client_shutdown(client);

    client_expect_pattern(client, 0, 2000 + file_bytes());
    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    check_that_all_came_back();
    ck_assert_str_eq(story(0), "up half-close down");
}
END_TEST

static void answer(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    send_file_between(connection, arg);
}

START_TEST(a_file_is_sent_whole_before_the_end_that_answers_the_peers)
{
    serve(&(struct service){ .options.send_buffer_bytes = TINY_BUFFER_BYTES, .on_message = answer });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);

    client_send(client, "?", 1);
    client_shutdown(client);

    client_expect_pattern(client, 0, 2000 + file_bytes());
    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    check_that_all_came_back();
}
END_TEST

/* ---- from another thread ---- */

enum { ROUNDS = 300, PIECE_BYTES = 700 };

static jd_tcp_connection *_Atomic kept;
static _Atomic unsigned failures;
static pthread_t up_in;

static void keep(jd_tcp_connection *connection, void *arg)
{
    up_in = pthread_self();
    kept = jd_tcp_connection_ref(connection);
}

static void *send_from_afar(void *arg)
{
    for (size_t i = 0; i < ROUNDS; i++)
        failures += sends[i % SENDS](kept, i * PIECE_BYTES, PIECE_BYTES) != 0;
    return NULL;
}

START_TEST(references_sent_from_another_thread_are_released_in_the_loops_thread)
{
    pthread_t thread;
    serve(&(struct service){ .options = { .io_threads = 1, .max_queued_files = 1000 }, .on_up = keep });
    int client = client_connect();
    PUMP_UNTIL(kept != NULL);

    ck_assert_int_eq(pthread_create(&thread, NULL, send_from_afar, NULL), 0);
    client_expect_pattern(client, 0, ROUNDS * PIECE_BYTES);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);

    PUMP_UNTIL(back == lent);
    check_that_all_came_back();
    ck_assert_uint_eq(failures, 0);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert(pthread_equal(came_back_in, up_in));
    jd_tcp_connection_unref(kept);
}
END_TEST

static void *lend_and_look(void *arg)
{
    failures += send_owned(kept, 0, 6 * KIB) != 0;
    failures += send_file(kept, 6 * KIB, 100 * KIB) != 0;
    failures += jd_tcp_connection_queued_bytes(kept) != 6 * KIB + FILE_COUNTS_BYTES;
    failures += send_owned(kept, 0, 6 * KIB) != JD_ENOBUFS;
    failures += jd_tcp_connection_shutdown(kept) != 0;
    failures += send_file(kept, 0, 10) != JD_ENOTCONN;
    failures += send_owned(kept, 0, 10) != JD_ENOTCONN;
    return NULL;
}

/* The loop does not run meanwhile: nothing has been taken yet, and yet all is promised. */
START_TEST(the_answer_to_another_thread_holds_before_the_loop_knows)
{
    pthread_t thread;
    serve(&(struct service){ .options.output_limit = 10 * KIB, .on_up = keep });
    int client = client_connect();
    PUMP_UNTIL(kept != NULL);

    ck_assert_int_eq(pthread_create(&thread, NULL, lend_and_look, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(failures, 0);
    ck_assert_uint_eq(back, 0);

    if (_i == 0) {
        client_expect_pattern(client, 0, 106 * KIB);
        client_expect_end(client);
    } else {
        ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
        the_loop = NULL;
    }
    if (_i == 0)
        PUMP_UNTIL(back == 2);
    check_that_all_came_back();
    jd_tcp_connection_unref(kept);
}
END_TEST

/* ---- SIGPIPE: pitfall 39 ---- */

static void send_file_on(jd_tcp_connection *connection, void *arg)
{
    if (connection != NULL)
        send_file(connection, 0, 100 * KIB);
}

START_TEST(a_file_for_a_peer_that_is_gone_raises_no_signal)
{
    check_that_gone_peers_raise_no_signal(_i, send_file_on);
    check_that_all_came_back();
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = lender_case(suite, "lending_ends");

    tcase_add_loop_test(tests, all_comes_back_once_and_before_down_however_the_connection_ends, 0, 12);
    tcase_add_test(tests, what_is_queued_when_the_loop_is_destroyed_comes_back);
    if (option_is("zero_copy")) /* page by page to peers with tiny buffers takes minutes: docs/io_uring.md */
        return;
    tcase_add_loop_test(tests, a_file_that_has_become_shorter_ends_the_connection, 0, 2);
    if (!engine_is("late")) /* which does not send by sendfile(2) */
        tcase_add_test(tests, closing_does_not_continue_a_long_file_for_a_peer_that_keeps_up);
    tcase_add_test(tests, closing_that_drains_the_queue_leaves_nothing_to_be_done_on_what_is_freed);
    tcase_add_test(tests, a_file_is_sent_whole_to_a_peer_that_has_ended_its_side);
    tcase_add_test(tests, a_file_is_sent_whole_before_the_end_that_answers_the_peers);
    tcase_add_test(tests, references_sent_from_another_thread_are_released_in_the_loops_thread);
    tcase_add_loop_test(tests, the_answer_to_another_thread_holds_before_the_loop_knows, 0, 2);
    tcase_add_loop_test(tests, a_file_for_a_peer_that_is_gone_raises_no_signal, 0, GONE_PEERS_ENDPOINTS);
}
