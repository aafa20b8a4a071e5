/* The io_uring backend's inside (io_uring(7)); docs/io_uring.md tells how the parts work together.
 *
 *   io_uring.c             the backend's functions: its life and its wait
 *   io_uring_setup.c       the ring's making, and why there can be none
 *   io_uring_submit.c      operations begun and cancelled
 *   io_uring_queue.c       room in the submission queue
 *   io_uring_arena.c       copies of what requests point to
 *   io_uring_enter.c       calls into the kernel
 *   io_uring_completion.c  completions told
 *   io_uring_buffers.c     blocks that the kernel receives into
 *   io_uring_unsignaled.c  sends that need no completion
 *   io_uring_pollable.c    loops that another loop waits for */
#ifndef PROACTOR_IO_URING_IO_URING_BACKEND_H
#define PROACTOR_IO_URING_IO_URING_BACKEND_H

#include "proactor/backend.h"

#include <liburing.h>

enum {
    URING_SUBMISSIONS = 256,
    URING_COMPLETIONS = 8 * URING_SUBMISSIONS,
    /* In the kernel's hands: two or three regions of the loop's pool, so that what replaces those that receivers keep fits,
     * too. */
    URING_LARGE_BLOCKS = 6,   /* used up piece by piece: no more than the caches hold */
    URING_SMALL_BLOCKS = 189, /* where the kernel cannot do that */
    URING_BUFFERS = 256,      /* the buffer ring's entries, a power of two */
    URING_BUFFER_GROUP = 0,
    URING_ARENA_BYTES = 32 * 1024,
    URING_GATHER_US = 32, /* for messages that are waited for, and for each of them: slower ones are not worth it */
    URING_GATHER_EACH_US = 16,
    URING_GATHER_MOST = 32, /* half a millisecond: what else has come waits along */
    URING_SILENT_MOST = 1024,
    URING_SILENCE_NS = 10 * 1000000, /* a sleep's end with silent sends untold, which seem queued meanwhile */
};

#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15) /* Linux 6.12 */
#endif

_Static_assert(URING_SMALL_BLOCKS <= URING_BUFFERS, "each block needs an entry");

/* user_data of what is no operation of the owner's. */
static const uint64_t uring_wakeup_token = UINT64_MAX;
static const uint64_t uring_ignored_token = UINT64_MAX - 1;
static const uint64_t uring_barrier_token = UINT64_MAX - 2;
static const uint64_t uring_timeout_token = UINT64_MAX - 3; /* a linked timeout's */

/* A send that completes only if it was not taken whole (io_uring_unsignaled.c). */
struct unsignaled_send {
    uint64_t token; /* 0: it has completed */
    size_t bytes;
};

struct io_uring_backend {
    struct backend backend;
    struct io_uring ring;
    int wakeup;         /* an eventfd */
    bool wakeup_polled; /* by a continuous poll */
    bool enabled;       /* by the thread that waits */

    /* For a loop inside another: an eventfd that the ring signals once it is registered with it. SOCKET_NONE until somebody
     * asks. */
    _Atomic int pollable;
    bool pollable_registered;

    bool fd_registered; /* io_uring_register_ring_fd(3) */

    unsigned optional_sends; /* in the submission queue, that complete */
    struct unsignaled_send silent[URING_SILENT_MOST];
    unsigned unsignaled_count; /* not told yet, in the order in which they were submitted */
    bool silence_limited;      /* a timeout is under way */
    unsigned gathering_pause, gathering_skips;

    /* The blocks that the kernel receives into: a buffer's number is its index here. */
    struct io_uring_buf_ring *buffers;
    void *buffers_memory;
    struct block *blocks[URING_SMALL_BLOCKS];
    uint32_t used[URING_SMALL_BLOCKS]; /* of each, from its beginning */
    unsigned block_count;
    bool incremental;                     /* used up piece by piece */
    struct block shown, *shown_block;     /* the piece that is being told */
    uint16_t missing[URING_SMALL_BLOCKS]; /* numbers without a block, as there was no memory */
    unsigned missing_count;
    unsigned buffers_out; /* with the kernel, and */
    size_t room;          /* the bytes that it can still receive into them */
    size_t typical_bytes; /* what a receive has taken of that of late */

    /* What requests point to, copied: until the kernel has taken the submissions (IORING_FEAT_SUBMIT_STABLE). */
    unsigned char *arena;
    size_t arena_used;

    /* Submissions that do not fit the queue: before the ring is enabled, or when the kernel takes none. */
    struct io_uring_sqe *parked;
    unsigned parked_count, parked_room;
};

extern const struct backend_ops io_uring_backend;

static inline struct io_uring_backend *uring_of(const struct backend *backend)
{
    return (struct io_uring_backend *)(uintptr_t)backend;
}

/* The index-th of those that are there. */
static inline const struct io_uring_cqe *uring_completion_at(const struct io_uring *ring, unsigned index)
{
    return &ring->cq.cqes[(*ring->cq.khead + index) & ring->cq.ring_mask];
}

/* ---- io_uring_setup.c ---- */

struct ring_size {
    unsigned submissions, completions;
    unsigned sqpoll_idle_ms; /* as in jd_event_loop_options */
};

/* A ring, not enabled yet. Returns 0, or a negative error and *reason, a static string. */
int uring_setup(struct io_uring *ring, const struct ring_size *size, const char **reason);

/* By the thread that waits, once. */
int uring_enable(struct io_uring_backend *uring);

int uring_available(const char **reason);

/* Why no ring was made: the error, and what kernel.io_uring_disabled is set to ('0' to '2'). A static string. */
const char *uring_refusal(int error, char disabled);

/* ---- io_uring_buffers.c ---- */

int uring_buffers_create(struct io_uring_backend *uring);
void uring_buffers_destroy(struct io_uring_backend *uring);

