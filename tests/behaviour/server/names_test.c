/* Servers that listen on a host's name: looked up at each start, on all its addresses, at one port. */
#include "base/posix/system_calls.h"
#include "tests/behaviour/harness.h"
#include "tests/support/name_service.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

const char *const suite_name = "names";

static unsigned done_count;

static void note_done(void *arg)
{
    done_count++;
}

static jd_tcp_server *make(const char *listen)
{
    return make_server(&(struct service){ .options.listen = listen, .on_message = echo });
}

static void stop(jd_tcp_server *server)
{
    unsigned before = done_count;

    ck_assert_int_eq(jd_tcp_server_stop(server, 0, note_done, NULL), 0);
    PUMP_UNTIL(done_count == before + 1);
}

static const char *text_of(const jd_tcp_server *server, size_t index)
{
    static char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint;

    ck_assert_int_eq(jd_tcp_server_endpoint(server, index, &endpoint), 0);
    jd_endpoint_format(&endpoint, text, sizeof(text));
    return text;
}

static uint16_t port_of(const jd_tcp_server *server, size_t index)
{
    jd_endpoint endpoint;

    ck_assert_int_eq(jd_tcp_server_endpoint(server, index, &endpoint), 0);
    return jd_endpoint_port(&endpoint);
}

/* All its endpoints have one port, and are served. */
static void expect_service(const jd_tcp_server *server, size_t endpoints)
{
    ck_assert_uint_eq(jd_tcp_server_endpoint_count(server), endpoints);
    for (size_t i = 0; i < endpoints; i++) {
        jd_endpoint endpoint;
        ck_assert_int_eq(jd_tcp_server_endpoint(server, i, &endpoint), 0);
        ck_assert_uint_ne(jd_endpoint_port(&endpoint), 0);
        ck_assert_uint_eq(jd_endpoint_port(&endpoint), port_of(server, 0));
        int client = client_connect_to(&endpoint);
        client_send(client, "x", 1);
        client_expect(client, "x", 1);
    }
}

/* By the system's own name service. */
START_TEST(localhost_is_served_with_port_zero)
{
    jd_tcp_server *server = make("localhost:0");
    ck_assert_uint_eq(jd_tcp_server_endpoint_count(server), 0);

    start_server(server);

    ck_assert_uint_ge(jd_tcp_server_endpoint_count(server), 1);
    expect_service(server, jd_tcp_server_endpoint_count(server));
    ck_assert_uint_eq(log_messages(), 0);
}
END_TEST

static const char *const two_addresses[] = { "127.0.0.1", "127.0.0.2", NULL };

START_TEST(all_addresses_of_a_name_are_served_at_one_port)
{
    static const struct {
        unsigned threads;
        bool reuse_port;
    } cases[] = { { 0, false }, { 2, false }, { 2, true } };
    name_service_answer(two_addresses);
    jd_tcp_server *server = make_server(&(struct service){
        .options = { .listen = "two.example:0", .io_threads = cases[_i].threads, .reuse_port = cases[_i].reuse_port },
        .on_message = echo });

    start_server(server);

    expect_service(server, 2);
    ck_assert_int_eq(strncmp(text_of(server, 0), "127.0.0.1:", 10), 0);
    ck_assert_int_eq(strncmp(text_of(server, 1), "127.0.0.2:", 10), 0);
    stop(server); /* its threads use the table of system calls, which the test's end resets */
}
END_TEST

START_TEST(an_address_given_twice_is_one)
{
    static const char *const addresses[] = { "127.0.0.1", "127.0.0.2", "127.0.0.1", NULL };
    name_service_answer(addresses);
    jd_tcp_server *server = make("twice.example:0");

    start_server(server);

    expect_service(server, 2);
}
END_TEST

/* 192.0.2.0/24 is for documents (RFC 5737); but some systems let a socket be bound to any address. */
static int bind_own_address(int fd, const struct sockaddr *address, socklen_t length)
{
    const unsigned char *bytes = (const unsigned char *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;

    if (bytes[0] != 192)
        return bind(fd, address, length);
    errno = EADDRNOTAVAIL;
    return -1;
}

START_TEST(addresses_of_other_hosts_are_left_out)
{
    static const char *const addresses[] = { "192.0.2.1", "127.0.0.1", "192.0.2.2", NULL };
    name_service_answer(addresses);
    system_calls.bind = bind_own_address;
    jd_tcp_server *server = make("some.example:0");

    start_server(server);

    expect_service(server, 1);
}
END_TEST

static unsigned binds, fail_bind;

static int failing_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    if (++binds != fail_bind)
        return bind(fd, address, length);
    errno = EADDRINUSE;
    return -1;
}

START_TEST(a_port_that_is_taken_at_another_address_is_not_chosen)
{
    unsigned descriptors = open_descriptors();
    name_service_answer(two_addresses);
    fail_bind = 2;
    system_calls.bind = failing_bind;
    jd_tcp_server *server = make("two.example:0");

    start_server(server);

    ck_assert_uint_eq(binds, 4);
    expect_service(server, 2);
    stop(server);
    PUMP_UNTIL(open_descriptors() <= descriptors + 2); /* the two clients */
}
END_TEST

