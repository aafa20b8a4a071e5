/* The system call: io_uring_enter(2), which takes entries of the submission queue, waits, and creates completions. */
#include "base/posix/system_calls.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <limits.h>

/* Makes the entries visible to the kernel, as io_uring_submit(3) does. Returns the number of entries that it has not
 * taken. */
static unsigned ring_publish_entries(struct io_uring *ring)
{
    struct io_uring_sq *queue = &ring->sq;

    for (; queue->sqe_head != queue->sqe_tail; queue->sqe_head++)
        queue->array[queue->sqe_head & queue->ring_mask] = queue->sqe_head & queue->ring_mask;
    __atomic_store_n(queue->ktail, queue->sqe_tail, __ATOMIC_SEQ_CST);
    return io_uring_sq_ready(ring);
}

static int uring_call_kernel(struct io_uring_backend *uring, unsigned submissions, unsigned completions, unsigned flags,
                             const struct io_uring_getevents_arg *argument)
{
    if (uring->fd_registered)
        flags |= IORING_ENTER_REGISTERED_RING;
    if (argument != NULL)
        flags |= IORING_ENTER_EXT_ARG;
    return system_calls.io_uring_enter(&uring->ring, submissions, completions, flags, argument,
                                       argument != NULL ? sizeof(*argument) : 0);
}

/* Not by io_uring_submit(3), which also makes the kernel create completions. This may run while other completions are
 * being reported, whose blocks have not been returned yet: receives would find none. */
void uring_submit_now(struct io_uring_backend *uring)
{
    unsigned count;

    if (!uring->enabled || io_uring_sq_ready(&uring->ring) == 0)
        return;
    count = ring_publish_entries(&uring->ring);
    uring_call_kernel(uring, count, 0, 0, NULL);
    uring->optional_sends = 0; /* the call has completed them */
    proactor_count_enter(uring->backend.owner);
}

void uring_push(struct backend *backend)
{
    uring_submit_now(uring_of(backend));
}

/* See IORING_ENTER_EXT_ARG in io_uring_enter(2). Without limit means a day here: a minimum timeout without a maximum
 * would end the wait at the minimum (io_cqring_min_timer_wakeup in Linux, io_uring/io_uring.c). */
int uring_enter(struct io_uring_backend *uring, unsigned count, unsigned at_least_us, int64_t timeout_ns)
{
    enum { NS_PER_S = 1000000000, DAY_S = 24 * 3600 };
    unsigned submissions = ring_publish_entries(&uring->ring);
    struct __kernel_timespec timeout = { .tv_sec = timeout_ns / NS_PER_S, .tv_nsec = timeout_ns % NS_PER_S };
    struct io_uring_getevents_arg argument = { .sigmask_sz = _NSIG / CHAR_BIT, .pad = at_least_us };

    if (timeout_ns < 0)
        timeout = (struct __kernel_timespec){ .tv_sec = DAY_S };
    if (timeout_ns >= 0 || at_least_us > 0)
        argument.ts = (uintptr_t)&timeout;
    uring->optional_sends = 0;
    return uring_call_kernel(uring, submissions, count, IORING_ENTER_GETEVENTS, &argument);
}

/* As io_uring_submit_and_get_events(3). */
int uring_submit_and_get_events(struct io_uring_backend *uring)
{
    return uring_call_kernel(uring, ring_publish_entries(&uring->ring), 0, IORING_ENTER_GETEVENTS, NULL);
}

int uring_get_events(struct io_uring_backend *uring)
{
    return uring_call_kernel(uring, 0, 0, IORING_ENTER_GETEVENTS, NULL);
}
