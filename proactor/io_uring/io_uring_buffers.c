/* The blocks that the kernel receives into: provided buffers (io_uring_register_buf_ring(3)). They belong to the
 * loop, not to its connections, so an idle connection owns none. A block that a receiver keeps is replaced by another
 * one of the loop's pool.
 *
 *   - Since Linux 6.12 the kernel consumes a block incrementally (IOU_PBUF_RING_INC). A few large blocks of the
 *     loop's usual size serve many small messages, and a large message needs few completions. Received bytes are
 *     delivered as a slice of the block. A block that is used up is provided again or, if receivers have kept slices
 *     of it, left to them and replaced.
 *   - Before, each completion uses a block of its own, so there are many small ones. */
#include "base/memory.h"
#include "base/posix/system_calls.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <errno.h>
#include <jinduo/error.h>
#include <string.h>

enum {
    BUFFERS_INCREMENTAL = 2, /* IOU_PBUF_RING_INC (linux/io_uring.h, Linux 6.12); liburing 2.3 does not define it */
    PAGE_BYTES = 4096,
    TYPICAL_SHARE = 8, /* a receive counts for one eighth of the moving average typical_bytes */
    RING_BYTES = URING_BUFFERS * sizeof(struct io_uring_buf),

    /* 4 KiB and a header; 63 fit into a region. One cache line more than a page: otherwise the beginnings of the
     * blocks, the only part that small messages use, would share few sets of the caches. */
    SMALL_BLOCK_BYTES = PAGE_BYTES + sizeof(struct block),
};

static void buffer_provide(struct io_uring_backend *uring, unsigned number)
{
    const struct block *block = uring->blocks[number];

    io_uring_buf_ring_add(uring->buffers, block->data, block->capacity, (unsigned short)number,
                          io_uring_buf_ring_mask(URING_BUFFERS), 0);
    io_uring_buf_ring_advance(uring->buffers, 1);
    uring->used[number] = 0;
    uring->buffers_out++;
    uring->room += block->capacity;
}

static bool buffer_provide_new_block(struct io_uring_backend *uring, unsigned number)
{
    uring->blocks[number] = proactor_receive_block(uring->backend.owner);
    if (uring->blocks[number] == NULL)
        return false;
    buffer_provide(uring, number);
    return true;
}

static int buffers_register(struct io_uring_backend *uring, uint16_t flags)
{
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)uring->buffers,
        .ring_entries = URING_BUFFERS,
        .bgid = URING_BUFFER_GROUP,
    };

    /* The flags field follows bgid; liburing 2.3 names it pad. */
    memcpy(&registration.bgid + 1, &flags, sizeof(flags));
    return system_calls.io_uring_register((unsigned)uring->ring.ring_fd, IORING_REGISTER_PBUF_RING, &registration, 1);
}

/* Registers the buffer ring, incremental if the kernel can do that. Returns 0 or a negative error. */
static int buffers_register_best(struct io_uring_backend *uring)
{
    int result = buffers_register(uring, BUFFERS_INCREMENTAL);

    uring->incremental = result == 0;
    uring->block_count = uring->incremental ? URING_LARGE_BLOCKS : URING_SMALL_BLOCKS;
    return result == -EINVAL ? buffers_register(uring, 0) : result;
}

/* Touches the memory that the kernel will write to, so that messages cause no page faults. */
static void buffers_prefault(struct io_uring_backend *uring)
{
    for (unsigned number = 0; number < uring->block_count; number++)
        memset(uring->blocks[number]->data, 0, uring->blocks[number]->capacity);
}

