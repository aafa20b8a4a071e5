/* What each kind of operation does on the simulated Proactor. */
#include "base/posix/system_calls.h"
#include "proactor/simulated/simulated.h"
#include "tests/support/backend_bench.h"
#include "tests/support/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <jinduo/error.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const suite_name = "simulated_operations";

enum { MANY_PIECES = 100, FILE_BYTES = 10000 };

static struct socket_pair pair;

static void set_up(void)
{
    bench_open(&simulated_backend);
    pair = connect_loopback();
}

static void close_pair(void)
{
    close(pair.client);
    socket_close(pair.server);
    socket_close(pair.listener);
}

static void tear_down(void)
{
    close_pair();
    bench_close();
    system_calls_reset();
}

static void client_writes(const char *text)
{
    ck_assert_int_eq(write(pair.client, text, strlen(text)), (ssize_t)strlen(text));
}

static void client_reads(const void *expected, size_t length)
{
    unsigned char *data = malloc(length);

    ck_assert_ptr_nonnull(data);
    for (size_t have = 0; have < length;) {
        ssize_t got = recv(pair.client, data + have, length - have, MSG_DONTWAIT);
        if (got > 0)
            have += (size_t)got;
        else
            bench_wait_ms(1);
    }
    ck_assert_mem_eq(data, expected, length);
    free(data);
}

/* ---- receiving ---- */

START_TEST(a_receive_gets_what_comes_later)
{
    char data[16];
    uint64_t receive = bench_receive(pair.server, data, sizeof(data));
    bench_turns();
    ck_assert_uint_eq(bench_of(receive)->completions, 0);

    client_writes("hello");

    ck_assert_int_eq(bench_result(receive), 5);
    ck_assert_mem_eq(data, "hello", 5);
}
END_TEST

/* An edge that came before anybody waited for it is not lost. */
START_TEST(a_receive_gets_what_came_before_it_was_submitted)
{
    char data[16];
    client_writes("early");
    wait_for(pair.server, POLLIN);

    ck_assert_int_eq(bench_result(bench_receive(pair.server, data, sizeof(data))), 5);

    /* And while the descriptor is known for another reason. */
    uint64_t watch = bench_poll(OPCODE_POLL, pair.server, POLLPRI);
    client_writes("again");
    wait_for(pair.server, POLLIN);
    bench_turns();
    ck_assert_int_eq(bench_result(bench_receive(pair.server, data, sizeof(data))), 5);
    bench_cancel(watch);
}
END_TEST

START_TEST(bytes_that_come_between_two_receives_are_not_lost)
{
    enum { ROUNDS = 2000 };
    unsigned char sent = 0, received = 0;

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t receive = bench_receive(pair.server, &received, 1);
        sent = (unsigned char)i;
        ck_assert_int_eq(write(pair.client, &sent, 1), 1);
        ck_assert_int_eq(bench_result(receive), 1);
        ck_assert_uint_eq(received, sent);
    }
}
END_TEST

START_TEST(a_receive_fills_several_pieces_in_order)
{
    char first[3], second[4];
    jd_iovec pieces[] = { { first, 3 }, { second, 4 } };
    client_writes("onetwo!and more");

    uint64_t receive = bench_submit(&(struct operation_request){
        .opcode = OPCODE_RECEIVE, .fd = pair.server, .buffers = pieces, .buffer_count = 2 });

    ck_assert_int_eq(bench_result(receive), 7);
    ck_assert_mem_eq(first, "one", 3);
    ck_assert_mem_eq(second, "two!", 4);
}
END_TEST

START_TEST(receives_on_one_socket_complete_in_the_order_of_submission)
{
    char data[4];
    uint64_t receives[4];
    for (int i = 0; i < 4; i++)
        receives[i] = bench_receive(pair.server, &data[i], 1);

    client_writes("abcd");

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(bench_result(receives[i]), 1);
    ck_assert_mem_eq(data, "abcd", 4);
    for (int i = 1; i < 4; i++)
        ck_assert_uint_gt(bench_of(receives[i])->order, bench_of(receives[i - 1])->order);
}
END_TEST

