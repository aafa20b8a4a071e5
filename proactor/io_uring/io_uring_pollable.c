/* The descriptor for a loop that waits inside another: an eventfd registered with the ring. It becomes readable when
 * a completion is available or, with deferred completions, waits to be created (io_uring_register_eventfd(3);
 * IORING_SETUP_DEFER_TASKRUN in io_uring_setup(2)). The ring's own descriptor is readable for available completions
 * only. */
#include "base/posix/system_calls.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <errno.h>
#include <sys/eventfd.h>

/* Only the thread that waits may register with an enabled ring (IORING_SETUP_SINGLE_ISSUER), so this waits until the
 * ring is enabled. */
static void uring_register_pollable(struct io_uring_backend *uring)
{
    int fd = uring->pollable;

    if (fd != SOCKET_NONE && !uring->pollable_registered && uring->enabled)
        uring->pollable_registered = io_uring_register_eventfd(&uring->ring, fd) == 0;
}

/* The eventfd starts readable, because completions from before are not signaled. The wakeup eventfd cannot be used
 * for this: the ring polls it, and its own signals would complete that poll again and again. */
int uring_pollable_fd(struct backend *backend)
{
    struct io_uring_backend *uring = uring_of(backend);

    if (uring->pollable == SOCKET_NONE) {
        int fd = system_calls.eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
        if (fd < 0)
            return -errno;
        uring->pollable = fd;
        uring_register_pollable(uring);
    }
    return uring->pollable;
}

/* Completions that the last wait has left are not signaled either. */
static bool uring_has_completions(const struct io_uring_backend *uring)
{
    return io_uring_cq_ready(&uring->ring) > 0 || uring_kernel_has_more(&uring->ring);
}

static bool uring_has_submissions(const struct io_uring_backend *uring)
{
    return uring->parked_count > 0 || uring_has_unsubmitted(uring);
}

bool uring_prepare_poll(struct backend *backend)
{
    struct io_uring_backend *uring = uring_of(backend);

    uring_register_pollable(uring);
    uring_unpark(uring);
    uring_poll_wakeup(uring);
    uring_push(backend);
    return uring_has_completions(uring) || uring_has_submissions(uring) ||
           (uring->pollable != SOCKET_NONE && !uring->pollable_registered);
}

void uring_pollable_drain(struct io_uring_backend *uring)
{
    eventfd_t count;

    if (uring->pollable != SOCKET_NONE)
        eventfd_read(uring->pollable, &count);
}
