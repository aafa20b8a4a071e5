#include "net/filter/proxy_filter.h"
#include "tests/support/check_main.h"

#include <jinduo/error.h>
#include <string.h>

const char *const suite_name = "proxy_sources";

static struct proxy_settings settings;

static int parse(const char *text)
{
    memset(&settings, 0, sizeof(settings));
    return proxy_sources_parse(&settings, "test", text);
}

static bool trusts(const char *address)
{
    struct peer_address peer = { .family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET };

    if (strcmp(address, "unix") == 0)
        peer.family = AF_UNIX;
    else
        ck_assert_int_eq(inet_pton(peer.family, address, peer.bytes), 1);
    return proxy_trusts(&settings, &peer);
}

/* Trusted, and the nearest ones that are not. */
static const struct {
    const char *sources, *inside[4], *outside[4];
} lists[] = {
    { "127.0.0.1", { "127.0.0.1", "::ffff:127.0.0.1" }, { "127.0.0.0", "127.0.0.2", "unix", "::1" } },
    { "10.0.0.0/8", { "10.0.0.0", "10.255.255.255" }, { "9.255.255.255", "11.0.0.0" } },
    { "10.1.2.128/25", { "10.1.2.128", "10.1.2.255" }, { "10.1.2.127", "10.1.3.128" } },
    { "1.2.3.4/31", { "1.2.3.4", "1.2.3.5" }, { "1.2.3.3", "1.2.3.6" } },
    { "0.0.0.0/0", { "0.0.0.0", "255.255.255.255" }, { "::", "2001:db8::", "unix" } },
    { "::1", { "::1" }, { "::", "::2", "127.0.0.1" } },
    { "fd00::/8", { "fd00::", "fdff:ffff::ffff" }, { "fc00::", "fe00::" } },
    { "2001:db8::/33", { "2001:db8:7fff::" }, { "2001:db8:8000::" } },
    { "::ffff:10.0.0.0/104", { "10.1.1.1", "::ffff:10.1.1.1" }, { "11.0.0.0" } },
    { "unix", { "unix" }, { "127.0.0.1", "::1" } },
    { "all", { "unix", "0.0.0.0", "255.255.255.255", "ffff::" }, { NULL } },
    { " 10.0.0.1,\t10.0.0.3 , ::1 ", { "10.0.0.1", "10.0.0.3", "::1" }, { "10.0.0.2" } },
};

START_TEST(a_list_trusts_what_is_in_it_and_nothing_else)
{
    ck_assert_int_eq(parse(lists[_i].sources), 0);
    for (int i = 0; i < 4; i++) {
        if (lists[_i].inside[i] != NULL)
            ck_assert_msg(trusts(lists[_i].inside[i]), "%s", lists[_i].inside[i]);
        if (lists[_i].outside[i] != NULL)
            ck_assert_msg(!trusts(lists[_i].outside[i]), "%s", lists[_i].outside[i]);
    }
}
END_TEST

START_TEST(a_peer_of_an_unknown_family_is_not_trusted)
{
    const struct peer_address peer = { .family = AF_UNSPEC };

    ck_assert_int_eq(parse("0.0.0.0/0, ::/0, unix"), 0);
    ck_assert(!proxy_trusts(&settings, &peer));
}
END_TEST

static const char *const bad_lists[] = {
    "",
    " , ",
    "localhost",
    "ALL",
    "10.0.0",
    "10.0.0.1/",
    "10.0.0.1/33",
    "10.0.0.1/-1",
    "10.0.0.1/8",
    "10.0.0.1/1000",
    "10.0.0.0/8/8",
    "::1/129",
    "fd00::1/8",
    "[::1]",
    "127.0.0.1:80",
    "127.0.0.1;127.0.0.2",
    "127.0.0.1, nonsense",
    "1111111111111111111111111111111111111111111111111111111111111111111111111111111111",
};

START_TEST(a_list_with_a_mistake_is_refused)
{
    ck_assert_int_eq(parse(bad_lists[_i]), JD_EINVAL);
}
END_TEST

START_TEST(a_list_has_at_most_64_sources)
{
    char text[PROXY_SOURCES_MAX * 4 + 8] = "";

    for (int i = 0; i < PROXY_SOURCES_MAX; i++)
        strcat(text, "::1 ");
    ck_assert_int_eq(parse(text), 0);
    strcat(text, "::1");
    ck_assert_int_eq(parse(text), JD_EINVAL);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("proxy_sources");

    tcase_add_loop_test(tests, a_list_trusts_what_is_in_it_and_nothing_else, 0, sizeof(lists) / sizeof(lists[0]));
    tcase_add_test(tests, a_peer_of_an_unknown_family_is_not_trusted);
    tcase_add_loop_test(tests, a_list_with_a_mistake_is_refused, 0, sizeof(bad_lists) / sizeof(bad_lists[0]));
    tcase_add_test(tests, a_list_has_at_most_64_sources);
    suite_add_tcase(suite, tests);
}
