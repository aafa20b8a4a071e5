#include "net/output_queue.h"

#include <jinduo/error.h>
#include <stdbool.h>
#include <string.h>

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void output_queue_append_block(struct output_queue *queue, struct block *block)
{
    block->next = NULL;
    if (queue->last != NULL)
        queue->last->next = block;
    else
        queue->first = block;
    queue->last = block;
    output_queue_count(queue, output_queue_bytes(queue) + block_length(block));
}

static void put_chain(struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;
        block_put(block);
        block = next;
    }
}

static bool fits_small(size_t length)
{
    return length <= OUTPUT_SMALL_BYTES - sizeof(struct block);
}

/* A chain of empty blocks with room for length bytes, or NULL. */
static struct block *get_chain(struct block_pool *pool, size_t length, struct block **last)
{
    struct block *first = NULL;
    struct block **link = &first;

    for (size_t room = 0; room < length; room += (*last)->capacity) {
        struct block *block = block_pool_get(pool);
        if (block == NULL) {
            put_chain(first);
            return NULL;
        }
        *link = block;
        link = &block->next;
        *last = block;
    }
    return first;
}

/* Makes room for length bytes behind the last block's. A queue that needs a second block is on its way to need much
 * more. Returns the block where the room begins, or NULL. */
static struct block *grow(struct output_queue *queue, struct output_pools *pools, size_t length, size_t expected)
{
    struct block *tail = queue->last;
    size_t room = tail != NULL ? block_room(tail) : 0;
    bool is_small = tail == NULL && fits_small(length) && expected <= OUTPUT_SMALL_BYTES;
    struct block *last = NULL;
    struct block *chain = get_chain(is_small ? &pools->small : &pools->large, length - room, &last);

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

/* Copies into block and those behind it, which have the room. */
static void copy_to_blocks(struct block *block, const struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++) {
        const uint8_t *data = parts[i].iov_base;
        size_t left = parts[i].iov_len;

        while (left > 0) {
            size_t piece = smaller(left, block_room(block));
            memcpy(block->data + block->end, data, piece);
            block->end += (uint32_t)piece;
            data += piece;
            left -= piece;
            if (left > 0)
                block = block->next;
        }
    }
}

int output_queue_append(struct output_queue *queue, struct output_pools *pools, const struct iovec *parts, int count,
                        size_t length, size_t expected)
{
    struct block *block = queue->last;

    if (block == NULL || block_room(block) < length)
        block = grow(queue, pools, length, expected);
    if (block == NULL)
        return JD_ENOMEM;
    copy_to_blocks(block, parts, count);
    output_queue_count(queue, output_queue_bytes(queue) + length);
    return 0;
}

void output_queue_copy_first(struct output_queue *queue, struct output_pools *pools)
{
    struct block *first = queue->first;
    struct iovec part = { .iov_base = first->data + first->begin, .iov_len = block_length(first) };
    struct block *last;
    struct block *copy = get_chain(fits_small(part.iov_len) ? &pools->small : &pools->large, part.iov_len, &last);

    if (copy == NULL)
        return;
    copy_to_blocks(copy, &part, 1);
    last->next = first->next;
    queue->first = copy;
    if (queue->last == first)
        queue->last = last;
    block_put(first);
}

int output_queue_pieces(const struct output_queue *queue, struct iovec *pieces, int count, size_t *total)
{
    int used = 0;

    *total = 0;
    for (struct block *block = queue->first; block != NULL && used < count; block = block->next) {
        pieces[used].iov_base = block->data + block->begin;
        pieces[used].iov_len = block_length(block);
        *total += pieces[used++].iov_len;
    }
    return used;
}

void output_queue_consume(struct output_queue *queue, size_t length)
{
    output_queue_count(queue, output_queue_bytes(queue) - length);
    while (queue->first != NULL && length >= block_length(queue->first)) {
        struct block *block = queue->first;
        length -= block_length(block);
        queue->first = block->next;
        block_put(block);
    }
    if (queue->first == NULL)
        queue->last = NULL;
    else
        queue->first->begin += (uint32_t)length;
}

size_t output_queue_clear(struct output_queue *queue)
{
    size_t bytes = output_queue_bytes(queue);

    put_chain(queue->first);
    queue->first = NULL;
    queue->last = NULL;
    output_queue_count(queue, 0);
    return bytes;
}
