#include "net/filter/proxy_header.h"

#include "tests/support/check_main.h"
#include "tests/support/proxy_headers.h"

#include <jinduo/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const suite_name = "proxy_header";

enum { LIMIT = 4096, MUTATIONS = 20000 };

static struct v2_header v2;
static struct proxy_header parsed;
static const char *reason;

/* Parses a copy of exactly that length, which the address sanitizer guards. */
static int parse_within(const void *data, size_t length, size_t limit)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    int result;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, length);
    reason = NULL;
    result = proxy_header_parse(&parsed, copy, length, limit, &reason);
    free(copy);
    ck_assert(result < 0 ? reason != NULL : reason == NULL);
    return result;
}

static int parse(const void *data, size_t length)
{
    return parse_within(data, length, LIMIT);
}

static int parse_text(const char *text)
{
    return parse(text, strlen(text));
}

static int parse_v2(void)
{
    return parse(v2.bytes, v2.length);
}

static const char *peer_text(void)
{
    static char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint;

    peer_address_to_endpoint(&parsed.peer, &endpoint);
    jd_endpoint_format(&endpoint, text, sizeof(text));
    return text;
}

/* ---- version 1 ---- */

static const struct {
    const char *line, *peer; /* peer NULL: the socket's */
} good_lines[] = {
    { "PROXY TCP4 1.2.3.4 127.0.0.1 443 8080\r\n", "1.2.3.4:443" },
    { "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535" },
    { "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0" },
    { "PROXY TCP6 2001:db8::1 ::1 443 8080\r\n", "[2001:db8::1]:443" },
    { "PROXY TCP6 FFFF:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535" },
    { "PROXY TCP6 ::ffff:1.2.3.4 ::1 443 8080\r\n", "1.2.3.4:443" },
    { "PROXY UNKNOWN\r\n", NULL },
    { "PROXY UNKNOWN 1 2 three  \r\n", NULL },
    { "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
      NULL },
};

START_TEST(a_line_of_version_1_names_the_client)
{
    const char *line = good_lines[_i].line;
    char with_more[256];

    ck_assert_int_eq(parse_text(line), 1);
    ck_assert_uint_eq(parsed.bytes, strlen(line));
    ck_assert(parsed.has_peer == (good_lines[_i].peer != NULL));
    if (parsed.has_peer)
        ck_assert_str_eq(peer_text(), good_lines[_i].peer);
    for (size_t cut = 0; cut < strlen(line); cut++)
        ck_assert_int_eq(parse(line, cut), 0);
    snprintf(with_more, sizeof(with_more), "%sPROXY \r\n", line);
    ck_assert_int_eq(parse_text(with_more), 1);
    ck_assert_uint_eq(parsed.bytes, strlen(line));
}
END_TEST

static const char *const bad_lines[] = {
    "G",
    "GET / HTTP/1.1\r\n",
    "PROXX",
    "proxy TCP4 1.2.3.4 127.0.0.1 443 8080\r\n",
    "PROXY\r\n",
    "PROXY \r\n",
    "PROXY \n",
    "PROXY TCP4\r\n",
    "PROXY TCP4 \r\n",
    "PROXY TCP5 1.2.3.4 127.0.0.1 443 8080\r\n",
    "PROXY UDP4 1.2.3.4 127.0.0.1 443 8080\r\n",
    "PROXY UNKNOWNS\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 443 8080\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 443 8080\r\r\n",
    "PROXY TCP4 1.2.3.4\r127.0.0.1 443 8080\r\n",
    "PROXY  TCP4 1.2.3.4 127.0.0.1 443 8080\r\n",
    "PROXY TCP4  1.2.3.4 127.0.0.1 443 8080\r\n",
    "PROXY TCP4 1.2.3.4  127.0.0.1 443 8080\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 443  8080\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 443 8080 \r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 443 8080 1\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 443\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 443 \r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 443 65536\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 65536 1\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 0443 8080\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 +443 8080\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 -1 8080\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 0x1 8080\r\n",
    "PROXY TCP4 1.2.3.4 127.0.0.1 18446744073709551617 8080\r\n",
    "PROXY TCP4 1.2.3 127.0.0.1 443 8080\r\n",
    "PROXY TCP4 1.2.3.256 127.0.0.1 443 8080\r\n",
    "PROXY TCP4 1.2.3.04 127.0.0.1 443 8080\r\n",
    "PROXY TCP4 1.2.3.4 localhost 443 8080\r\n",
    "PROXY TCP4 ::1 ::1 443 8080\r\n",
    "PROXY TCP6 1.2.3.4 127.0.0.1 443 8080\r\n",
    "PROXY TCP6 fe80::1%lo ::1 443 8080\r\n",
    "PROXY TCP6 [::1] ::1 443 8080\r\n",
};

