#include "tests/support/check_main.h"
#include "tests/support/sockets.h"

#include <arpa/inet.h>
#include <jinduo/error.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

/* "unix:", first, and x until the path or name has length bytes. */
static const char *unix_text(char first, size_t length)
{
    static char text[256] = "unix:";

    memset(text + 5, 'x', length);
    text[5] = first;
    text[5 + length] = '\0';
    return text;
}

static const char *const canonical[] = {
    "1.2.3.4:80",
    "0.0.0.0:0",
    "255.255.255.255:65535",
    "[::1]:80",
    "[::]:0",
    "[2001:db8::1]:65535",
    "[fe80::1%lo]:80",
    "[::ffff:1.2.3.4]:80",
    "*:80",
    "*:0",
    "unix:/run/jinduo.sock",
    "unix:relative",
    "unix:./@name",
    "unix:@abstract",
    "unix:/with space:and:colons",
};

enum { CANONICAL = sizeof(canonical) / sizeof(canonical[0]) };

START_TEST(what_is_parsed_is_formatted_to_the_same_text)
{
    jd_endpoint endpoint = parsed(canonical[_i]);

    ck_assert_str_eq(formatted(&endpoint), canonical[_i]);
}
END_TEST

START_TEST(ipv6_is_formatted_in_its_shortest_form)
{
    jd_endpoint endpoint = parsed("[2001:0DB8:0:0:0:0:0:1]:080");

    ck_assert_str_eq(formatted(&endpoint), "[2001:db8::1]:80");
}
END_TEST

START_TEST(ipv4_becomes_its_socket_address)
{
    jd_endpoint endpoint = parsed("1.2.3.4:8000");
    struct sockaddr_in address;

    ck_assert_uint_eq(endpoint.length, sizeof(address));
    memcpy(&address, endpoint_sockaddr(&endpoint), sizeof(address));
    ck_assert_int_eq(address.sin_family, AF_INET);
    ck_assert_uint_eq(ntohs(address.sin_port), 8000);
    ck_assert_uint_eq(ntohl(address.sin_addr.s_addr), 0x01020304);
    ck_assert_uint_eq(endpoint.flags, 0);
}
END_TEST

START_TEST(ipv6_becomes_its_socket_address)
{
    jd_endpoint endpoint = parsed("[::1]:8000");
    struct sockaddr_in6 address;

    ck_assert_uint_eq(endpoint.length, sizeof(address));
    memcpy(&address, endpoint_sockaddr(&endpoint), sizeof(address));
    ck_assert_int_eq(address.sin6_family, AF_INET6);
    ck_assert_uint_eq(ntohs(address.sin6_port), 8000);
    ck_assert_mem_eq(&address.sin6_addr, &in6addr_loopback, sizeof(in6addr_loopback));
    ck_assert_uint_eq(address.sin6_scope_id, 0);
    ck_assert_uint_eq(endpoint.flags, 0);
}
END_TEST

START_TEST(a_scope_is_an_interfaces_name_or_number)
{
    unsigned loopback = if_nametoindex("lo");
    jd_endpoint by_name = parsed("[fe80::1%lo]:80");
    jd_endpoint by_number;
    char text[64];

    snprintf(text, sizeof(text), "[fe80::1%%%u]:80", loopback);
    by_number = parsed(text);

    ck_assert_uint_ne(loopback, 0);
    ck_assert(jd_endpoint_equal(&by_name, &by_number));
}
END_TEST

START_TEST(a_scope_without_an_interface_is_formatted_as_its_number)
{
    jd_endpoint endpoint = parsed("[fe80::1%4294967295]:80");

    ck_assert_str_eq(formatted(&endpoint), "[fe80::1%4294967295]:80");
}
END_TEST

START_TEST(a_star_is_every_ipv6_address_marked_for_ipv4_as_well)
{
    jd_endpoint endpoint = parsed("*:80");
    jd_endpoint ipv6_only = parsed("[::]:80");

    ck_assert_int_eq(endpoint_sockaddr(&endpoint)->sa_family, AF_INET6);
    ck_assert_uint_eq(endpoint.flags, ENDPOINT_ALL);
    ck_assert(!jd_endpoint_equal(&endpoint, &ipv6_only));
}
END_TEST

START_TEST(a_path_of_107_bytes_is_the_longest)
{
    const char *text = unix_text('/', 107);
    const char *reason;
    jd_endpoint endpoint = parsed(text);

    ck_assert_str_eq(formatted(&endpoint), text);
    ck_assert_int_eq(jd_endpoint_parse(&endpoint, unix_text('/', 108), &reason), JD_EINVAL);
    ck_assert_str_eq(reason, "path is too long (at most 107 bytes)");
}
END_TEST

