/* Output queue: a chain of blocks with bytes to be sent. Blocks never move and bytes in the queue never change, as the
 * kernel may be reading them; new bytes go behind the last one's, in the last block or a new one. */
#ifndef NET_OUTPUT_QUEUE_H
#define NET_OUTPUT_QUEUE_H

#include "base/block_pool.h"

#include <stdatomic.h>
#include <sys/uio.h>

struct output_queue {
    struct block *first, *last;
    _Atomic size_t bytes; /* written in the loop's thread only, read from others too */
};

/* Where blocks for copied output come from: small ones, so that a thousand waiting answers are cheap, and large ones. */
struct output_pools {
    struct block_pool small, large;
};

enum {
    OUTPUT_SMALL_BYTES = 512,
    OUTPUT_LARGE_BYTES = 16 * 1024 - 16, /* 16 and a header fit a region of 256 KiB */
};

static inline size_t output_queue_bytes(const struct output_queue *queue)
{
    return atomic_load_explicit(&queue->bytes, memory_order_relaxed);
}

static inline void output_queue_count(struct output_queue *queue, size_t bytes)
{
    /* One writer: a store is enough, no read-modify-write on the path of every send. */
    atomic_store_explicit(&queue->bytes, bytes, memory_order_relaxed);
}

/* Copies the parts, length bytes in all (> 0), behind what is queued, whole or not at all. expected: how much more is
 * likely to come soon. Returns 0 or JD_ENOMEM. */
int output_queue_append(struct output_queue *queue, struct output_pools *pools, const struct iovec *parts, int count,
                        size_t length, size_t expected);

/* Appends a block that has bytes; it is the queue's from here on. */
void output_queue_append_block(struct output_queue *queue, struct block *block);

/* The first bytes as at most count pieces; returns how many, and their bytes in *total. */
int output_queue_pieces(const struct output_queue *queue, struct iovec *pieces, int count, size_t *total);

/* Replaces the first block by a copy of its bytes, if there is memory for that. */
void output_queue_copy_first(struct output_queue *queue, struct output_pools *pools);

/* Drops the first length bytes. */
void output_queue_consume(struct output_queue *queue, size_t length);

/* Drops everything. Returns how many bytes that was. */
size_t output_queue_clear(struct output_queue *queue);

#endif
