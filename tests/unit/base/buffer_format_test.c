#include "base/ring_buffer.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

const char *const suite_name = "buffer_format";

enum { LONGEST = 1100 };

START_TEST(text_is_appended_as_printf_makes_it)
{
    jd_buffer *buffer = buffer_with("", 0);

    ck_assert_int_eq(jd_buffer_append_format(buffer, "HTTP/1.1 %d %s\r\n", 200, "OK"), 0);
    ck_assert_int_eq(jd_buffer_append_format(buffer, "Content-Length: %zu\r\n%s", (size_t)12, ""), 0);
    assert_text(buffer, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n");

    jd_buffer_destroy(buffer);
}
END_TEST

/* Short and long text, behind bytes that wrap around the end of the ring. */
START_TEST(text_of_any_length_is_appended)
{
    static char text[LONGEST + 1], expected[LONGEST + 8];

    memset(text, 'x', LONGEST);
    for (int length = 0; length <= LONGEST; length += length < 240 || length > 280 ? 17 : 1) {
        jd_buffer *buffer = buffer_wrapped_at("before", 3);
        ck_assert_int_eq(jd_buffer_append_format(buffer, "%.*s!", length, text), 0);
        snprintf(expected, sizeof(expected), "before%.*s!", length, text);
        assert_text(buffer, expected);
        jd_buffer_destroy(buffer);
    }
}
END_TEST

/* In the "C" locale a wide character above 127 cannot be converted. */
START_TEST(what_printf_cannot_convert_changes_nothing)
{
    static const wchar_t wide[] = { 0x4e2d, 0 };
    jd_buffer *buffer = buffer_with("before", 6);

    ck_assert_int_eq(jd_buffer_append_format(buffer, "%ls", wide), JD_EINVAL);
    assert_text(buffer, "before");

    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(without_memory_nothing_is_appended)
{
    static const int lengths[] = { 100, 1000 };
    jd_buffer *buffer = buffer_with("before", 6);

    checking_memory_fail_at(1);
    ck_assert_int_eq(jd_buffer_append_format(buffer, "%*d", lengths[_i], 1), JD_ENOMEM);
    assert_text(buffer, "before");
    ck_assert_int_eq(jd_buffer_append_format(buffer, "%s", "!"), 0);
    assert_text(buffer, "before!");

    jd_buffer_destroy(buffer);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("buffer format");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    tcase_add_test(tests, text_is_appended_as_printf_makes_it);
    tcase_add_test(tests, text_of_any_length_is_appended);
    tcase_add_test(tests, what_printf_cannot_convert_changes_nothing);
    tcase_add_loop_test(tests, without_memory_nothing_is_appended, 0, 2);
}
