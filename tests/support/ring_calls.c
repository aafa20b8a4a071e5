#include "tests/support/ring_calls.h"

#if JD_WITH_IO_URING

#include "base/posix/system_calls.h"

#include <check.h>
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <string.h>

enum { MADE_UP_MAX = 256 };

static ring_decision decide;

/* ---- made-up results: of operations that are submitted as no-ops ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct made_up {
    const struct io_uring *ring;
    uint64_t user_data;
    int result;
} made_up[MADE_UP_MAX];
static unsigned made_up_count;

static void make_up(const struct io_uring *ring, uint64_t user_data, int result)
{
    pthread_mutex_lock(&lock);
    ck_assert_uint_lt(made_up_count, MADE_UP_MAX);
    made_up[made_up_count++] = (struct made_up){ .ring = ring, .user_data = user_data, .result = result };
    pthread_mutex_unlock(&lock);
}

/* Called for a new ring: removes the results that an earlier ring at the same address has left. */
static void forget_made_up(const struct io_uring *ring)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = made_up_count; i-- > 0;)
        if (made_up[i].ring == ring)
            made_up[i] = made_up[--made_up_count];
    pthread_mutex_unlock(&lock);
}

static void set_made_up_result(const struct io_uring *ring, struct io_uring_cqe *completion)
{
    for (unsigned i = 0; i < made_up_count; i++) {
        if (made_up[i].ring != ring || made_up[i].user_data != completion->user_data)
            continue;
        completion->res = made_up[i].result;
        made_up[i] = made_up[--made_up_count];
        return;
    }
}

/* A no-op completes while it is submitted, so its completion lies behind those that were available before. Its
 * user_data is unique until then. */
static void set_made_up_results(const struct io_uring *ring, unsigned first)
{
    unsigned end = io_uring_smp_load_acquire(ring->cq.ktail);

    pthread_mutex_lock(&lock);
    for (unsigned i = first; i != end && made_up_count > 0; i++)
        set_made_up_result(ring, &ring->cq.cqes[i & ring->cq.ring_mask]);
    pthread_mutex_unlock(&lock);
}

/* ---- operations ---- */

static bool is_operation(const struct io_uring_sqe *entry, enum ring_call *call)
{
    switch (entry->opcode) {
    case IORING_OP_ACCEPT:
        *call = RING_ACCEPT;
        return true;
    case IORING_OP_CONNECT:
        *call = RING_CONNECT;
        return true;
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
        *call = RING_RECEIVE;
        return true;
    case IORING_OP_SEND:
    case IORING_OP_SENDMSG:
    case IORING_OP_SEND_ZC:
    case IORING_OP_SENDMSG_ZC:
        *call = RING_SEND;
        return true;
    case IORING_OP_READ:
    case IORING_OP_READV:
        *call = RING_READ;
        return true;
    case IORING_OP_WRITE:
    case IORING_OP_WRITEV:
        *call = RING_WRITE;
        return true;
    default:
        return false;
    }
}

static void make_single_shot(struct io_uring_sqe *entry)
{
    if (entry->opcode == IORING_OP_ACCEPT)
        entry->ioprio &= (uint16_t)~IORING_ACCEPT_MULTISHOT;
    else if (entry->opcode == IORING_OP_RECV)
        entry->ioprio &= (uint16_t)~IORING_RECV_MULTISHOT;
}

static void fail_operation(const struct io_uring *ring, struct io_uring_sqe *entry, int error)
{
    const uint8_t link_flag = entry->flags & IOSQE_IO_LINK;
    const uint64_t user_data = entry->user_data;

    memset(entry, 0, sizeof(*entry));
    io_uring_prep_nop(entry);
    entry->flags = link_flag;
    entry->user_data = user_data;
    make_up(ring, user_data, error);
}

static void take_first_buffer(struct io_uring_sqe *entry, uint8_t opcode, const struct iovec *buffers)
{
    entry->opcode = opcode;
    entry->addr = (uintptr_t)buffers->iov_base;
}

