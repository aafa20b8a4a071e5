/* Buffer: a queue of bytes, written at its end and read at its beginning.
 *
 * It is a ring: its bytes lie in at most two segments, and nothing moves when bytes are consumed. The buffer a message
 * callback gets may be a view of a receive block on loan; the difference cannot be seen, and the first write to such a
 * view copies it into memory of the buffer's own.
 *
 * A buffer is not locked: one thread at a time. The buffer of a message callback belongs to the connection and is valid
 * during the callback only; one made with jd_buffer_create belongs to whoever made it. */
#ifndef JINDUO_BUFFER_H
#define JINDUO_BUFFER_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

typedef enum jd_byte_order { JD_BIG_ENDIAN, JD_LITTLE_ENDIAN } jd_byte_order;

/* Makes an empty buffer that owns no memory for bytes yet. Returns 0 or JD_ENOMEM. */
JD_API int jd_buffer_create(jd_buffer **buffer);

/* Frees the buffer and what is in it; NULL is allowed. Not for the buffer of a message callback. */
JD_API void jd_buffer_destroy(jd_buffer *buffer);

/* Bytes that can be read. */
JD_API size_t jd_buffer_readable(const jd_buffer *buffer);

/* The first length readable bytes as one piece, without consuming them; copies only if they wrap around the ring's end.
 * NULL if fewer than length bytes are readable or if memory for the copy could not be had. Valid until the next call
 * that changes the buffer; such a copy ends a reservation. */
JD_API const void *jd_buffer_peek(jd_buffer *buffer, size_t length);

/* The readable bytes where they lie, in order. Fills at most two pieces and returns how many (0 when empty). Valid
 * until the next call that changes the buffer. */
JD_API int jd_buffer_peek_iov(const jd_buffer *buffer, jd_iovec pieces[2]);

/* Copies length readable bytes from offset into data, consuming nothing. Returns 0, or JD_EAGAIN if there are not as
 * many. */
JD_API int jd_buffer_copy_out(const jd_buffer *buffer, size_t offset, void *data, size_t length);

/* Drops the first length bytes, or all if there are fewer. Returns how many were dropped. A buffer that is emptied
 * gives its memory back. */
JD_API size_t jd_buffer_consume(jd_buffer *buffer, size_t length);

/* Adds bytes at the end, at the beginning. Returns 0 or JD_ENOMEM, and then nothing was added. */
JD_API int jd_buffer_append(jd_buffer *buffer, const void *data, size_t length);
JD_API int jd_buffer_prepend(jd_buffer *buffer, const void *data, size_t length);

/* Room for length more bytes in one piece, to be written to and then counted in with jd_buffer_commit. NULL if memory
 * could not be had. Valid until the next call that changes the buffer. */
JD_API void *jd_buffer_reserve(jd_buffer *buffer, size_t length);

/* Counts in the first length bytes of the room last reserved, and ends the reservation; 0 gives unused room of an empty
 * buffer back. Returns 0, or JD_EINVAL if that is more than the room. */
JD_API int jd_buffer_commit(jd_buffer *buffer, size_t length);

/* Where needle (length >= 1 bytes) first begins, searching from offset from. Returns the offset, JD_ENOENT if it is not
 * there, JD_EINVAL for an empty needle. */
JD_API ptrdiff_t jd_buffer_find(const jd_buffer *buffer, const void *needle, size_t length, size_t from);

/* Unsigned integers of 1 to 8 bytes. peek reads at an offset, read consumes, both return JD_EAGAIN when there are not
 * enough bytes; append and prepend return JD_ENOMEM, and JD_ERANGE if value needs more bytes. JD_EINVAL for another
 * number of bytes. */
JD_API int jd_buffer_peek_uint(const jd_buffer *buffer, size_t offset, unsigned bytes, jd_byte_order order,
                               uint64_t *value);
JD_API int jd_buffer_read_uint(jd_buffer *buffer, unsigned bytes, jd_byte_order order, uint64_t *value);
JD_API int jd_buffer_append_uint(jd_buffer *buffer, unsigned bytes, jd_byte_order order, uint64_t value);
JD_API int jd_buffer_prepend_uint(jd_buffer *buffer, unsigned bytes, jd_byte_order order, uint64_t value);

JD_END_DECLS
#endif
