/* Output queue: a chain of blocks with bytes to be sent, or with a reference to bytes that lie elsewhere: in memory that
 * was lent, or in a file. Blocks never move and bytes in the queue never change, as the kernel may be reading them; new
 * bytes go behind the last one's, in the last block or a new one. */
#ifndef NET_ENGINE_OUTPUT_QUEUE_H
#define NET_ENGINE_OUTPUT_QUEUE_H

#include "base/block_pool.h"
#include "base/platform/socket.h"

#include <jinduo/types.h>
#include <stdatomic.h>
#include <string.h>

struct output_queue {
    struct block *first, *last;
    _Atomic size_t bytes; /* in memory; written in the loop's thread only, read from others too */
};

/* What a block is: its kind. */
enum output_kind { OUTPUT_BYTES, OUTPUT_MEMORY, OUTPUT_FILE };

/* What lies in a block that is not OUTPUT_BYTES: a range of memory or of a file, and what gives it back. */
struct output_reference {
    jd_release release; /* NULL: nothing is to be called */
    void *arg;
    uint64_t length; /* left to be sent */
    union {
        const uint8_t *data;
        int64_t offset; /* in the file */
    };
    int fd;
    enum output_kind kind;
};

/* Where blocks for output come from: small ones for copied bytes, so that a thousand waiting answers are cheap, and large
 * ones; and those for references. */
struct output_pools {
    struct block_pool small, large, references;

    /* Blocks of references that were sent or dropped: what was lent is given back when the loop comes to it. */
    struct block_chain released;
};

enum {
    OUTPUT_SMALL_BYTES = 512,
    OUTPUT_LARGE_BYTES = 16 * 1024 - 16, /* 16 and a header fit a region of 256 KiB */
    OUTPUT_REFERENCE_BYTES = (sizeof(struct block) + sizeof(struct output_reference) + 15) / 16 * 16,

    /* Memory up to so many bytes is copied after all: that costs less than a reference, and many tiny ones would take
     * much more memory than they count for. */
    OUTPUT_COPY_BYTES = 256,

    /* What a range of a file counts for in the queue's bytes, however long it is: about what it takes of memory. */
    OUTPUT_FILE_COUNTS_BYTES = 128,

    /* Referenced memory is cut so that one gathered send takes little more. */
    OUTPUT_GATHER_BYTES = 1024 * 1024,
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

/* What a reference of that kind with so many bytes left counts for. */
static inline size_t output_counts_for(enum output_kind kind, uint64_t length)
{
    return kind == OUTPUT_FILE ? OUTPUT_FILE_COUNTS_BYTES : (size_t)length;
}

/* The block that all bytes lie in, as is most often so; NULL: there are more, or a reference. The queue is not empty. */
static inline const struct block *output_queue_only_block(const struct output_queue *queue)
{
    return queue->first->next == NULL && queue->first->kind == OUTPUT_BYTES ? queue->first : NULL;
}

/* What output_queue_append does where the last block has not the room. */
int output_queue_grow(struct output_queue *queue, struct output_pools *pools, const jd_iovec *parts, int count,
                      size_t length, size_t expected);

/* Copies the parts, length bytes in all (> 0), behind what is queued, whole or not at all. expected: how much more is
 * likely to come soon. Returns 0 or JD_ENOMEM. */
static inline int output_queue_append(struct output_queue *queue, struct output_pools *pools, const jd_iovec *parts,
                                      int count, size_t length, size_t expected)
{
    struct block *block = queue->last;
    uint8_t *to;

    if (block == NULL || block_room(block) < length)
        return output_queue_grow(queue, pools, parts, count, length, expected);
    to = block->data + block->end;
    for (int i = 0; i < count; to += parts[i].length, i++)
        if (parts[i].length == sizeof(uint32_t)) /* most frames' length field: no call */
            memcpy(to, parts[i].data, sizeof(uint32_t));
        else
            memcpy(to, parts[i].data, parts[i].length);
    block->end += (uint32_t)length;
    output_queue_count(queue, output_queue_bytes(queue) + length);
    return 0;
}

/* Appends a block that has bytes; it is the queue's from here on. */
void output_queue_append_block(struct output_queue *queue, struct block *block);

/* Appends what reference (copied) refers to. Of length 0 it is given back at the next occasion. Returns 0, or JD_ENOMEM:
 * then nothing was appended, and nothing will be given back. */
int output_queue_append_reference(struct output_queue *queue, struct output_pools *pools,
                                  const struct output_reference *reference);

/* The first bytes in memory as at most count pieces; returns how many, none if a file is first, and their bytes in *total.
 * *more: whether something is queued behind them. */
int output_queue_pieces(const struct output_queue *queue, jd_iovec *pieces, int count, size_t *total, bool *more);

/* The file that is first in the queue; NULL if none is. */
const struct output_reference *output_queue_first_file(const struct output_queue *queue);

/* Reads at most most (> 0) bytes of the file that is first into a block in front of it. Returns 0; JD_ENODATA if the file
 * has ended, JD_ENOMEM, or why it could not be read. */
int output_queue_read_file(struct output_queue *queue, struct output_pools *pools, size_t most);

/* The same in two steps, for one who reads by himself into *room: between them nothing else is done with what is first in
 * the queue. count: the bytes read, 0 at the file's end, or a negative error. */
int output_queue_begin_read(struct output_queue *queue, struct output_pools *pools, size_t most, jd_iovec *room);
int output_queue_end_read(struct output_queue *queue, struct output_pools *pools, ssize_t count);

/* Replaces the first block, which is of bytes, by a copy of its bytes, if there is memory for that. */
void output_queue_copy_first(struct output_queue *queue, struct output_pools *pools);

/* Drops the first length bytes. */
void output_queue_consume(struct output_queue *queue, struct output_pools *pools, size_t length);

/* As output_queue_consume, but the blocks are not done with, as somebody still reads them: they are appended to *lent, and
 * output_pools_return ends that. What is left of a block that is taken in part goes into a block of its own; without
 * memory for that it is dropped. Returns how many bytes were. */
size_t output_queue_move_zero_copy(struct output_queue *queue, struct output_pools *pools, size_t length,
                                   struct block_chain *lent);
void output_pools_return(struct output_pools *pools, struct block_chain *lent);

/* Drops everything. Returns how many bytes that was, those in files included. */
uint64_t output_queue_clear(struct output_queue *queue, struct output_pools *pools);

/* Takes over all references that are to be given back, in their order; and takes the next of them into *reference. False:
 * there is none. */
struct block *output_pools_take_released(struct output_pools *pools);
bool output_next_released(struct block **released, struct output_reference *reference);

#endif