/* A short write has a completion even if the send was unsignaled, so the flag is cleared. */
static void move_one_byte(struct io_uring_sqe *entry)
{
    const void *pointed = (const void *)(uintptr_t)entry->addr;

    switch (entry->opcode) {
    case IORING_OP_RECVMSG:
        take_first_buffer(entry, IORING_OP_RECV, ((const struct msghdr *)pointed)->msg_iov);
        break;
    case IORING_OP_SENDMSG:
        take_first_buffer(entry, IORING_OP_SEND, ((const struct msghdr *)pointed)->msg_iov);
        break;
    case IORING_OP_SENDMSG_ZC:
        take_first_buffer(entry, IORING_OP_SEND_ZC, ((const struct msghdr *)pointed)->msg_iov);
        break;
    case IORING_OP_READV:
        take_first_buffer(entry, IORING_OP_READ, pointed);
        break;
    case IORING_OP_WRITEV:
        take_first_buffer(entry, IORING_OP_WRITE, pointed);
        break;
    default:
        break;
    }
    entry->len = 1;
    entry->flags &= (uint8_t)~IOSQE_CQE_SKIP_SUCCESS;
}

static void decide_operation(const struct io_uring *ring, struct io_uring_sqe *entry)
{
    enum ring_call call;
    int decision;

    if (!is_operation(entry, &call))
        return;
    make_single_shot(entry);
    decision = decide(call, entry->fd);
    if (decision < 0)
        fail_operation(ring, entry, decision);
    else if (decision == RING_ONE_BYTE && call >= RING_RECEIVE)
        move_one_byte(entry);
}

/* ---- the calls ---- */

/* The kernel takes all entries that it is shown, unless it has no memory: then an operation is decided again. */
static int deciding_enter(struct io_uring *ring, unsigned submissions, unsigned completions, unsigned flags,
                          const void *argument, size_t argument_bytes)
{
    unsigned head = *ring->sq.khead, first = io_uring_smp_load_acquire(ring->cq.ktail);
    int decision, result;

    decision = decide(flags & IORING_ENTER_GETEVENTS ? RING_ENTER : RING_SUBMIT, -1);
    if (decision < 0)
        return decision;
    for (unsigned i = 0; i < submissions; i++)
        decide_operation(ring, &ring->sq.sqes[ring->sq.array[(head + i) & ring->sq.ring_mask]]);
    result = io_uring_enter2((unsigned)ring->enter_ring_fd, submissions, completions, flags,
                             (sigset_t *)(uintptr_t)argument, argument_bytes);
    set_made_up_results(ring, first);
    return result;
}

static int deciding_setup(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    int decision = decide(RING_SETUP, -1);

    forget_made_up(ring);
    return decision < 0 ? decision : io_uring_queue_init_params(entries, ring, params);
}

void ring_calls_decide(ring_decision decision)
{
    decide = decision;
    system_calls.io_uring_enter = deciding_enter;
    system_calls.io_uring_queue_init_params = deciding_setup;
}

/* ---- an older kernel ---- */

/* The flags field follows bgid; liburing 2.3 names it pad. */
static int register_as_before_6_12(unsigned fd, unsigned operation, const void *argument, unsigned count)
{
    const struct io_uring_buf_reg *buffers = argument;
    uint16_t flags = 0;

    if (operation == IORING_REGISTER_PBUF_RING)
        memcpy(&flags, &buffers->bgid + 1, sizeof(flags));
    return flags != 0 ? -EINVAL : io_uring_register(fd, operation, argument, count);
}

void ring_calls_before_6_12(void)
{
    if (system_calls.io_uring_register != register_as_before_6_12)
        system_calls.io_uring_register = register_as_before_6_12;
}

#else

void ring_calls_decide(ring_decision decision)
{
}

void ring_calls_before_6_12(void)
{
}

#endif
