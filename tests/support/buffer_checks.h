/* What the tests of the buffer share. */
#ifndef TESTS_BUFFER_CHECKS_H
#define TESTS_BUFFER_CHECKS_H

#include <jinduo/buffer.h>

/* Appends the characters of text. */
void put_text(jd_buffer *buffer, const char *text);

/* Fails the test unless the readable bytes are the expected ones, by every way of reading that changes nothing. */
void assert_content(const jd_buffer *buffer, const void *expected, size_t length);
void assert_text(const jd_buffer *buffer, const char *expected);

/* A new buffer with these bytes. */
jd_buffer *buffer_with(const void *bytes, size_t length);

/* A new ring of the smallest size that holds text, offset bytes of it before the wrap and the others behind. */
jd_buffer *buffer_wrapped_at(const char *text, size_t offset);

/* The same with any bytes. */
jd_buffer *buffer_with_wrap(const void *bytes, size_t length, size_t offset);

#endif
