/* Where servers listen: every kind of endpoint, and clear errors. Pitfall 41. */
#include "tests/behaviour/harness.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <jinduo/error.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const suite_name = "endpoints";

static const char *text_of(const jd_endpoint *endpoint)
{
    static char text[JD_ENDPOINT_TEXT_BYTES];

    jd_endpoint_format(endpoint, text, sizeof(text));
    return text;
}

static jd_endpoint parsed(const char *text)
{
    jd_endpoint endpoint;

    ck_assert_int_eq(jd_endpoint_parse(&endpoint, text, NULL), 0);
    return endpoint;
}

/* What the server's side of the last connection calls its ends. */
static char local[JD_ENDPOINT_TEXT_BYTES], peer[JD_ENDPOINT_TEXT_BYTES];

static void note_ends(jd_tcp_connection *connection, void *arg)
{
    jd_endpoint endpoint;

    ck_assert_int_eq(jd_tcp_connection_local_endpoint(connection, &endpoint), 0);
    strcpy(local, text_of(&endpoint));
    ck_assert_int_eq(jd_tcp_connection_peer_endpoint(connection, &endpoint), 0);
    strcpy(peer, text_of(&endpoint));
}

static void expect_peer_to_be_known_still(jd_tcp_connection *connection, void *arg)
{
    jd_endpoint endpoint;
    jd_socket handle;

    ck_assert_int_eq(jd_tcp_connection_peer_endpoint(connection, &endpoint), 0);
    ck_assert_str_eq(text_of(&endpoint), peer);
    ck_assert_int_eq(jd_tcp_connection_local_endpoint(connection, &endpoint), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_native_handle(connection, &handle), JD_ENOTCONN);
}

static jd_tcp_server *serve_at(const char *listen)
{
    return serve(&(struct service){
        .options.listen = listen, .on_up = note_ends, .on_down = expect_peer_to_be_known_still, .on_message = echo });
}

/* Waits for the end of the connection it makes: no other may be open or on its way meanwhile. */
static void expect_service(const jd_endpoint *endpoint)
{
    unsigned down = connections_down();
    int client = client_connect_to(endpoint);

    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
    client_close(client);
    PUMP_UNTIL(connections_down() == down + 1);
    ck_assert_uint_eq(connections_up(), down + 1);
}

static bool has_ipv6(void)
{
    jd_endpoint endpoint = parsed("[::1]:0");
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    bool works = probe >= 0 && bind(probe, (const struct sockaddr *)endpoint.address.bytes, endpoint.length) == 0;

    close(probe);
    return works;
}

/* ---- kinds ---- */

START_TEST(with_port_zero_the_system_picks_one_which_the_server_returns)
{
    serve_at("127.0.0.1:0");
    char expected[JD_ENDPOINT_TEXT_BYTES];
    snprintf(expected, sizeof(expected), "127.0.0.1:%u", jd_endpoint_port(server_endpoint()));
    ck_assert_uint_ne(jd_endpoint_port(server_endpoint()), 0);

    expect_service(server_endpoint());

    ck_assert_str_eq(local, expected);
    ck_assert_str_eq(text_of(server_endpoint()), expected);
    ck_assert_int_eq(strncmp(peer, "127.0.0.1:", 10), 0);
}
END_TEST

START_TEST(an_ipv6_endpoint_is_served)
{
    if (!has_ipv6())
        return;
    serve_at("[::1]:0");

    expect_service(server_endpoint());

    ck_assert_int_eq(strncmp(peer, "[::1]:", 6), 0);
}
END_TEST

/* The name of an interface with a link-local address, and that address; false where there is none. */
static bool find_link_local(char *text, size_t size)
{
    struct ifaddrs *all, *one;
    char address[INET6_ADDRSTRLEN];
    bool found = false;

    ck_assert_int_eq(getifaddrs(&all), 0);
    for (one = all; one != NULL && !found; one = one->ifa_next) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)one->ifa_addr;
        if (in6 == NULL || in6->sin6_family != AF_INET6 || !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
            continue;
        inet_ntop(AF_INET6, &in6->sin6_addr, address, sizeof(address));
        snprintf(text, size, "[%s%%%s]:", address, one->ifa_name);
        found = true;
    }
    freeifaddrs(all);
    return found;
}

