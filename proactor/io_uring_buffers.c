/* The blocks that the kernel receives into (io_uring_register_buf_ring(3)): they belong to the loop, not to its connections,
 * so that an idle connection owns none. A block that the receiver keeps is replaced by another of the loop's pool. */
#include "base/memory.h"
#include "proactor/io_uring_backend.h"

#include <jinduo/error.h>

enum { BUFFER_GROUP = 0, PAGE_BYTES = 4096, RING_BYTES = URING_BUFFERS * sizeof(struct io_uring_buf) };

/* ring_offset: how many were given since the last advance. */
static void give(struct io_uring_backend *uring, unsigned number, int ring_offset)
{
    const struct block *block = uring->blocks[number];

    io_uring_buf_ring_add(uring->buffers, (void *)(uintptr_t)block->data, block->capacity, (unsigned short)number,
                          io_uring_buf_ring_mask(URING_BUFFERS), ring_offset);
    uring->buffers_out++;
}

static bool give_new_block(struct io_uring_backend *uring, unsigned number)
{
    struct block *block = proactor_receive_block(uring->backend.owner);

    uring->blocks[number] = block;
    if (block == NULL)
        return false;
    give(uring, number, 0);
    io_uring_buf_ring_advance(uring->buffers, 1);
    return true;
}

static int register_ring(struct io_uring_backend *uring)
{
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)uring->buffers,
        .ring_entries = URING_BUFFERS,
        .bgid = BUFFER_GROUP,
    };

    return io_uring_register_buf_ring(&uring->ring, &registration, 0);
}

int uring_buffers_create(struct io_uring_backend *uring)
{
    int result;

    /* The kernel wants it on a page of its own. */
    uring->buffers_memory = memory_allocate_zeroed(RING_BYTES + PAGE_BYTES);
    if (uring->buffers_memory == NULL)
        return JD_ENOMEM;
    uring->buffers = (struct io_uring_buf_ring *)(((uintptr_t)uring->buffers_memory + PAGE_BYTES - 1) &
                                                  ~(uintptr_t)(PAGE_BYTES - 1));
    io_uring_buf_ring_init(uring->buffers);
    result = register_ring(uring);
    if (result < 0) {
        memory_release(uring->buffers_memory, RING_BYTES + PAGE_BYTES);
        return result;
    }
    for (unsigned number = 0; number < URING_BLOCKS; number++) {
        if (!give_new_block(uring, number)) {
            uring_buffers_destroy(uring);
            return JD_ENOMEM;
        }
    }
    return 0;
}

void uring_buffers_destroy(struct io_uring_backend *uring)
{
    io_uring_unregister_buf_ring(&uring->ring, BUFFER_GROUP);
    for (unsigned number = 0; number < URING_BLOCKS; number++)
        if (uring->blocks[number] != NULL)
            block_put(uring->blocks[number]);
    memory_release(uring->buffers_memory, RING_BYTES + PAGE_BYTES);
}

struct block **uring_buffer_filled(struct io_uring_backend *uring, unsigned number, size_t length)
{
    struct block *block = uring->blocks[number];

    uring->buffers_out--;
    block->begin = 0;
    block->end = (uint32_t)length;
    return &uring->blocks[number];
}

void uring_buffer_return(struct io_uring_backend *uring, unsigned number)
{
    if (uring->blocks[number] == NULL) {
        if (!give_new_block(uring, number))
            uring->missing[uring->missing_count++] = (uint16_t)number;
        return;
    }
    give(uring, number, 0);
    io_uring_buf_ring_advance(uring->buffers, 1);
}

void uring_buffers_refill(struct io_uring_backend *uring)
{
    while (uring->missing_count > 0 && give_new_block(uring, uring->missing[uring->missing_count - 1]))
        uring->missing_count--;
}
