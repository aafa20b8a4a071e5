#include "base/ring_buffer.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <string.h>

const char *const suite_name = "buffer_integers";

/* value 0x0102… of so many bytes, as it lies in memory. */
static uint64_t counting_integer(unsigned bytes, jd_byte_order order, uint8_t raw[8])
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        /* The highest bit of every byte is set: none may be taken for a sign. */
        value = value << 8 | (0x81u + i);
        raw[order == JD_BIG_ENDIAN ? i : bytes - 1 - i] = (uint8_t)(0x81 + i);
    }
    return value;
}

START_TEST(integers_of_every_width_and_order_are_read_at_any_alignment)
{
    unsigned bytes = (unsigned)_i / 2 + 1;
    jd_byte_order order = _i % 2 == 0 ? JD_BIG_ENDIAN : JD_LITTLE_ENDIAN;
    uint8_t raw[8];
    uint64_t expected = counting_integer(bytes, order, raw);

    /* From 17 bytes before the wrap to 1, so that it lies before, across and behind. */
    for (size_t before = 1; before < 18; before++) {
        jd_buffer *buffer = buffer_wrapped_at("0123456789abcdefg", before);
        uint64_t value = 0;

        ck_assert_int_eq(jd_buffer_append(buffer, raw, bytes), 0);
        ck_assert_int_eq(jd_buffer_peek_uint(buffer, 17, bytes, order, &value), 0);
        ck_assert_uint_eq(value, expected);
        jd_buffer_consume(buffer, 17);
        value = 0;
        ck_assert_int_eq(jd_buffer_read_uint(buffer, bytes, order, &value), 0);
        ck_assert_uint_eq(value, expected);
        ck_assert_uint_eq(jd_buffer_readable(buffer), 0);
        jd_buffer_destroy(buffer);
    }
}
END_TEST

START_TEST(integers_of_every_width_and_order_are_written_at_any_alignment)
{
    unsigned bytes = (unsigned)_i / 2 + 1;
    jd_byte_order order = _i % 2 == 0 ? JD_BIG_ENDIAN : JD_LITTLE_ENDIAN;
    uint8_t raw[8];
    uint64_t value = counting_integer(bytes, order, raw);

    for (size_t before = 1; before < 18; before++) {
        jd_buffer *buffer = buffer_wrapped_at("0123456789abcdefg", before);
        uint8_t expected[8 + 17 + 8];

        memcpy(expected, raw, bytes);
        memcpy(expected + bytes, "0123456789abcdefg", 17);
        memcpy(expected + bytes + 17, raw, bytes);
        ck_assert_int_eq(jd_buffer_append_uint(buffer, bytes, order, value), 0);
        ck_assert_int_eq(jd_buffer_prepend_uint(buffer, bytes, order, value), 0);
        assert_content(buffer, expected, bytes + 17 + bytes);
        jd_buffer_destroy(buffer);
    }
}
END_TEST

START_TEST(a_value_that_needs_more_bytes_is_refused)
{
    unsigned bytes = (unsigned)_i;
    uint64_t too_large = (uint64_t)1 << (8 * bytes);
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);

    ck_assert_int_eq(jd_buffer_append_uint(buffer, bytes, JD_BIG_ENDIAN, too_large), JD_ERANGE);
    ck_assert_int_eq(jd_buffer_prepend_uint(buffer, bytes, JD_LITTLE_ENDIAN, too_large), JD_ERANGE);

    ck_assert_uint_eq(jd_buffer_readable(buffer), 0);
    ck_assert_int_eq(jd_buffer_append_uint(buffer, bytes, JD_BIG_ENDIAN, too_large - 1), 0);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(integers_of_no_byte_or_more_than_eight_are_refused)
{
    static const unsigned widths[] = { 0, 9, 256, UINT32_MAX };
    jd_buffer *buffer = buffer_wrapped_at("0123456789", 5);
    uint64_t value = 42;

    ck_assert_int_eq(jd_buffer_peek_uint(buffer, 0, widths[_i], JD_BIG_ENDIAN, &value), JD_EINVAL);
    ck_assert_int_eq(jd_buffer_read_uint(buffer, widths[_i], JD_BIG_ENDIAN, &value), JD_EINVAL);
    ck_assert_int_eq(jd_buffer_append_uint(buffer, widths[_i], JD_BIG_ENDIAN, 0), JD_EINVAL);
    ck_assert_int_eq(jd_buffer_prepend_uint(buffer, widths[_i], JD_BIG_ENDIAN, 0), JD_EINVAL);

    ck_assert_uint_eq(value, 42);
    assert_text(buffer, "0123456789");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(an_integer_that_is_not_all_there_consumes_nothing)
{
    jd_buffer *buffer = buffer_wrapped_at("abc", 2);
    uint64_t value = 42;

    ck_assert_int_eq(jd_buffer_read_uint(buffer, 4, JD_BIG_ENDIAN, &value), JD_EAGAIN);
    ck_assert_int_eq(jd_buffer_peek_uint(buffer, 2, 2, JD_BIG_ENDIAN, &value), JD_EAGAIN);
    ck_assert_int_eq(jd_buffer_peek_uint(buffer, SIZE_MAX, 2, JD_BIG_ENDIAN, &value), JD_EAGAIN);

    ck_assert_uint_eq(value, 42);
    assert_text(buffer, "abc");
    jd_buffer_destroy(buffer);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("buffer_integers");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    tcase_add_loop_test(tests, integers_of_every_width_and_order_are_read_at_any_alignment, 0, 16);
    tcase_add_loop_test(tests, integers_of_every_width_and_order_are_written_at_any_alignment, 0, 16);
    tcase_add_loop_test(tests, a_value_that_needs_more_bytes_is_refused, 1, 8);
    tcase_add_loop_test(tests, integers_of_no_byte_or_more_than_eight_are_refused, 0, 4);
    tcase_add_test(tests, an_integer_that_is_not_all_there_consumes_nothing);
}
