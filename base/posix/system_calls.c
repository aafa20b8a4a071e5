#include "base/posix/system_calls.h"

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

/* ioctl(2) is variadic. */
static int call_ioctl(int fd, unsigned long request, void *argument)
{
    return ioctl(fd, request, argument);
}

#if JD_WITH_IO_URING
#include <liburing.h>

static int enter_ring(struct io_uring *ring, unsigned submissions, unsigned completions, unsigned flags,
                      const void *argument, size_t argument_bytes)
{
    return io_uring_enter2((unsigned)ring->enter_ring_fd, submissions, completions, flags,
                           (sigset_t *)(uintptr_t)argument, argument_bytes);
}

#define RING_FUNCTIONS                                                                                                 \
    .io_uring_enter = enter_ring, .io_uring_queue_init_params = io_uring_queue_init_params,                            \
    .io_uring_register = io_uring_register,
#else
#define RING_FUNCTIONS
#endif

#define SYSTEM_FUNCTIONS                                                                                               \
    {                                                                                                                  \
        .accept4 = accept4, .bind = bind, .close = close, .connect = connect, .epoll_create1 = epoll_create1,          \
        .epoll_ctl = epoll_ctl, .epoll_wait = epoll_wait, .eventfd = eventfd, .fstat = fstat,                          \
        .freeaddrinfo = freeaddrinfo, .getaddrinfo = getaddrinfo, .getpeername = getpeername,                          \
        .getsockname = getsockname, .getsockopt = getsockopt, .ioctl = call_ioctl, .listen = listen, .pread = pread,   \
        .preadv = preadv, .pwritev = pwritev, .recv = recv, .recvmsg = recvmsg, .send = send, .sendfile = sendfile,    \
        .sendmsg = sendmsg, .setsockopt = setsockopt, .shutdown = shutdown, .socket = socket, RING_FUNCTIONS           \
    }

struct system_calls system_calls = SYSTEM_FUNCTIONS;

void system_calls_reset(void)
{
    system_calls = (struct system_calls)SYSTEM_FUNCTIONS;
}
