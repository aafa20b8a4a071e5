#include "net/engine/output_queue.h"

#include "base/platform/file.h"

#include <jinduo/error.h>
#include <stdbool.h>
#include <string.h>

static size_t smaller(size_t a, uint64_t b)
{
    return a < b ? a : (size_t)b;
}

static struct output_reference *reference_of(struct block *block)
{
    return (struct output_reference *)(void *)block->data;
}

static void append_block(struct output_queue *queue, struct block *block, size_t counts)
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
    append_block(queue, block, block_length(block));
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

/* Makes room for length bytes behind the last block's. A queue that needs a second block in a row is on its way to need
 * much more. Returns the block where the room begins, or NULL. */
static struct block *make_room(struct output_queue *queue, struct output_pools *pools, size_t length, size_t expected)
{
    struct block *tail = queue->last;
    size_t room = tail != NULL ? block_room(tail) : 0;
    bool is_first = tail == NULL || tail->kind != OUTPUT_BYTES;
    bool is_small = is_first && fits_small(length) && expected <= OUTPUT_SMALL_BYTES;
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

int output_queue_grow(struct output_queue *queue, struct output_pools *pools, const struct iovec *parts, int count,
                      size_t length, size_t expected)
{
    struct block *block = make_room(queue, pools, length, expected);

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

/* ---- references ---- */

struct block *output_pools_take_released(struct output_pools *pools)
{
    struct block *released = pools->released.first;

    pools->released = (struct block_chain){ 0 };
    return released;
}

bool output_next_released(struct block **released, struct output_reference *reference)
{
    struct block *block = *released;

    if (block == NULL)
        return false;
    *released = block->next;
    *reference = *reference_of(block);
    block_put(block);
    return true;
}

/* A block that is done with. */
static void let_go(struct output_pools *pools, struct block *block)
{
    if (block->kind != OUTPUT_BYTES && reference_of(block)->release != NULL)
        block_chain_append(&pools->released, block);
    else
        block_put(block);
}

static int append_copy(struct output_queue *queue, struct output_pools *pools, const struct output_reference *reference)
{
    struct iovec part = { .iov_base = (void *)(uintptr_t)reference->data, .iov_len = reference->length };

    return reference->length > 0 ? output_queue_append(queue, pools, &part, 1, part.iov_len, 0) : 0;
}

int output_queue_append_reference(struct output_queue *queue, struct output_pools *pools,
                                  const struct output_reference *reference)
{
    size_t copied = reference->kind == OUTPUT_MEMORY ? OUTPUT_COPY_BYTES : 0;
    struct block *block = block_pool_get(&pools->references);
    int result;

    if (block == NULL)
        return JD_ENOMEM;
    block->kind = reference->kind;
    block->end = block->capacity; /* no room for bytes that are appended */
    *reference_of(block) = *reference;
    if (reference->length > copied) {
        append_block(queue, block, output_counts_for(reference->kind, reference->length));
        return 0;
    }
    result = append_copy(queue, pools, reference);
    if (result == 0)
        let_go(pools, block);
    else
        block_put(block);
    return result;
}

const struct output_reference *output_queue_first_file(const struct output_queue *queue)
{
    return queue->first != NULL && queue->first->kind == OUTPUT_FILE ? reference_of(queue->first) : NULL;
}

/* ---- what is sent ---- */

/* Whether a reference is the next piece, which may be cut so that *total does not become too large. */
static bool take_reference(const struct output_reference *reference, struct iovec *piece, size_t total)
{
    if (reference->kind == OUTPUT_FILE || total >= OUTPUT_GATHER_BYTES)
        return false;
    piece->iov_base = (void *)(uintptr_t)reference->data;
    piece->iov_len = smaller(OUTPUT_GATHER_BYTES - total, reference->length);
    return true;
}

int output_queue_pieces(const struct output_queue *queue, struct iovec *pieces, int count, size_t *total, bool *more)
{
    struct block *block = queue->first;
    int used = 0;

    *total = 0;
    for (; block != NULL && used < count; block = block->next) {
        if (block->kind == OUTPUT_BYTES) {
            pieces[used].iov_base = block->data + block->begin;
            pieces[used].iov_len = block_length(block);
        } else if (!take_reference(reference_of(block), &pieces[used], *total)) {
            break;
        }
        *total += pieces[used++].iov_len;
        if (block->kind != OUTPUT_BYTES && pieces[used - 1].iov_len < reference_of(block)->length)
            break;
    }
    *more = block != NULL;
    return used;
}

static uint64_t length_of(struct block *block)
{
    return block->kind == OUTPUT_BYTES ? block_length(block) : reference_of(block)->length;
}

static size_t counts_for(struct block *block)
{
    return block->kind == OUTPUT_BYTES ? block_length(block)
                                       : output_counts_for(block->kind, reference_of(block)->length);
}

/* Drops the first length bytes of a block that has more. Returns how much less it counts for. */
static size_t advance(struct block *block, size_t length)
{
    struct output_reference *reference = reference_of(block);

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

    while (block != NULL && length >= length_of(block)) {
        length -= length_of(block);
        bytes -= counts_for(block);
        queue->first = block->next;
        let_go(pools, block);
        block = queue->first;
    }
    if (block == NULL)
        queue->last = NULL;
    else if (length > 0)
        bytes -= advance(block, length);
    output_queue_count(queue, bytes);
}

/* ---- what is lent ---- */

/* Of memory that was lent, in several blocks: the release is called when all are done with. */
struct shared_release {
    jd_release release;
    void *arg;
    struct block *block; /* that it lies in */
    unsigned parts;
};

static void release_part(void *arg)
{
    struct shared_release *shared = arg;

    if (--shared->parts > 0)
        return;
    shared->release(shared->arg);
    block_put(shared->block);
}

/* For one part more. */
static bool share_release(struct output_pools *pools, struct output_reference *reference)
{
    struct shared_release *shared;
    struct block *block;

    if (reference->release == release_part) {
        shared = reference->arg;
        shared->parts++;
        return true;
    }
    block = block_pool_get(&pools->references);
    if (block == NULL)
        return false;
    shared = (struct shared_release *)(void *)block->data;
    *shared =
        (struct shared_release){ .release = reference->release, .arg = reference->arg, .block = block, .parts = 2 };
    reference->release = release_part;
    reference->arg = shared;
    return true;
}

/* A block with what is behind the first length bytes, or NULL. */
static struct block *rest_of_reference(struct output_pools *pools, struct block *block, size_t length)
{
    struct output_reference *reference = reference_of(block);
    struct block *rest = block_pool_get(&pools->references);

    if (rest == NULL)
        return NULL;
    if (reference->release != NULL && !share_release(pools, reference)) {
        block_put(rest);
        return NULL;
    }
    rest->kind = block->kind;
    rest->end = rest->capacity;
    *reference_of(rest) = *reference;
    reference_of(rest)->data += length;
    reference_of(rest)->length -= length;
    return rest;
}

static struct block *rest_of_bytes(struct output_pools *pools, const struct block *block, size_t length)
{
    struct iovec part = { .iov_base = (void *)(uintptr_t)(block->data + block->begin + length),
                          .iov_len = block_length(block) - length };
    struct block *last;
    struct block *rest = get_chain(fits_small(part.iov_len) ? &pools->small : &pools->large, part.iov_len, &last);

    if (rest != NULL)
        copy_to_blocks(rest, &part, 1);
    return rest;
}

/* The first block lends its first length bytes, and the queue goes on with others for the rest. Returns how many bytes were
 * dropped instead. */
static size_t lend_part(struct output_queue *queue, struct output_pools *pools, size_t length, struct block_chain *lent)
{
    struct block *block = queue->first, *behind = block->next;
    size_t left = counts_for(block) - length;
    struct block *rest =
        block->kind == OUTPUT_BYTES ? rest_of_bytes(pools, block, length) : rest_of_reference(pools, block, length);
    struct block *last = rest;

    block_chain_append(lent, block);
    if (rest == NULL) {
        queue->first = behind;
        if (behind == NULL)
            queue->last = NULL;
        return left;
    }
    while (last->next != NULL)
        last = last->next;
    last->next = behind;
    queue->first = rest;
    if (behind == NULL)
        queue->last = last;
    return 0;
}

size_t output_queue_lend(struct output_queue *queue, struct output_pools *pools, size_t length,
                         struct block_chain *lent)
{
    size_t bytes = output_queue_bytes(queue) - length, dropped = 0;

    while (length > 0 && length >= length_of(queue->first)) {
        struct block *block = queue->first;
        length -= length_of(block);
        queue->first = block->next;
        block_chain_append(lent, block);
    }
    if (queue->first == NULL)
        queue->last = NULL;
    else if (length > 0)
        dropped = lend_part(queue, pools, length, lent);
    output_queue_count(queue, bytes - dropped);
    return dropped;
}

void output_pools_take_back(struct output_pools *pools, struct block_chain *lent)
{
    for (struct block *block = lent->first, *next; block != NULL; block = next) {
        next = block->next;
        let_go(pools, block);
    }
    *lent = (struct block_chain){ 0 };
}

/* ---- the end ---- */

uint64_t output_queue_clear(struct output_queue *queue, struct output_pools *pools)
{
    uint64_t bytes = 0;

    for (struct block *block = queue->first, *next; block != NULL; block = next) {
        next = block->next;
        bytes += length_of(block);
        let_go(pools, block);
    }
    queue->first = NULL;
    queue->last = NULL;
    output_queue_count(queue, 0);
    return bytes;
}

/* ---- files that are read ---- */

int output_queue_begin_read(struct output_queue *queue, struct output_pools *pools, size_t most, struct iovec *room)
{
    const struct output_reference *file = output_queue_first_file(queue);
    struct block *block = block_pool_get(&pools->large);

    if (block == NULL)
        return JD_ENOMEM;
    room->iov_base = block->data;
    room->iov_len = smaller(smaller(most, block->capacity), file->length);
    block->next = queue->first;
    queue->first = block;
    return 0;
}

int output_queue_end_read(struct output_queue *queue, struct output_pools *pools, ssize_t count)
{
    struct block *block = queue->first;

    queue->first = block->next;
    if (count <= 0) {
        block_put(block);
        return count < 0 ? (int)count : JD_ENODATA;
    }
    output_queue_consume(queue, pools, (size_t)count);
    block->end = (uint32_t)count;
    block->next = queue->first;
    queue->first = block;
    if (queue->last == NULL)
        queue->last = block;
    output_queue_count(queue, output_queue_bytes(queue) + block_length(block));
    return 0;
}

int output_queue_read_file(struct output_queue *queue, struct output_pools *pools, size_t most)
{
    const struct output_reference *file = output_queue_first_file(queue);
    struct iovec room;
    int result = output_queue_begin_read(queue, pools, most, &room);

    if (result < 0)
        return result;
    return output_queue_end_read(queue, pools, file_read(file->fd, room.iov_base, room.iov_len, file->offset));
}
