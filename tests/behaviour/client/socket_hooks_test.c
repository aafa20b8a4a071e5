/* Options of sockets before they are bound, listen or connect: by the hook, and those that the library sets. What the kernel
 * does with two of them, TCP_DEFER_ACCEPT and TCP_FASTOPEN, is looked at over loopback. */
#include "tests/behaviour/client/client_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const suite_name = "socket_hooks";

/* ---- the hook ---- */

/* The moments, as letters. */
static char moments[64];
static char fail_at;

static bool is_open_socket(jd_socket handle)
{
    int type = 0;
    socklen_t length = sizeof(type);

    return getsockopt(handle, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

static int note_moment(jd_socket handle, jd_socket_moment moment, const jd_endpoint *endpoint, void *arg)
{
    char letter = moment == JD_SOCKET_BEFORE_BIND ? 'b' : moment == JD_SOCKET_BEFORE_LISTEN ? 'l' : 'c';

    ck_assert(is_open_socket(handle));
    ck_assert_ptr_eq(arg, moments);
    ck_assert_uint_gt(endpoint->length, 0);
    moments[strlen(moments)] = letter;
    return letter == fail_at ? JD_ENODATA : 1;
}

static jd_tcp_server_options noting(const char *listen)
{
    return (jd_tcp_server_options){ .listen = listen, .socket_hook = note_moment, .socket_hook_arg = moments };
}

START_TEST(the_hook_comes_before_bind_and_before_listen)
{
    struct service service = { .options = noting(_i == 1 ? own_unix_endpoint("/tmp/jinduo-test-") : NULL),
                               .on_message = echo };
    service.options.io_threads = _i == 2 ? 2 : 0;
    service.options.reuse_port = _i == 2;

    serve(&service);

    ck_assert_str_eq(moments, _i == 2 ? "blbl" : "bl");
    int client = client_connect();
    client_send(client, "x", 1);
    client_expect(client, "x", 1);
    ck_assert_str_eq(moments, _i == 2 ? "blbl" : "bl");
}
END_TEST

START_TEST(a_hook_that_fails_fails_the_start_with_its_error)
{
    struct stat status;
    jd_endpoint failed = { 0 };
    bool at_a_path = _i < 2;
    const char *text = at_a_path ? own_unix_endpoint("/tmp/jinduo-test-") : own_tcp_endpoint(65535);
    jd_tcp_server *server = make_server(&(struct service){ .options = noting(text) });
    unsigned descriptors = open_descriptors();
    fail_at = _i % 2 == 0 ? 'b' : 'l';

    ck_assert_int_eq(jd_tcp_server_start(server, &failed), JD_ENODATA);

    ck_assert_str_eq(text_of_endpoint(&failed), text);
    ck_assert(!at_a_path || stat(text + 5, &status) == -1);
    PUMP_UNTIL(open_descriptors() == descriptors);
    fail_at = 0;
    start_server(server);
}
END_TEST

START_TEST(the_hook_comes_before_a_client_connects)
{
    serve(&(struct service){ .on_message = echo });
    jd_tcp_client_options options = { .bind = _i == 1 ? "127.0.0.1:0" : NULL,
                                      .socket_hook = note_moment,
                                      .socket_hook_arg = moments };

    start_client(&(struct client_use){ .options = options });

    PUMP_UNTIL(clients_up() == 1);
    ck_assert_str_eq(moments, _i == 1 ? "bc" : "c");
}
END_TEST

START_TEST(a_hook_that_fails_fails_the_attempt_with_its_error)
{
    unsigned descriptors = open_descriptors();
    fail_at = 'c';
    serve(&(struct service){ .on_message = echo });
    unsigned with_server = open_descriptors();

    start_client(&(struct client_use){ .options = { .socket_hook = note_moment, .socket_hook_arg = moments } });

    PUMP_UNTIL(reports_noted() == 1);
    ck_assert_int_eq(noted_report(0)->report.event, JD_CONNECT_FAILED);
    ck_assert_int_eq(noted_report(0)->report.error, JD_ENODATA);
    ck_assert_uint_eq(clients_up(), 0);
    ck_assert_uint_eq(open_descriptors(), with_server);
    ck_assert_uint_gt(with_server, descriptors);
}
END_TEST

/* ---- options of the library ---- */

static int option_of(jd_tcp_connection *connection, int level, int name)
{
    jd_socket handle;
    int value = -1;
    socklen_t length = sizeof(value);

    ck_assert_int_eq(jd_tcp_connection_native_handle(connection, &handle), 0);
    ck_assert_int_eq(getsockopt(handle, level, name, &value, &length), 0);
    return value;
}

static void expect_times(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(option_of(connection, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option_of(connection, IPPROTO_TCP, TCP_KEEPIDLE), 40);
    ck_assert_int_eq(option_of(connection, IPPROTO_TCP, TCP_KEEPINTVL), 7);
    ck_assert_int_eq(option_of(connection, IPPROTO_TCP, TCP_KEEPCNT), 3);
#ifdef TCP_USER_TIMEOUT
    ck_assert_int_eq(option_of(connection, IPPROTO_TCP, TCP_USER_TIMEOUT), 12345);
#endif
}

START_TEST(the_times_of_keepalive_and_the_user_timeout_are_those_of_each_connection)
{
    serve(&(struct service){ .options = { .keepalive = true,
                                          .keepalive_idle_s = 40,
                                          .keepalive_interval_s = 7,
                                          .keepalive_count = 3,
                                          .user_timeout_ms = 12345 },
                             .on_up = expect_times });

    start_client(&(struct client_use){ .options = { .keepalive = true,
                                                    .keepalive_idle_s = 40,
                                                    .keepalive_interval_s = 7,
                                                    .keepalive_count = 3,
                                                    .user_timeout_ms = 12345 },
                                       .on_up = expect_times });

    PUMP_UNTIL(connections_up() == 2); /* both ends */
}
END_TEST

START_TEST(unix_domain_connections_do_without_them)
{
    serve(&(struct service){ .options = { .listen = own_unix_endpoint("@jinduo-test-"),
                                          .keepalive = true,
                                          .keepalive_count = 3,
                                          .user_timeout_ms = 12345 } });

    start_client(
        &(struct client_use){ .options = { .keepalive = true, .keepalive_count = 3, .user_timeout_ms = 12345 } });

    PUMP_UNTIL(connections_up() == 2); /* both ends */
}
END_TEST

/* ---- mode and owner of a path ---- */

static struct stat before_listen;

static int look_at_path(jd_socket handle, jd_socket_moment moment, const jd_endpoint *endpoint, void *path)
{
    if (moment == JD_SOCKET_BEFORE_LISTEN)
        ck_assert_int_eq(stat(path, &before_listen), 0);
    return 0;
}

START_TEST(a_path_has_its_mode_before_anybody_can_connect)
{
    static const struct {
        mode_t mask;
        unsigned mode;
        mode_t expected;
    } cases[] = { { 0, 0600, 0600 }, { 0177, 0666, 0666 }, { 077, 0660, 0660 }, { 0, 0777, 0777 }, { 027, 0, 0750 } };
    static char path[64];
    snprintf(path, sizeof(path), "%s", own_unix_endpoint("/tmp/jinduo-test-"));
    mode_t mask = umask(cases[_i].mask);

    serve(&(struct service){ .options = { .listen = path,
                                          .unix_mode = cases[_i].mode,
                                          .socket_hook = look_at_path,
                                          .socket_hook_arg = path + 5 },
                             .on_message = echo });

    umask(mask);
    ck_assert_uint_eq(before_listen.st_mode & 07777, cases[_i].expected);
    int client = client_connect();
    client_send(client, "x", 1);
    client_expect(client, "x", 1);
}
END_TEST

/* Only root may give a file away. */
START_TEST(a_path_has_its_owner_before_anybody_can_connect)
{
    static char path[64];
    struct stat status;
    snprintf(path, sizeof(path), "%s", own_unix_endpoint("/tmp/jinduo-test-"));
    jd_tcp_server *server = make_server(&(struct service){ .options = { .listen = path,
                                                                        .unix_uid = 65534,
                                                                        .unix_gid = 65533,
                                                                        .unix_mode = 0660,
                                                                        .socket_hook = look_at_path,
                                                                        .socket_hook_arg = path + 5 } });
    bool may = geteuid() == 0;

    ck_assert_int_eq(jd_tcp_server_start(server, NULL), may ? 0 : JD_EPERM);

    ck_assert_int_eq(stat(path + 5, &status), may ? 0 : -1);
    if (!may)
        return;
    ck_assert_uint_eq(before_listen.st_uid, 65534);
    ck_assert_uint_eq(before_listen.st_gid, 65533);
    ck_assert_uint_eq(before_listen.st_mode & 07777, 0660);
}
END_TEST

START_TEST(an_abstract_name_has_neither)
{
    serve(&(struct service){
        .options = { .listen = own_unix_endpoint("@jinduo-test-"), .unix_mode = 0600, .unix_uid = 65534 },
        .on_message = echo });

    int client = client_connect();

    client_send(client, "x", 1);
    client_expect(client, "x", 1);
}
END_TEST

/* ---- TCP_DEFER_ACCEPT ---- */

static int defer_accept(jd_socket handle, jd_socket_moment moment, const jd_endpoint *endpoint, void *arg)
{
    int seconds = 30;

    if (moment != JD_SOCKET_BEFORE_LISTEN)
        return 0;
    return setsockopt(handle, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)) < 0 ? -errno : 0;
}

START_TEST(with_deferred_accept_a_connection_comes_up_with_its_first_bytes)
{
    serve(&(struct service){ .options.socket_hook = defer_accept, .on_message = echo });
    int client = client_connect();
    pump_until_quiet();
    ck_assert_uint_eq(statistics().connections_accepted, 0);

    client_send(client, "hello", 5);

    client_expect(client, "hello", 5);
    ck_assert_uint_eq(connections_up(), 1);
}
END_TEST

/* ---- TCP_FASTOPEN ---- */

static int fast_open(jd_socket handle, jd_socket_moment moment, const jd_endpoint *endpoint, void *arg)
{
    int on = moment == JD_SOCKET_BEFORE_LISTEN ? 16 : 1;
    int name = moment == JD_SOCKET_BEFORE_LISTEN ? TCP_FASTOPEN : TCP_FASTOPEN_CONNECT;

    if (moment == JD_SOCKET_BEFORE_BIND)
        return 0;
    return setsockopt(handle, IPPROTO_TCP, name, &on, sizeof(on)) < 0 ? -errno : 0;
}

/* A network of the test's own, in which the system permits servers to do it (sysctl net.ipv4.tcp_fastopen), with a loop
 * whose threads are in it, too. Not everybody may have one: then the test has nothing to look at. */
static bool enter_own_network(void)
{
    struct ifreq loopback = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    int file, probe;
    bool is_ready;

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    is_ready = unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
    the_loop = make_loop(NULL);
    probe = socket(AF_INET, SOCK_STREAM, 0);
    file = is_ready ? open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY | O_CLOEXEC) : -1;
    is_ready = file >= 0 && ioctl(probe, SIOCSIFFLAGS, &loopback) == 0 && write(file, "3", 1) == 1;
    close(file);
    close(probe);
    if (!is_ready)
        printf("# no network of its own: %s\n", strerror(errno));
    return is_ready;
}

static unsigned syn_data;

static void note_syn_data(jd_tcp_connection *connection, void *arg)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);
    jd_socket handle;

    ck_assert_int_eq(jd_tcp_connection_native_handle(connection, &handle), 0);
    ck_assert_int_eq(getsockopt(handle, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
    syn_data += (info.tcpi_options & TCPI_OPT_SYN_DATA) != 0;
}

static char peer_of_client[JD_ENDPOINT_TEXT_BYTES];

static void say_hello(jd_tcp_connection *connection, void *arg)
{
    jd_endpoint peer;

    ck_assert_int_eq(jd_tcp_connection_peer_endpoint(connection, &peer), 0);
    strcpy(peer_of_client, text_of_endpoint(&peer));
    ck_assert_int_eq(jd_tcp_connection_send(connection, "hello", 5), 0);
}

START_TEST(with_fast_open_the_first_bytes_come_with_the_syn)
{
    if (!enter_own_network())
        return;
    serve(&(struct service){
        .options = { .listen = "127.0.0.1:0", .socket_hook = fast_open }, .on_up = note_syn_data, .on_message = echo });

    /* The first connection gets the cookie (RFC 7413), and the others use it. */
    for (unsigned i = 1; i <= 3; i++) {
        jd_tcp_client *client =
            start_client(&(struct client_use){ .options.socket_hook = fast_open, .on_up = say_hello });
        PUMP_UNTIL(client_bytes() == 5 * (size_t)i);
        ck_assert_str_eq(peer_of_client, text_of_endpoint(server_endpoint()));
        ck_assert_int_eq(jd_tcp_client_disconnect(client, 0, NULL, NULL), 0);
        PUMP_UNTIL(clients_down() == i);
    }

    ck_assert_uint_eq(syn_data, 2);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = client_case(suite, "socket hooks");

    tcase_add_loop_test(tests, the_hook_comes_before_bind_and_before_listen, 0, 3);
    tcase_add_loop_test(tests, a_hook_that_fails_fails_the_start_with_its_error, 0, 4);
    tcase_add_loop_test(tests, the_hook_comes_before_a_client_connects, 0, 2);
    tcase_add_test(tests, a_hook_that_fails_fails_the_attempt_with_its_error);
    tcase_add_test(tests, the_times_of_keepalive_and_the_user_timeout_are_those_of_each_connection);
    tcase_add_test(tests, unix_domain_connections_do_without_them);
    tcase_add_loop_test(tests, a_path_has_its_mode_before_anybody_can_connect, 0, 5);
    tcase_add_test(tests, a_path_has_its_owner_before_anybody_can_connect);
    tcase_add_test(tests, an_abstract_name_has_neither);
    tcase_add_test(tests, with_deferred_accept_a_connection_comes_up_with_its_first_bytes);
    tcase_add_test(tests, with_fast_open_the_first_bytes_come_with_the_syn);
}
