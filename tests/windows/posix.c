#include "base/platform/clock.h"
#include "base/windows/error_code.h"
#include "base/windows/socket_options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

/* The system's functions, not those that the header's macros name. */
#include "tests/windows/include/posix.h"
#undef socket
#undef connect
#undef bind
#undef listen
#undef accept
#undef shutdown
#undef setsockopt
#undef getsockopt
#undef getsockname
#undef getpeername
#undef send
#undef recv
#undef recvmsg
#undef sendmsg
#undef poll
#undef close

/* The system's function even where a test's stands before it (system_calls.c). */
#define SYSTEM_FUNCTION(name) ((__typeof__(&name))(intptr_t)GetProcAddress(GetModuleHandleA("ws2_32.dll"), #name))

static int with_errno(int result)
{
    if (result < 0)
        errno = -error_from_code((unsigned long)WSAGetLastError());
    return result < 0 ? -1 : result;
}

static int set_nonblocking(int fd, bool on)
{
    u_long value = on;

    return with_errno(ioctlsocket((SOCKET)fd, (long)FIONBIO, &value));
}

int posix_socket(int family, int type, int protocol)
{
    SOCKET opened;

    if (socket_library_start() < 0)
        return -1;
    opened = socket(family, type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK), protocol);
    if (opened == INVALID_SOCKET)
        return with_errno(-1);
    if (type & SOCK_NONBLOCK)
        set_nonblocking((int)opened, true);
    return (int)opened;
}

int posix_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int result = with_errno(connect((SOCKET)fd, address, length));

    if (result < 0 && errno == EAGAIN)
        errno = EINPROGRESS;
    return result;
}

int posix_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    return with_errno(SYSTEM_FUNCTION(bind)((SOCKET)fd, address, length));
}

int posix_listen(int fd, int backlog)
{
    return with_errno(listen((SOCKET)fd, backlog));
}

int posix_accept(int fd, struct sockaddr *address, socklen_t *length)
{
    SOCKET accepted = accept((SOCKET)fd, address, length);

    return accepted == INVALID_SOCKET ? with_errno(-1) : (int)accepted;
}

int posix_shutdown(int fd, int how)
{
    return with_errno(SYSTEM_FUNCTION(shutdown)((SOCKET)fd, how));
}

int posix_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    return with_errno(setsockopt((SOCKET)fd, level, name, value, length));
}

int posix_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    return with_errno(getsockopt((SOCKET)fd, level, name, value, length));
}

int posix_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    return with_errno(getsockname((SOCKET)fd, address, length));
}

int posix_getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
    return with_errno(getpeername((SOCKET)fd, address, length));
}

/* MSG_DONTWAIT: the tests' sockets are non-blocking where it is used. */
static int system_flags(int flags)
{
    return flags & ~(MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t posix_send(int fd, const void *data, size_t length, int flags)
{
    return with_errno(send((SOCKET)fd, data, (int)length, system_flags(flags)));
}

ssize_t posix_recv(int fd, void *data, size_t length, int flags)
{
    return with_errno(SYSTEM_FUNCTION(recv)((SOCKET)fd, data, (int)length, system_flags(flags)));
}

int fcntl(int fd, int command, ...)
{
    DWORD flags;
    va_list arguments;
    int argument;

    va_start(arguments, command);
    argument = command == F_SETFL ? va_arg(arguments, int) : 0;
    va_end(arguments);
    if (command == F_SETFL)
        return set_nonblocking(fd, (argument & O_NONBLOCK) != 0);
    return GetHandleInformation((HANDLE)(intptr_t)fd, &flags) ? 0 : -1;
}

/* Without descriptors it only waits, which WSAPoll does not. */
int posix_poll(struct pollfd *fds, unsigned count, int timeout_ms)
{
    if (count > 0)
        return with_errno(WSAPoll(fds, count, timeout_ms));
    Sleep((DWORD)timeout_ms);
    return 0;
}

ssize_t posix_recvmsg(int fd, struct msghdr *message, int flags)
{
    return posix_recv(fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len, flags);
}

ssize_t posix_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return posix_send(fd, message->msg_iov[0].iov_base, message->msg_iov[0].iov_len, flags);
}

/* Two connected sockets, over TCP. */
int socketpair(int family, int type, int protocol, int ends[2])
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof(address);
    int listener = posix_socket(AF_INET, SOCK_STREAM, 0);
    bool done;

    ends[0] = posix_socket(AF_INET, SOCK_STREAM, 0);
    done = posix_bind(listener, (struct sockaddr *)&address, length) == 0 && posix_listen(listener, 1) == 0 &&
           posix_getsockname(listener, (struct sockaddr *)&address, &length) == 0 &&
           posix_connect(ends[0], (struct sockaddr *)&address, length) == 0;
    ends[1] = done ? posix_accept(listener, NULL, NULL) : -1;
    closesocket((SOCKET)listener);
    for (int i = 0; i < 2 && ends[1] >= 0; i++)
        if (type & SOCK_NONBLOCK)
            set_nonblocking(ends[i], true);
    return ends[1] >= 0 ? 0 : -1;
}

int posix_close(int fd)
{
    if (closesocket((SOCKET)fd) == 0)
        return 0;
    return WSAGetLastError() == WSAENOTSOCK || WSAGetLastError() == WSANOTINITIALISED ? posix_file_close(fd)
                                                                                      : with_errno(-1);
}

/* Of the clocks only CLOCK_MONOTONIC is used. */
int posix_clock_gettime(int clock, struct timespec *now)
{
    int64_t ns = clock_now();

    *now = (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = (long)(ns % 1000000000) };
    return 0;
}

int posix_setenv(const char *name, const char *value, int overwrite)
{
    return _putenv_s(name, value);
}

int posix_unsetenv(const char *name)
{
    return _putenv_s(name, "");
}
