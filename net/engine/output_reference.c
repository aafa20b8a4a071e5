/* References in the output queue: memory that is not copied, and ranges of files. An engine sends a range from the
 * file, or reads it into blocks first. */
#include "base/platform/file.h"
#include "net/engine/output_blocks.h"

#include <jinduo/error.h>

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
    *reference = *output_reference_of(block);
    block_release(block);
    return true;
}

static int append_copy(struct output_queue *queue, struct output_pools *pools, const struct output_reference *reference)
{
    jd_iovec part = { .data = (void *)(uintptr_t)reference->data, .length = reference->length };

    return reference->length > 0 ? output_queue_append(queue, pools, &part, 1, part.length, 0) : 0;
}

/* A reference of at most copied bytes is copied. */
static int output_append_reference(struct output_queue *queue, struct output_pools *pools,
                                   const struct output_reference *reference, uint64_t copied)
{
    struct block *block = block_pool_get(&pools->references);
    int result;

    if (block == NULL)
        return JD_ENOMEM;
    block->kind = reference->kind;
    block->end = block->capacity; /* no room: appended bytes go to the next block */
    *output_reference_of(block) = *reference;
    if (reference->length > copied) {
        output_block_append(queue, block, output_counts_for(reference->kind, reference->length));
        return 0;
    }
    result = append_copy(queue, pools, reference);
    if (result == 0)
        output_release_block(pools, block);
    else
        block_release(block);
    return result;
}

int output_queue_append_reference(struct output_queue *queue, struct output_pools *pools,
                                  const struct output_reference *reference)
{
    return output_append_reference(queue, pools, reference, reference->kind == OUTPUT_MEMORY ? OUTPUT_COPY_BYTES : 0);
}

int output_queue_append_copy(struct output_queue *queue, struct output_pools *pools,
                             const struct output_reference *reference)
{
    return output_append_reference(queue, pools, reference, UINT64_MAX);
}

const struct output_reference *output_queue_first_file(const struct output_queue *queue)
{
    return queue->first != NULL && queue->first->kind == OUTPUT_FILE ? output_reference_of(queue->first) : NULL;
}

/* ---- reading files ---- */

int output_queue_begin_read(struct output_queue *queue, struct output_pools *pools, size_t most, jd_iovec *room)
{
    const struct output_reference *file = output_queue_first_file(queue);
    struct block *block = block_pool_get(&pools->large);

    if (block == NULL)
        return JD_ENOMEM;
    room->data = block->data;
    room->length = output_smaller(output_smaller(most, block->capacity), file->length);
    block->next = queue->first;
    queue->first = block;
    return 0;
}

int output_queue_end_read(struct output_queue *queue, struct output_pools *pools, ssize_t count)
{
    struct block *block = queue->first;

    queue->first = block->next;
    if (count <= 0) {
        block_release(block);
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
    jd_iovec room;
    int result = output_queue_begin_read(queue, pools, most, &room);

    if (result < 0)
        return result;
    return output_queue_end_read(queue, pools, file_read(file->fd, room.data, room.length, file->offset));
}