START_TEST(a_link_local_endpoint_is_served_on_its_interface)
{
    char prefix[JD_ENDPOINT_TEXT_BYTES - 8], text[JD_ENDPOINT_TEXT_BYTES];
    if (!find_link_local(prefix, sizeof(prefix)))
        return;
    snprintf(text, sizeof(text), "%s0", prefix);
    serve_at(text);

    expect_service(server_endpoint());

    ck_assert_str_eq(local, text_of(server_endpoint()));
    ck_assert_int_eq(strncmp(local, prefix, strlen(prefix)), 0);
    ck_assert_int_eq(strncmp(peer, prefix, strlen(prefix)), 0);
}
END_TEST

/* Without its interface it names no address (ipv6(7), sin6_scope_id). */
START_TEST(a_link_local_endpoint_without_an_interface_is_refused)
{
    jd_endpoint failed;
    if (!has_ipv6())
        return;
    jd_tcp_server *server = make_server(&(struct service){ .options.listen = "[fe80::1]:0" });

    ck_assert_int_eq(jd_tcp_server_start(server, &failed), JD_EINVAL);
    ck_assert_str_eq(text_of(&failed), "[fe80::1]:0");
}
END_TEST

START_TEST(the_highest_port_is_served)
{
    const char *text = own_tcp_endpoint(65535);
    serve_at(text);

    expect_service(server_endpoint());

    ck_assert_uint_eq(jd_endpoint_port(server_endpoint()), 65535);
    ck_assert_str_eq(local, text);
}
END_TEST

START_TEST(a_star_serves_both_families_and_an_ipv4_peer_is_called_by_its_ipv4_address)
{
    char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint;
    serve_at("*:0");
    snprintf(text, sizeof(text), "127.0.0.1:%u", jd_endpoint_port(server_endpoint()));
    endpoint = parsed(text);

    expect_service(&endpoint);

    ck_assert_int_eq(strncmp(peer, "127.0.0.1:", 10), 0);
    if (!has_ipv6())
        return;
    snprintf(text, sizeof(text), "[::1]:%u", jd_endpoint_port(server_endpoint()));
    endpoint = parsed(text);
    expect_service(&endpoint);
    ck_assert_int_eq(strncmp(peer, "[::1]:", 6), 0);
}
END_TEST

START_TEST(a_unix_domain_path_is_served_and_removed_at_the_end)
{
    struct stat status;
    const char *path = own_unix_endpoint("/tmp/jinduo-test-");
    jd_tcp_server *server = serve_at(path);
    ck_assert_int_eq(stat(path + 5, &status), 0);

    expect_service(server_endpoint());

    ck_assert_str_eq(local, path);
    ck_assert_str_eq(peer, "unix:");
    jd_tcp_server_destroy(server, NULL, NULL);
    ck_assert_int_eq(stat(path + 5, &status), -1);
}
END_TEST

START_TEST(an_abstract_unix_domain_name_is_served)
{
    serve_at(own_unix_endpoint("@jinduo-test-"));

    expect_service(server_endpoint());

    ck_assert_str_eq(local, own_unix_endpoint("@jinduo-test-"));
}
END_TEST

START_TEST(megabytes_pass_through_a_unix_domain_socket)
{
    enum { BYTES = 2 * 1024 * 1024 };
    serve(&(struct service){
        .options = { .listen = own_unix_endpoint("@jinduo-test-"), .above_watermark = JD_ABOVE_WATERMARK_KEEP_READING },
        .on_message = echo });
    int client = client_connect();

    client_send_pattern(client, 0, BYTES);
    client_shutdown(client);

    client_expect_pattern(client, 0, BYTES);
    client_expect_end(client);
}
END_TEST

/* ---- several ---- */