START_TEST(a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_host_and_address)
{
    char listen[64], message[160];
    jd_endpoint failed = { 0 };
    name_service_answer(two_addresses);
    jd_tcp_server *other = make("127.0.0.2:0");
    start_server(other);
    snprintf(listen, sizeof(listen), "two.example:%u", port_of(other, 0));
    jd_tcp_server *server = make(listen);

    ck_assert_int_eq(jd_tcp_server_start(server, &failed), JD_EADDRINUSE);

    snprintf(message, sizeof(message), "test: listen '%s': 127.0.0.2:%u: address already in use", listen,
             port_of(other, 0));
    ck_assert_msg(was_logged(message), "%s", logged());
    ck_assert_uint_eq(jd_endpoint_port(&failed), port_of(other, 0));
    ck_assert_uint_eq(jd_tcp_server_endpoint_count(server), 0);
    ck_assert_uint_eq(log_messages(), 1);
    ck_assert_int_eq(jd_tcp_server_run(server, 0), JD_EADDRINUSE);
    ck_assert_uint_eq(log_messages(), 2); /* not explained twice */
    stop(other);
    start_server(server);
    expect_service(server, 2);
}
END_TEST

START_TEST(a_name_that_has_no_address_here_is_an_error)
{
    static const char *const addresses[] = { "192.0.2.1", "192.0.2.2", NULL };
    jd_endpoint failed = { 0 };
    name_service_answer(addresses);
    system_calls.bind = bind_own_address;
    jd_tcp_server *server = make("others.example:80");

    ck_assert_int_eq(jd_tcp_server_start(server, &failed), JD_EADDRNOTAVAIL);

    ck_assert_msg(was_logged("test: listen 'others.example:80': 192.0.2.2:80: address not available on this host"),
                  "%s", logged());
}
END_TEST

START_TEST(a_name_that_is_not_found_is_an_error_that_names_it_and_may_be_found_later)
{
    jd_endpoint failed = { 0 };
    name_service_fail(EAI_NONAME, 0);
    jd_tcp_server *server = make_server(&(struct service){ .on_message = echo });
    ck_assert_int_eq(jd_tcp_server_listen_text(server, "nowhere.example:0"), 0);

    ck_assert_int_eq(jd_tcp_server_start(server, &failed), JD_ENOENT);

    ck_assert_uint_eq(failed.length, 0);
    ck_assert_msg(was_logged("test: listen 'nowhere.example:0': no address is known for the name"), "%s", logged());
    name_service_answer(two_addresses);
    start_server(server);
    ck_assert_uint_eq(jd_tcp_server_endpoint_count(server), 3);
}
END_TEST

START_TEST(a_name_is_looked_up_at_each_start_and_keeps_its_port)
{
    static const char *const others[] = { "127.0.0.3", NULL };
    name_service_answer(two_addresses);
    jd_tcp_server *server = make("moving.example:0");
    start_server(server);
    uint16_t port = port_of(server, 0);
    stop(server);
    ck_assert_uint_eq(jd_tcp_server_endpoint_count(server), 2);
    name_service_answer(others);

    start_server(server);

    expect_service(server, 1);
    ck_assert_uint_eq(port_of(server, 0), port);
    ck_assert_int_eq(strncmp(text_of(server, 0), "127.0.0.3:", 10), 0);
}
END_TEST

START_TEST(a_started_server_listens_on_more_texts)
{
    char listen[64];
    name_service_answer(two_addresses);
    jd_tcp_server *server = make("127.0.0.5:0");
    start_server(server);
    snprintf(listen, sizeof(listen), "two.example:%u", port_of(server, 0));

    ck_assert_int_eq(jd_tcp_server_listen_text(server, listen), 0);
    snprintf(listen, sizeof(listen), "127.0.0.6:%u", port_of(server, 0));
    ck_assert_int_eq(jd_tcp_server_listen_text(server, listen), 0);

    expect_service(server, 4);
    name_service_fail(EAI_AGAIN, 0);
    ck_assert_int_eq(jd_tcp_server_listen_text(server, "late.example:0"), JD_EAGAIN);
    expect_service(server, 4);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *real = harness_case(suite, "the system's names"), *tests = harness_case(suite, "names");

    tcase_add_test(real, localhost_is_served_with_port_zero);
    tcase_add_checked_fixture(tests, name_service_install, name_service_remove);
    tcase_add_loop_test(tests, all_addresses_of_a_name_are_served_at_one_port, 0, 3);
    tcase_add_test(tests, an_address_given_twice_is_one);
    tcase_add_test(tests, addresses_of_other_hosts_are_left_out);
    tcase_add_test(tests, a_port_that_is_taken_at_another_address_is_not_chosen);
    tcase_add_test(tests, a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_host_and_address);
    tcase_add_test(tests, a_name_that_has_no_address_here_is_an_error);
    tcase_add_test(tests, a_name_that_is_not_found_is_an_error_that_names_it_and_may_be_found_later);
    tcase_add_test(tests, a_name_is_looked_up_at_each_start_and_keeps_its_port);
    tcase_add_test(tests, a_started_server_listens_on_more_texts);
}