START_TEST(an_abstract_name_of_107_bytes_is_the_longest)
{
    const char *text = unix_text('@', 108);
    const char *reason;
    jd_endpoint endpoint = parsed(text);

    ck_assert_uint_eq(endpoint.length, sizeof(struct sockaddr_un));
    ck_assert_str_eq(formatted(&endpoint), text);
    ck_assert_int_eq(jd_endpoint_parse(&endpoint, unix_text('@', 109), &reason), JD_EINVAL);
    ck_assert_str_eq(reason, "abstract name is too long (at most 107 bytes)");
}
END_TEST

START_TEST(an_abstract_name_begins_with_a_zero_and_has_none_at_its_end)
{
    jd_endpoint endpoint = parsed("unix:@name");
    const struct sockaddr_un *address = (const struct sockaddr_un *)endpoint_sockaddr(&endpoint);

    ck_assert_uint_eq(endpoint.length, offsetof(struct sockaddr_un, sun_path) + 5);
    ck_assert_mem_eq(address->sun_path, "\0name", 5);
}
END_TEST

static const struct {
    const char *text;
    const char *reason;
} refused[] = {
    { NULL, "endpoint is empty" },
    { "", "endpoint is empty" },
    { "80", "port is missing" },
    { "1.2.3.4", "port is missing" },
    { "1.2.3.4:", "port is missing" },
    { "*:", "port is missing" },
    { "*", "port is missing" },
    { "[::1]", "port is missing" },
    { "[::1]:", "port is missing" },
    { ":80", "address is missing (\"*\" stands for all)" },
    { "1.2.3.4:65536", "port out of range (0 to 65535)" },
    { "1.2.3.4:18446744073709551696", "port out of range (0 to 65535)" },
    { "1.2.3.4:+80", "port is not a decimal number" },
    { "1.2.3.4:-1", "port is not a decimal number" },
    { "1.2.3.4: 80", "port is not a decimal number" },
    { "1.2.3.4:80 ", "port is not a decimal number" },
    { "1.2.3.4:80\n", "port is not a decimal number" },
    { "1.2.3.4:80x", "port is not a decimal number" },
    { "1.2.3.4:99999x", "port is not a decimal number" },
    { "1.2.3.4:0x50", "port is not a decimal number" },
    { "1.2.3.4:http", "port is not a decimal number" },
    { "localhost:80", "not an IPv4 address (host names are not looked up)" },
    { "1.2.3:80", "not an IPv4 address (host names are not looked up)" },
    { "1.2.3.256:80", "not an IPv4 address (host names are not looked up)" },
    { "01.2.3.4:80", "not an IPv4 address (host names are not looked up)" },
    { " 1.2.3.4:80", "not an IPv4 address (host names are not looked up)" },
    { "+1.2.3.4:80", "not an IPv4 address (host names are not looked up)" },
    { "**:80", "not an IPv4 address (host names are not looked up)" },
    { "::1:80", "an IPv6 address needs brackets, as in [::1]:80" },
    { "1.2.3.4:80:90", "an IPv6 address needs brackets, as in [::1]:80" },
    { "[::1:80", "the bracket is not closed" },
    { "[::1]80", "no colon between the bracket and the port" },
    { "[::1]]:80", "no colon between the bracket and the port" },
    { "[]:80", "not an IPv6 address between the brackets" },
    { "[[::1]:80", "not an IPv6 address between the brackets" },
    { "[1.2.3.4]:80", "not an IPv6 address between the brackets" },
    { "[::g]:80", "not an IPv6 address between the brackets" },
    { "[%lo]:80", "not an IPv6 address between the brackets" },
    { "[::1%]:80", "scope is neither an interface's name nor its number" },
    { "[::1%0]:80", "scope is neither an interface's name nor its number" },
    { "[::1%+1]:80", "scope is neither an interface's name nor its number" },
    { "[::1%4294967296]:80", "scope is neither an interface's name nor its number" },
    { "[::1%no-such-card]:80", "scope is neither an interface's name nor its number" },
    { "[::1%lo%lo]:80", "scope is neither an interface's name nor its number" },
    { "11111111111111111111111111111111111111111111111111111111111111111111.2.3.4:80", "address is too long" },
    { "unix:", "path is empty" },
    { "unix:@", "abstract name is empty" },
};

enum { REFUSED = sizeof(refused) / sizeof(refused[0]) };

START_TEST(text_that_is_no_endpoint_is_refused_with_the_reason)
{
    const char *reason = NULL;
    jd_endpoint endpoint;

    ck_assert_int_eq(jd_endpoint_parse(&endpoint, refused[_i].text, &reason), JD_EINVAL);
    ck_assert_str_eq(reason, refused[_i].reason);
}
END_TEST