START_TEST(a_server_listens_on_several_endpoints)
{
    jd_endpoint second = parsed("127.0.0.1:0"), bound, reported,
                third = parsed(_i == 0 ? own_unix_endpoint("@jinduo-test-") : own_tcp_endpoint(65535));
    jd_tcp_server *server = make_server(
        &(struct service){ .on_up = note_ends, .on_down = expect_peer_to_be_known_still, .on_message = echo });
    ck_assert_int_eq(jd_tcp_server_listen(server, &second, NULL), 0);
    start_server(server);
    ck_assert_int_eq(jd_tcp_server_listen(server, &third, &bound), 0);
    ck_assert(jd_endpoint_equal(&bound, &third));

    ck_assert_uint_eq(jd_tcp_server_endpoint_count(server), 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(jd_tcp_server_endpoint(server, i, &reported), 0);
        expect_service(&reported);
    }
    ck_assert_int_eq(jd_tcp_server_endpoint(server, 3, &reported), JD_ENOENT);
}
END_TEST

START_TEST(several_servers_live_on_one_loop)
{
    jd_tcp_server *first = serve(&(struct service){ .on_message = echo });
    jd_tcp_server *second = serve(&(struct service){ .on_message = echo });
    jd_endpoint one = endpoint_of(first), other = endpoint_of(second);

    expect_service(&one);
    expect_service(&other);

    jd_tcp_server_destroy(first, NULL, NULL);
    pump_until_quiet();
    expect_service(&other);
}
END_TEST

/* ---- in use ---- */

START_TEST(an_endpoint_in_use_is_an_error_that_names_it)
{
    jd_tcp_server *first = serve(&(struct service){ .on_message = echo });
    jd_endpoint taken = endpoint_of(first), failed = { .length = 0 };
    jd_tcp_server *second = make_server(&(struct service){ .options.listen = text_of(&taken) });
    unsigned descriptors = open_descriptors();

    ck_assert_int_eq(jd_tcp_server_start(second, &failed), JD_EADDRINUSE);

    ck_assert(jd_endpoint_equal(&failed, &taken));
    /* On a Proactor a listener's descriptor goes when its operation has ended. */
    PUMP_UNTIL(open_descriptors() == descriptors);
    expect_service(&taken);
}
END_TEST

START_TEST(a_server_starts_on_all_its_endpoints_or_on_none)
{
    /* At an address that nobody else uses, so that nobody takes the port between the two starts. */
    jd_tcp_server *first = serve_at(own_tcp_endpoint(0));
    jd_endpoint taken = endpoint_of(first), failed;
    jd_tcp_server *second = make_server(&(struct service){ .options.io_threads = (unsigned)_i });
    unsigned descriptors = open_descriptors();
    ck_assert_int_eq(jd_tcp_server_listen(second, &taken, NULL), 0);

    ck_assert_int_eq(jd_tcp_server_start(second, &failed), JD_EADDRINUSE);

    ck_assert(jd_endpoint_equal(&failed, &taken));
    /* On a Proactor a listener's descriptor goes when its operation has ended. */
    PUMP_UNTIL(open_descriptors() == descriptors);
    /* The reason gone, the same server starts. */
    jd_tcp_server_destroy(first, NULL, NULL);
    int result = jd_tcp_server_start(second, NULL);
    ck_assert_msg(result == 0, "%s", jd_strerror(result));
    ck_assert_int_eq(jd_tcp_server_start(second, NULL), JD_EALREADY);
}
END_TEST

static const struct failed_start {
    unsigned threads;
    bool reuse_port, at_a_path;
} failed_starts[] = {
    { 0, false, true }, { 2, false, true }, { 2, true, true }, { 0, false, false }, { 2, false, false }
};

enum { FAILED_STARTS = sizeof(failed_starts) / sizeof(failed_starts[0]) };

START_TEST(a_start_that_failed_leaves_nothing_in_the_way_of_the_next)
{
    const struct failed_start *way = &failed_starts[_i];
    jd_tcp_server *first = serve_at(way->at_a_path ? own_unix_endpoint("@jinduo-test-") : own_tcp_endpoint(0));
    jd_endpoint taken = endpoint_of(first), where,
                free = parsed(way->at_a_path ? own_unix_endpoint("/tmp/jinduo-test-") : own_tcp_endpoint(65535));
    struct stat status;
    jd_tcp_server *second = make_server(&(struct service){
        .options = { .io_threads = way->threads, .reuse_port = way->reuse_port }, .on_message = echo });
    ck_assert_int_eq(jd_tcp_server_listen(second, &free, NULL), 0);
    ck_assert_int_eq(jd_tcp_server_listen(second, &taken, NULL), 0);

    /* One right after the other, though an engine may not have let go of what it listened on the first time. */
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(jd_tcp_server_start(second, NULL), JD_EADDRINUSE);
        ck_assert_int_eq(stat(own_unix_endpoint("/tmp/jinduo-test-") + 5, &status), -1);
        pump_turns((unsigned)i);
    }
    jd_tcp_server_destroy(first, NULL, NULL);
    pump_until_quiet();
    start_server(second);

    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(jd_tcp_server_endpoint(second, i, &where), 0);
        int client = client_connect_to(&where);
        client_send(client, "x", 1);
        client_expect(client, "x", 1);
    }
}
END_TEST

