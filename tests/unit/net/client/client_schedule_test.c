/* When a client tries again. */
#include "net/client/client_schedule.h"
#include "tests/support/check_main.h"

const char *const suite_name = "client_schedule";

static uint32_t longest_after(unsigned attempts, uint32_t initial_ms, uint32_t max_ms)
{
    const struct client_schedule schedule = { .initial_ms = initial_ms, .max_ms = max_ms, .attempt = attempts };

    return client_schedule_longest_ms(&schedule);
}

START_TEST(the_longest_wait_doubles_up_to_the_maximum)
{
    static const uint32_t expected[] = { 500, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000 };

    for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        ck_assert_uint_eq(longest_after(i, 500, 30000), expected[i]);
    ck_assert_uint_eq(longest_after(UINT32_MAX, 500, 30000), 30000);
}
END_TEST

START_TEST(there_is_no_overflow_near_the_end_of_the_numbers)
{
    ck_assert_uint_eq(longest_after(2, UINT32_MAX / 2 + 1, UINT32_MAX), UINT32_MAX);
    ck_assert_uint_eq(longest_after(40, 1, UINT32_MAX), UINT32_MAX);
    ck_assert_uint_eq(longest_after(9, UINT32_MAX, UINT32_MAX), UINT32_MAX);
    ck_assert_uint_eq(longest_after(9, 1, 1), 1);
}
END_TEST

/* Between half of the longest and all of it, all over that range. */
START_TEST(the_wait_is_shortened_by_up_to_half_at_random)
{
    enum { WAITS = 20000, LONGEST_MS = 1000, PARTS = 10 };
    struct client_schedule schedule = {
        .initial_ms = LONGEST_MS, .max_ms = LONGEST_MS, .attempt = 1, .random = test_seed()
    };
    unsigned parts[PARTS] = { 0 };

    for (int i = 0; i < WAITS; i++) {
        uint32_t wait_ms = client_schedule_wait_ms(&schedule);
        ck_assert_uint_le(wait_ms, LONGEST_MS);
        ck_assert_uint_ge(wait_ms, LONGEST_MS / 2);
        parts[(wait_ms - LONGEST_MS / 2) * PARTS / (LONGEST_MS / 2 + 1)]++;
    }

    for (int i = 0; i < PARTS; i++)
        ck_assert_uint_gt(parts[i], WAITS / PARTS / 2);
}
END_TEST

START_TEST(a_wait_of_a_millisecond_is_not_shortened_to_none)
{
    struct client_schedule schedule = { .initial_ms = 1, .max_ms = 1, .random = test_seed() };

    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(client_schedule_wait_ms(&schedule), 1);
}
END_TEST

START_TEST(two_clients_do_not_wait_alike)
{
    struct client_schedule one = { .initial_ms = 1000000, .max_ms = 1000000, .random = 4096 }, other = one;
    unsigned alike = 0;
    other.random += 64;

    for (int i = 0; i < 100; i++)
        alike += client_schedule_wait_ms(&one) == client_schedule_wait_ms(&other);

    ck_assert_uint_lt(alike, 5);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("client_schedule");

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, the_longest_wait_doubles_up_to_the_maximum);
    tcase_add_test(tests, there_is_no_overflow_near_the_end_of_the_numbers);
    tcase_add_test(tests, the_wait_is_shortened_by_up_to_half_at_random);
    tcase_add_test(tests, a_wait_of_a_millisecond_is_not_shortened_to_none);
    tcase_add_test(tests, two_clients_do_not_wait_alike);
}
