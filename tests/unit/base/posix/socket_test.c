#include "tests/support/check_main.h"
#include "tests/support/sockets.h"

#include "base/posix/system_calls.h"

#include <errno.h>
#include <jinduo/error.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

/* accepting */

START_TEST(an_accepted_socket_is_nonblocking_and_closed_on_exec_and_its_peer_known)
{
    struct socket_pair pair = connect_loopback();
    struct sockaddr_in address;
    socklen_t length = sizeof(address);

    ck_assert(is_nonblocking_and_closed_on_exec(pair.server));
    ck_assert_int_eq(getsockname(pair.client, (struct sockaddr *)&address, &length), 0);
    ck_assert_int_eq(pair.peer.family, AF_INET);
    ck_assert_uint_eq(pair.peer.port, ntohs(address.sin_port));
}
END_TEST

START_TEST(accepting_when_no_connection_waits_says_so)
{
    jd_endpoint endpoint = parsed("127.0.0.1:0");
    socket_handle listener = listen_on(&endpoint, &(struct socket_options){ 0 }, NULL);
    socket_handle accepted = SOCKET_NONE;
    struct peer_address peer;

    ck_assert_int_eq(socket_accept(listener, &accepted, &peer), JD_EAGAIN);
    ck_assert_int_eq(accepted, SOCKET_NONE);
}
END_TEST

/* Calls that fail with failure as often as failures says, before they go through. */
static int failure, failures, calls;

static bool fails_now(void)
{
    calls++;
    if (failures == 0)
        return false;
    failures--;
    errno = failure;
    return true;
}

static int faulty_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return fails_now() ? -1 : accept4(fd, address, length, flags);
}

static const int skipped_errors[] = { EINTR,    ECONNABORTED, EPROTO, EPERM,     ENOPROTOOPT, EOPNOTSUPP,
                                      ENETDOWN, ENETUNREACH,  ENONET, EHOSTDOWN, EHOSTUNREACH };

enum { SKIPPED_ERRORS = sizeof(skipped_errors) / sizeof(skipped_errors[0]) };

START_TEST(the_error_of_one_connection_is_skipped_and_the_next_accepted)
{
    jd_endpoint endpoint = parsed("127.0.0.1:0"), bound;
    socket_handle listener = listen_on(&endpoint, &(struct socket_options){ 0 }, &bound);
    struct peer_address peer;

    connect_client(&bound);
    system_calls.accept4 = faulty_accept4;
    failure = skipped_errors[_i];
    failures = 3;
    accept_one(listener, &peer);

    ck_assert_int_eq(calls, 4);
}
END_TEST

static const int reported_errors[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM, EAGAIN };

enum { REPORTED_ERRORS = sizeof(reported_errors) / sizeof(reported_errors[0]) };

START_TEST(an_error_of_the_listener_is_reported_at_once)
{
    socket_handle accepted = SOCKET_NONE;
    struct peer_address peer;

    system_calls.accept4 = faulty_accept4;
    failure = reported_errors[_i];
    failures = 1;

    ck_assert_int_eq(socket_accept(0, &accepted, &peer), -reported_errors[_i]);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(accepted, SOCKET_NONE);
}
END_TEST

START_TEST(a_connections_error_without_end_is_reported_in_the_end)
{
    socket_handle accepted = SOCKET_NONE;
    struct peer_address peer;

    system_calls.accept4 = faulty_accept4;
    failure = EPERM;
    failures = INT_MAX;

    ck_assert_int_eq(socket_accept(0, &accepted, &peer), JD_EPERM);
}
END_TEST

/* receiving and sending */

static int last_flags;

static ssize_t faulty_recv(int fd, void *data, size_t size, int flags)
{
    return fails_now() ? -1 : recv(fd, data, size, flags);
}

static ssize_t faulty_send(int fd, const void *data, size_t size, int flags)
{
    last_flags = flags;
    return fails_now() ? -1 : send(fd, data, size, flags);
}

