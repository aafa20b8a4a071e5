/* The search that stands for memmem(3) where the C library has none: it finds what memmem finds. */
#include "base/byte_search_portable.h"
#include "tests/support/check_main.h"

#include <stdlib.h>
#include <string.h>

const char *const suite_name = "byte_search";

/* Where the needle is found, searched in memory of exactly that length, so that a sanitizer sees a byte too much. */
static ptrdiff_t position(const char *text, const char *needle)
{
    size_t length = strlen(text);
    char *data = malloc(length > 0 ? length : 1);
    const char *found;
    ptrdiff_t result;

    ck_assert_ptr_nonnull(data);
    memcpy(data, text, length);
    found = byte_search_portable(data, length, needle, strlen(needle));
    result = found != NULL ? found - data : -1;
    free(data);
    return result;
}

START_TEST(the_first_occurrence_is_found)
{
    ck_assert_int_eq(position("abcabc", "a"), 0);
    ck_assert_int_eq(position("abcabc", "c"), 2);
    ck_assert_int_eq(position("abcabc", "bca"), 1);
    ck_assert_int_eq(position("aaaab", "aab"), 2);
    ck_assert_int_eq(position("header\r\n\r\n", "\r\n\r\n"), 6);
}
END_TEST

START_TEST(a_needle_that_is_not_there_or_is_longer_is_not_found)
{
    ck_assert_int_eq(position("abcabc", "d"), -1);
    ck_assert_int_eq(position("abcabc", "cabd"), -1);
    ck_assert_int_eq(position("abc", "abcd"), -1);
    ck_assert_int_eq(position("", "a"), -1);
    ck_assert_int_eq(position("01234567890123456", "0123456789012345X"), -1);
}
END_TEST

START_TEST(a_needle_that_ends_with_the_data_is_found)
{
    ck_assert_int_eq(position("0123456789", "9"), 9);
    ck_assert_int_eq(position("0123456789", "789"), 7);
    ck_assert_int_eq(position("x01234567890123456", "01234567890123456"), 1);
    ck_assert_int_eq(position("01234567890123456", "01234567890123456"), 0);
}
END_TEST

#ifdef __GLIBC__
/* Few different bytes, so that many places match the needle's beginning. */
START_TEST(random_searches_find_what_memmem_finds)
{
    enum { ROUNDS = 20000, DATA_MAX = 200, NEEDLE_MAX = 40 };
    uint64_t state = test_seed();

    for (int i = 0; i < ROUNDS; i++) {
        size_t length = random_below(&state, DATA_MAX), needle_length = 1 + random_below(&state, NEEDLE_MAX);
        uint64_t letters = 1 + random_below(&state, 3);
        char *data = malloc(length + 1), needle[NEEDLE_MAX];

        for (size_t j = 0; j < length; j++)
            data[j] = (char)('a' + random_below(&state, letters));
        for (size_t j = 0; j < needle_length; j++)
            needle[j] = (char)('a' + random_below(&state, letters));
        if (length >= needle_length && random_below(&state, 2) == 0)
            memcpy(needle, data + random_below(&state, length - needle_length + 1), needle_length);
        ck_assert_ptr_eq(byte_search_portable(data, length, needle, needle_length),
                         memmem(data, length, needle, needle_length));
        free(data);
    }
}
END_TEST
#endif

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("byte_search");

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, the_first_occurrence_is_found);
    tcase_add_test(tests, a_needle_that_is_not_there_or_is_longer_is_not_found);
    tcase_add_test(tests, a_needle_that_ends_with_the_data_is_found);
#ifdef __GLIBC__
    tcase_add_test(tests, random_searches_find_what_memmem_finds);
#endif
}
