/* What loops and servers count: why connections closed, what is queued and held now, exact when all is quiet and readable
 * from any thread. */
#include "base/posix/system_calls.h"
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"
#include "tests/support/ring_calls.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

const char *const suite_name = "statistics";

enum { KIB = 1024, SHORT_MS = 30, SMALL_BUFFER = 4096 };

/* ---- why ---- */

static jd_codec *codec;

static void make_codec(void)
{
    static const jd_length_codec_options options = { .length_bytes = 4, .max_frame_bytes = 100 };

    ck_assert_int_eq(jd_length_codec_create(&codec, &options), 0);
}

static void close_it(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

static void shut_it_down(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

static void leave_it(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
}

static void send_much(jd_tcp_connection *connection, void *arg)
{
    static const char zeroes[64 * KIB];

    for (int i = 0; i < 256; i++)
        ck_assert_int_eq(jd_tcp_connection_send(connection, zeroes, sizeof(zeroes)), 0);
}

static _Atomic int receive_error; /* an engine may receive by threads of its own */

static ssize_t failing_recv(int fd, void *data, size_t size, int flags)
{
    if (receive_error == 0)
        return recv(fd, data, size, flags);
    errno = receive_error;
    return -1;
}

static int failing_ring_receive(enum ring_call call, int fd)
{
    return call == RING_RECEIVE ? -receive_error : 0;
}

static int connected(const struct service *service)
{
    serve(service);
    return client_connect_up();
}

static void end_by_peer(void)
{
    client_shutdown(connected(&(struct service){ .on_message = echo }));
}

static void end_by_close(void)
{
    client_send(connected(&(struct service){ .on_message = close_it }), "x", 1);
}

static void end_by_shutdown(void)
{
    int client = connected(&(struct service){ .on_message = shut_it_down });

    client_send(client, "x", 1);
    client_expect_end(client);
    client_close(client);
}

static void end_by_stop(void)
{
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo });

    client_connect_up();
    ck_assert_int_eq(jd_tcp_server_stop(server, 0, NULL, NULL), 0);
}

static void end_by_reset(void)
{
    client_reset(connected(&(struct service){ .on_message = echo }));
}

static void end_by_first_message_timeout(void)
{
    connected(&(struct service){ .options.first_message_timeout_ms = SHORT_MS });
}

static void end_by_idle_timeout(void)
{
    connected(&(struct service){ .options.idle_timeout_ms = SHORT_MS });
}

static void end_by_read_timeout(void)
{
    connected(&(struct service){ .options.read_timeout_ms = SHORT_MS });
}

static void end_by_write_timeout(void)
{
    serve(&(struct service){ .options = { .write_timeout_ms = SHORT_MS, .send_buffer_bytes = SMALL_BUFFER },
                             .on_up = send_much });
    client_connect_with_receive_buffer(SMALL_BUFFER);
}

static void end_by_frame_error(void)
{
    make_codec();
    client_send(connected(&(struct service){ .codec = codec }), "\0\1\0\0", 4);
}

static void end_by_drain_deadline(void)
{
    jd_tcp_server *server = serve(&(struct service){ .options.send_buffer_bytes = SMALL_BUFFER, .on_up = send_much });

    client_connect_with_receive_buffer(SMALL_BUFFER);
    PUMP_UNTIL(connections_up() == 1);
    ck_assert_int_eq(jd_tcp_server_stop(server, SHORT_MS, NULL, NULL), 0);
}

static void end_by_input_limit(void)
{
    client_send(connected(&(struct service){ .options.input_limit = 3, .on_message = leave_it }), "xxxx", 4);
}

/* A receive in flight when the failures begin still succeeds. */
static void end_by_receiving(int error)
{
    system_calls.recv = failing_recv;
    ring_calls_decide(failing_ring_receive);
    int client = connected(&(struct service){ .on_message = echo });

    receive_error = error;
    client_send(client, "x", 1);
}

static void end_out_of_memory(void)
{
    end_by_receiving(ENOMEM);
}

static void end_by_network(void)
{
    end_by_receiving(EHOSTUNREACH);
}

static void end_by_system(void)
{
    end_by_receiving(EIO);
}

#define REASON(name) offsetof(jd_event_loop_statistics, name)