/* Of a completion with a buffer: a block that shows what has arrived. When that has been told, the buffer is the kernel's
 * again, with the same or another block, if nothing is left of it. */
struct block **uring_buffer_filled(struct io_uring_backend *uring, const struct io_uring_cqe *entry);
void uring_buffer_return(struct io_uring_backend *uring, const struct io_uring_cqe *entry);

/* How much of the room a completion has taken. */
size_t uring_buffer_taken(const struct io_uring_backend *uring, const struct io_uring_cqe *entry);

/* Tries again for memory where there was none. */
void uring_buffers_refill(struct io_uring_backend *uring);

/* ---- io_uring_unsignaled.c ---- */

/* Whether the send that is asked for, of all its pieces, may be silent; then its prepared entry is made so. */
bool uring_may_be_unsignaled(const struct io_uring_backend *uring, const struct operation_request *request);
void uring_unsignaled(struct io_uring_backend *uring, struct io_uring_sqe *entry,
                      const struct operation_request *request);

/* A silent one's completion, and what it was submitted as. */
bool uring_is_unsignaled(uint64_t user_data);
uint64_t uring_unsignaled_token(uint64_t user_data);

/* Before it sleeps: that it wakes for those that are over. Returns how long it may sleep. */
int64_t uring_limit_silence(struct io_uring_backend *uring, int64_t timeout_ns);

/* Before anything is told: how many of those that were not told yet are over, the first ones. */
unsigned uring_unsignaled_over(struct io_uring_backend *uring);

/* Tells these, but for those that have a completion among those that are ready: they are told by that, behind them. */
void uring_report_unsignaled(struct io_uring_backend *uring, unsigned over, unsigned ready);

/* ---- io_uring_pollable.c ---- */
int uring_pollable_fd(struct backend *backend);
bool uring_prepare_poll(struct backend *backend);

/* Before completions are collected: what comes later is signalled anew. */
void uring_pollable_drain(struct io_uring_backend *uring);

/* ---- io_uring_enter.c ---- */

/* Hands over what is in the queue and waits: for so many completions, or after at_least_us (0: never) for one, at most until
 * timeout_ns (negative: without end). Returns a negative error when it was not handed over or the waiting failed. */
int uring_enter(struct io_uring_backend *uring, unsigned count, unsigned at_least_us, int64_t timeout_ns);

/* Has the kernel make, and put into the queue, the completions that there are, without waiting; the first one hands over what
 * is in the submission queue before. These return a negative error when the call failed. */
int uring_submit_and_get_events(struct io_uring_backend *uring);
int uring_get_events(struct io_uring_backend *uring);

/* Hands over what is in the queue, if the ring is enabled. What the kernel does not take stays in the queue. */
void uring_submit_now(struct io_uring_backend *uring);
void uring_push(struct backend *backend);

/* ---- io_uring_queue.c ---- */

/* An entry behind all others, or NULL: there is no memory. */
struct io_uring_sqe *uring_next_entry(struct io_uring_backend *uring);

/* Before an operation's entry. Returns whether its cancel will find room. */
bool uring_keep_room_for_cancel(struct io_uring_backend *uring);

/* Whether the next two entries lie in the queue side by side. */
bool uring_has_room_for_two(struct io_uring_backend *uring);

/* What is parked goes to the queue, as far as there is room. */
void uring_unpark(struct io_uring_backend *uring);

/* ---- io_uring_arena.c ---- */

/* Memory that the kernel may read until it has taken the entries that are there and the next one. Before that entry is made,
 * as it may be necessary to submit those before it. NULL: there is no room just now. */
void *uring_arena_take(struct io_uring_backend *uring, size_t bytes);

/* How many of a request's pieces one entry can have. */
unsigned uring_pieces_of(const struct operation_request *request);

/* The pieces of a request that has several, as its entry needs them: a struct msghdr, or of a file an array. NULL: there is
 * but one, or no room; as fewer bytes may be moved than are asked for, the first is enough then. */
const void *uring_copy_pieces(struct io_uring_backend *uring, const struct operation_request *request);

/* ---- io_uring_submit.c ---- */
int uring_submit(struct backend *backend, const struct operation_request *request);
void uring_cancel(struct backend *backend, int fd, uint64_t token);

/* A poll of the wakeup, if none is under way. */
void uring_poll_wakeup(struct io_uring_backend *uring);

/* ---- io_uring_completion.c ---- */

/* Tells of those that are there when it begins: what callbacks set off meanwhile waits for its turn. silent: so many silent
 * sends are over. Returns how many were told. */
unsigned uring_tell_all(struct io_uring_backend *uring, unsigned silent);

/* ---- what the ring says ---- */

/* Completions for which there was no room in the queue: the kernel keeps them until it is entered. */
static inline bool uring_has_overflown(const struct io_uring *ring)
{
    return (IO_URING_READ_ONCE(*ring->sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
}

/* Completions that the kernel makes, or puts into the queue, only when it is entered. */
static inline bool uring_kernel_has_more(const struct io_uring *ring)
{
    return (IO_URING_READ_ONCE(*ring->sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* A thread of the kernel's takes what is submitted, and completes it (IORING_SETUP_SQPOLL). */
static inline bool uring_is_polled(const struct io_uring_backend *uring)
{
    return (uring->ring.flags & IORING_SETUP_SQPOLL) != 0;
}

/* Whether there is something that the kernel, or its thread, has not been shown. */
static inline bool uring_has_unsubmitted(const struct io_uring_backend *uring)
{
    if (uring_is_polled(uring))
        return uring->ring.sq.sqe_head != uring->ring.sq.sqe_tail;
    return io_uring_sq_ready(&uring->ring) > 0;
}

#endif
