/* The blocks that the kernel receives into (io_uring_register_buf_ring(3)): they belong to the loop, not to its connections,
 * so that an idle connection owns none. A block that the receiver keeps is replaced by another of the loop's pool.
 *
 * Since Linux 6.12 the kernel uses a block up piece by piece (IOU_PBUF_RING_INC): few large ones, of the loop's usual size,
 * serve many small messages, and a large one needs few completions. What arrived is shown as a slice; a block whose last piece
 * has been told is given again, or, if receivers have kept slices, left to them and replaced. Before, each block is for one
 * completion, so there are many small ones. */
#include "base/memory.h"
#include "base/posix/system_calls.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <errno.h>
#include <jinduo/error.h>
#include <string.h>

enum {
    USED_PIECE_BY_PIECE = 2, /* IOU_PBUF_RING_INC (linux/io_uring.h, Linux 6.12), later than liburing 2.3 */
    PAGE_BYTES = 4096,
    TYPICAL_SHARE = 8, /* of a receive in what is typical: one in so many */
    RING_BYTES = URING_BUFFERS * sizeof(struct io_uring_buf),

    /* 4 KiB and a header; 63 fit a region. A line more than a page: else their beginnings, which are all that small messages
     * use, would share few sets of the caches. */
    SMALL_BLOCK_BYTES = PAGE_BYTES + sizeof(struct block),
};

static void give(struct io_uring_backend *uring, unsigned number)
{
    const struct block *block = uring->blocks[number];

    io_uring_buf_ring_add(uring->buffers, block->data, block->capacity, (unsigned short)number,
                          io_uring_buf_ring_mask(URING_BUFFERS), 0);
    io_uring_buf_ring_advance(uring->buffers, 1);
    uring->used[number] = 0;
    uring->buffers_out++;
    uring->room += block->capacity;
}

static bool give_new_block(struct io_uring_backend *uring, unsigned number)
{
    uring->blocks[number] = proactor_receive_block(uring->backend.owner);
    if (uring->blocks[number] == NULL)
        return false;
    give(uring, number);
    return true;
}

static int register_ring(struct io_uring_backend *uring, uint16_t flags)
{
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)uring->buffers,
        .ring_entries = URING_BUFFERS,
        .bgid = URING_BUFFER_GROUP,
    };

    /* The field behind bgid: pad in liburing 2.3, later flags. */
    memcpy(&registration.bgid + 1, &flags, sizeof(flags));
    return system_calls.io_uring_register((unsigned)uring->ring.ring_fd, IORING_REGISTER_PBUF_RING, &registration, 1);
}

/* The best way there is. Returns 0 or a negative error. */
static int choose_way(struct io_uring_backend *uring)
{
    int result = register_ring(uring, USED_PIECE_BY_PIECE);

    uring->incremental = result == 0;
    uring->block_count = uring->incremental ? URING_LARGE_BLOCKS : URING_SMALL_BLOCKS;
    return result == -EINVAL ? register_ring(uring, 0) : result;
}

/* What the kernel is going to write to, so that messages cost no page faults. */
static void prefault(struct io_uring_backend *uring)
{
    for (unsigned number = 0; number < uring->block_count; number++)
        memset(uring->blocks[number]->data, 0, uring->blocks[number]->capacity);
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
    uring->typical_bytes = PAGE_BYTES;
    result = choose_way(uring);
    if (result < 0) {
        memory_release(uring->buffers_memory, RING_BYTES + PAGE_BYTES);
        return result;
    }
    if (!uring->incremental)
        result = proactor_set_receive_blocks(uring->backend.owner, SMALL_BLOCK_BYTES);
    for (unsigned number = 0; number < uring->block_count && result == 0; number++)
        result = give_new_block(uring, number) ? 0 : JD_ENOMEM;
    if (result < 0)
        uring_buffers_destroy(uring);
    else
        prefault(uring);
    return result;
}

void uring_buffers_destroy(struct io_uring_backend *uring)
{
    io_uring_unregister_buf_ring(&uring->ring, URING_BUFFER_GROUP);
    for (unsigned number = 0; number < uring->block_count; number++)
        if (uring->blocks[number] != NULL)
            block_put(uring->blocks[number]);
    memory_release(uring->buffers_memory, RING_BYTES + PAGE_BYTES);
}

/* A buffer is used up when nothing is left of it. IORING_CQE_F_BUF_MORE says the same, but not at a connection's end:
 * many kernels leave it out then, although they go on with the buffer (issue 1553 of liburing). */
static bool is_used_up(const struct io_uring_backend *uring, unsigned number)
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

/* Never 0. */
static void count_typical(struct io_uring_backend *uring, size_t taken)
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

    count_typical(uring, taken);
    uring->room -= taken;
    uring->used[number] += (uint32_t)taken;
    if (is_used_up(uring, number))
        uring->buffers_out--;
    if (uring->incremental) {
        block_show(&uring->shown, proactor_slices(uring->backend.owner), block, begin, length);
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

    if (block != NULL && !is_used_up(uring, number))
        return;
    if (block != NULL && block->slices == 0) {
        give(uring, number);
        return;
    }
    if (block != NULL)
        block_put(block);
    if (!give_new_block(uring, number))
        uring->missing[uring->missing_count++] = (uint16_t)number;
}

void uring_buffers_refill(struct io_uring_backend *uring)
{
    while (uring->missing_count > 0 && give_new_block(uring, uring->missing[uring->missing_count - 1]))
        uring->missing_count--;
}
