/* The output queue: appends copies of bytes, lists them as pieces for a send, and removes them when they are sent. */
#include "net/engine/output_queue.h"

#include "net/engine/output_blocks.h"

#include <jinduo/error.h>
#include <stdbool.h>
#include <string.h>

void output_block_append(struct output_queue *queue, struct block *block, size_t counts)
{
    block->next = NULL;
    if (queue->last != NULL)
        queue->last->next = block;
    else
        queue->first = block;
    queue->last = block;
    output_queue_count(queue, output_queue_bytes(queue) + counts);
}

void output_queue_append_block(struct output_queue *queue, struct block *block)
{
    output_block_append(queue, block, block_length(block));
}

static void release_chain(struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;
        block_release(block);
        block = next;
    }
}

struct block *output_get_chain(struct block_pool *pool, size_t length, struct block **last)
{
    struct block *first = NULL;
    struct block **link = &first;

    for (size_t room = 0; room < length; room += (*last)->capacity) {
        struct block *block = block_pool_get(pool);
        if (block == NULL) {
            release_chain(first);
            return NULL;
        }
        *link = block;
        link = &block->next;
        *last = block;
    }
    return first;
}

/* Makes room for length bytes after the last block's bytes. After a first block of bytes only large blocks are added: a
 * queue that needs a second block is likely to need many. Returns the block where the room begins, or NULL. */
static struct block *make_room(struct output_queue *queue, struct output_pools *pools, size_t length, size_t expected)
{
    struct block *tail = queue->last;
    size_t room = tail != NULL ? block_room(tail) : 0;
    bool is_first = tail == NULL || tail->kind != OUTPUT_BYTES;
    bool is_small = is_first && output_fits_small(length) && expected <= OUTPUT_SMALL_BYTES;
    struct block *last = NULL;
    struct block *chain = output_get_chain(is_small ? &pools->small : &pools->large, length - room, &last);

    if (chain == NULL)
        return NULL;
    queue->last = last;
    if (tail != NULL) {
        tail->next = chain;
        return tail;
    }
    queue->first = chain;
    return chain;
}

void output_copy_to_blocks(struct block *block, const jd_iovec *parts, int count)
{
    for (int i = 0; i < count; i++) {
        const uint8_t *data = parts[i].data;
        size_t left = parts[i].length;

        while (left > 0) {
            size_t piece = output_smaller(left, block_room(block));
            memcpy(block->data + block->end, data, piece);
            block->end += (uint32_t)piece;
            data += piece;
            left -= piece;
            if (left > 0)
                block = block->next;
        }
    }
}

int output_queue_grow(struct output_queue *queue, struct output_pools *pools, const jd_iovec *parts, int count,
                      size_t length, size_t expected)
{
    struct block *block = make_room(queue, pools, length, expected);

    if (block == NULL)
        return JD_ENOMEM;
    output_copy_to_blocks(block, parts, count);
    output_queue_count(queue, output_queue_bytes(queue) + length);
    return 0;
}

void output_queue_copy_first(struct output_queue *queue, struct output_pools *pools)
{
    struct block *first = queue->first;
    jd_iovec part = { .data = first->data + first->begin, .length = block_length(first) };
    struct block *last;
    struct block *copy =
        output_get_chain(output_fits_small(part.length) ? &pools->small : &pools->large, part.length, &last);

    if (copy == NULL)
        return;
    output_copy_to_blocks(copy, &part, 1);
    last->next = first->next;
    queue->first = copy;
    if (queue->last == first)
        queue->last = last;
    block_release(first);
}

void output_release_block(struct output_pools *pools, struct block *block)
{
    if (block->kind == OUTPUT_BYTES) {
        block_release(block);
        return;
    }
    pools->files_released += block->kind == OUTPUT_FILE;
    if (output_reference_of(block)->release != NULL)
        block_chain_append(&pools->released, block);
    else
        block_release(block);
}

/* ---- sending ---- */

/* Sets piece to a reference, cut so that total + length is at most OUTPUT_GATHER_BYTES. Returns false if the send must
 * end before it. */
static bool reference_to_piece(const struct output_reference *reference, jd_iovec *piece, size_t total)
{
    if (reference->kind == OUTPUT_FILE || total >= OUTPUT_GATHER_BYTES)
        return false;
    piece->data = (void *)(uintptr_t)reference->data;
    piece->length = output_smaller(OUTPUT_GATHER_BYTES - total, reference->length);
    return true;
}

int output_queue_pieces(const struct output_queue *queue, jd_iovec *pieces, int count, size_t *total, bool *more)
{
    struct block *block = queue->first;
    int used = 0;

    *total = 0;
    for (; block != NULL && used < count; block = block->next) {
        if (block->kind == OUTPUT_BYTES) {
            pieces[used].data = block->data + block->begin;
            pieces[used].length = block_length(block);
        } else if (!reference_to_piece(output_reference_of(block), &pieces[used], *total)) {
            break;
        }
        *total += pieces[used++].length;
        if (block->kind != OUTPUT_BYTES && pieces[used - 1].length < output_reference_of(block)->length)
            break;
    }
    *more = block != NULL;
    return used;
}

/* Removes the first length bytes of a block that has more. Returns the number of bytes by which it counts for less. */
static size_t block_advance(struct block *block, size_t length)
{
    struct output_reference *reference = output_reference_of(block);

    if (block->kind == OUTPUT_BYTES) {
        block->begin += (uint32_t)length;
        return length;
    }
    reference->length -= length;
    if (block->kind == OUTPUT_FILE) {
        reference->offset += (int64_t)length;
        return 0;
    }
    reference->data += length;
    return length;
}

void output_queue_consume(struct output_queue *queue, struct output_pools *pools, size_t length)
{
    size_t bytes = output_queue_bytes(queue);
    struct block *block = queue->first;

    while (block != NULL && length >= output_length_of(block)) {
        length -= output_length_of(block);
        bytes -= output_counts_of(block);
        queue->first = block->next;
        output_release_block(pools, block);
        block = queue->first;
    }
    if (block == NULL)
        queue->last = NULL;
    else if (length > 0)
        bytes -= block_advance(block, length);
    output_queue_count(queue, bytes);
}

/* ---- clearing ---- */

uint64_t output_queue_clear(struct output_queue *queue, struct output_pools *pools)
{
    uint64_t bytes = 0;

    for (struct block *block = queue->first, *next; block != NULL; block = next) {
        next = block->next;
        bytes += output_length_of(block);
        output_release_block(pools, block);
    }
    queue->first = NULL;
    queue->last = NULL;
    output_queue_count(queue, 0);
    return bytes;
}