START_TEST(a_server_whose_start_failed_can_be_destroyed)
{
    jd_tcp_server *first = serve_at(own_tcp_endpoint(0));
    jd_endpoint taken = endpoint_of(first);
    jd_tcp_server *second = make_server(&(struct service){ .options.io_threads = (unsigned)_i });
    ck_assert_int_eq(jd_tcp_server_listen(second, &taken, NULL), 0);
    ck_assert_int_eq(jd_tcp_server_start(second, NULL), JD_EADDRINUSE);

    jd_tcp_server_destroy(second, NULL, NULL);

    pump_until_quiet();
    expect_service(&taken);
}
END_TEST

START_TEST(a_unix_domain_path_that_another_took_is_left_alone)
{
    const char *path = own_unix_endpoint("/tmp/jinduo-test-");
    struct stat status;
    jd_tcp_server *replaced = serve_at(path);
    ck_assert_int_eq(unlink(path + 5), 0);
    serve_at(path);

    jd_tcp_server_destroy(replaced, NULL, NULL);
    pump_until_quiet();

    ck_assert_int_eq(stat(path + 5, &status), 0);
    expect_service(server_endpoint());
}
END_TEST

START_TEST(a_unix_domain_path_in_use_is_an_error_and_a_dead_one_is_taken_over)
{
    const char *path = own_unix_endpoint("/tmp/jinduo-test-");
    jd_endpoint endpoint = parsed(path);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(dead, (const struct sockaddr *)endpoint.address.bytes, endpoint.length), 0);
    close(dead);

    serve_at(path);

    expect_service(&endpoint);
    ck_assert_int_eq(jd_tcp_server_start(make_server(&(struct service){ .options.listen = path }), NULL),
                     JD_EADDRINUSE);
    /* Whether the path was dead was asked by connecting to it, here to a server that lives. */
    PUMP_UNTIL(connections_down() == 2);
    expect_service(&endpoint);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "endpoints");

    tcase_add_test(tests, with_port_zero_the_system_picks_one_which_the_server_returns);
    tcase_add_test(tests, an_ipv6_endpoint_is_served);
    tcase_add_test(tests, a_link_local_endpoint_is_served_on_its_interface);
    tcase_add_test(tests, a_link_local_endpoint_without_an_interface_is_refused);
    tcase_add_test(tests, the_highest_port_is_served);
    tcase_add_test(tests, a_star_serves_both_families_and_an_ipv4_peer_is_called_by_its_ipv4_address);
    tcase_add_test(tests, a_unix_domain_path_is_served_and_removed_at_the_end);
    tcase_add_test(tests, an_abstract_unix_domain_name_is_served);
    tcase_add_test(tests, megabytes_pass_through_a_unix_domain_socket);
    tcase_add_loop_test(tests, a_server_listens_on_several_endpoints, 0, 2);
    tcase_add_test(tests, several_servers_live_on_one_loop);
    tcase_add_test(tests, an_endpoint_in_use_is_an_error_that_names_it);
    tcase_add_loop_test(tests, a_server_starts_on_all_its_endpoints_or_on_none, 0, 3);
    tcase_add_loop_test(tests, a_start_that_failed_leaves_nothing_in_the_way_of_the_next, 0, FAILED_STARTS);
    tcase_add_loop_test(tests, a_server_whose_start_failed_can_be_destroyed, 0, 3);
    tcase_add_test(tests, a_unix_domain_path_that_another_took_is_left_alone);
    tcase_add_test(tests, a_unix_domain_path_in_use_is_an_error_and_a_dead_one_is_taken_over);
}