static ssize_t faulty_sendmsg(int fd, const struct msghdr *message, int flags)
{
    last_flags = flags;
    return fails_now() ? -1 : sendmsg(fd, message, flags);
}

static ssize_t forbidden_send(int fd, const void *data, size_t size, int flags)
{
    ck_abort_msg("send was called");
}

static ssize_t forbidden_sendmsg(int fd, const struct msghdr *message, int flags)
{
    ck_abort_msg("sendmsg was called");
}

START_TEST(what_the_peer_sent_is_received)
{
    struct socket_pair pair = connect_loopback();
    char data[16];

    ck_assert_int_eq(write(pair.client, "jinduo", 6), 6);
    wait_for(pair.server, POLLIN);

    ck_assert_int_eq(socket_receive(pair.server, data, sizeof(data)), 6);
    ck_assert_mem_eq(data, "jinduo", 6);
}
END_TEST

START_TEST(receiving_when_nothing_came_yet_says_so)
{
    struct socket_pair pair = connect_loopback();
    char data[16];

    ck_assert_int_eq(socket_receive(pair.server, data, sizeof(data)), JD_EAGAIN);
}
END_TEST

START_TEST(the_peers_end_is_received_as_zero_bytes)
{
    struct socket_pair pair = connect_loopback();
    char data[16];

    shutdown(pair.client, SHUT_WR);
    wait_for(pair.server, POLLIN);

    ck_assert_int_eq(socket_receive(pair.server, data, sizeof(data)), 0);
}
END_TEST

START_TEST(an_interrupted_receive_is_tried_again)
{
    struct socket_pair pair = connect_loopback();
    char data[16];

    ck_assert_int_eq(write(pair.client, "jinduo", 6), 6);
    wait_for(pair.server, POLLIN);
    system_calls.recv = faulty_recv;
    failure = EINTR;
    failures = 2;

    ck_assert_int_eq(socket_receive(pair.server, data, sizeof(data)), 6);
    ck_assert_int_eq(calls, 3);
}
END_TEST

START_TEST(one_piece_goes_by_the_cheaper_call)
{
    struct socket_pair pair = connect_loopback();
    jd_iovec piece = { (char[]){ "jinduo" }, 6 };
    char data[16];

    system_calls.sendmsg = forbidden_sendmsg;
    ck_assert_int_eq(socket_send(pair.server, &piece, 1), 6);
    ck_assert_int_eq(socket_send_bytes(pair.server, "bell", 4), 4);

    ck_assert_int_eq(read(pair.client, data, sizeof(data)), 10);
    ck_assert_mem_eq(data, "jinduobell", 10);
}
END_TEST

START_TEST(several_pieces_go_in_order_in_one_call)
{
    struct socket_pair pair = connect_loopback();
    jd_iovec pieces[] = { { (char[]){ "jin" }, 3 }, { NULL, 0 }, { (char[]){ "duo" }, 3 } };
    char data[16];

    system_calls.send = forbidden_send;
    ck_assert_int_eq(socket_send(pair.server, pieces, 3), 6);

    ck_assert_int_eq(read(pair.client, data, sizeof(data)), 6);
    ck_assert_mem_eq(data, "jinduo", 6);
}
END_TEST

START_TEST(more_pieces_than_the_system_takes_are_sent_in_part)
{
    struct socket_pair pair = connect_loopback();
    static jd_iovec pieces[IOV_MAX + 10];
    char byte = 'x';

    for (int i = 0; i < IOV_MAX + 10; i++)
        pieces[i] = (jd_iovec){ &byte, 1 };

    ck_assert_int_eq(socket_send(pair.server, pieces, IOV_MAX + 10), IOV_MAX);
}
END_TEST

