/* idle_timeout_ms and write_timeout_ms ask whether the peer takes anything, not whether the kernel takes more output: a
 * peer that reads slowly but steadily lives, also while the kernel's buffer asks for nothing more; one that takes nothing
 * goes after one to two times the timeout. The peers are plain sockets; when they read is the tests' choice. */
#include "base/posix/system_calls.h"
#include "net/connection/tcp_connection.h"
#include "tests/behaviour/connection/lender.h"

#include <errno.h>
#include <jinduo/error.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

const char *const suite_name = "progress";

/* A process hardly ever gets no turn for TIMEOUT_MS; the bounds of what takes one to two times the timeout allow for that.
 *
 * A peer reads in each turn what its rate allows. On TCP with a receive buffer of 32 KiB the peer's kernel acknowledges at
 * least every 32 KiB (tcp_select_window, RFC 9293, 3.8.6.2.2), and the sender's buffer, here of 400 000 bytes, asks for more
 * when a third is free (sk_stream_is_writable): every 1.3 s. On a Unix-domain socket a piece of 48 KiB (64 KiB from a file)
 * at a time is given back, and more is asked for when three quarters are free (unix_writable): every 1.5 s. */
enum {
    TIMEOUT_MS = 600,
    STEADY_MS = 4 * TIMEOUT_MS,
    BOUND_MS = 3 * TIMEOUT_MS,
    HEARTBEAT_MS = TIMEOUT_MS / 6,
    TCP_BYTES_PER_MS = 100,
    UNIX_BYTES_PER_MS = 200,
    SEND_BUFFER_BYTES = 200 * 1000,  /* the kernel doubles it (socket(7)) */
    RECEIVE_BUFFER_BYTES = 16 * KIB, /* so this */
    STEADY_BYTES = 4 * 1000 * 1000,  /* more than the peers read and the kernel holds */
    IN_KERNEL_BYTES = 180 * 1000,    /* less than the kernel takes at once */
    NS_PER_MS = 1000 * 1000,
};

/* The tests run with each option on each kind of endpoint. */
enum { IDLE = 1, UNIX = 2, COMBINATIONS = 4 };

struct peer {
    int socket;
    size_t has_read;
};

static struct peer peers[SENDS];
static jd_tcp_connection *connections[SENDS]; /* in the order of up; NULL when down */
static unsigned heartbeats, timed_out;
static size_t bytes_each, queued[SENDS];
static int unacknowledged[SENDS];
static jd_timestamp up_at[SENDS], handed_at[SENDS], taken_at[SENDS], closed_at[SENDS];

static void note_down(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_error(connection), JD_ETIMEDOUT);
    for (unsigned i = 0; i < SENDS; i++)
        if (connections[i] == connection)
            connections[i] = NULL;
    timed_out++;
}

static void send_in_its_way(jd_tcp_connection *connection, void *arg)
{
    unsigned index = connections_up();

    connections[index] = connection;
    up_at[index] = handed_at[index] = taken_at[index] = jd_event_loop_now(the_loop);
    ck_assert_int_eq(sends[index](connection, 0, bytes_each), 0);
}

static void count_heartbeat(jd_tcp_connection *connection, void *arg)
{
    heartbeats++;
}

static jd_tcp_server_options options_of(int combination)
{
    jd_tcp_server_options options = { .output_limit = 64 * MIB };

    if (combination & UNIX)
        options.listen = own_unix_endpoint("@jinduo-test-");
    if (combination & IDLE)
        options.idle_timeout_ms = TIMEOUT_MS;
    else
        options.write_timeout_ms = TIMEOUT_MS;
    return options;
}

/* tcp(7), unix(7): what the peer has not taken. */
static int unacknowledged_bytes(const jd_tcp_connection *connection)
{
    int bytes = 0;

    ck_assert_int_eq(ioctl(connection->stream.socket, SIOCOUTQ, &bytes), 0);
    return bytes;
}

/* After each turn: when has the kernel taken something of what is queued, the peer something of what the kernel has, and
 * when was the connection closed? Down is later where the kernel still holds memory of the connection, and the close hands
 * the kernel what it takes. */
