/* What the files of the io_uring backend share (io_uring(7)); docs/io_uring.md describes how they work together.
 *
 *   io_uring.c             the functions of backend_ops: life and wait
 *   io_uring_setup.c       creating the ring, or the reason why there can be none
 *   io_uring_submit.c      submitting and cancelling operations
 *   io_uring_queue.c       room in the submission queue
 *   io_uring_arena.c       copies of the memory that requests point to
 *   io_uring_enter.c       system calls
 *   io_uring_completion.c  reporting completions
 *   io_uring_buffers.c     the blocks that the kernel receives into
 *   io_uring_unsignaled.c  sends without a completion
 *   io_uring_pollable.c    the descriptor for a loop that waits inside another
 *
 * Thread rule: the loop's thread, except uring_available and uring_refusal (any thread). */
#ifndef PROACTOR_IO_URING_IO_URING_BACKEND_H
#define PROACTOR_IO_URING_IO_URING_BACKEND_H

#include "proactor/backend.h"

#include <liburing.h>

enum {
    URING_SUBMISSIONS = 256,
    URING_COMPLETIONS = 8 * URING_SUBMISSIONS,

    /* Blocks provided to the kernel. They fill two or three regions of the loop's pool, so that the blocks that
     * replace kept ones fit there too. */
    URING_LARGE_BLOCKS = 6,   /* consumed incrementally; no more than the processor's caches hold */
    URING_SMALL_BLOCKS = 189, /* where the kernel cannot consume a block incrementally */
    URING_BUFFERS = 256,      /* entries of the buffer ring, a power of two */
    URING_BUFFER_GROUP = 0,
    URING_ARENA_BYTES = 32 * 1024,

    /* How long a wait may last to gather n completions: URING_GATHER_US + n * URING_GATHER_EACH_US. Completions that
     * come more slowly are not worth the delay. */
    URING_GATHER_US = 32,
    URING_GATHER_EACH_US = 16,
    URING_GATHER_MAX = 32, /* so at most half a millisecond: completions that have come are delayed as long */

    URING_UNSIGNALED_MAX = 1024,

    /* The longest sleep with unsignaled sends unreported: until the report their bytes count as queued. */
    URING_UNSIGNALED_REPORT_NS = 10 * 1000000,
};

#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15) /* Linux 6.12 */
#endif

_Static_assert(URING_SMALL_BLOCKS <= URING_BUFFERS, "each block needs an entry of the buffer ring");

/* user_data of entries that are not the owner's operations. */
static const uint64_t uring_wakeup_token = UINT64_MAX;
static const uint64_t uring_ignored_token = UINT64_MAX - 1; /* a cancel */
static const uint64_t uring_barrier_token = UINT64_MAX - 2; /* the timeout that ends a sleep for unsignaled sends */
static const uint64_t uring_timeout_token = UINT64_MAX - 3; /* the linked timeout of a receive */

/* A send that has a completion only if not all its bytes were sent (io_uring_unsignaled.c). */
struct unsignaled_send {
    uint64_t token; /* 0: its completion has come, which reports it */
    size_t bytes;
};

struct io_uring_backend {
    struct backend backend;
    struct io_uring ring;
    int wakeup;         /* an eventfd */
    bool wakeup_polled; /* its multishot poll is in flight */
    bool enabled;       /* by the first wait */

    /* For a loop that waits inside another: an eventfd that the ring signals once it is registered. SOCKET_NONE
     * before the first uring_pollable_fd. Atomic because uring_wake reads it from any thread. */
    _Atomic int pollable;
    bool pollable_registered;

    bool fd_registered; /* io_uring_register_ring_fd(3) */

    unsigned optional_sends; /* in the submission queue: completion_optional, but signaled */
    struct unsignaled_send unsignaled_sends[URING_UNSIGNALED_MAX]; /* not reported yet, in order of submission */
    unsigned unsignaled_count;
    bool unsignaled_timeout_armed;             /* the timeout uring_barrier_token is in flight */
    unsigned gathering_pause, gathering_skips; /* after a wait that gathered in vain: the next so many do not gather */