START_TEST(an_interrupted_send_is_tried_again)
{
    struct socket_pair pair = connect_loopback();
    jd_iovec pieces[] = { { (char[]){ "jin" }, 3 }, { (char[]){ "duo" }, 3 } };

    system_calls.send = faulty_send;
    system_calls.sendmsg = faulty_sendmsg;
    failure = EINTR;
    failures = 2;
    ck_assert_int_eq(socket_send(pair.server, pieces, 1), 3);
    ck_assert_int_eq(calls, 3);
    failures = 2;
    ck_assert_int_eq(socket_send(pair.server, pieces, 2), 6);
    ck_assert_int_eq(calls, 6);
    failures = 2;
    ck_assert_int_eq(socket_send_bytes(pair.server, "jin", 3), 3);
    ck_assert_int_eq(calls, 9);
}
END_TEST

START_TEST(sending_never_asks_for_a_signal)
{
    struct socket_pair pair = connect_loopback();
    jd_iovec pieces[] = { { (char[]){ "jin" }, 3 }, { (char[]){ "duo" }, 3 } };

    system_calls.send = faulty_send;
    system_calls.sendmsg = faulty_sendmsg;
    for (int count = 1; count <= 2; count++) {
        last_flags = 0;
        socket_send(pair.server, pieces, count);
        ck_assert_int_ne(last_flags & MSG_NOSIGNAL, 0);
    }
    last_flags = 0;
    socket_send_bytes(pair.server, "jin", 3);
    ck_assert_int_ne(last_flags & MSG_NOSIGNAL, 0);
}
END_TEST

START_TEST(sending_after_the_writing_end_was_shut_is_an_error_and_no_signal)
{
    struct socket_pair pair = connect_loopback();
    jd_iovec pieces[] = { { (char[]){ "jin" }, 3 }, { (char[]){ "duo" }, 3 } };

    signal(SIGPIPE, SIG_DFL);
    ck_assert_int_eq(socket_shutdown_write(pair.server), 0);

    ck_assert_int_eq(socket_send(pair.server, pieces, 1), JD_EPIPE);
    ck_assert_int_eq(socket_send(pair.server, pieces, 2), JD_EPIPE);
    ck_assert_int_eq(socket_send_bytes(pair.server, "jin", 3), JD_EPIPE);
}
END_TEST

START_TEST(a_full_send_buffer_says_so)
{
    struct socket_pair pair = connect_loopback();
    static char zeros[1 << 16];
    jd_iovec piece = { zeros, sizeof(zeros) };
    ssize_t sent;

    do
        sent = socket_send(pair.server, &piece, 1);
    while (sent > 0);

    ck_assert_int_eq(sent, JD_EAGAIN);
}
END_TEST

/* ending */

START_TEST(shutting_the_writing_end_sends_the_end_and_still_receives)
{
    struct socket_pair pair = connect_loopback();
    char data[16];

    ck_assert_int_eq(socket_shutdown_write(pair.server), 0);
    ck_assert_int_eq(read(pair.client, data, sizeof(data)), 0);
    ck_assert_int_eq(write(pair.client, "late", 4), 4);
    wait_for(pair.server, POLLIN);

    ck_assert_int_eq(socket_receive(pair.server, data, sizeof(data)), 4);
}
END_TEST

START_TEST(shutting_a_socket_that_is_not_connected_is_an_error)
{
    struct socket_pair pair = connect_loopback();

    socket_reset_on_close(pair.server);
    socket_close(pair.server);
    ck_assert_int_eq(recv(pair.client, (char[1]){ 0 }, 1, 0), -1);

    ck_assert_int_eq(socket_shutdown_write(pair.client), JD_ENOTCONN);
}
END_TEST