/* log: what is logged at least as a warning; NULL: nothing. */
static const struct {
    void (*end)(void);
    size_t reason, error;
    const char *log;
} ends[] = {
    { end_by_peer, REASON(closed_by_peer), 0, NULL },
    { end_by_close, REASON(closed_locally), 0, NULL },
    { end_by_shutdown, REASON(closed_locally), 0, NULL },
    { end_by_stop, REASON(closed_locally), 0, NULL },
    { end_by_reset, REASON(closed_by_reset), REASON(errors_by_peer), NULL },
    { end_by_first_message_timeout, REASON(closed_by_first_message_timeout), REASON(errors_of_timeouts), NULL },
    { end_by_idle_timeout, REASON(closed_by_idle_timeout), REASON(errors_of_timeouts), NULL },
    { end_by_read_timeout, REASON(closed_by_read_timeout), REASON(errors_of_timeouts), NULL },
    { end_by_write_timeout, REASON(closed_by_write_timeout), REASON(errors_of_timeouts), NULL },
    { end_by_frame_error, REASON(closed_by_frame_error), REASON(errors_by_peer), "the limit is 100" },
    { end_by_drain_deadline, REASON(closed_by_drain_deadline), 0, NULL },
    { end_by_input_limit, REASON(closed_by_input_limit), REASON(errors_of_resources), "the limit is 3" },
    { end_out_of_memory, REASON(closed_out_of_memory), REASON(errors_of_resources),
      ": connection closed: out of memory" },
    { end_by_network, REASON(closed_otherwise), REASON(errors_to_retry), NULL },
    { end_by_system, REASON(closed_otherwise), REASON(errors_otherwise), ": connection closed: Input/output error" },
};

static uint64_t all_errors(const jd_event_loop_statistics *now)
{
    return now->errors_by_peer + now->errors_to_retry + now->errors_of_resources + now->errors_of_misuse +
           now->errors_of_timeouts + now->errors_of_ends + now->errors_otherwise;
}

static uint64_t all_reasons(const jd_event_loop_statistics *now)
{
    return now->closed_by_peer + now->closed_locally + now->closed_by_reset + now->closed_by_first_message_timeout +
           now->closed_by_idle_timeout + now->closed_by_read_timeout + now->closed_by_write_timeout +
           now->closed_by_frame_error + now->closed_by_drain_deadline + now->closed_by_input_limit +
           now->closed_out_of_memory + now->closed_otherwise;
}

START_TEST(each_connection_that_closes_is_counted_by_its_reason)
{
    jd_event_loop_statistics now;

    ends[_i].end();

    PUMP_UNTIL(connections_down() == 1);
    system_calls_reset();
    now = statistics();
    ck_assert_uint_eq(*(const uint64_t *)((const char *)&now + ends[_i].reason), 1);
    ck_assert_uint_eq(all_reasons(&now), 1);
    if (ends[_i].error != 0)
        ck_assert_uint_eq(*(const uint64_t *)((const char *)&now + ends[_i].error), 1);
    ck_assert_uint_eq(all_errors(&now), ends[_i].error != 0);
    if (ends[_i].log != NULL)
        ck_assert_msg(was_logged(ends[_i].log), "%s", logged());
    ck_assert_uint_eq(log_messages(), ends[_i].log != NULL);
    ck_assert_uint_eq(now.connections_accepted, 1);
    ck_assert_uint_eq(now.connections_closed, 1);
    ck_assert_uint_eq(now.connections_open, 0);
    ck_assert_uint_eq(now.bytes_queued, 0);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- what there is now ---- */

static jd_tcp_connection *the_connection;

static void keep(jd_tcp_connection *connection, void *arg)
{
    the_connection = connection;
}

static void send_much_and_keep(jd_tcp_connection *connection, void *arg)
{
    keep(connection, arg);
    send_much(connection, arg);
}

static void send_twice_and_look(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, "hello, ", 7), 0);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "world", 5), 0);

    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 12);
    ck_assert_uint_eq(statistics().bytes_queued, 12);
}

START_TEST(what_is_sent_behind_other_output_of_the_turn_is_counted)
{
    serve(&(struct service){ .on_up = send_twice_and_look });

    int client = client_connect();

    client_expect(client, "hello, world", 12);
    PUMP_UNTIL(statistics().bytes_queued == 0);
    ck_assert_uint_eq(statistics().bytes_sent, 12);
}
END_TEST

