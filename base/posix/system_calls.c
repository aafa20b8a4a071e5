#include "base/posix/system_calls.h"

#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <unistd.h>

#define SYSTEM_FUNCTIONS                                                                                               \
    {                                                                                                                  \
        .accept4 = accept4, .bind = bind, .close = close, .connect = connect, .epoll_create1 = epoll_create1,          \
        .epoll_ctl = epoll_ctl, .epoll_wait = epoll_wait, .eventfd = eventfd, .freeaddrinfo = freeaddrinfo,            \
        .getaddrinfo = getaddrinfo, .getpeername = getpeername, .getsockname = getsockname, .getsockopt = getsockopt,  \
        .listen = listen, .pread = pread, .preadv = preadv, .pwritev = pwritev, .recv = recv, .recvmsg = recvmsg,      \
        .send = send, .sendfile = sendfile, .sendmsg = sendmsg, .setsockopt = setsockopt, .shutdown = shutdown,        \
        .socket = socket,                                                                                              \
    }

struct system_calls system_calls = SYSTEM_FUNCTIONS;

void system_calls_reset(void)
{
    system_calls = (struct system_calls)SYSTEM_FUNCTIONS;
}
