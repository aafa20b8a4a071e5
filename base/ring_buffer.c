#include "base/ring_buffer.h"

#include "base/memory.h"
#include "base/platform/byte_search.h"

#include <assert.h>
#include <jinduo/error.h>
#include <string.h>

/* The largest power of two that is not larger than PTRDIFF_MAX, the limit for objects (malloc(3)). */
#define RING_MAX_BYTES ((size_t)PTRDIFF_MAX / 2 + 1)

enum { INTEGER_MAX_BYTES = 8 };

/* The target of a returned pointer to 0 bytes; NULL would mean failure. */
static uint8_t no_bytes[1];

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* A buffer without memory has mask SIZE_MAX: its capacity is 0, so that the first write allocates. */
static size_t ring_capacity(const jd_buffer *buffer)
{
    return buffer->borrowed != NULL ? 0 : buffer->mask + 1;
}

/* Bytes that can be written before the ring must grow; 0 in a view. */
static size_t ring_room(const jd_buffer *buffer)
{
    return buffer->borrowed != NULL ? 0 : ring_capacity(buffer) - jd_buffer_readable(buffer);
}

/* Bytes from position to the end of the memory, where the ring wraps around; a view does not wrap. */
static size_t ring_bytes_to_wrap(const jd_buffer *buffer, size_t position)
{
    return buffer->borrowed != NULL ? SIZE_MAX : ring_capacity(buffer) - (position & buffer->mask);
}

static void ring_copy_out(const jd_buffer *buffer, size_t position, uint8_t *data, size_t length)
{
    size_t first = smaller(length, ring_bytes_to_wrap(buffer, position));

    /* memcpy must not be called with NULL, not even for 0 bytes (C11, 7.24.1). */
    if (length == 0)
        return;
    memcpy(data, buffer->data + (position & buffer->mask), first);
    if (first < length)
        memcpy(data + first, buffer->data, length - first);
}

static void ring_copy_in(jd_buffer *buffer, size_t position, const uint8_t *data, size_t length)
{
    size_t first = smaller(length, ring_bytes_to_wrap(buffer, position));

    memcpy(buffer->data + (position & buffer->mask), data, first);
    if (first < length)
        memcpy(buffer->data, data + first, length - first);
}

/* The capacity of the smallest ring for the readable bytes and length more; 0 if there is none. */
static size_t ring_capacity_for(const jd_buffer *buffer, size_t length)
{
    size_t readable = jd_buffer_readable(buffer);
    size_t capacity = RING_MIN_BYTES;

    if (length > RING_MAX_BYTES - readable)
        return 0;
    while (capacity < readable + length)
        capacity *= 2;
    return capacity;
}

/* Moves the readable bytes into new memory, contiguous from index first on: to grow, to make them contiguous, or to
 * turn a view into a ring. Returns 0 or JD_ENOMEM; capacity 0 (ring_capacity_for) counts as no memory. */
static int ring_relocate(jd_buffer *buffer, size_t capacity, size_t first)
{
    size_t readable = jd_buffer_readable(buffer);
    uint8_t *data = capacity > 0 ? memory_allocate(capacity) : NULL;

    if (data == NULL)
        return JD_ENOMEM;
    ring_copy_out(buffer, buffer->head, data + first, readable);
    if (buffer->borrowed == NULL)
        memory_release(buffer->data, ring_capacity(buffer));
    buffer->data = data;
    buffer->mask = capacity - 1;
    buffer->head = first;
    buffer->tail = first + readable;
    buffer->reserved = 0;
    buffer->borrowed = NULL;
    return 0;
}

static int ring_make_room(jd_buffer *buffer, size_t length)
{
    return length <= ring_room(buffer) ? 0 : ring_relocate(buffer, ring_capacity_for(buffer, length), 0);
}

void ring_buffer_init(jd_buffer *buffer)
{
    *buffer = (jd_buffer){ .mask = SIZE_MAX };
}

void ring_buffer_clear(jd_buffer *buffer)
{
    if (buffer->borrowed == NULL)
        memory_release(buffer->data, ring_capacity(buffer));
    /* All members but the counts of the buffer's owner. */
    buffer->data = NULL;
    buffer->mask = SIZE_MAX;
    buffer->head = 0;
    buffer->tail = 0;
    buffer->reserved = 0;
    buffer->searched = 0;
    buffer->searched_by = NULL;
    buffer->borrowed = NULL;
}

void ring_buffer_view(jd_buffer *buffer, struct block *block)
{
    assert(jd_buffer_readable(buffer) == 0);
    ring_buffer_clear(buffer);
    buffer->data = block->data + block->begin;
    buffer->tail = block_length(block);
    buffer->borrowed = block;
}

