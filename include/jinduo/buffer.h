/* Buffer: a queue of bytes; bytes are appended at the end and consumed at the beginning.
 *
 * It is a ring: its bytes lie in at most two segments, and consuming moves no bytes. The buffer of a message callback may
 * be a view of a borrowed receive block. A view behaves like any other buffer; the first write to it copies its bytes
 * into memory of the buffer.
 *
 * Ownership: the buffer of a message callback belongs to the connection and is valid during the callback only. A buffer
 * made with jd_buffer_create belongs to its creator.
 *
 * Thread rule for all functions: one thread at a time; there is no lock. */
#ifndef JINDUO_BUFFER_H
#define JINDUO_BUFFER_H

#include <jinduo/types.h>
#include <stdarg.h>

JD_BEGIN_DECLS

typedef enum jd_byte_order { JD_BIG_ENDIAN, JD_LITTLE_ENDIAN } jd_byte_order;

/* Creates an empty buffer, without memory for bytes. Returns 0 or JD_ENOMEM. */
JD_API int jd_buffer_create(jd_buffer **buffer);

/* Frees the buffer and its bytes. NULL is allowed; the buffer of a message callback is not. */
JD_API void jd_buffer_destroy(jd_buffer *buffer);

/* Returns the number of bytes in the buffer. */
JD_API size_t jd_buffer_readable(const jd_buffer *buffer);

/* Returns the first length bytes in contiguous memory, without consuming them. The bytes are copied only if they wrap
 * around the end of the ring; that copy ends a reservation (jd_buffer_reserve). Returns NULL if there are fewer than
 * length bytes, or no memory for the copy; never NULL for a length of 0. Valid until the buffer is changed. */
JD_API const void *jd_buffer_peek(jd_buffer *buffer, size_t length);

/* Sets segments to the bytes in order, without copying or consuming them. Returns the number of segments: 0 (the buffer is
 * empty), 1 or 2. Valid until the buffer is changed. */
JD_API int jd_buffer_peek_iov(const jd_buffer *buffer, jd_iovec segments[2]);

/* Copies length bytes from offset on to data, without consuming them. Returns 0, or JD_EAGAIN if the buffer has fewer. */
JD_API int jd_buffer_copy_out(const jd_buffer *buffer, size_t offset, void *data, size_t length);

/* Removes the first length bytes, or all if there are fewer. Returns the number of bytes removed. An empty buffer keeps
 * no memory for bytes. */
JD_API size_t jd_buffer_consume(jd_buffer *buffer, size_t length);

/* Add a copy of length bytes of data: at the end (append), in front (prepend). Return 0, or JD_ENOMEM, and then nothing
 * is added. */
JD_API int jd_buffer_append(jd_buffer *buffer, const void *data, size_t length);
JD_API int jd_buffer_prepend(jd_buffer *buffer, const void *data, size_t length);

/* Append the text that printf(3) makes of format and its arguments, without the zero at its end; the second function takes a list
 * of arguments. Return 0; JD_EINVAL if printf fails, for an argument that cannot be converted for example; JD_ENOMEM. After an
 * error the bytes of the buffer are unchanged. */
JD_API int jd_buffer_append_format(jd_buffer *buffer, const char *format, ...) JD_PRINTF(2, 3);
JD_API int jd_buffer_append_format_list(jd_buffer *buffer, const char *format, va_list arguments) JD_PRINTF(2, 0);

/* Reserves length bytes of contiguous room at the end. Write to it, then add the bytes written with jd_buffer_commit.
 * Returns the room; NULL when there is no memory; never NULL for a length of 0. The reservation ends with the next call
 * that changes the buffer. */
JD_API void *jd_buffer_reserve(jd_buffer *buffer, size_t length);

/* Adds the first length bytes of the reserved room to the buffer and ends the reservation. A length of 0 adds nothing; an
 * empty buffer then frees the room. Returns 0, or JD_EINVAL if length exceeds the reservation. */
JD_API int jd_buffer_commit(jd_buffer *buffer, size_t length);

/* Finds the first occurrence of the length (>= 1) bytes of needle at or behind offset from. Returns its offset; JD_ENOENT
 * if there is none; JD_EINVAL for a length of 0. */
JD_API ptrdiff_t jd_buffer_find(const jd_buffer *buffer, const void *needle, size_t length, size_t from);

/* Unsigned integers of 1 to 8 bytes (JD_EINVAL for another number). peek reads at offset; read reads and consumes: both
 * return 0, or JD_EAGAIN if there are too few bytes. append and prepend return 0, JD_ENOMEM, or JD_ERANGE if value needs
 * more bytes. After an error *value and the buffer are unchanged. */
JD_API int jd_buffer_peek_uint(const jd_buffer *buffer, size_t offset, unsigned bytes, jd_byte_order order,
                               uint64_t *value);
JD_API int jd_buffer_read_uint(jd_buffer *buffer, unsigned bytes, jd_byte_order order, uint64_t *value);
JD_API int jd_buffer_append_uint(jd_buffer *buffer, unsigned bytes, jd_byte_order order, uint64_t value);
JD_API int jd_buffer_prepend_uint(jd_buffer *buffer, unsigned bytes, jd_byte_order order, uint64_t value);

JD_END_DECLS
#endif
