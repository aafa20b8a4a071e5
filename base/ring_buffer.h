/* Ring buffer: the implementation of jd_buffer. It is a ring whose capacity is a power of two; or a view of the bytes
 * of a borrowed receive block. A view is treated as a ring that never wraps, so the same arithmetic serves both. Not
 * locked. */
#ifndef BASE_RING_BUFFER_H
#define BASE_RING_BUFFER_H

#include "base/block_pool.h"

#include <jinduo/buffer.h>

/* The smallest capacity: unread input is mostly a part of one small frame. */
enum { RING_MIN_BYTES = 64 };

struct jd_buffer {
    uint8_t *data;
    size_t mask;       /* capacity - 1; SIZE_MAX for a view and without memory */
    size_t head, tail; /* free-running, not masked, so that full differs from empty: tail - head bytes are readable */
    size_t reserved;   /* room after tail, as promised by jd_buffer_reserve */
    size_t searched;   /* bytes after head that a codec has already searched */
    union {
        const void *searched_by; /* that codec, if the buffer is not a connection's */
        size_t needed; /* a connection's: bytes after head that its codec needs for the first frame; 0: not known */
    };
    struct block *borrowed; /* the block of a view; NULL: a ring */
    size_t counted;         /* these two are of net/connection/connection_totals.c; 0 in other buffers */
    uint32_t counted_at;
};

/* Makes an empty buffer in the caller's memory. */
void ring_buffer_init(jd_buffer *buffer);

/* Empties the buffer and frees its memory. The block of a view is left to its owner. */
void ring_buffer_clear(jd_buffer *buffer);

/* Makes an empty buffer a view of the bytes of a block. The caller keeps the block, which must outlive the view and is
 * not written to. The view ends when the buffer is emptied or cleared, or by a write: that copies the readable bytes to
 * a ring. */
void ring_buffer_view(jd_buffer *buffer, struct block *block);

/* Appends all bytes of from to `to`, and empties from. If `to` is empty and from is not a view, the memory is moved
 * instead of copied. An empty `to` also takes over searched. Returns 0; or JD_ENOMEM: nothing has changed. */
int ring_buffer_move(jd_buffer *to, jd_buffer *from);

/* Makes sure that capacity bytes, from the first readable one on, are contiguous; moves the bytes to a larger ring if
 * they are not. The caller should pass the final size, so that further growth is not needed. Returns 0 or JD_ENOMEM. */
int ring_buffer_make_contiguous(jd_buffer *buffer, size_t capacity);

#endif
