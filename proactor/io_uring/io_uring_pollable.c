/* A loop inside another: an eventfd, registered with the ring, becomes readable when a completion is there or, with deferred
 * completions, waits to be made (io_uring_register_eventfd(3); IORING_SETUP_DEFER_TASKRUN in io_uring_setup(2)). The ring's
 * own descriptor tells only of those that are there. */
#include "base/posix/system_calls.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <errno.h>
#include <sys/eventfd.h>

/* By the thread that waits, as only that one may change an enabled ring (IORING_SETUP_SINGLE_ISSUER). */
static void register_with_ring(struct io_uring_backend *uring)
{
    int fd = uring->pollable;

    if (fd != SOCKET_NONE && !uring->pollable_registered && uring->enabled)
        uring->pollable_registered = io_uring_register_eventfd(&uring->ring, fd) == 0;
}

/* Readable at first, as there may be completions that it does not tell of. The wakeup cannot be used: it is polled by the
 * ring, which would tell itself of its own signals without end. */
int uring_pollable_fd(struct backend *backend)
{
    struct io_uring_backend *uring = uring_of(backend);

    if (uring->pollable == SOCKET_NONE) {
        int fd = system_calls.eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
        if (fd < 0)
            return -errno;
        uring->pollable = fd;
        register_with_ring(uring);
    }
    return uring->pollable;
}

/* Of what the last wait left over it does not tell, either. */
static bool has_something_to_tell(const struct io_uring_backend *uring)
{
    return io_uring_cq_ready(&uring->ring) > 0 || uring_kernel_has_more(&uring->ring);
}

static bool has_something_to_submit(const struct io_uring_backend *uring)
{
    return uring->parked_count > 0 || uring_has_unsubmitted(uring);
}

bool uring_prepare_poll(struct backend *backend)
{
    struct io_uring_backend *uring = uring_of(backend);

    register_with_ring(uring);
    uring_unpark(uring);
    uring_poll_wakeup(uring);
    uring_push(backend);
    return has_something_to_tell(uring) || has_something_to_submit(uring) ||
           (uring->pollable != SOCKET_NONE && !uring->pollable_registered);
}

void uring_pollable_drain(struct io_uring_backend *uring)
{
    eventfd_t count;

    if (uring->pollable != SOCKET_NONE)
        eventfd_read(uring->pollable, &count);
}