    /* The blocks that the kernel receives into (provided buffers). A buffer's number is its index in these arrays. */
    struct io_uring_buf_ring *buffers;
    void *buffers_memory;
    struct block *blocks[URING_SMALL_BLOCKS];
    uint32_t used[URING_SMALL_BLOCKS]; /* bytes of each, from its beginning */
    unsigned block_count;
    bool incremental;                     /* the kernel consumes blocks incrementally (IOU_PBUF_RING_INC) */
    struct block shown, *shown_block;     /* the part of a block that is being delivered */
    uint16_t missing[URING_SMALL_BLOCKS]; /* numbers that have no block, because there was no memory */
    unsigned missing_count;
    unsigned buffers_out; /* provided to the kernel and not used up */
    size_t room;          /* bytes that the kernel can still receive into them */
    size_t typical_bytes; /* moving average of the room that a receive takes */

    /* Copies of the memory that requests point to, until the kernel has taken their entries
     * (IORING_FEAT_SUBMIT_STABLE). */
    unsigned char *arena;
    size_t arena_used;

    /* Entries that do not fit into the submission queue: before the ring is enabled, or while the kernel takes none. */
    struct io_uring_sqe *parked;
    unsigned parked_count, parked_room;
};

extern const struct backend_ops io_uring_backend;

static inline struct io_uring_backend *uring_of(const struct backend *backend)
{
    return (struct io_uring_backend *)(uintptr_t)backend;
}

/* The index-th of the available completions. */
static inline const struct io_uring_cqe *uring_completion_at(const struct io_uring *ring, unsigned index)
{
    return &ring->cq.cqes[(*ring->cq.khead + index) & ring->cq.ring_mask];
}

/* ---- io_uring_setup.c ---- */

struct ring_size {
    unsigned submissions, completions;
};

/* Creates a ring that is not enabled yet. Returns 0, or a negative error and *reason, a static string. */
int uring_setup(struct io_uring *ring, const struct ring_size *size, const char **reason);

/* Enables the ring. Called once, by the first wait: the thread that enables is the only one that may submit
 * (IORING_SETUP_SINGLE_ISSUER in io_uring_setup(2)). Returns 0 or a negative error. */
int uring_enable(struct io_uring_backend *uring);

/* See backend_ops.available. */
int uring_available(const char **reason);

/* Why io_uring_setup failed with error (a negative errno), given kernel.io_uring_disabled ('0' to '2'). A static
 * string. */
const char *uring_refusal(int error, char disabled);

/* ---- io_uring_buffers.c ---- */

/* Registers a buffer ring and provides blocks to the kernel. Returns 0 or a negative error. */
int uring_buffers_create(struct io_uring_backend *uring);

/* Unregisters it and puts the blocks back to the loop's pool. */
void uring_buffers_destroy(struct io_uring_backend *uring);

/* Both for a completion with a buffer. uring_buffer_filled returns a block whose begin to end are the received bytes.
 * uring_buffer_return is called after they have been delivered: a buffer that is used up is provided to the kernel
 * again, with the same block or, if the receiver has kept some of it, with a new one. */
struct block **uring_buffer_filled(struct io_uring_backend *uring, const struct io_uring_cqe *entry);
void uring_buffer_return(struct io_uring_backend *uring, const struct io_uring_cqe *entry);

/* How many bytes of the room a completion has taken. */
size_t uring_buffer_taken(const struct io_uring_backend *uring, const struct io_uring_cqe *entry);

/* Provides blocks for the missing numbers, if there is memory now. */
void uring_buffers_refill(struct io_uring_backend *uring);

/* ---- io_uring_unsignaled.c ---- */

/* Whether a request whose entry covers all its buffers may be sent unsignaled; then uring_make_unsignaled changes its
 * prepared entry and records the send. */
bool uring_may_be_unsignaled(const struct io_uring_backend *uring, const struct operation_request *request);
void uring_make_unsignaled(struct io_uring_backend *uring, struct io_uring_sqe *entry,
                           const struct operation_request *request);

/* Whether a completion's user_data is that of an unsignaled send; and the token of its request. */
bool uring_is_unsignaled(uint64_t user_data);
uint64_t uring_unsignaled_token(uint64_t user_data);

/* Called before a sleep: makes it end in time to report unsignaled sends. Returns how long it may last, in ns. */
int64_t uring_arm_unsignaled_timeout(struct io_uring_backend *uring, int64_t timeout_ns);

/* Called before a wait's first report: returns how many of the recorded sends, from the first on, have finished: all
 * or none. */
