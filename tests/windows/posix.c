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
#undef poll
#undef close

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
    return with_errno(connect((SOCKET)fd, address, length));
}

int posix_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    return with_errno(bind((SOCKET)fd, address, length));
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
    return with_errno(shutdown((SOCKET)fd, how));
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
    return with_errno(recv((SOCKET)fd, data, (int)length, system_flags(flags)));
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

int posix_close(int fd)
{
    return with_errno(closesocket((SOCKET)fd));
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
