/* Calls into the kernel: each one of io_uring_enter(2), which takes what is in the submission queue, waits, and makes
 * completions. */
#include "base/posix/system_calls.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <limits.h>

/* Shows the kernel what is in the queue, as io_uring_submit(3) does. */
static unsigned publish_entries(struct io_uring *ring)
{
    struct io_uring_sq *queue = &ring->sq;

    for (; queue->sqe_head != queue->sqe_tail; queue->sqe_head++)
        queue->array[queue->sqe_head & queue->ring_mask] = queue->sqe_head & queue->ring_mask;
    __atomic_store_n(queue->ktail, queue->sqe_tail, __ATOMIC_SEQ_CST);
    return io_uring_sq_ready(ring);
}

/* After entries were published: the kernel's thread says that it sleeps before it looks at the queue for the last time
 * (io_uring_setup(2), IORING_SETUP_SQPOLL), so either it has seen them or this sees that. */
static bool thread_sleeps(const struct io_uring *ring)
{
    return (__atomic_load_n(ring->sq.kflags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP) != 0;
}

/* All calls but those that wait for room in the queue (io_uring_queue.c). */
static int call_kernel(struct io_uring_backend *uring, unsigned submissions, unsigned completions, unsigned flags,
                       const struct io_uring_getevents_arg *argument)
{
    if (uring->fd_registered)
        flags |= IORING_ENTER_REGISTERED_RING;
    if (argument != NULL)
        flags |= IORING_ENTER_EXT_ARG;
    return system_calls.io_uring_enter(&uring->ring, submissions, completions, flags, argument,
                                       argument != NULL ? sizeof(*argument) : 0);
}

/* io_uring_submit(3) would have the kernel make completions as well: in the middle of the telling of others, whose blocks
 * are not back yet, so that receives find none. */
void uring_submit_now(struct io_uring_backend *uring)
{
    unsigned flags = 0, count;

    if (!uring->enabled || io_uring_sq_ready(&uring->ring) == 0)
        return;
    count = publish_entries(&uring->ring);
    if (uring_is_polled(uring)) {
        if (!thread_sleeps(&uring->ring))
            return;
        flags |= IORING_ENTER_SQ_WAKEUP;
    }
    call_kernel(uring, count, 0, flags, NULL);
    uring->optional_sends = 0; /* have completed by now */
    proactor_count_enter(uring->backend.owner);
}

void uring_push(struct backend *backend)
{
    uring_submit_now(uring_of(backend));
}

/* io_uring_enter(2), IORING_ENTER_EXT_ARG. Without end is a day here, as a minimum without a maximum ends with the minimum
 * (io_cqring_min_timer_wakeup in io_uring/io_uring.c). */
int uring_enter(struct io_uring_backend *uring, unsigned count, unsigned at_least_us, int64_t timeout_ns)
{
    enum { NS_PER_S = 1000000000, DAY_S = 24 * 3600 };
    unsigned flags = IORING_ENTER_GETEVENTS;
    unsigned submissions = publish_entries(&uring->ring);
    struct __kernel_timespec timeout = { .tv_sec = timeout_ns / NS_PER_S, .tv_nsec = timeout_ns % NS_PER_S };
    struct io_uring_getevents_arg argument = { .sigmask_sz = _NSIG / CHAR_BIT, .pad = at_least_us };

    if (uring_is_polled(uring) && thread_sleeps(&uring->ring))
        flags |= IORING_ENTER_SQ_WAKEUP;
    if (timeout_ns < 0)
        timeout = (struct __kernel_timespec){ .tv_sec = DAY_S };
    if (timeout_ns >= 0 || at_least_us > 0)
        argument.ts = (uintptr_t)&timeout;
    uring->optional_sends = 0;
    return call_kernel(uring, submissions, count, flags, &argument);
}

/* As io_uring_submit_and_get_events(3). */
int uring_submit_and_get_events(struct io_uring_backend *uring)
{
    unsigned flags = IORING_ENTER_GETEVENTS;
    unsigned submissions = publish_entries(&uring->ring);

    if (uring_is_polled(uring) && thread_sleeps(&uring->ring))
        flags |= IORING_ENTER_SQ_WAKEUP;
    return call_kernel(uring, submissions, 0, flags, NULL);
}

int uring_get_events(struct io_uring_backend *uring)
{
    return call_kernel(uring, 0, 0, IORING_ENTER_GETEVENTS, NULL);
}