START_TEST(the_end_is_a_result_of_zero)
{
    char data[4];
    ck_assert_int_eq(shutdown(pair.client, SHUT_WR), 0);

    ck_assert_int_eq(bench_result(bench_receive(pair.server, data, sizeof(data))), 0);
}
END_TEST

START_TEST(a_reset_is_an_error)
{
    char data[4];
    ck_assert_int_eq(socket_reset_on_close(pair.client), 0);
    close(pair.client);
    pair.client = dup(pair.listener);
    wait_for(pair.server, POLLERR);
    ck_assert_int_eq(bench_result(bench_receive(pair.server, data, sizeof(data))), JD_ECONNRESET);
}
END_TEST

START_TEST(a_multishot_receive_continues_until_the_end_of_the_stream)
{
    uint64_t receive = bench_simple(OPCODE_RECEIVE_MULTISHOT, pair.server);

    client_writes("abc");
    BENCH_UNTIL(bench_of(receive)->received == 3);
    client_writes("def");
    BENCH_UNTIL(bench_of(receive)->received == 6);
    ck_assert(!bench_of(receive)->ended);
    ck_assert_int_eq(bench_of(receive)->last_byte, 'f');

    ck_assert_int_eq(shutdown(pair.client, SHUT_WR), 0);
    ck_assert_int_eq(bench_result(receive), 0);
}
END_TEST

/* ---- sending ---- */

START_TEST(a_send_of_many_buffers_arrives_complete)
{
    jd_iovec pieces[MANY_PIECES];
    for (int i = 0; i < MANY_PIECES; i++)
        pieces[i] = (jd_iovec){ (void *)(uintptr_t)(bench_pattern() + i * 10), 10 };

    uint64_t send = bench_submit(&(struct operation_request){
        .opcode = OPCODE_SEND, .fd = pair.server, .buffers = pieces, .buffer_count = MANY_PIECES });

    ck_assert_int_eq(bench_result(send), MANY_PIECES * 10);
    client_reads(bench_pattern(), MANY_PIECES * 10);
}
END_TEST

/* A pair whose bytes are nowhere on the way: full, it stays so until the other end is read. */
static void use_local_pair(void)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    close(pair.client);
    close(pair.server);
    pair.client = ends[0];
    pair.server = ends[1];
}

static void fill(int fd)
{
    while (send(fd, bench_pattern(), BENCH_PATTERN_BYTES, MSG_DONTWAIT) > 0)
        ;
    ck_assert_int_eq(errno, EAGAIN);
}