int ring_buffer_move(jd_buffer *to, jd_buffer *from)
{
    jd_iovec pieces[2];
    int count;

    if (jd_buffer_readable(to) == 0 && from->borrowed == NULL) {
        ring_buffer_clear(to);
        *to = *from;
        to->reserved = 0;
        ring_buffer_init(from);
        return 0;
    }
    if (ring_make_room(to, jd_buffer_readable(from)) < 0)
        return JD_ENOMEM;
    if (jd_buffer_readable(to) == 0)
        to->searched = from->searched;
    count = jd_buffer_peek_iov(from, pieces);
    for (int i = 0; i < count; i++)
        jd_buffer_append(to, pieces[i].data, pieces[i].length);
    ring_buffer_clear(from);
    return 0;
}

int ring_buffer_make_contiguous(jd_buffer *buffer, size_t capacity)
{
    size_t readable = jd_buffer_readable(buffer);
    size_t in_one_piece = buffer->borrowed != NULL ? readable : ring_bytes_to_wrap(buffer, buffer->head);

    if (capacity <= in_one_piece)
        return 0;
    return ring_relocate(buffer, ring_capacity_for(buffer, larger(capacity, readable) - readable), 0);
}

int jd_buffer_create(jd_buffer **buffer)
{
    *buffer = memory_allocate(sizeof(**buffer));
    if (*buffer == NULL)
        return JD_ENOMEM;
    ring_buffer_init(*buffer);
    return 0;
}

void jd_buffer_destroy(jd_buffer *buffer)
{
    if (buffer == NULL)
        return;
    ring_buffer_clear(buffer);
    memory_release(buffer, sizeof(*buffer));
}

size_t jd_buffer_readable(const jd_buffer *buffer)
{
    return buffer->tail - buffer->head;
}

const void *jd_buffer_peek(jd_buffer *buffer, size_t length)
{
    if (length > jd_buffer_readable(buffer))
        return NULL;
    if (length == 0)
        return no_bytes;
    if (ring_buffer_make_contiguous(buffer, length) < 0)
        return NULL;
    return buffer->data + (buffer->head & buffer->mask);
}

int jd_buffer_peek_iov(const jd_buffer *buffer, jd_iovec segments[2])
{
    size_t readable = jd_buffer_readable(buffer);
    size_t first = smaller(readable, ring_bytes_to_wrap(buffer, buffer->head));

    if (readable == 0)
        return 0;
    segments[0] = (jd_iovec){ .data = buffer->data + (buffer->head & buffer->mask), .length = first };
    if (first == readable)
        return 1;
    segments[1] = (jd_iovec){ .data = buffer->data, .length = readable - first };
    return 2;
}

int jd_buffer_copy_out(const jd_buffer *buffer, size_t offset, void *data, size_t length)
{
    size_t readable = jd_buffer_readable(buffer);

    if (offset > readable || length > readable - offset)
        return JD_EAGAIN;
    ring_copy_out(buffer, buffer->head + offset, data, length);
    return 0;
}

size_t jd_buffer_consume(jd_buffer *buffer, size_t length)
{
    size_t readable = jd_buffer_readable(buffer);

    if (length == 0 || readable == 0)
        return 0;
    if (length >= readable) {
        ring_buffer_clear(buffer);
        return readable;
    }
    buffer->head += length;
    buffer->searched -= smaller(buffer->searched, length);
    buffer->reserved = 0;
    return length;
}

int jd_buffer_append(jd_buffer *buffer, const void *data, size_t length)
{
    if (length == 0)
        return 0;
    if (ring_make_room(buffer, length) < 0)
        return JD_ENOMEM;
    ring_copy_in(buffer, buffer->tail, data, length);
    buffer->tail += length;
    buffer->reserved = 0;
    return 0;
}

int jd_buffer_prepend(jd_buffer *buffer, const void *data, size_t length)
{
    if (length == 0)
        return 0;
    /* New memory is filled from index length on, so that the prepended bytes begin at 0 and the data does not wrap. */
    if (length > ring_room(buffer) && ring_relocate(buffer, ring_capacity_for(buffer, length), length) < 0)
        return JD_ENOMEM;
    buffer->head -= length;
    ring_copy_in(buffer, buffer->head, data, length);
    buffer->searched = 0;
    buffer->reserved = 0;
    return 0;
}

void *jd_buffer_reserve(jd_buffer *buffer, size_t length)
{
    size_t readable = jd_buffer_readable(buffer);

    if (length == 0) {
        buffer->reserved = 0;
        return no_bytes;
    }
    /* New memory has room for twice the bytes that must be copied. Otherwise a nearly full ring would be copied again
     * for every few bytes. */
    if (length > smaller(ring_room(buffer), ring_bytes_to_wrap(buffer, buffer->tail)) &&
        ring_relocate(buffer, ring_capacity_for(buffer, larger(length, readable)), 0) < 0)
        return NULL;
    buffer->reserved = length;
    return buffer->data + (buffer->tail & buffer->mask);
}