int uring_buffers_create(struct io_uring_backend *uring)
{
    int result;

    /* The kernel requires the ring to start on a page boundary. */
    uring->buffers_memory = memory_allocate_zeroed(RING_BYTES + PAGE_BYTES);
    if (uring->buffers_memory == NULL)
        return JD_ENOMEM;
    uring->buffers = (struct io_uring_buf_ring *)(((uintptr_t)uring->buffers_memory + PAGE_BYTES - 1) &
                                                  ~(uintptr_t)(PAGE_BYTES - 1));
    io_uring_buf_ring_init(uring->buffers);
    uring->typical_bytes = PAGE_BYTES;
    result = buffers_register_best(uring);
    if (result < 0) {
        memory_release(uring->buffers_memory, RING_BYTES + PAGE_BYTES);
        return result;
    }
    if (!uring->incremental)
        result = proactor_set_receive_blocks(uring->backend.owner, SMALL_BLOCK_BYTES);
    for (unsigned number = 0; number < uring->block_count && result == 0; number++)
        result = buffer_provide_new_block(uring, number) ? 0 : JD_ENOMEM;
    if (result < 0)
        uring_buffers_destroy(uring);
    else
        buffers_prefault(uring);
    return result;
}

void uring_buffers_destroy(struct io_uring_backend *uring)
{
    io_uring_unregister_buf_ring(&uring->ring, URING_BUFFER_GROUP);
    for (unsigned number = 0; number < uring->block_count; number++)
        if (uring->blocks[number] != NULL)
            block_release(uring->blocks[number]);
    memory_release(uring->buffers_memory, RING_BYTES + PAGE_BYTES);
}

/* IORING_CQE_F_BUF_MORE should mean that a buffer is not used up, but many kernels omit it at a connection's end
 * although they continue to use the buffer (issue 1553 of liburing). */
static bool buffer_is_used_up(const struct io_uring_backend *uring, unsigned number)
{
    return uring->used[number] == uring->blocks[number]->capacity;
}

size_t uring_buffer_taken(const struct io_uring_backend *uring, const struct io_uring_cqe *entry)
{
    if ((entry->flags & IORING_CQE_F_BUFFER) == 0)
        return 0;
    if (!uring->incremental)
        return SMALL_BLOCK_BYTES - sizeof(struct block);
    return entry->res > 0 ? (size_t)entry->res : 0;
}

/* typical_bytes never becomes 0: uring_receive_room divides by it. */
static void buffers_count_typical(struct io_uring_backend *uring, size_t taken)
{
    uring->typical_bytes -= uring->typical_bytes / TYPICAL_SHARE;
    uring->typical_bytes += taken / TYPICAL_SHARE + 1;
}

struct block **uring_buffer_filled(struct io_uring_backend *uring, const struct io_uring_cqe *entry)
{
    unsigned number = entry->flags >> IORING_CQE_BUFFER_SHIFT;
    struct block *block = uring->blocks[number];
    uint32_t length = entry->res > 0 ? (uint32_t)entry->res : 0, begin = uring->used[number];
    size_t taken = uring_buffer_taken(uring, entry);

    buffers_count_typical(uring, taken);
    uring->room -= taken;
    uring->used[number] += (uint32_t)taken;
    if (buffer_is_used_up(uring, number))
        uring->buffers_out--;
    if (uring->incremental) {
        block_view(&uring->shown, proactor_slices(uring->backend.owner), block, begin, length);
        uring->shown_block = &uring->shown;
        return &uring->shown_block;
    }
    block->begin = 0;
    block->end = length;
    return &uring->blocks[number];
}

void uring_buffer_return(struct io_uring_backend *uring, const struct io_uring_cqe *entry)
{
    unsigned number = entry->flags >> IORING_CQE_BUFFER_SHIFT;
    struct block *block = uring->blocks[number];

    if (block != NULL && !buffer_is_used_up(uring, number))
        return;
    if (block != NULL && block->slices == 0) {
        buffer_provide(uring, number);
        return;
    }
    if (block != NULL)
        block_release(block);
    if (!buffer_provide_new_block(uring, number))
        uring->missing[uring->missing_count++] = (uint16_t)number;
}

void uring_buffers_refill(struct io_uring_backend *uring)
{
    while (uring->missing_count > 0 && buffer_provide_new_block(uring, uring->missing[uring->missing_count - 1]))
        uring->missing_count--;
}