static size_t drain(int fd)
{
    static char data[64 * 1024];
    size_t sum = 0;
    ssize_t got;

    while ((got = recv(fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
        sum += (size_t)got;
    return sum;
}

/* The only thing that can wake the loop is a worker that was in vain. */
static void wait_until_tried(void)
{
    ck_assert_uint_eq(bench_wait_ms(-1), 0);
}

START_TEST(a_send_waits_until_there_is_room)
{
    use_local_pair();
    fill(pair.server);
    uint64_t send = bench_send(pair.server, "x", 1);
    wait_until_tried();
    ck_assert(!bench_of(send)->ended);

    BENCH_UNTIL((drain(pair.client), bench_of(send)->ended));

    ck_assert_int_eq(bench_of(send)->result, 1);
}
END_TEST

START_TEST(sends_on_one_socket_keep_their_order)
{
    enum { SENDS = 100 };
    uint64_t last = 0;

    for (int i = 0; i < SENDS; i++)
        last = bench_send(pair.server, bench_pattern() + i * 7, 7);

    client_reads(bench_pattern(), SENDS * 7);
    ck_assert_int_eq(bench_result(last), 7);
}
END_TEST

START_TEST(a_send_to_a_peer_that_is_gone_is_an_error)
{
    ck_assert_int_eq(socket_reset_on_close(pair.client), 0);
    close(pair.client);
    pair.client = dup(pair.listener);
    wait_for(pair.server, POLLERR);

    ck_assert_int_eq(bench_result(bench_send(pair.server, "x", 1)), JD_ECONNRESET);
    ck_assert_int_eq(bench_result(bench_send(pair.server, "x", 1)), JD_EPIPE);
}
END_TEST

START_TEST(a_receive_and_a_send_on_one_socket_are_in_flight_at_once)
{
    char data[4];
    use_local_pair();
    fill(pair.server);
    uint64_t receive = bench_receive(pair.server, data, sizeof(data)), send = bench_send(pair.server, "x", 1);
    wait_until_tried();
    ck_assert(!bench_of(send)->ended && !bench_of(receive)->ended);

    client_writes("in");
    ck_assert_int_eq(bench_result(receive), 2);
    ck_assert(!bench_of(send)->ended);
    BENCH_UNTIL((drain(pair.client), bench_of(send)->ended));
    ck_assert_int_eq(bench_of(send)->result, 1);

    /* And the other way round. */
    receive = bench_receive(pair.server, data, sizeof(data));
    bench_turns();
    ck_assert_int_eq(bench_result(bench_send(pair.server, "y", 1)), 1);
    ck_assert(!bench_of(receive)->ended);
    client_writes("on");
    ck_assert_int_eq(bench_result(receive), 2);
}
END_TEST

/* ---- connecting and accepting ---- */

static struct operation_request connect_request(int fd, const jd_endpoint *endpoint)
{
    return (struct operation_request){
        .opcode = OPCODE_CONNECT,
        .fd = fd,
        .address = endpoint_sockaddr(endpoint),
        .address_length = endpoint->length,
    };
}

static int new_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    return fd;
}

START_TEST(connecting_completes_and_what_is_sent_behind_it_goes_after_it)
{
    int fd = new_socket();
    struct operation_request request = connect_request(fd, &pair.bound);
    uint64_t connecting = bench_submit(&request), send = bench_send(fd, "hi", 2);
    uint64_t accepting = bench_simple(OPCODE_ACCEPT, pair.listener);

    ck_assert_int_eq(bench_result(connecting), 0);
    ck_assert_int_eq(bench_result(send), 2);

    int other = (int)bench_result(accepting);
    char data[4];
    ck_assert_int_eq(bench_result(bench_receive(other, data, sizeof(data))), 2);
    close(fd);
    close(other);
}
END_TEST

START_TEST(connecting_where_nobody_listens_is_refused)
{
    int fd = new_socket(), bound_only = new_socket();
    jd_endpoint endpoint = parsed("127.0.0.1:0");
    struct operation_request request = connect_request(fd, &endpoint);
    ck_assert_int_eq(bind(bound_only, endpoint_sockaddr(&endpoint), endpoint.length), 0);
    ck_assert_int_eq(getsockname(bound_only, (struct sockaddr *)endpoint.address.bytes, &endpoint.length), 0);

    ck_assert_int_eq(bench_result(bench_submit(&request)), JD_ECONNREFUSED);

    close(bound_only);
    close(fd);
}
END_TEST

enum { CONNECTIONS = 20 };
static int accepted[CONNECTIONS], accepted_count;

static void note_accepted(uint64_t token, struct completion *completion)
{
    if (completion->result < 0)
        return;
    ck_assert(is_nonblocking_and_closed_on_exec((int)completion->result));
    accepted[accepted_count++] = (int)completion->result;
}

START_TEST(a_multishot_accept_reports_each_connection_once)
{
    int clients[CONNECTIONS], before = open_descriptors();
    bench_on_completion = note_accepted;
    uint64_t accepting = bench_simple(OPCODE_ACCEPT_MULTISHOT, pair.listener);

    for (int i = 0; i < CONNECTIONS; i++)
        clients[i] = connect_client(&pair.bound);
    BENCH_UNTIL(bench_of(accepting)->completions == CONNECTIONS);
    bench_turns();

    ck_assert_uint_eq(bench_of(accepting)->completions, CONNECTIONS);
    ck_assert_int_eq(open_descriptors(), before + 2 * CONNECTIONS);
    bench_cancel(accepting);
    ck_assert_int_eq(bench_result(accepting), JD_ECANCELED);
    for (int i = 0; i < CONNECTIONS; i++)
        close(clients[i]);
    for (int i = 0; i < CONNECTIONS; i++)
        close(accepted[i]);
}
END_TEST

static int no_descriptors(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    errno = EMFILE;
    return -1;
}

START_TEST(without_descriptors_a_continuous_accept_ends_and_may_begin_again)
{
    int client = connect_client(&pair.bound);
    system_calls.accept4 = no_descriptors;
    ck_assert_int_eq(bench_result(bench_simple(OPCODE_ACCEPT_MULTISHOT, pair.listener)), JD_EMFILE);
    system_calls_reset();

    int socket = (int)bench_result(bench_simple(OPCODE_ACCEPT, pair.listener));

    ck_assert_int_ge(socket, 0);
    close(socket);
    close(client);
}
END_TEST

/* ---- polling ---- */

START_TEST(a_poll_reports_the_ready_events)
{
    uint64_t in = bench_poll(OPCODE_POLL, pair.server, POLLIN);
    ck_assert_int_eq(bench_result(bench_poll(OPCODE_POLL, pair.server, POLLOUT | POLLIN)), POLLOUT);
    ck_assert(!bench_of(in)->ended);
    client_writes("x");
    ck_assert_int_eq(bench_result(in), POLLIN);

    close(pair.client);
    pair.client = dup(pair.listener);
    ck_assert_int_eq(shutdown(pair.server, SHUT_WR), 0);
    wait_for(pair.server, POLLHUP);
    ck_assert_int_eq(bench_result(bench_poll(OPCODE_POLL, pair.server, 0)) & POLLHUP, POLLHUP);
}
END_TEST

START_TEST(a_multishot_poll_reports_changes_and_a_lasting_state_only_once)
{
    uint64_t watch = bench_poll(OPCODE_POLL_MULTISHOT, pair.server, POLLIN | POLLRDHUP);
    client_writes("x");
    BENCH_UNTIL(bench_of(watch)->completions == 1);
    ck_assert_int_eq(bench_of(watch)->result, POLLIN);
    bench_turns();
    ck_assert_uint_eq(bench_of(watch)->completions, 1);

    ck_assert_int_eq(shutdown(pair.client, SHUT_WR), 0);
    BENCH_UNTIL(bench_of(watch)->result & POLLRDHUP);
    ck_assert_int_eq(shutdown(pair.server, SHUT_WR), 0);
    BENCH_UNTIL(bench_of(watch)->result & POLLHUP);
    unsigned completions = bench_of(watch)->completions;
    bench_turns();
    ck_assert_uint_eq(bench_of(watch)->completions, completions);
    bench_cancel(watch);
    ck_assert_int_eq(bench_result(watch), JD_ECANCELED);
}
END_TEST

START_TEST(a_poll_beside_a_receive_leaves_it_its_bytes)
{
    uint64_t watch = bench_poll(OPCODE_POLL_MULTISHOT, pair.server, POLLERR | POLLHUP);
    uint64_t receive = bench_simple(OPCODE_RECEIVE_MULTISHOT, pair.server);
    client_writes("abc");

    BENCH_UNTIL(bench_of(receive)->received == 3);

    bench_cancel(watch);
    bench_cancel(receive);
}
END_TEST

/* ---- files ---- */

static int new_file(void)
{
    char path[] = "/tmp/jinduo-simulated-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    unlink(path);
    return fd;
}

START_TEST(files_are_written_and_read_at_an_offset)
{
    static unsigned char data[FILE_BYTES];
    int fd = new_file();
    uint64_t writes[4];

    for (int i = 3; i >= 0; i--)
        writes[i] =
            bench_file(OPCODE_WRITE, fd, (void *)(uintptr_t)(bench_pattern() + i * 2500), 2500, (uint64_t)i * 2500);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(bench_result(writes[i]), 2500);

    ck_assert_int_eq(bench_result(bench_file(OPCODE_READ, fd, data, sizeof(data), 0)), FILE_BYTES);
    ck_assert_mem_eq(data, bench_pattern(), FILE_BYTES);
    ck_assert_int_eq(bench_result(bench_file(OPCODE_READ, fd, data, 1000, FILE_BYTES - 10)), 10);
    ck_assert_mem_eq(data, bench_pattern() + FILE_BYTES - 10, 10);
    ck_assert_int_eq(bench_result(bench_file(OPCODE_READ, fd, data, 1000, FILE_BYTES)), 0);
    close(fd);
}
END_TEST

/* ---- errors ---- */

START_TEST(what_makes_no_sense_is_refused_or_fails)
{
    int closed = new_socket(), file = new_file(), error = 0;
    char data[4];
    jd_iovec piece = { data, sizeof(data) };
    close(closed);

    bench_try(&(struct operation_request){ .opcode = OPCODE_RECEIVE_MULTISHOT, .fd = closed }, &error);
    ck_assert_int_eq(error, -EBADF);
    bench_try(&(struct operation_request){ .opcode = OPCODE_RECEIVE_MULTISHOT, .fd = -1 }, &error);
    ck_assert_int_eq(error, -EBADF);
    bench_try(
        &(struct operation_request){ .opcode = OPCODE_READ, .fd = INT32_MAX, .buffers = &piece, .buffer_count = 1 },
        &error);
    ck_assert_int_eq(error, -EBADF);
    bench_try(&(struct operation_request){ .opcode = OPCODE_SEND, .fd = pair.server }, &error);
    ck_assert_int_eq(error, JD_EINVAL);
    bench_try(&(struct operation_request){ .opcode = OPCODE_CONNECT, .fd = pair.server }, &error);
    ck_assert_int_eq(error, JD_EINVAL);
    /* epoll knows no files (epoll_ctl(2)). */
    bench_try(&(struct operation_request){ .opcode = OPCODE_POLL, .fd = file, .poll_events = POLLIN }, &error);
    ck_assert_int_eq(error, JD_EPERM);
    ck_assert_int_eq(bench_result(bench_file(OPCODE_READ, pair.server, data, sizeof(data), 0)), -ESPIPE);
    ck_assert_int_eq(bench_result(bench_send(file, "x", 1)), -ENOTSOCK);
    close(file);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("simulated_operations");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_receive_gets_what_comes_later);
    tcase_add_test(tests, a_receive_gets_what_came_before_it_was_submitted);
    tcase_add_test(tests, bytes_that_come_between_two_receives_are_not_lost);
    tcase_add_test(tests, a_receive_fills_several_pieces_in_order);
    tcase_add_test(tests, receives_on_one_socket_complete_in_the_order_of_submission);
    tcase_add_test(tests, the_end_is_a_result_of_zero);
    tcase_add_test(tests, a_reset_is_an_error);
    tcase_add_test(tests, a_multishot_receive_continues_until_the_end_of_the_stream);
    tcase_add_test(tests, a_send_of_many_buffers_arrives_complete);
    tcase_add_test(tests, a_send_waits_until_there_is_room);
    tcase_add_test(tests, sends_on_one_socket_keep_their_order);
    tcase_add_test(tests, a_send_to_a_peer_that_is_gone_is_an_error);
    tcase_add_test(tests, a_receive_and_a_send_on_one_socket_are_in_flight_at_once);
    tcase_add_test(tests, connecting_completes_and_what_is_sent_behind_it_goes_after_it);
    tcase_add_test(tests, connecting_where_nobody_listens_is_refused);
    tcase_add_test(tests, a_multishot_accept_reports_each_connection_once);
    tcase_add_test(tests, without_descriptors_a_continuous_accept_ends_and_may_begin_again);
    tcase_add_test(tests, a_poll_reports_the_ready_events);
    tcase_add_test(tests, a_multishot_poll_reports_changes_and_a_lasting_state_only_once);
    tcase_add_test(tests, a_poll_beside_a_receive_leaves_it_its_bytes);
    tcase_add_test(tests, files_are_written_and_read_at_an_offset);
    tcase_add_test(tests, what_makes_no_sense_is_refused_or_fails);
}