START_TEST(a_refused_text_leaves_the_endpoint_untouched)
{
    jd_endpoint endpoint = parsed("1.2.3.4:80");
    jd_endpoint before = endpoint;

    for (int i = 0; i < REFUSED; i++)
        jd_endpoint_parse(&endpoint, refused[i].text, NULL);

    ck_assert_mem_eq(&endpoint, &before, sizeof(before));
}
END_TEST

START_TEST(an_empty_endpoint_is_called_none)
{
    jd_endpoint endpoint = { 0 };

    ck_assert_str_eq(formatted(&endpoint), "none");
}
END_TEST

START_TEST(text_that_does_not_fit_is_cut_and_ended_and_its_complete_length_returned)
{
    jd_endpoint endpoint = parsed("1.2.3.4:80");
    char text[8] = "xxxxxxx";

    ck_assert_uint_eq(jd_endpoint_format(&endpoint, text, 5), strlen("1.2.3.4:80"));
    ck_assert_str_eq(text, "1.2.");
    ck_assert_int_eq(text[5], 'x');
    ck_assert_uint_eq(jd_endpoint_format(&endpoint, NULL, 0), strlen("1.2.3.4:80"));
}
END_TEST

START_TEST(the_port_is_in_host_order_and_zero_where_there_is_none)
{
    jd_endpoint ipv4 = parsed("1.2.3.4:8000"), ipv6 = parsed("[::1]:65535"), all = parsed("*:1");
    jd_endpoint path = parsed("unix:/path"), none = { 0 };

    ck_assert_uint_eq(jd_endpoint_port(&ipv4), 8000);
    ck_assert_uint_eq(jd_endpoint_port(&ipv6), 65535);
    ck_assert_uint_eq(jd_endpoint_port(&all), 1);
    ck_assert_uint_eq(jd_endpoint_port(&path), 0);
    ck_assert_uint_eq(jd_endpoint_port(&none), 0);
}
END_TEST

START_TEST(endpoints_are_equal_when_every_part_is)
{
    static const char *const different[] = {
        "1.2.3.4:80", "1.2.3.4:81", "1.2.3.5:80", "[::1]:80",   "[::1%1]:80", "[::2]:80",  "[::1]:81",    "*:80",
        "0.0.0.0:80", "unix:/path", "unix:/pat",  "unix:/patt", "unix:@path", "unix:path", "unix:/path/",
    };
    const int count = sizeof(different) / sizeof(different[0]);

    for (int i = 0; i < count; i++) {
        for (int j = 0; j < count; j++) {
            jd_endpoint a = parsed(different[i]), b = parsed(different[j]);
            ck_assert_msg(jd_endpoint_equal(&a, &b) == (i == j), "%s, %s", different[i], different[j]);
        }
    }
}
END_TEST

START_TEST(padding_and_flow_labels_do_not_make_addresses_differ)
{
    struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(80), .sin_zero = "rubbish" };
    struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6, .sin6_port = htons(80), .sin6_flowinfo = 7 };
    jd_endpoint parsed_ipv4 = parsed("0.0.0.0:80"), parsed_ipv6 = parsed("[::]:80"), endpoint;

    endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&ipv4, sizeof(ipv4));
    ck_assert(jd_endpoint_equal(&endpoint, &parsed_ipv4));
    endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&ipv6, sizeof(ipv6));
    ck_assert(jd_endpoint_equal(&endpoint, &parsed_ipv6));
}
END_TEST

START_TEST(an_address_of_another_family_or_too_short_becomes_an_empty_endpoint)
{
    struct sockaddr_storage address = { .ss_family = AF_NETLINK };
    jd_endpoint endpoint = parsed("1.2.3.4:80");

    endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&address, sizeof(address));
    ck_assert_uint_eq(endpoint.length, 0);
    address.ss_family = AF_INET6;
    endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&address, sizeof(struct sockaddr_in6) - 1);
    ck_assert_uint_eq(endpoint.length, 0);
    endpoint_from_sockaddr(&endpoint, NULL, 0);
    ck_assert_uint_eq(endpoint.length, 0);
}
END_TEST

START_TEST(a_path_that_fills_its_address_without_a_final_zero_is_kept_whole)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char expected[JD_ENDPOINT_TEXT_BYTES] = "unix:";
    jd_endpoint endpoint;

    memset(address.sun_path, 'x', sizeof(address.sun_path));
    memset(expected + 5, 'x', sizeof(address.sun_path));
    endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&address, sizeof(address));

    ck_assert_str_eq(formatted(&endpoint), expected);
}
END_TEST

START_TEST(a_path_is_the_same_with_and_without_its_final_zero_counted)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/path" };
    jd_endpoint path = parsed("unix:/path"), counted, not_counted, whole;

    endpoint_from_sockaddr(&counted, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 6);
    endpoint_from_sockaddr(&not_counted, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 5);
    endpoint_from_sockaddr(&whole, (struct sockaddr *)&address, sizeof(address));

    ck_assert(jd_endpoint_equal(&counted, &path));
    ck_assert(jd_endpoint_equal(&not_counted, &path));
    ck_assert(jd_endpoint_equal(&whole, &path));
}
END_TEST