static bool note_changes(void)
{
    jd_timestamp now = jd_event_loop_now(the_loop);

    for (unsigned i = 0; i < connections_up(); i++) {
        if (connections[i] == NULL || !jd_tcp_connection_is_connected(connections[i])) {
            closed_at[i] = closed_at[i] > 0 ? closed_at[i] : now;
            continue;
        }
        if (jd_tcp_connection_queued_bytes(connections[i]) != queued[i])
            handed_at[i] = taken_at[i] = now;
        if (unacknowledged_bytes(connections[i]) != unacknowledged[i])
            taken_at[i] = now;
        queued[i] = jd_tcp_connection_queued_bytes(connections[i]);
        unacknowledged[i] = unacknowledged_bytes(connections[i]);
    }
    return true;
}

/* A server, and a peer for each kind of send, each sent `bytes` in that way. */
static void serve_each(const jd_tcp_server_options *options, int receive_buffer_bytes, size_t bytes)
{
    bytes_each = bytes;
    serve(&(struct service){
        .options = *options, .on_up = send_in_its_way, .on_down = note_down, .on_heartbeat = count_heartbeat });
    for (unsigned i = 0; i < SENDS; i++) {
        peers[i] = (struct peer){ .socket = client_connect_with_receive_buffer(receive_buffer_bytes) };
        PUMP_UNTIL(note_changes() && connections_up() == i + 1);
    }
}

static size_t bytes_per_ms(int combination)
{
    return combination & UNIX ? UNIX_BYTES_PER_MS : TCP_BYTES_PER_MS;
}

/* Reads up to so many bytes of all that were sent, as far as they are there. */
static void read_steadily(struct peer *peer, size_t allowed)
{
    static unsigned char data[64 * KIB];
    size_t due = (allowed < bytes_each ? allowed : bytes_each) - peer->has_read;
    ssize_t received = client_receive_some(peer->socket, data, due < sizeof(data) ? due : sizeof(data));

    if (due == 0 || received == -EAGAIN)
        return;
    ck_assert_int_gt(received, 0);
    pattern_expect(data, peer->has_read, (size_t)received);
    peer->has_read += (size_t)received;
}

static bool have_read_for(int combination, jd_timestamp begun, size_t ms)
{
    size_t passed = (size_t)((jd_event_loop_now(the_loop) - begun) / NS_PER_MS);

    for (unsigned i = 0; i < SENDS; i++)
        read_steadily(&peers[i], bytes_per_ms(combination) * passed);
    ck_assert_uint_eq(connections_down(), 0);
    return passed >= ms;
}

static bool all_is_in_the_kernel(void)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < SENDS; i++)
        bytes += jd_tcp_connection_queued_bytes(connections[i]);
    return bytes == 0;
}

/* Pitfall 33. */
START_TEST(a_peer_that_reads_slowly_and_steadily_lives_and_goes_when_it_stops)
{
    jd_tcp_server_options options = options_of(_i);
    jd_timestamp begun;

    options.send_buffer_bytes = SEND_BUFFER_BYTES;
    serve_each(&options, RECEIVE_BUFFER_BYTES, STEADY_BYTES);
    begun = jd_event_loop_now(the_loop);

    PUMP_UNTIL(have_read_for(_i, begun, STEADY_MS));

    begun = jd_event_loop_now(the_loop);
    PUMP_UNTIL(note_changes() && timed_out == SENDS);
    for (unsigned i = 0; i < SENDS; i++)
        ck_assert_int_le(closed_at[i] - begun, (jd_timestamp)BOUND_MS * NS_PER_MS);
}
END_TEST

/* Pitfall 33. Its kernel answers the zero-window probes (RFC 9293, 3.8.6.1) meanwhile: the first after 200 ms. */
START_TEST(a_peer_that_takes_nothing_goes_after_one_to_two_times_the_timeout)
{
    jd_tcp_server_options options = options_of(_i);

    options.send_buffer_bytes = TINY_BUFFER_BYTES;
    serve_each(&options, TINY_BUFFER_BYTES, STEADY_BYTES);

    PUMP_UNTIL(note_changes() && timed_out == SENDS);

    for (unsigned i = 0; i < SENDS; i++) {
        ck_assert_int_ge(closed_at[i] - taken_at[i], (jd_timestamp)TIMEOUT_MS * NS_PER_MS);
        ck_assert_int_le(closed_at[i] - taken_at[i], (jd_timestamp)BOUND_MS * NS_PER_MS);
    }
}
END_TEST