START_TEST(a_malformed_line_of_version_1_is_refused)
{
    ck_assert_int_eq(parse_text(bad_lines[_i]), JD_EPROTO);
}
END_TEST

START_TEST(a_zero_in_a_line_of_version_1_is_refused)
{
    static const char line[] = "PROXY UNKNOWN\0 x\r\n";

    ck_assert_int_eq(parse(line, sizeof(line) - 1), JD_EPROTO);
}
END_TEST

START_TEST(a_line_of_version_1_has_at_most_107_bytes)
{
    char line[128] = "PROXY UNKNOWN ";

    memset(line + strlen(line), 'x', sizeof(line) - strlen(line));
    ck_assert_int_eq(parse(line, 106), 0);
    ck_assert_int_eq(parse(line, 107), JD_EMSGSIZE);
    ck_assert_int_eq(parse(line, sizeof(line)), JD_EMSGSIZE);
    memcpy(line + 106, "\r\n", 2);
    ck_assert_int_eq(parse(line, sizeof(line)), JD_EMSGSIZE);
    memcpy(line + 105, "\r\n", 2);
    ck_assert_int_eq(parse(line, sizeof(line)), 1);
    ck_assert_uint_eq(parsed.bytes, 107);
}
END_TEST

/* ---- version 2 ---- */

static const struct {
    uint8_t command, family;
    const char *peer;
} kinds[] = {
    { V2_PROXY_COMMAND, V2_TCP4, "1.2.3.4:443" },
    { V2_PROXY_COMMAND, V2_UDP4, "1.2.3.4:443" },
    { V2_PROXY_COMMAND, V2_TCP6, "[2001:db8::1]:443" },
    { V2_PROXY_COMMAND, V2_UNIX, "unix:" },
    { V2_PROXY_COMMAND, V2_UNSPEC, NULL },
    { V2_LOCAL_COMMAND, V2_UNSPEC, NULL },
    { V2_LOCAL_COMMAND, V2_TCP4, NULL },
    { V2_LOCAL_COMMAND, 0xff, NULL },
};

static void expect_parsed(const char *peer)
{
    ck_assert_int_eq(parse_v2(), 1);
    ck_assert_uint_eq(parsed.bytes, v2.length);
    ck_assert(parsed.has_peer == (peer != NULL));
    if (peer != NULL)
        ck_assert_str_eq(peer_text(), peer);
    for (size_t cut = 0; cut < v2.length; cut++)
        ck_assert_int_eq(parse(v2.bytes, cut), 0);
}

START_TEST(version_2_names_the_client_with_and_without_tlvs)
{
    v2_begin(&v2, kinds[_i].command, kinds[_i].family);
    expect_parsed(kinds[_i].peer);
    v2_add(&v2, 0x04, 0, 0);
    v2_add(&v2, 0x20, 300, 7);
    expect_parsed(kinds[_i].peer);
    v2_add_checksum(&v2);
    expect_parsed(kinds[_i].peer);
}
END_TEST

START_TEST(the_checksum_of_the_tests_is_crc32c)
{
    ck_assert_uint_eq(crc32c((const uint8_t *)"123456789", 9), 0xe3069283); /* RFC 3720, B.4 has more */
}
END_TEST

