/* Output queue: a chain of blocks with bytes to be sent, or with references to bytes outside the queue, in the caller's
 * memory or in a file. Blocks never move, and bytes in the queue never change, because the kernel may be reading them.
 * New bytes are appended, in the last block or a new one. In the loop's thread, except output_queue_bytes. */
#ifndef NET_ENGINE_OUTPUT_QUEUE_H
#define NET_ENGINE_OUTPUT_QUEUE_H

#include "base/block_pool.h"
#include "base/platform/socket.h"

#include <jinduo/types.h>
#include <stdatomic.h>
#include <string.h>

struct output_queue {
    struct block *first, *last;
    _Atomic size_t bytes; /* length of the queue; written in the loop's thread only, read in any */
};

/* The content of a block (block.kind). */
enum output_kind { OUTPUT_BYTES, OUTPUT_MEMORY, OUTPUT_FILE };

/* The content of a block that is not OUTPUT_BYTES: a range of memory or of a file, and the function that releases
 * it. */
struct output_reference {
    jd_release release; /* NULL: none to be called */
    void *arg;
    uint64_t length; /* bytes not sent yet */
    union {
        const uint8_t *data;
        int64_t offset; /* in the file */
    };
    jd_file fd;
    enum output_kind kind;
};

/* The pools of a loop's output blocks: small blocks for copied bytes, so that a thousand waiting responses take little
 * memory; large blocks for copied bytes; blocks for references. */
struct output_pools {
    struct block_pool small, large, references;

    /* Blocks of references that were sent or dropped. The loop invokes their release functions at the end of the
     * turn. */
    struct block_chain released;

    /* Ranges of files that have left a queue since the reader of this count, who knows which queue, has set it to 0. */
    unsigned files_released;
};

enum {
    OUTPUT_SMALL_BYTES = 512,
    OUTPUT_LARGE_BYTES = 16 * 1024, /* of a block, without its header */
    OUTPUT_REFERENCE_BYTES = (sizeof(struct block) + sizeof(struct output_reference) + 15) / 16 * 16,

    /* Referenced memory up to this size is copied: a copy costs less than a reference, and many tiny references would
     * take much more memory than they count for. */
    OUTPUT_COPY_BYTES = 256,

    /* A range of a file counts for this many bytes in the queue's length, however long it is: about the memory that it
     * uses. */
    OUTPUT_FILE_COUNTS_BYTES = 128,

    /* One gathered send takes about this much of referenced memory at most. */
    OUTPUT_GATHER_BYTES = 1024 * 1024,
};

/* The length of the queue in bytes; a range of a file counts for OUTPUT_FILE_COUNTS_BYTES. From any thread. */
static inline size_t output_queue_bytes(const struct output_queue *queue)
{
    return atomic_load_explicit(&queue->bytes, memory_order_relaxed);
}

static inline void output_queue_count(struct output_queue *queue, size_t bytes)
{
    /* One writer: a store is enough. A read-modify-write would cost more in each send. */
    atomic_store_explicit(&queue->bytes, bytes, memory_order_relaxed);
}

/* The bytes that a reference with length unsent bytes counts for. */
static inline size_t output_counts_for(enum output_kind kind, uint64_t length)
{
    return kind == OUTPUT_FILE ? OUTPUT_FILE_COUNTS_BYTES : (size_t)length;
}

/* The block that contains the whole queue, the usual case; NULL if there are more blocks, or references. The queue must
 * not be empty. */
static inline const struct block *output_queue_only_block(const struct output_queue *queue)
{
    return queue->first->next == NULL && queue->first->kind == OUTPUT_BYTES ? queue->first : NULL;
}

/* The part of output_queue_append for a last block without enough room. */
int output_queue_grow(struct output_queue *queue, struct output_pools *pools, const jd_iovec *parts, int count,
                      size_t length, size_t expected);

/* Appends a copy of all parts, length (> 0) bytes together, or nothing. expected: the bytes that the caller is likely
 * to append soon. Returns 0 or JD_ENOMEM. */