/* The queue is empty, so write_timeout_ms does not run; heartbeats that send nothing hold no connection. */
START_TEST(a_peer_that_takes_what_only_the_kernel_holds_is_not_idle)
{
    jd_tcp_server_options options = options_of(_i | IDLE);
    jd_timestamp begun;

    options.send_buffer_bytes = SEND_BUFFER_BYTES;
    options.write_timeout_ms = TIMEOUT_MS / 2;
    options.heartbeat_ms = HEARTBEAT_MS;
    serve_each(&options, RECEIVE_BUFFER_BYTES, IN_KERNEL_BYTES);
    begun = jd_event_loop_now(the_loop);
    PUMP_UNTIL(have_read_for(_i, begun, 0) && all_is_in_the_kernel());
    ck_assert_uint_lt(peers[0].has_read, IN_KERNEL_BYTES / 4);

    PUMP_UNTIL(have_read_for(_i, begun, IN_KERNEL_BYTES / bytes_per_ms(_i)));
    ck_assert_uint_ge(heartbeats, SENDS);

    begun = jd_event_loop_now(the_loop);
    PUMP_UNTIL(note_changes() && timed_out == SENDS);
    for (unsigned i = 0; i < SENDS; i++)
        ck_assert_int_le(closed_at[i] - begun, (jd_timestamp)BOUND_MS * NS_PER_MS);
}
END_TEST

static int refuse_ioctl(int fd, unsigned long request, void *argument)
{
    errno = ENOTTY;
    return -1;
}

/* Pitfall 34. Nothing is on its way that the peer could take. */
START_TEST(a_peer_that_has_taken_all_and_is_silent_goes_after_the_timeout)
{
    enum { FEW_BYTES = 100 };
    jd_tcp_server_options options = options_of(IDLE);

    serve_each(&options, RECEIVE_BUFFER_BYTES, FEW_BYTES);
    for (unsigned i = 0; i < SENDS; i++)
        client_expect_pattern(peers[i].socket, 0, FEW_BYTES);

    PUMP_UNTIL(note_changes() && timed_out == SENDS);

    for (unsigned i = 0; i < SENDS; i++) {
        ck_assert_int_ge(closed_at[i] - up_at[i], (jd_timestamp)TIMEOUT_MS * NS_PER_MS);
        ck_assert_int_lt(closed_at[i] - up_at[i], 2 * (jd_timestamp)TIMEOUT_MS * NS_PER_MS);
    }
}
END_TEST

START_TEST(where_the_system_does_not_tell_what_is_unacknowledged_the_timeout_is_due_at_once)
{
    jd_tcp_server_options options = options_of(0);

    system_calls.ioctl = refuse_ioctl;
    options.send_buffer_bytes = TINY_BUFFER_BYTES;
    serve_each(&options, TINY_BUFFER_BYTES, STEADY_BYTES);

    PUMP_UNTIL(note_changes() && timed_out == SENDS);

    for (unsigned i = 0; i < SENDS; i++) {
        ck_assert_int_ge(closed_at[i] - handed_at[i], (jd_timestamp)TIMEOUT_MS * NS_PER_MS);
        ck_assert_int_lt(closed_at[i] - handed_at[i], 2 * (jd_timestamp)TIMEOUT_MS * NS_PER_MS);
    }
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = lender_case(suite, "progress");

    tcase_add_checked_fixture(tests, NULL, system_calls_reset);
    tcase_add_loop_test(tests, a_peer_that_reads_slowly_and_steadily_lives_and_goes_when_it_stops, 0, COMBINATIONS);
    tcase_add_loop_test(tests, a_peer_that_takes_nothing_goes_after_one_to_two_times_the_timeout, 0, COMBINATIONS);
    if (!engine_is("late")) { /* which keeps bytes from the kernel and gives it one at a time */
        tcase_add_test(tests, a_peer_that_takes_what_only_the_kernel_holds_is_not_idle);
        tcase_add_loop_test(tests, a_peer_that_takes_what_only_the_kernel_holds_is_not_idle, UNIX, UNIX + 1);
    }
    tcase_add_test(tests, a_peer_that_has_taken_all_and_is_silent_goes_after_the_timeout);
    tcase_add_test(tests, where_the_system_does_not_tell_what_is_unacknowledged_the_timeout_is_due_at_once);
}
