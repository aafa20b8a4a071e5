#include "tests/support/buffer_checks.h"

#include "base/ring_buffer.h"

#include <check.h>
#include <string.h>

void put_text(jd_buffer *buffer, const char *text)
{
    ck_assert_int_eq(jd_buffer_append(buffer, text, strlen(text)), 0);
}

void assert_content(const jd_buffer *buffer, const void *expected, size_t length)
{
    const uint8_t *next = expected;
    uint8_t copy[8192];
    jd_iovec buffers[2];
    int count;

    ck_assert_uint_eq(jd_buffer_readable(buffer), length);
    ck_assert_int_eq(jd_buffer_copy_out(buffer, 0, copy, length), 0);
    if (length > 0)
        ck_assert_mem_eq(copy, expected, length);
    count = jd_buffer_peek_iov(buffer, buffers);
    for (int i = 0; i < count; i++) {
        ck_assert_uint_gt(buffers[i].length, 0);
        ck_assert_mem_eq(buffers[i].data, next, buffers[i].length);
        next += buffers[i].length;
    }
    ck_assert_ptr_eq(next, (const uint8_t *)expected + length);
}

void assert_text(const jd_buffer *buffer, const char *text)
{
    assert_content(buffer, text, strlen(text));
}

jd_buffer *buffer_with(const void *bytes, size_t length)
{
    jd_buffer *buffer;

    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, bytes, length), 0);
    return buffer;
}

jd_buffer *buffer_wrapped_at(const char *text, size_t offset)
{
    return buffer_with_wrap(text, strlen(text), offset);
}

jd_buffer *buffer_with_wrap(const void *bytes, size_t length, size_t offset)
{
    uint8_t filler[8192] = { 0 };
    size_t capacity = RING_MIN_BYTES;
    jd_buffer *buffer;

    while (capacity < length)
        capacity *= 2;
    ck_assert_uint_le(capacity, sizeof(filler));
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, filler, capacity - offset), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, bytes, offset), 0);
    ck_assert_uint_eq(jd_buffer_consume(buffer, capacity - offset), capacity - offset);
    ck_assert_int_eq(jd_buffer_append(buffer, (const uint8_t *)bytes + offset, length - offset), 0);
    return buffer;
}