START_TEST(a_wrong_checksum_is_refused_whichever_bit_is_wrong)
{
    size_t at;

    v2_begin(&v2, V2_PROXY_COMMAND, V2_TCP4);
    at = v2_add_room_for_checksum(&v2);
    v2_add(&v2, 0x05, 3, 9);
    v2_set_checksum(&v2, at);
    ck_assert_int_eq(parse_v2(), 1);
    /* From the addresses on: a change before them has reasons of its own. */
    for (size_t i = 16; i < v2.length; i++) {
        for (int bit = 0; bit < 8; bit++) {
            v2.bytes[i] ^= (uint8_t)(1 << bit);
            if (i != at - 3) /* the type: no checksum any more */
                ck_assert_int_eq(parse_v2(), JD_EPROTO);
            v2.bytes[i] ^= (uint8_t)(1 << bit);
        }
    }
}
END_TEST

START_TEST(a_checksum_of_another_length_or_a_second_one_is_refused)
{
    size_t at;

    v2_begin(&v2, V2_PROXY_COMMAND, V2_TCP4);
    v2_add(&v2, 0x03, 3, 0);
    ck_assert_int_eq(parse_v2(), JD_EPROTO);
    v2_begin(&v2, V2_PROXY_COMMAND, V2_TCP4);
    at = v2_add_room_for_checksum(&v2);
    v2_add(&v2, 0x03, 4, 0);
    v2_set_checksum(&v2, at);
    ck_assert_int_eq(parse_v2(), JD_EPROTO);
}
END_TEST

START_TEST(tlvs_that_do_not_fill_the_header_exactly_are_refused)
{
    v2_begin(&v2, V2_PROXY_COMMAND, V2_TCP4);
    v2_add(&v2, 0x04, 5, 1);
    for (size_t cut = 1; cut < 8; cut++) {
        v2.length -= cut;
        v2_end(&v2);
        ck_assert_int_eq(parse_v2(), JD_EPROTO);
        v2.length += cut;
    }
    v2_end(&v2);
    v2.bytes[v2.length - 6] = 6;
    ck_assert_int_eq(parse_v2(), JD_EPROTO);
}
END_TEST

START_TEST(a_length_without_room_for_the_addresses_is_refused_at_once)
{
    static const uint8_t families[] = { V2_TCP4, V2_TCP6, V2_UNIX };

    v2_begin(&v2, V2_PROXY_COMMAND, families[_i]);
    v2.length--;
    v2_end(&v2);
    ck_assert_int_eq(parse(v2.bytes, V2_FIXED_BYTES), JD_EPROTO);
    ck_assert_int_eq(parse_v2(), JD_EPROTO);
}
END_TEST

START_TEST(other_versions_commands_and_families_are_refused)
{
    for (unsigned byte = 0; byte <= 0xff; byte++) {
        bool is_known = byte == 0x20 || byte == 0x21;
        v2_begin(&v2, (uint8_t)byte, V2_TCP4);
        ck_assert_int_eq(parse(v2.bytes, 13), is_known ? 0 : JD_EPROTO);
    }
    for (unsigned byte = 0; byte <= 0xff; byte++) {
        bool is_known =
            byte == 0 || byte == 0x11 || byte == 0x12 || byte == 0x21 || byte == 0x22 || byte == 0x31 || byte == 0x32;
        v2_begin(&v2, V2_PROXY_COMMAND, V2_UNIX);
        v2.bytes[13] = (uint8_t)byte;
        ck_assert_int_eq(parse(v2.bytes, V2_FIXED_BYTES), is_known ? 0 : JD_EPROTO);
    }
}
END_TEST