unsigned uring_unsignaled_finished(struct io_uring_backend *uring);

/* Reports success for the first finished unsignaled sends, except those whose completion is among the first ready
 * ones in the completion queue: that completion reports them. */
void uring_report_unsignaled(struct io_uring_backend *uring, unsigned finished, unsigned ready);

/* ---- io_uring_pollable.c: see backend_ops.pollable_fd and prepare_poll ---- */
int uring_pollable_fd(struct backend *backend);
bool uring_prepare_poll(struct backend *backend);

/* Called before a wait collects completions: resets the descriptor, so that a later completion signals it again. */
void uring_pollable_drain(struct io_uring_backend *uring);

/* ---- io_uring_enter.c ---- */

/* Submits the queue and waits until count completions are available or, once at_least_us have passed (0: never),
 * until one is; at most timeout_ns (negative: without limit). Returns a negative error if nothing was submitted or
 * the wait failed. */
int uring_enter(struct io_uring_backend *uring, unsigned count, unsigned at_least_us, int64_t timeout_ns);

/* Both make the kernel run deferred work and post its completions, without waiting; the first submits the queue
 * before that. Return a negative error if the call failed. */
int uring_submit_and_get_events(struct io_uring_backend *uring);
int uring_get_events(struct io_uring_backend *uring);

/* Submits the queue if the ring is enabled. Entries that the kernel does not take stay in the queue. */
void uring_submit_now(struct io_uring_backend *uring);

/* See backend_ops.push. */
void uring_push(struct backend *backend);

/* ---- io_uring_queue.c ---- */

/* A new entry behind all others: in the queue, or parked. NULL: no memory. */
struct io_uring_sqe *uring_next_entry(struct io_uring_backend *uring);

/* Called before an operation's entry is made. Returns whether the entry of its cancel is sure to find room. */
bool uring_keep_room_for_cancel(struct io_uring_backend *uring);

/* Whether the next two entries lie side by side in the queue, as a linked timeout needs. May submit to make room. */
bool uring_has_room_for_two(struct io_uring_backend *uring);

/* Moves parked entries to the queue, as far as there is room. */
void uring_unpark(struct io_uring_backend *uring);

/* ---- io_uring_arena.c ---- */

/* Memory that stays unchanged until the kernel has taken all present entries and the next one. Call it before that
 * entry is made: it may submit the queue to make room. NULL: no room now. */
void *uring_arena_take(struct io_uring_backend *uring, size_t bytes);

/* How many of a request's buffers one entry can have: at most IOV_MAX. */
unsigned uring_buffer_count_of(const struct operation_request *request);

/* Copies the buffers of a request that has several into the arena, in the form that its entry needs: a struct msghdr
 * for a socket, an array for a file. NULL: there is one buffer, or no room; then the entry uses the first buffer
 * only, which is a short transfer. */
const void *uring_copy_buffers(struct io_uring_backend *uring, const struct operation_request *request);

/* ---- io_uring_submit.c: see backend_ops.submit and cancel ---- */
int uring_submit(struct backend *backend, const struct operation_request *request);
void uring_cancel(struct backend *backend, int fd, uint64_t token);

/* Submits the multishot poll of the wakeup eventfd, unless it is in flight. */
void uring_poll_wakeup(struct io_uring_backend *uring);

/* ---- io_uring_completion.c ---- */

/* Reports the completions that are available when it begins; those that callbacks cause are left for the next turn.
 * finished: how many unsignaled sends have finished. Returns how many completions were reported, a wake-up included. */
unsigned uring_dispatch_all(struct io_uring_backend *uring, unsigned finished);

/* ---- flags in the memory shared with the kernel ---- */

/* The completion queue was full: the kernel keeps further completions until it is entered. */
static inline bool uring_has_overflown(const struct io_uring *ring)
{
    return (IO_URING_READ_ONCE(*ring->sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
}

/* There are completions that the kernel creates or posts only when it is entered. */
static inline bool uring_kernel_has_more(const struct io_uring *ring)
{
    return (IO_URING_READ_ONCE(*ring->sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* Whether the queue has entries that the kernel has not taken. */
static inline bool uring_has_unsubmitted(const struct io_uring_backend *uring)
{
    return io_uring_sq_ready(&uring->ring) > 0;
}

#endif
