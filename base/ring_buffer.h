/* Ring buffer: what is behind jd_buffer. Its memory is a ring whose capacity is a power of two; or it is a view of a
 * borrowed receive block, which has no end to wrap around, so that one arithmetic serves both. */
#ifndef BASE_RING_BUFFER_H
#define BASE_RING_BUFFER_H

#include "base/block_pool.h"

#include <jinduo/buffer.h>

/* The smallest ring: leftovers are mostly a part of one small frame. */
enum { RING_MIN_BYTES = 64 };

struct jd_buffer {
    uint8_t *data;
    size_t mask;       /* capacity - 1; SIZE_MAX for a view and without memory */
    size_t head, tail; /* run freely: tail - head bytes are readable, from data[head & mask] on; so full is not empty */
    size_t reserved;   /* room after tail that jd_buffer_reserve promised */
    size_t searched;   /* bytes from head on that a codec has searched already */
    const void *searched_by; /* which codec, where there may be several */
    struct block *borrowed;  /* the block of a view, else NULL */
};

/* An empty buffer in memory of the caller's. */
void ring_buffer_init(jd_buffer *buffer);

/* Gives its memory back; a view just ends. Empty afterwards. */
void ring_buffer_clear(jd_buffer *buffer);

/* Makes an empty buffer a view of block's bytes. The block stays the caller's and must outlast the view; it is not
 * written to. The view ends when the buffer is emptied or cleared, or by a write, which copies what is readable. */
void ring_buffer_view(jd_buffer *buffer, struct block *block);

/* Adds all bytes of from behind those of to, emptying from; takes over from's memory instead of copying when to
 * is empty and from is no view. An empty to takes over what was searched, too. Returns 0 or JD_ENOMEM, and then nothing
 * has changed. */
int ring_buffer_move(jd_buffer *to, jd_buffer *from);

/* Makes room for at least capacity bytes in all, in one piece from the first byte on, if it is not so already. Growth
 * beyond is the caller's to avoid. Returns 0 or JD_ENOMEM. */
int ring_buffer_make_contiguous(jd_buffer *buffer, size_t capacity);

#endif
