/* count-calls: a library for LD_PRELOAD (ld.so(8)) that counts a server's calls into the kernel, in the file that
 * JD_CALL_COUNTS names. Each function counts and then makes the call itself. All servers in a comparison that do not use
 * io_uring are counted by this one instrument. <sys/socket.h> is not included: its declarations differ by standard. */
#undef _FILE_OFFSET_BITS /* else the headers give sendfile and pread the names of their 64-bit forms */

#include "benchmarks/call_counts.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define SIGNAL_SET_BYTES 8 /* of the kernel's sigset_t, for epoll_pwait(2) */

static struct call_counts nowhere;
static struct call_counts *counts = &nowhere;

__attribute__((constructor)) static void open_counts(void)
{
    const char *path = getenv(CALL_COUNTS_VARIABLE);
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped;

    if (fd < 0)
        return;
    mapped = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped != MAP_FAILED)
        counts = mapped;
}

static void count(enum call_kind kind)
{
    atomic_fetch_add_explicit(&counts->of[kind], 1, memory_order_relaxed);
}

/* FUNCTION(kind, type, name, number, (parameters), arguments...) */
#define FUNCTION(kind, type, name, number, parameters, ...)                                                            \
    type name parameters;                                                                                              \
    type name parameters                                                                                               \
    {                                                                                                                  \
        count(kind);                                                                                                   \
        return (type)syscall(number, __VA_ARGS__);                                                                     \
    }

/* ---- waiting ---- */

FUNCTION(CALL_WAIT, int, epoll_wait, SYS_epoll_pwait, (int fd, struct epoll_event *events, int most, int timeout), fd,
         events, most, timeout, NULL, SIGNAL_SET_BYTES)
FUNCTION(CALL_WAIT, int, epoll_pwait, SYS_epoll_pwait,
         (int fd, struct epoll_event *events, int most, int timeout, const sigset_t *set), fd, events, most, timeout,
         set, SIGNAL_SET_BYTES)
FUNCTION(CALL_WAIT, int, epoll_pwait2, SYS_epoll_pwait2,
         (int fd, struct epoll_event *events, int most, const struct timespec *timeout, const sigset_t *set), fd,
         events, most, timeout, set, SIGNAL_SET_BYTES)
FUNCTION(CALL_CONTROL, int, epoll_ctl, SYS_epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event),
         epoll, operation, fd, event)

int poll(struct pollfd *fds, nfds_t fd_count, int timeout)
{
    struct timespec limit = { .tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L };

    count(CALL_WAIT);
    return (int)syscall(SYS_ppoll, fds, fd_count, timeout < 0 ? NULL : &limit, NULL, SIGNAL_SET_BYTES);
}

/* ---- receiving ---- */

FUNCTION(CALL_RECEIVE, ssize_t, read, SYS_read, (int fd, void *bytes, size_t length), fd, bytes, length)
FUNCTION(CALL_RECEIVE, ssize_t, readv, SYS_readv, (int fd, const struct iovec *pieces, int piece_count), fd, pieces,
         piece_count)
FUNCTION(CALL_RECEIVE, ssize_t, recv, SYS_recvfrom, (int fd, void *bytes, size_t length, int flags), fd, bytes, length,
         flags, NULL, NULL)
FUNCTION(CALL_RECEIVE, ssize_t, recvmsg, SYS_recvmsg, (int fd, void *message, int flags), fd, message, flags)
FUNCTION(CALL_RECEIVE, ssize_t, __read_chk, SYS_read, (int fd, void *bytes, size_t length, size_t room), fd, bytes,
         length)
FUNCTION(CALL_RECEIVE, ssize_t, __recv_chk, SYS_recvfrom, (int fd, void *bytes, size_t length, size_t room, int flags),
         fd, bytes, length, flags, NULL, NULL)

/* ---- sending ---- */

FUNCTION(CALL_SEND, ssize_t, write, SYS_write, (int fd, const void *bytes, size_t length), fd, bytes, length)
FUNCTION(CALL_SEND, ssize_t, writev, SYS_writev, (int fd, const struct iovec *pieces, int piece_count), fd, pieces,
         piece_count)
FUNCTION(CALL_SEND, ssize_t, send, SYS_sendto, (int fd, const void *bytes, size_t length, int flags), fd, bytes, length,
         flags, NULL, 0)
FUNCTION(CALL_SEND, ssize_t, sendmsg, SYS_sendmsg, (int fd, const void *message, int flags), fd, message, flags)

/* ---- files ---- */

FUNCTION(CALL_FILE, ssize_t, sendfile, SYS_sendfile, (int out, int in, off_t *offset, size_t length), out, in, offset,
         length)
FUNCTION(CALL_FILE, ssize_t, sendfile64, SYS_sendfile, (int out, int in, off64_t *offset, size_t length), out, in,
         offset, length)
FUNCTION(CALL_FILE, ssize_t, splice, SYS_splice,
         (int in, off64_t *in_offset, int out, off64_t *out_offset, size_t length, unsigned flags), in, in_offset, out,
         out_offset, length, flags)
FUNCTION(CALL_FILE, ssize_t, pread, SYS_pread64, (int fd, void *bytes, size_t length, off_t offset), fd, bytes, length,
         offset)
FUNCTION(CALL_FILE, ssize_t, pread64, SYS_pread64, (int fd, void *bytes, size_t length, off64_t offset), fd, bytes,
         length, offset)

/* ---- connections ---- */

FUNCTION(CALL_ACCEPT, int, accept, SYS_accept, (int fd, void *address, void *length), fd, address, length)
FUNCTION(CALL_ACCEPT, int, accept4, SYS_accept4, (int fd, void *address, void *length, int flags), fd, address, length,
         flags)
FUNCTION(CALL_CLOSE, int, close, SYS_close, (int fd), fd)
FUNCTION(CALL_OTHER, int, shutdown, SYS_shutdown, (int fd, int how), fd, how)
FUNCTION(CALL_OTHER, int, setsockopt, SYS_setsockopt, (int fd, int level, int name, const void *value, unsigned length),
         fd, level, name, value, length)
FUNCTION(CALL_OTHER, int, timerfd_settime, SYS_timerfd_settime,
         (int fd, int flags, const struct itimerspec *new, struct itimerspec *old), fd, flags, new, old)

int ioctl(int fd, unsigned long request, ...);
int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    void *argument;

    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    count(CALL_OTHER);
    return (int)syscall(SYS_ioctl, fd, request, argument);
}