START_TEST(version_2_is_as_long_as_the_limit_and_no_longer)
{
    v2_begin(&v2, V2_PROXY_COMMAND, V2_TCP4);
    v2_add(&v2, 0x04, LIMIT - v2.length - 3, 1);
    ck_assert_uint_eq(v2.length, LIMIT);
    ck_assert_int_eq(parse_v2(), 1);
    v2_begin(&v2, V2_PROXY_COMMAND, V2_TCP4);
    v2_add(&v2, 0x04, LIMIT - v2.length - 3 + 1, 1);
    ck_assert_int_eq(parse(v2.bytes, V2_FIXED_BYTES), JD_EMSGSIZE);
    v2_begin(&v2, V2_PROXY_COMMAND, V2_TCP4);
    v2_add(&v2, 0x04, V2_HEADER_ROOM - v2.length - 3, 1);
    ck_assert_int_eq(parse_within(v2.bytes, v2.length, PROXY_V2_MAX_BYTES), 1);
    ck_assert_uint_eq(parsed.bytes, PROXY_V2_MAX_BYTES);
}
END_TEST

/* ---- both ---- */

static uint32_t random_state;

static uint32_t random_number(uint32_t below)
{
    random_state ^= random_state << 13; /* Marsaglia, "Xorshift RNGs" */
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % below;
}

static size_t make_header(uint8_t *bytes)
{
    if (random_number(2) == 0) {
        const char *line = good_lines[random_number(sizeof(good_lines) / sizeof(good_lines[0]))].line;
        memcpy(bytes, line, strlen(line));
        return strlen(line);
    }
    v2_begin(&v2, V2_PROXY_COMMAND, kinds[random_number(5)].family);
    for (uint32_t i = random_number(3); i > 0; i--)
        v2_add(&v2, (uint8_t)random_number(8), random_number(40), 5);
    if (random_number(2) == 0)
        v2_add_checksum(&v2);
    memcpy(bytes, v2.bytes, v2.length);
    return v2.length;
}

/* What is decided stays decided when more bytes come, and the header is never longer than the bytes. */
START_TEST(a_mutated_header_is_parsed_or_refused_alike_however_much_has_come)
{
    uint8_t bytes[1024];

    random_state = 2463534242;
    for (int round = 0; round < MUTATIONS; round++) {
        size_t length = make_header(bytes), bytes_of_header, shorter;
        int result;

        for (uint32_t i = random_number(4); i > 0; i--)
            bytes[random_number((uint32_t)length)] = (uint8_t)random_number(256);
        result = parse(bytes, length);
        bytes_of_header = parsed.bytes;
        if (result == 1)
            ck_assert(bytes_of_header > 0 && bytes_of_header <= length);
        shorter = random_number((uint32_t)length);
        if (parse(bytes, shorter) != 0)
            ck_assert(result != 0 && (shorter >= bytes_of_header || result < 0));
    }
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("proxy_header");

    tcase_add_loop_test(tests, a_line_of_version_1_names_the_client, 0, sizeof(good_lines) / sizeof(good_lines[0]));
    tcase_add_loop_test(tests, a_malformed_line_of_version_1_is_refused, 0, sizeof(bad_lines) / sizeof(bad_lines[0]));
    tcase_add_test(tests, a_zero_in_a_line_of_version_1_is_refused);
    tcase_add_test(tests, a_line_of_version_1_has_at_most_107_bytes);
    tcase_add_loop_test(tests, version_2_names_the_client_with_and_without_tlvs, 0, sizeof(kinds) / sizeof(kinds[0]));
    tcase_add_test(tests, the_checksum_of_the_tests_is_crc32c);
    tcase_add_test(tests, a_wrong_checksum_is_refused_whichever_bit_is_wrong);
    tcase_add_test(tests, a_checksum_of_another_length_or_a_second_one_is_refused);
    tcase_add_test(tests, tlvs_that_do_not_fill_the_header_exactly_are_refused);
    tcase_add_loop_test(tests, a_length_without_room_for_the_addresses_is_refused_at_once, 0, 3);
    tcase_add_test(tests, other_versions_commands_and_families_are_refused);
    tcase_add_test(tests, version_2_is_as_long_as_the_limit_and_no_longer);
    tcase_add_test(tests, a_mutated_header_is_parsed_or_refused_alike_however_much_has_come);
    suite_add_tcase(suite, tests);
}
