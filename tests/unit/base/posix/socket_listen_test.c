#include "tests/support/check_main.h"
#include "tests/support/sockets.h"

#include "base/posix/system_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <jinduo/error.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct socket_options defaults = { 0 };

static char directory[] = "/tmp/jinduo-socket-XXXXXX";
static char path[sizeof(directory) + sizeof("/socket")];

/* Each test runs in a process of its own, so what it replaces or leaves open touches no other. */
static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
}

static void teardown(void)
{
    system_calls_reset();
    unlink(path);
    rmdir(directory);
}

static jd_endpoint path_endpoint(void)
{
    char text[JD_ENDPOINT_TEXT_BYTES];

    snprintf(text, sizeof(text), "unix:%s", path);
    return parsed(text);
}

static int listen_error(const jd_endpoint *endpoint)
{
    socket_handle listener = SOCKET_NONE;
    jd_endpoint bound;
    int error = socket_listen(&listener, endpoint, &defaults, &bound, NULL);

    ck_assert_int_eq(listener, SOCKET_NONE);
    return error;
}

static int option_of(socket_handle handle, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof(value);

    ck_assert_int_eq(getsockopt(handle, level, name, &value, &length), 0);
    return value;
}

static bool host_has_ipv6(void)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has_it = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    if (fd >= 0)
        close(fd);
    return has_it;
}

/* listening */

START_TEST(a_listener_is_nonblocking_and_closed_on_exec)
{
    jd_endpoint endpoint = parsed("127.0.0.1:0");

    ck_assert(is_nonblocking_and_closed_on_exec(listen_on(&endpoint, &defaults, NULL)));
}
END_TEST

START_TEST(port_zero_becomes_the_port_the_system_picked)
{
    jd_endpoint endpoint = parsed("127.0.0.1:0"), bound;
    socket_handle listener = listen_on(&endpoint, &defaults, &bound);
    jd_endpoint local;

    ck_assert_uint_ne(jd_endpoint_port(&bound), 0);
    ck_assert_int_eq(socket_local_endpoint(listener, &local), 0);
    ck_assert(jd_endpoint_equal(&bound, &local));
}
END_TEST

