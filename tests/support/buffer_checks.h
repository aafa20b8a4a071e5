/* Helpers for tests of jd_buffer. */
#ifndef TESTS_BUFFER_CHECKS_H
#define TESTS_BUFFER_CHECKS_H

#include <jinduo/buffer.h>

/* Appends the characters of text. */
void put_text(jd_buffer *buffer, const char *text);

/* Fails the test unless the readable bytes are the expected ones. Checks every function that reads without consuming. */
void assert_content(const jd_buffer *buffer, const void *expected, size_t length);
void assert_text(const jd_buffer *buffer, const char *expected);

/* A new buffer with these bytes. */
jd_buffer *buffer_with(const void *bytes, size_t length);

/* A new buffer of the smallest size that holds text, with offset bytes before the wrap of its ring and the others
 * behind. */
jd_buffer *buffer_wrapped_at(const char *text, size_t offset);

/* The same with any bytes. */
jd_buffer *buffer_with_wrap(const void *bytes, size_t length, size_t offset);

#endif