START_TEST(queued_bytes_and_blocks_are_those_of_the_connections)
{
    jd_event_loop_statistics before, now;
    pump_until_quiet();
    before = statistics();
    serve(&(struct service){ .options.send_buffer_bytes = SMALL_BUFFER, .on_up = send_much_and_keep });
    int client = client_connect_with_receive_buffer(SMALL_BUFFER);
    PUMP_UNTIL(connections_up() == 1);
    pump_until_quiet();

    now = statistics();
    ck_assert_uint_eq(now.connections_open, 1);
    ck_assert_uint_gt(now.bytes_queued, 1024 * KIB);
    ck_assert_uint_eq(now.bytes_queued, jd_tcp_connection_queued_bytes(the_connection));
    ck_assert_uint_eq(now.bytes_queued + now.bytes_sent, 256 * 64 * KIB);
    /* Large blocks are 16 KiB each at most. */
    ck_assert_uint_ge(now.pool_blocks_used - before.pool_blocks_used, now.bytes_queued / (16 * KIB));
    ck_assert_uint_ge(now.pool_blocks, now.pool_blocks_used);
    ck_assert_uint_gt(now.pool_bytes, now.bytes_queued);

    client_reset(client);
    PUMP_UNTIL(connections_down() == 1);
    pump_until_quiet();
    now = statistics();
    ck_assert_uint_eq(now.bytes_queued, 0);
    ck_assert_uint_eq(now.bytes_dropped + now.bytes_sent, 256 * 64 * KIB);
    /* An engine may keep a block that it receives into. */
    ck_assert_uint_le(now.pool_blocks_used, before.pool_blocks_used + 1);
    ck_assert_uint_lt(now.pool_bytes, before.pool_bytes + 1024 * KIB);
}
END_TEST

static void *send_from_elsewhere(void *arg)
{
    jd_tcp_connection_send(the_connection, "0123456789", 10);
    jd_tcp_connection_reset(the_connection);
    jd_tcp_connection_send(the_connection, "0123456789", 10);
    return NULL;
}

START_TEST(what_other_threads_send_is_counted_once)
{
    pthread_t thread;
    jd_event_loop_statistics now;
    connected(&(struct service){ .on_up = keep });

    ck_assert_int_eq(pthread_create(&thread, NULL, send_from_elsewhere, NULL), 0);
    pthread_join(thread, NULL);

    PUMP_UNTIL(connections_down() == 1);
    pump_until_quiet();
    now = statistics();
    ck_assert_uint_eq(now.bytes_queued, 0);
    ck_assert_uint_eq(now.bytes_sent + now.bytes_dropped, 20);
}
END_TEST

/* ---- from any thread ---- */

static _Atomic bool watching_is_over;
static _Atomic unsigned looks, wrong;

static void *watch(void *arg)
{
    jd_tcp_server *server = arg;
    jd_event_loop_statistics before = { 0 }, now;

    while (!watching_is_over) {
        jd_tcp_server_get_statistics(server, &now);
        wrong += now.bytes_received < before.bytes_received || now.connections_opened < before.connections_opened ||
                 now.turns < before.turns || now.bytes_sent < before.bytes_sent;
        before = now;
        looks++;
    }
    return NULL;
}

START_TEST(another_thread_may_look_at_any_time_in_a_servers_life)
{
    enum { CLIENTS = 8, BYTES = 200 * 1024 };
    pthread_t thread;
    jd_event_loop_statistics last;
    unsigned looks_before;
    jd_tcp_server *server = make_server(&(struct service){ .options.io_threads = (unsigned)_i, .on_message = echo });
    ck_assert_int_eq(pthread_create(&thread, NULL, watch, server), 0);
    PUMP_UNTIL(looks > 0);

    start_server(server);
    for (int i = 0; i < CLIENTS; i++) {
        int client = client_connect();
        client_send_pattern(client, 0, BYTES);
        client_expect_pattern(client, 0, BYTES);
    }
    ck_assert_int_eq(jd_tcp_server_stop(server, 0, NULL, NULL), 0);
    PUMP_UNTIL(connections_down() == CLIENTS);
    pump_until_quiet();
    looks_before = looks;
    PUMP_UNTIL(looks > looks_before + 1);
    watching_is_over = true;
    pthread_join(thread, NULL);

    ck_assert_uint_eq(wrong, 0);
    jd_tcp_server_get_statistics(server, &last);
    ck_assert_uint_eq(last.bytes_received, CLIENTS * BYTES);
    ck_assert_uint_eq(last.bytes_sent, CLIENTS * BYTES);
    ck_assert_uint_eq(last.connections_accepted, CLIENTS);
    ck_assert_uint_eq(last.connections_opened, CLIENTS);
    ck_assert_uint_eq(last.closed_locally, CLIENTS);
    ck_assert_uint_gt(last.turns, 0);
    ck_assert_uint_gt(last.events, 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "statistics");

    tcase_add_loop_test(tests, each_connection_that_closes_is_counted_by_its_reason, 0, sizeof(ends) / sizeof(ends[0]));
    tcase_add_test(tests, what_is_sent_behind_other_output_of_the_turn_is_counted);
    tcase_add_test(tests, queued_bytes_and_blocks_are_those_of_the_connections);
    tcase_add_test(tests, what_other_threads_send_is_counted_once);
    tcase_add_loop_test(tests, another_thread_may_look_at_any_time_in_a_servers_life, 0, 3);
}