START_TEST(a_port_in_use_is_refused)
{
    jd_endpoint endpoint = parsed("127.0.0.1:0"), bound;
    int before;

    listen_on(&endpoint, &defaults, &bound);
    before = open_descriptors();

    ck_assert_int_eq(listen_error(&bound), JD_EADDRINUSE);
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

START_TEST(a_port_whose_old_connections_linger_can_be_listened_on_at_once)
{
    struct socket_pair pair = connect_loopback();
    char byte;

    /* The end that closes first keeps the port in TIME-WAIT (RFC 9293, 3.6.1). */
    socket_close(pair.listener);
    socket_close(pair.server);
    ck_assert_int_eq(read(pair.client, &byte, 1), 0);
    close(pair.client);

    listen_on(&pair.bound, &defaults, NULL);
}
END_TEST

START_TEST(two_listeners_share_a_port_when_both_say_so)
{
    struct socket_options options = { .reuse_port = true };
    jd_endpoint endpoint = parsed("127.0.0.1:0"), bound;

    listen_on(&endpoint, &options, &bound);
    listen_on(&bound, &options, NULL);
}
END_TEST

START_TEST(an_address_of_another_host_is_not_available)
{
    jd_endpoint endpoint = parsed("192.0.2.1:0"); /* RFC 5737: for documentation only */

    ck_assert_int_eq(listen_error(&endpoint), JD_EADDRNOTAVAIL);
}
END_TEST

START_TEST(an_empty_endpoint_cannot_be_listened_on)
{
    jd_endpoint endpoint = { 0 };

    ck_assert_int_eq(listen_error(&endpoint), JD_EINVAL);
}
END_TEST

static int asked_backlog;

static int note_backlog(int fd, int backlog)
{
    asked_backlog = backlog;
    return listen(fd, backlog);
}

START_TEST(the_backlog_is_as_asked_for_or_the_systems_maximum)
{
    struct socket_options seven = { .backlog = 7 }, too_many = { .backlog = UINT_MAX };
    jd_endpoint endpoint = parsed("127.0.0.1:0");

    system_calls.listen = note_backlog;
    listen_on(&endpoint, &seven, NULL);
    ck_assert_int_eq(asked_backlog, 7);
    listen_on(&endpoint, &defaults, NULL);
    ck_assert_int_eq(asked_backlog, INT_MAX);
    listen_on(&endpoint, &too_many, NULL);
    ck_assert_int_eq(asked_backlog, INT_MAX);
}
END_TEST

START_TEST(accepted_sockets_inherit_the_listeners_options)
{
    struct socket_options options = { .keepalive = true, .send_buffer_bytes = 20000, .receive_buffer_bytes = 30000 };
    jd_endpoint endpoint = parsed("127.0.0.1:0");
    struct socket_pair pair = connect_pair(&endpoint, &options);

    ck_assert_int_ne(option_of(pair.server, IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_ne(option_of(pair.server, SOL_SOCKET, SO_KEEPALIVE), 0);
    /* The kernel doubles them for its own needs (socket(7)). */
    ck_assert_int_eq(option_of(pair.server, SOL_SOCKET, SO_SNDBUF), 40000);
    ck_assert_int_eq(option_of(pair.server, SOL_SOCKET, SO_RCVBUF), 60000);
}
END_TEST

START_TEST(nagle_stays_on_and_keepalive_off_when_asked)
{
    struct socket_options options = { .nagle = true };
    jd_endpoint endpoint = parsed("127.0.0.1:0");
    struct socket_pair pair = connect_pair(&endpoint, &options);

    ck_assert_int_eq(option_of(pair.server, IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_eq(option_of(pair.server, SOL_SOCKET, SO_KEEPALIVE), 0);
}
END_TEST

/* A table entry that fails, once the socket exists. */
static int fail_with_enobufs(void)
{
    errno = ENOBUFS;
    return -1;
}

static int failing_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    return fail_with_enobufs();
}

static int failing_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    return fail_with_enobufs();
}

static int failing_listen(int fd, int backlog)
{
    return fail_with_enobufs();
}

static int failing_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    return fail_with_enobufs();
}

START_TEST(a_listener_that_fails_half_way_leaves_neither_descriptor_nor_path)
{
    jd_endpoint endpoint = path_endpoint(), tcp = parsed("127.0.0.1:0");
    int before = open_descriptors();

    system_calls.setsockopt = failing_setsockopt;
    ck_assert_int_eq(listen_error(&tcp), JD_ENOBUFS);
    system_calls_reset();
    system_calls.bind = failing_bind;
    ck_assert_int_eq(listen_error(&endpoint), JD_ENOBUFS);
    system_calls_reset();
    system_calls.listen = failing_listen;
    ck_assert_int_eq(listen_error(&endpoint), JD_ENOBUFS);
    system_calls_reset();
    system_calls.getsockname = failing_getsockname;
    ck_assert_int_eq(listen_error(&endpoint), JD_ENOBUFS);

    ck_assert_int_eq(open_descriptors(), before);
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* IPv6 */

START_TEST(an_ipv6_listener_takes_ipv6_only_where_the_host_has_it)
{
    jd_endpoint endpoint = parsed("[::]:0"), loopback = parsed("[::1]:0");
    struct socket_pair pair;

    if (!host_has_ipv6()) {
        int error = listen_error(&loopback);
        ck_assert_msg(error == -EAFNOSUPPORT || error == JD_EADDRNOTAVAIL, "%d", error);
        return;
    }
    pair = connect_pair(&endpoint, &defaults);
    ck_assert_int_eq(pair.peer.family, AF_INET6);
    ck_assert_int_eq(option_of(pair.listener, IPPROTO_IPV6, IPV6_V6ONLY), 1);
}
END_TEST

/* Listens on all addresses, connects to one of them, and returns the client as the server sees it. */
static struct peer_address peer_through(const char *host)
{
    jd_endpoint endpoint = parsed("*:0"), bound;
    socket_handle listener = listen_on(&endpoint, &defaults, &bound);
    struct peer_address peer;
    char text[32];

    snprintf(text, sizeof(text), "%s:%u", host, jd_endpoint_port(&bound));
    endpoint = parsed(text);
    connect_client(&endpoint);
    accept_one(listener, &peer);
    return peer;
}

START_TEST(a_star_listens_for_ipv4_and_shows_such_peers_as_ipv4)
{
    struct peer_address peer = peer_through("127.0.0.1");
    jd_endpoint endpoint;

    peer_address_to_endpoint(&peer, &endpoint);
    ck_assert_int_eq(strncmp(formatted(&endpoint), "127.0.0.1:", strlen("127.0.0.1:")), 0);
}
END_TEST

/* Without IPv6 the fall-back is all there is to see: IPv4 works. */
START_TEST(a_star_listens_for_ipv6_where_the_host_has_it)
{
    struct peer_address peer = peer_through(host_has_ipv6() ? "[::1]" : "127.0.0.1");
    jd_endpoint endpoint;

    peer_address_to_endpoint(&peer, &endpoint);
    ck_assert_int_eq(endpoint_sockaddr(&endpoint)->sa_family, host_has_ipv6() ? AF_INET6 : AF_INET);
}
END_TEST

START_TEST(where_a_star_is_bound_is_a_star_again_with_the_port_picked)
{
    jd_endpoint endpoint = parsed("*:0"), bound;
    char text[32];

    listen_on(&endpoint, &defaults, &bound);
    snprintf(text, sizeof(text), "%s:%u", endpoint_sockaddr(&bound)->sa_family == AF_INET6 ? "*" : "0.0.0.0",
             jd_endpoint_port(&bound));

    ck_assert_uint_ne(jd_endpoint_port(&bound), 0);
    ck_assert_str_eq(formatted(&bound), text);
}
END_TEST

static int socket_without_ipv6(int domain, int type, int protocol)
{
    if (domain != AF_INET6)
        return socket(domain, type, protocol);
    errno = EAFNOSUPPORT;
    return -1;
}

static int bind_without_ipv6(int fd, const struct sockaddr *address, socklen_t length)
{
    if (address->sa_family != AF_INET6)
        return bind(fd, address, length);
    errno = EADDRNOTAVAIL;
    return -1;
}

static void check_fall_back(void)
{
    jd_endpoint endpoint = parsed("*:0"), bound;
    char text[32];

    listen_on(&endpoint, &defaults, &bound);
    snprintf(text, sizeof(text), "0.0.0.0:%u", jd_endpoint_port(&bound));
    ck_assert_str_eq(formatted(&bound), text);
}

START_TEST(a_star_falls_back_to_ipv4_when_the_kernel_has_no_ipv6)
{
    system_calls.socket = socket_without_ipv6;
    check_fall_back();
}
END_TEST

START_TEST(a_star_falls_back_to_ipv4_when_no_ipv6_address_can_be_bound)
{
    system_calls.bind = bind_without_ipv6;
    check_fall_back();
}
END_TEST

START_TEST(an_ipv6_address_without_ipv6_is_an_error_and_no_fall_back)
{
    jd_endpoint endpoint = parsed("[::]:0");

    system_calls.socket = socket_without_ipv6;
    ck_assert_int_eq(listen_error(&endpoint), -EAFNOSUPPORT);
}
END_TEST

/* Unix-domain */

START_TEST(a_unix_path_is_listened_on_and_removed_when_the_listener_closes)
{
    jd_endpoint endpoint = path_endpoint();
    struct socket_pair pair = connect_pair(&endpoint, &defaults);

    ck_assert(jd_endpoint_equal(&pair.bound, &endpoint));
    ck_assert_int_eq(pair.peer.family, AF_UNIX);
    ck_assert(is_nonblocking_and_closed_on_exec(pair.listener));
    socket_close_listener(pair.listener, &pair.bound, &pair.path);
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(a_unix_path_whose_server_is_gone_is_taken_over)
{
    jd_endpoint endpoint = path_endpoint();

    socket_close(listen_on(&endpoint, &defaults, NULL));
    ck_assert_int_eq(access(path, F_OK), 0);

    connect_pair(&endpoint, &defaults);
}
END_TEST

START_TEST(a_unix_path_with_a_live_server_is_in_use_and_still_works)
{
    jd_endpoint endpoint = path_endpoint();
    int before;

    listen_on(&endpoint, &defaults, NULL);
    before = open_descriptors();

    ck_assert_int_eq(listen_error(&endpoint), JD_EADDRINUSE);
    ck_assert_int_eq(open_descriptors(), before);
    connect_client(&endpoint);
}
END_TEST

START_TEST(a_path_that_is_another_listeners_now_is_not_removed)
{
    jd_endpoint endpoint = path_endpoint();
    struct socket_pair first = connect_pair(&endpoint, &defaults), second;
    ck_assert_int_eq(unlink(path), 0);
    second = connect_pair(&endpoint, &defaults);

    socket_close_listener(first.listener, &first.bound, &first.path);
    ck_assert_int_eq(access(path, F_OK), 0);
    connect_client(&endpoint);

    socket_close_listener(second.listener, &second.bound, &second.path);
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

enum { RIVALS = 6, RACES = 40 };

static pthread_barrier_t rivals_ready;

struct rival {
    pthread_t thread;
    jd_endpoint endpoint, bound;
    struct socket_path file;
    socket_handle listener;
    int result;
};

static void *take_over(void *arg)
{
    struct rival *rival = arg;

    pthread_barrier_wait(&rivals_ready);
    rival->result = socket_listen(&rival->listener, &rival->endpoint, &defaults, &rival->bound, &rival->file);
    return NULL;
}

/* Slow between bind and listen, where a path looks as if its server were gone. */
static int slow_listen(int fd, int backlog)
{
    sched_yield();
    usleep(100);
    return listen(fd, backlog);
}

START_TEST(of_servers_that_take_over_a_path_at_a_time_one_gets_it)
{
    static struct rival rivals[RIVALS];
    jd_endpoint endpoint = path_endpoint();

    system_calls.listen = slow_listen;
    ck_assert_int_eq(pthread_barrier_init(&rivals_ready, NULL, RIVALS), 0);
    for (int race = 0; race < RACES; race++) {
        int winner = -1;
        if (race % 2 == 0)
            socket_close(listen_on(&endpoint, &defaults, NULL)); /* a dead one is there */
        for (int i = 0; i < RIVALS; i++) {
            rivals[i].endpoint = endpoint;
            ck_assert_int_eq(pthread_create(&rivals[i].thread, NULL, take_over, &rivals[i]), 0);
        }
        for (int i = 0; i < RIVALS; i++) {
            pthread_join(rivals[i].thread, NULL);
            ck_assert_int_eq(rivals[i].result, winner < 0 && rivals[i].result == 0 ? 0 : JD_EADDRINUSE);
            if (rivals[i].result == 0)
                winner = i;
        }
        ck_assert_int_ge(winner, 0);
        connect_client(&endpoint);
        socket_close_listener(rivals[winner].listener, &rivals[winner].bound, &rivals[winner].file);
        ck_assert_int_eq(access(path, F_OK), -1);
    }
    pthread_barrier_destroy(&rivals_ready);
}
END_TEST

START_TEST(without_the_directorys_lock_nothing_is_taken_over_and_nobody_waits_for_ever)
{
    jd_endpoint endpoint = path_endpoint();
    int lock = open(directory, O_RDONLY | O_DIRECTORY);

    ck_assert_int_eq(flock(lock, LOCK_EX), 0);
    socket_close(listen_on(&endpoint, &defaults, NULL)); /* a path that is free needs no lock */
    ck_assert_int_eq(listen_error(&endpoint), JD_EADDRINUSE);

    close(lock);
    connect_pair(&endpoint, &defaults);
}
END_TEST

START_TEST(a_live_server_whose_queue_is_full_is_not_taken_for_gone)
{
    struct socket_options options = { .backlog = 1 };
    jd_endpoint endpoint = path_endpoint();
    int error = 0;

    listen_on(&endpoint, &options, NULL);
    for (int i = 0; i < 8 && error == 0; i++) {
        int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        error = connect(client, endpoint_sockaddr(&endpoint), endpoint.length) < 0 ? errno : 0;
    }
    ck_assert_int_eq(error, EAGAIN);

    ck_assert_int_eq(listen_error(&endpoint), JD_EADDRINUSE);
}
END_TEST

START_TEST(a_file_that_is_no_socket_is_never_removed)
{
    jd_endpoint endpoint = path_endpoint();
    struct stat status;
    int file = open(path, O_CREAT | O_WRONLY, 0600);

    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(write(file, "mine", 4), 4);

    ck_assert_int_eq(listen_error(&endpoint), JD_EADDRINUSE);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_size, 4);
}
END_TEST

START_TEST(a_path_in_a_directory_that_does_not_exist_is_not_found)
{
    jd_endpoint endpoint = parsed("unix:/no/such/directory/socket");

    ck_assert_int_eq(listen_error(&endpoint), JD_ENOENT);
}
END_TEST

START_TEST(an_abstract_name_is_listened_on_without_a_file)
{
    char text[64];
    jd_endpoint endpoint;
    struct socket_pair pair;

    snprintf(text, sizeof(text), "unix:@jinduo-socket-test-%d", getpid());
    endpoint = parsed(text);
    pair = connect_pair(&endpoint, &defaults);

    ck_assert_str_eq(formatted(&pair.bound), text);
    ck_assert_int_eq(listen_error(&endpoint), JD_EADDRINUSE);
    socket_close_listener(pair.listener, &pair.bound, &pair.path);
    listen_on(&endpoint, &defaults, NULL);
}
END_TEST

const char *const suite_name = "socket, listening";

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);

    tcase_add_checked_fixture(tests, setup, teardown);
    suite_add_tcase(suite, tests);
    return tests;
}

static void add_listening_tests(TCase *tests)
{
    tcase_add_test(tests, a_listener_is_nonblocking_and_closed_on_exec);
    tcase_add_test(tests, port_zero_becomes_the_port_the_system_picked);
    tcase_add_test(tests, a_port_in_use_is_refused);
    tcase_add_test(tests, a_port_whose_old_connections_linger_can_be_listened_on_at_once);
    tcase_add_test(tests, two_listeners_share_a_port_when_both_say_so);
    tcase_add_test(tests, an_address_of_another_host_is_not_available);
    tcase_add_test(tests, an_empty_endpoint_cannot_be_listened_on);
    tcase_add_test(tests, the_backlog_is_as_asked_for_or_the_systems_maximum);
    tcase_add_test(tests, accepted_sockets_inherit_the_listeners_options);
    tcase_add_test(tests, nagle_stays_on_and_keepalive_off_when_asked);
    tcase_add_test(tests, a_listener_that_fails_half_way_leaves_neither_descriptor_nor_path);
}

static void add_ipv6_tests(TCase *tests)
{
    tcase_add_test(tests, an_ipv6_listener_takes_ipv6_only_where_the_host_has_it);
    tcase_add_test(tests, a_star_listens_for_ipv4_and_shows_such_peers_as_ipv4);
    tcase_add_test(tests, a_star_listens_for_ipv6_where_the_host_has_it);
    tcase_add_test(tests, where_a_star_is_bound_is_a_star_again_with_the_port_picked);
    tcase_add_test(tests, a_star_falls_back_to_ipv4_when_the_kernel_has_no_ipv6);
    tcase_add_test(tests, a_star_falls_back_to_ipv4_when_no_ipv6_address_can_be_bound);
    tcase_add_test(tests, an_ipv6_address_without_ipv6_is_an_error_and_no_fall_back);
}

static void add_unix_tests(TCase *tests)
{
    tcase_add_test(tests, a_unix_path_is_listened_on_and_removed_when_the_listener_closes);
    tcase_add_test(tests, a_unix_path_whose_server_is_gone_is_taken_over);
    tcase_add_test(tests, a_path_that_is_another_listeners_now_is_not_removed);
    tcase_add_test(tests, of_servers_that_take_over_a_path_at_a_time_one_gets_it);
    tcase_add_test(tests, without_the_directorys_lock_nothing_is_taken_over_and_nobody_waits_for_ever);
    tcase_add_test(tests, a_unix_path_with_a_live_server_is_in_use_and_still_works);
    tcase_add_test(tests, a_live_server_whose_queue_is_full_is_not_taken_for_gone);
    tcase_add_test(tests, a_file_that_is_no_socket_is_never_removed);
    tcase_add_test(tests, a_path_in_a_directory_that_does_not_exist_is_not_found);
    tcase_add_test(tests, an_abstract_name_is_listened_on_without_a_file);
}

void suite_add_tests(Suite *suite)
{
    add_listening_tests(add_case(suite, "listening"));
    add_ipv6_tests(add_case(suite, "IPv6"));
    add_unix_tests(add_case(suite, "Unix-domain"));
}