static inline int output_queue_append(struct output_queue *queue, struct output_pools *pools, const jd_iovec *parts,
                                      int count, size_t length, size_t expected)
{
    struct block *block = queue->last;
    uint8_t *to;

    if (block == NULL || block_room(block) < length)
        return output_queue_grow(queue, pools, parts, count, length, expected);
    to = block->data + block->end;
    for (int i = 0; i < count; to += parts[i].length, i++)
        if (parts[i].length == sizeof(uint32_t)) /* the length field of most frames: inlined, no call */
            memcpy(to, parts[i].data, sizeof(uint32_t));
        else
            memcpy(to, parts[i].data, parts[i].length);
    block->end += (uint32_t)length;
    output_queue_count(queue, output_queue_bytes(queue) + length);
    return 0;
}

/* Appends a block of bytes. The queue owns it from then on. */
void output_queue_append_block(struct output_queue *queue, struct block *block);

/* Appends a reference; *reference is copied. A reference of length 0 is released at the end of the turn. Returns 0, or
 * JD_ENOMEM: nothing was appended, and nothing will be released. */
int output_queue_append_reference(struct output_queue *queue, struct output_pools *pools,
                                  const struct output_reference *reference);

/* The same for a reference to memory, which is copied; it is released at the end of the turn. */
int output_queue_append_copy(struct output_queue *queue, struct output_pools *pools,
                             const struct output_reference *reference);

/* Sets at most count pieces to the first bytes of the queue that are in memory. Returns their number: 0 if a file is
 * first. *total: their bytes. *more: whether the queue continues after them. */
int output_queue_pieces(const struct output_queue *queue, jd_iovec *pieces, int count, size_t *total, bool *more);

/* The reference to the file that is first in the queue; NULL if bytes in memory are first, or none. */
const struct output_reference *output_queue_first_file(const struct output_queue *queue);

/* Reads at most `most` (> 0) bytes of the file that is first in the queue into a block before it. Returns 0, JD_ENODATA
 * (the file has ended), JD_ENOMEM, or the error of the read. */
int output_queue_read_file(struct output_queue *queue, struct output_pools *pools, size_t most);

/* The same in two steps, for a caller that reads by an operation. begin sets *room to the memory to read into; end
 * passes the number of bytes read, 0 at the end of the file, or a negative error. Between the two, the first block of
 * the queue must not be used. Both return as output_queue_read_file. */
int output_queue_begin_read(struct output_queue *queue, struct output_pools *pools, size_t most, jd_iovec *room);
int output_queue_end_read(struct output_queue *queue, struct output_pools *pools, ssize_t count);

/* Replaces the first block, which must be OUTPUT_BYTES, by blocks with a copy of its bytes. Without memory it stays. */
void output_queue_copy_first(struct output_queue *queue, struct output_pools *pools);

/* Removes the first length bytes. */
void output_queue_consume(struct output_queue *queue, struct output_pools *pools, size_t length);

/* Removes the first length bytes while the kernel still reads them (zero-copy send): the blocks are appended to
 * *in_flight, and the caller ends that by output_pools_end_zero_copy. The untaken rest of a block that was taken in
 * part moves to a block of its own; without memory for it the rest is dropped. Returns the number of bytes dropped. */
size_t output_queue_move_zero_copy(struct output_queue *queue, struct output_pools *pools, size_t length,
                                   struct block_chain *in_flight);
void output_pools_end_zero_copy(struct output_pools *pools, struct block_chain *in_flight);

/* Removes everything. Returns the number of bytes removed, ranges of files with their real length. */
uint64_t output_queue_clear(struct output_queue *queue, struct output_pools *pools);

/* take_released returns the chain of all references to be released, in their order, and empties pools->released.
 * next_released removes the first of the chain into *reference; false: the chain is empty. */
struct block *output_pools_take_released(struct output_pools *pools);
bool output_next_released(struct block **released, struct output_reference *reference);

#endif