START_TEST(a_unix_domain_socket_without_a_name_has_an_endpoint_without_one)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    jd_endpoint endpoint;

    endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path));

    ck_assert_str_eq(formatted(&endpoint), "unix:");
}
END_TEST

/* By way of a peer address and back. */
static jd_endpoint through_peer(const char *text)
{
    jd_endpoint endpoint = parsed(text);
    struct peer_address peer;

    peer_address_from_sockaddr(&peer, endpoint_sockaddr(&endpoint), endpoint.length);
    peer_address_to_endpoint(&peer, &endpoint);
    return endpoint;
}

START_TEST(a_peer_address_takes_24_bytes_and_keeps_address_port_and_scope)
{
    static const char *const texts[] = { "1.2.3.4:80", "[2001:db8::1]:65535", "[fe80::1%lo]:80" };

    ck_assert_uint_eq(sizeof(struct peer_address), 24);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        jd_endpoint endpoint = through_peer(texts[i]);
        ck_assert_str_eq(formatted(&endpoint), texts[i]);
    }
}
END_TEST

START_TEST(an_ipv4_peer_of_an_ipv6_socket_becomes_ipv4_again)
{
    jd_endpoint endpoint = through_peer("[::ffff:1.2.3.4]:80");

    ck_assert_str_eq(formatted(&endpoint), "1.2.3.4:80");
}
END_TEST

START_TEST(a_unix_domain_peer_keeps_only_its_family)
{
    jd_endpoint endpoint = through_peer("unix:/path");

    ck_assert_str_eq(formatted(&endpoint), "unix:");
}
END_TEST

START_TEST(a_peer_that_is_not_known_has_an_empty_endpoint)
{
    struct sockaddr_storage address = { .ss_family = AF_NETLINK };
    struct peer_address peer;
    jd_endpoint endpoint;

    peer_address_from_sockaddr(&peer, (struct sockaddr *)&address, sizeof(address));
    peer_address_to_endpoint(&peer, &endpoint);

    ck_assert_int_eq(peer.family, AF_UNSPEC);
    ck_assert_uint_eq(endpoint.length, 0);
}
END_TEST

const char *const suite_name = "endpoint";

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("endpoint");

    tcase_add_loop_test(tests, what_is_parsed_is_formatted_to_the_same_text, 0, CANONICAL);
    tcase_add_test(tests, ipv6_is_formatted_in_its_shortest_form);
    tcase_add_test(tests, ipv4_becomes_its_socket_address);
    tcase_add_test(tests, ipv6_becomes_its_socket_address);
    tcase_add_test(tests, a_scope_is_an_interfaces_name_or_number);
    tcase_add_test(tests, a_scope_without_an_interface_is_formatted_as_its_number);
    tcase_add_test(tests, a_star_is_every_ipv6_address_marked_for_ipv4_as_well);
    tcase_add_test(tests, a_path_of_107_bytes_is_the_longest);
    tcase_add_test(tests, an_abstract_name_of_107_bytes_is_the_longest);
    tcase_add_test(tests, an_abstract_name_begins_with_a_zero_and_has_none_at_its_end);
    tcase_add_loop_test(tests, text_that_is_no_endpoint_is_refused_with_the_reason, 0, REFUSED);
    tcase_add_test(tests, a_refused_text_leaves_the_endpoint_untouched);
    tcase_add_test(tests, an_empty_endpoint_is_called_none);
    tcase_add_test(tests, text_that_does_not_fit_is_cut_and_ended_and_its_complete_length_returned);
    tcase_add_test(tests, the_port_is_in_host_order_and_zero_where_there_is_none);
    tcase_add_test(tests, endpoints_are_equal_when_every_part_is);
    tcase_add_test(tests, padding_and_flow_labels_do_not_make_addresses_differ);
    tcase_add_test(tests, an_address_of_another_family_or_too_short_becomes_an_empty_endpoint);
    tcase_add_test(tests, a_path_that_fills_its_address_without_a_final_zero_is_kept_whole);
    tcase_add_test(tests, a_path_is_the_same_with_and_without_its_final_zero_counted);
    tcase_add_test(tests, a_unix_domain_socket_without_a_name_has_an_endpoint_without_one);
    tcase_add_test(tests, a_peer_address_takes_24_bytes_and_keeps_address_port_and_scope);
    tcase_add_test(tests, an_ipv4_peer_of_an_ipv6_socket_becomes_ipv4_again);
    tcase_add_test(tests, a_unix_domain_peer_keeps_only_its_family);
    tcase_add_test(tests, a_peer_that_is_not_known_has_an_empty_endpoint);
    suite_add_tcase(suite, tests);
}