int jd_buffer_commit(jd_buffer *buffer, size_t length)
{
    if (length > buffer->reserved)
        return JD_EINVAL;
    buffer->tail += length;
    buffer->reserved = 0;
    /* An idle connection must not keep unused room. */
    if (jd_buffer_readable(buffer) == 0)
        ring_buffer_clear(buffer);
    return 0;
}

static bool ring_matches_at(const jd_buffer *buffer, size_t offset, const uint8_t *needle, size_t length)
{
    size_t position = buffer->head + offset;
    size_t first = smaller(length, ring_bytes_to_wrap(buffer, position));

    return memcmp(buffer->data + (position & buffer->mask), needle, first) == 0 &&
           memcmp(buffer->data, needle + first, length - first) == 0;
}

/* Searches the bytes from offset from to end, which are contiguous. */
static ptrdiff_t ring_find_in_piece(const jd_buffer *buffer, const void *needle, size_t length, size_t from, size_t end)
{
    const uint8_t *piece, *found;

    if (from >= end)
        return JD_ENOENT;
    piece = buffer->data + ((buffer->head + from) & buffer->mask);
    found = byte_search(piece, end - from, needle, length);
    return found != NULL ? (ptrdiff_t)from + (found - piece) : JD_ENOENT;
}

ptrdiff_t jd_buffer_find(const jd_buffer *buffer, const void *needle, size_t length, size_t from)
{
    size_t readable = jd_buffer_readable(buffer);
    size_t wrap = smaller(readable, ring_bytes_to_wrap(buffer, buffer->head));
    ptrdiff_t found;

    if (length == 0)
        return JD_EINVAL;
    if (from > readable || length > readable - from)
        return JD_ENOENT;
    found = ring_find_in_piece(buffer, needle, length, from, wrap);
    if (found >= 0)
        return found;
    /* A match that begins before the wrap and ends after it. */
    from = larger(from, wrap - smaller(wrap, length - 1));
    for (; from < wrap && length <= readable - from; from++) {
        if (ring_matches_at(buffer, from, needle, length))
            return (ptrdiff_t)from;
    }
    return ring_find_in_piece(buffer, needle, length, larger(from, wrap), readable);
}

int jd_buffer_peek_uint(const jd_buffer *buffer, size_t offset, unsigned bytes, jd_byte_order order, uint64_t *value)
{
    uint8_t raw[INTEGER_MAX_BYTES];
    uint64_t result = 0;

    if (bytes < 1 || bytes > INTEGER_MAX_BYTES)
        return JD_EINVAL;
    if (jd_buffer_copy_out(buffer, offset, raw, bytes) < 0)
        return JD_EAGAIN;
    for (unsigned i = 0; i < bytes; i++)
        result = result << 8 | raw[order == JD_BIG_ENDIAN ? i : bytes - 1 - i];
    *value = result;
    return 0;
}

int jd_buffer_read_uint(jd_buffer *buffer, unsigned bytes, jd_byte_order order, uint64_t *value)
{
    int error = jd_buffer_peek_uint(buffer, 0, bytes, order, value);

    if (error < 0)
        return error;
    jd_buffer_consume(buffer, bytes);
    return 0;
}

static int integer_encode(uint8_t raw[INTEGER_MAX_BYTES], unsigned bytes, jd_byte_order order, uint64_t value)
{
    if (bytes < 1 || bytes > INTEGER_MAX_BYTES)
        return JD_EINVAL;
    for (unsigned i = 0; i < bytes; i++, value >>= 8)
        raw[order == JD_BIG_ENDIAN ? bytes - 1 - i : i] = (uint8_t)value;
    return value == 0 ? 0 : JD_ERANGE;
}

int jd_buffer_append_uint(jd_buffer *buffer, unsigned bytes, jd_byte_order order, uint64_t value)
{
    uint8_t raw[INTEGER_MAX_BYTES];
    int error = integer_encode(raw, bytes, order, value);

    return error < 0 ? error : jd_buffer_append(buffer, raw, bytes);
}

int jd_buffer_prepend_uint(jd_buffer *buffer, unsigned bytes, jd_byte_order order, uint64_t value)
{
    uint8_t raw[INTEGER_MAX_BYTES];
    int error = integer_encode(raw, bytes, order, value);

    return error < 0 ? error : jd_buffer_prepend(buffer, raw, bytes);
}