START_TEST(closing_after_reset_on_close_resets_the_peer)
{
    struct socket_pair pair = connect_loopback();
    char byte;

    ck_assert_int_eq(socket_reset_on_close(pair.server), 0);
    socket_close(pair.server);

    ck_assert_int_eq(read(pair.client, &byte, 1), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}
END_TEST

START_TEST(a_waiting_error_is_fetched_once)
{
    struct socket_pair pair = connect_loopback();

    ck_assert_int_eq(socket_error(pair.server), 0);
    socket_reset_on_close(pair.client);
    close(pair.client);
    wait_for(pair.server, POLLIN);

    ck_assert_int_eq(socket_error(pair.server), JD_ECONNRESET);
    ck_assert_int_eq(socket_error(pair.server), 0);
}
END_TEST

START_TEST(calls_on_a_closed_descriptor_return_the_error)
{
    struct socket_pair pair = connect_loopback();
    jd_iovec piece = { (char[]){ "x" }, 1 };
    jd_endpoint endpoint;
    char byte;

    socket_close(pair.server);

    ck_assert_int_eq(socket_receive(pair.server, &byte, 1), -EBADF);
    ck_assert_int_eq(socket_send(pair.server, &piece, 1), -EBADF);
    ck_assert_int_eq(socket_shutdown_write(pair.server), -EBADF);
    ck_assert_int_eq(socket_reset_on_close(pair.server), -EBADF);
    ck_assert_int_eq(socket_error(pair.server), -EBADF);
    ck_assert_int_eq(socket_local_endpoint(pair.server, &endpoint), -EBADF);
}
END_TEST

static int interrupted_close(int fd)
{
    calls++;
    close(fd);
    errno = EINTR;
    return -1;
}

START_TEST(an_interrupted_close_is_not_tried_again)
{
    struct socket_pair pair = connect_loopback();

    system_calls.close = interrupted_close;
    socket_close(pair.server);

    ck_assert_int_eq(calls, 1);
}
END_TEST

const char *const suite_name = "socket";

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);

    tcase_add_checked_fixture(tests, NULL, system_calls_reset);
    suite_add_tcase(suite, tests);
    return tests;
}

static void add_accepting_tests(TCase *tests)
{
    tcase_add_test(tests, an_accepted_socket_is_nonblocking_and_closed_on_exec_and_its_peer_known);
    tcase_add_test(tests, accepting_when_no_connection_waits_says_so);
    tcase_add_loop_test(tests, the_error_of_one_connection_is_skipped_and_the_next_accepted, 0, SKIPPED_ERRORS);
    tcase_add_loop_test(tests, an_error_of_the_listener_is_reported_at_once, 0, REPORTED_ERRORS);
    tcase_add_test(tests, a_connections_error_without_end_is_reported_in_the_end);
}

static void add_sending_tests(TCase *tests)
{
    tcase_add_test(tests, what_the_peer_sent_is_received);
    tcase_add_test(tests, receiving_when_nothing_came_yet_says_so);
    tcase_add_test(tests, the_peers_end_is_received_as_zero_bytes);
    tcase_add_test(tests, an_interrupted_receive_is_tried_again);
    tcase_add_test(tests, one_piece_goes_by_the_cheaper_call);
    tcase_add_test(tests, several_pieces_go_in_order_in_one_call);
    tcase_add_test(tests, more_pieces_than_the_system_takes_are_sent_in_part);
    tcase_add_test(tests, an_interrupted_send_is_tried_again);
    tcase_add_test(tests, sending_never_asks_for_a_signal);
    tcase_add_test(tests, sending_after_the_writing_end_was_shut_is_an_error_and_no_signal);
    tcase_add_test(tests, a_full_send_buffer_says_so);
}

static void add_ending_tests(TCase *tests)
{
    tcase_add_test(tests, shutting_the_writing_end_sends_the_end_and_still_receives);
    tcase_add_test(tests, shutting_a_socket_that_is_not_connected_is_an_error);
    tcase_add_test(tests, closing_after_reset_on_close_resets_the_peer);
    tcase_add_test(tests, a_waiting_error_is_fetched_once);
    tcase_add_test(tests, calls_on_a_closed_descriptor_return_the_error);
    tcase_add_test(tests, an_interrupted_close_is_not_tried_again);
}

void suite_add_tests(Suite *suite)
{
    add_accepting_tests(add_case(suite, "accepting"));
    add_sending_tests(add_case(suite, "sending"));
    add_ending_tests(add_case(suite, "ending"));
}
