/* The faults of each system call, from its man page. */
#include "tests/support/faults.h"

#include <errno.h>
#include <string.h>

static const char *const call_names[FAULT_CALLS] = {
    "accept4", "bind",        "close",       "connect",    "epoll_create1", "epoll_ctl", "epoll_wait",
    "eventfd", "getpeername", "getsockname", "getsockopt", "listen",        "pread",     "preadv",
    "pwritev", "recv",        "recvmsg",     "ring enter", "ring setup",    "send",      "sendfile",
    "sendmsg", "setsockopt",  "shutdown",    "socket",
};

#define UNNOTICED(call, number)                                                                                        \
    {                                                                                                                  \
        CALL_##call, number, FAULT_UNNOTICED, 0                                                                        \
    }
#define PAUSES(number)                                                                                                 \
    {                                                                                                                  \
        CALL_ACCEPT4, number, FAULT_PAUSES_ACCEPTING, 0                                                                \
    }
#define REPORTED(call, number)                                                                                         \
    {                                                                                                                  \
        CALL_##call, number, FAULT_REPORTED, 0                                                                         \
    }
/* Of calls that test whether an address in use can be taken over: after a fault the library may report EADDRINUSE. */
#define IN_USE(call, number)                                                                                           \
    {                                                                                                                  \
        CALL_##call, number, FAULT_REPORTED, EADDRINUSE                                                                \
    }

/* recv(2) and recvmsg(2) share a page. */
#define RECEIVING(call)                                                                                                \
    UNNOTICED(call, FAULT_ONE_BYTE), UNNOTICED(call, EAGAIN), UNNOTICED(call, EINTR), REPORTED(call, EBADF),           \
        REPORTED(call, ECONNREFUSED), REPORTED(call, ECONNRESET), REPORTED(call, EFAULT), REPORTED(call, EINVAL),      \
        REPORTED(call, ENOMEM), REPORTED(call, ENOTCONN), REPORTED(call, ENOTSOCK), REPORTED(call, ETIMEDOUT)

/* send(2) and sendmsg(2) share a page. EWOULDBLOCK is EAGAIN's number on Linux. */
#define SENDING(call)                                                                                                  \
    UNNOTICED(call, FAULT_ONE_BYTE), UNNOTICED(call, EAGAIN), UNNOTICED(call, EINTR), REPORTED(call, EACCES),          \
        REPORTED(call, EALREADY), REPORTED(call, EBADF), REPORTED(call, ECONNRESET), REPORTED(call, EDESTADDRREQ),     \
        REPORTED(call, EFAULT), REPORTED(call, EINVAL), REPORTED(call, EISCONN), REPORTED(call, EMSGSIZE),             \
        REPORTED(call, ENOBUFS), REPORTED(call, ENOMEM), REPORTED(call, ENOTCONN), REPORTED(call, ENOTSOCK),           \
        REPORTED(call, EOPNOTSUPP), REPORTED(call, EPIPE)

/* From Linux man-pages 6; for recv and accept4 also the errors of tcp(7). */
const struct fault known_faults[] = {
    UNNOTICED(ACCEPT4, EAGAIN),
    UNNOTICED(ACCEPT4, ECONNABORTED),
    UNNOTICED(ACCEPT4, EHOSTDOWN),
    UNNOTICED(ACCEPT4, EHOSTUNREACH),
    UNNOTICED(ACCEPT4, EINTR),
    UNNOTICED(ACCEPT4, ENETDOWN),
    UNNOTICED(ACCEPT4, ENETUNREACH),
    UNNOTICED(ACCEPT4, ENONET),
    UNNOTICED(ACCEPT4, ENOPROTOOPT),
    UNNOTICED(ACCEPT4, EOPNOTSUPP),
    UNNOTICED(ACCEPT4, EPERM),
    UNNOTICED(ACCEPT4, EPROTO),
    PAUSES(EBADF),
    PAUSES(EFAULT),
    PAUSES(EINVAL),
    PAUSES(EMFILE),
    PAUSES(ENFILE),
    PAUSES(ENOBUFS),
    PAUSES(ENOMEM),
    PAUSES(ENOSR),
    PAUSES(ENOTSOCK),
    PAUSES(EPROTONOSUPPORT),
    PAUSES(ESOCKTNOSUPPORT),
    PAUSES(ETIMEDOUT),

    REPORTED(BIND, EACCES),
    REPORTED(BIND, EADDRINUSE),
    REPORTED(BIND, EADDRNOTAVAIL),
    REPORTED(BIND, EBADF),
    REPORTED(BIND, EFAULT),
    REPORTED(BIND, EINVAL),
    REPORTED(BIND, ELOOP),
    REPORTED(BIND, ENAMETOOLONG),
    REPORTED(BIND, ENOENT),
    REPORTED(BIND, ENOMEM),
    REPORTED(BIND, ENOTDIR),
    REPORTED(BIND, ENOTSOCK),
    REPORTED(BIND, EROFS),

    UNNOTICED(CLOSE, EBADF),
    UNNOTICED(CLOSE, EDQUOT),
    UNNOTICED(CLOSE, EINTR),
    UNNOTICED(CLOSE, EIO),
    UNNOTICED(CLOSE, ENOSPC),

    UNNOTICED(CONNECT, ECONNREFUSED),
    IN_USE(CONNECT, EACCES),
    IN_USE(CONNECT, EADDRINUSE),
    IN_USE(CONNECT, EADDRNOTAVAIL),
    IN_USE(CONNECT, EAFNOSUPPORT),
    IN_USE(CONNECT, EAGAIN),
    IN_USE(CONNECT, EALREADY),
    IN_USE(CONNECT, EBADF),
    IN_USE(CONNECT, EFAULT),
    IN_USE(CONNECT, EINPROGRESS),
    IN_USE(CONNECT, EINTR),
    IN_USE(CONNECT, EISCONN),
    IN_USE(CONNECT, ENETUNREACH),
    IN_USE(CONNECT, ENOTSOCK),
    IN_USE(CONNECT, EPERM),
    IN_USE(CONNECT, EPROTOTYPE),
    IN_USE(CONNECT, ETIMEDOUT),

    REPORTED(EPOLL_CREATE1, EINVAL),
    REPORTED(EPOLL_CREATE1, EMFILE),
    REPORTED(EPOLL_CREATE1, ENFILE),
    REPORTED(EPOLL_CREATE1, ENOMEM),

    REPORTED(EPOLL_CTL, EBADF),
    REPORTED(EPOLL_CTL, EEXIST),
    REPORTED(EPOLL_CTL, EINVAL),
    REPORTED(EPOLL_CTL, ELOOP),
    REPORTED(EPOLL_CTL, ENOENT),
    REPORTED(EPOLL_CTL, ENOMEM),
    REPORTED(EPOLL_CTL, ENOSPC),
    REPORTED(EPOLL_CTL, EPERM),

    UNNOTICED(EPOLL_WAIT, EINTR),
    REPORTED(EPOLL_WAIT, EBADF),
    REPORTED(EPOLL_WAIT, EFAULT),
    REPORTED(EPOLL_WAIT, EINVAL),

    REPORTED(EVENTFD, EINVAL),
    REPORTED(EVENTFD, EMFILE),
    REPORTED(EVENTFD, ENFILE),
    REPORTED(EVENTFD, ENODEV),
    REPORTED(EVENTFD, ENOMEM),

    REPORTED(GETPEERNAME, EBADF),
    REPORTED(GETPEERNAME, EFAULT),
    REPORTED(GETPEERNAME, EINVAL),
    REPORTED(GETPEERNAME, ENOBUFS),
    UNNOTICED(GETPEERNAME, ENOTCONN), /* the library gets the address in another way */
    REPORTED(GETPEERNAME, ENOTSOCK),

    REPORTED(GETSOCKNAME, EBADF),
    REPORTED(GETSOCKNAME, EFAULT),
    REPORTED(GETSOCKNAME, EINVAL),
    REPORTED(GETSOCKNAME, ENOBUFS),
    REPORTED(GETSOCKNAME, ENOTSOCK),

    REPORTED(GETSOCKOPT, EBADF),
    REPORTED(GETSOCKOPT, EFAULT),
    REPORTED(GETSOCKOPT, EINVAL),
    REPORTED(GETSOCKOPT, ENOPROTOOPT),
    REPORTED(GETSOCKOPT, ENOTSOCK),

    REPORTED(LISTEN, EADDRINUSE),
    REPORTED(LISTEN, EBADF),
    REPORTED(LISTEN, ENOTSOCK),
    REPORTED(LISTEN, EOPNOTSUPP),

    UNNOTICED(PREAD, FAULT_ONE_BYTE),
    UNNOTICED(PREAD, EINTR),
    REPORTED(PREAD, EBADF),
    REPORTED(PREAD, EFAULT),
    REPORTED(PREAD, EINVAL),
    REPORTED(PREAD, EIO),
    REPORTED(PREAD, EISDIR),
    REPORTED(PREAD, ENXIO),
    REPORTED(PREAD, EOVERFLOW),
    REPORTED(PREAD, ESPIPE),

    UNNOTICED(PREADV, FAULT_ONE_BYTE),
    UNNOTICED(PREADV, EINTR),
    REPORTED(PREADV, EBADF),
    REPORTED(PREADV, EFAULT),
    REPORTED(PREADV, EINVAL),
    REPORTED(PREADV, EIO),
    REPORTED(PREADV, EISDIR),
    REPORTED(PREADV, ENXIO),
    REPORTED(PREADV, EOVERFLOW),
    REPORTED(PREADV, ESPIPE),

    UNNOTICED(PWRITEV, FAULT_ONE_BYTE),
    UNNOTICED(PWRITEV, EINTR),
    REPORTED(PWRITEV, EBADF),
    REPORTED(PWRITEV, EDQUOT),
    REPORTED(PWRITEV, EFAULT),
    REPORTED(PWRITEV, EFBIG),
    REPORTED(PWRITEV, EINVAL),
    REPORTED(PWRITEV, EIO),
    REPORTED(PWRITEV, ENOSPC),
    REPORTED(PWRITEV, ENXIO),
    REPORTED(PWRITEV, EOVERFLOW),
    REPORTED(PWRITEV, EPERM),
    REPORTED(PWRITEV, ESPIPE),

    RECEIVING(RECV),
    RECEIVING(RECVMSG),

    UNNOTICED(RING_ENTER, EAGAIN),
    UNNOTICED(RING_ENTER, EBUSY),
    UNNOTICED(RING_ENTER, EINTR),
    REPORTED(RING_ENTER, EBADF),
    REPORTED(RING_ENTER, EFAULT),
    REPORTED(RING_ENTER, EINVAL),

    REPORTED(RING_SETUP, EFAULT),
    REPORTED(RING_SETUP, EMFILE),
    REPORTED(RING_SETUP, ENFILE),
    REPORTED(RING_SETUP, ENOMEM),
    REPORTED(RING_SETUP, ENOSYS),
    REPORTED(RING_SETUP, EPERM),

    SENDING(SEND),
    SENDING(SENDMSG),

    /* EINVAL and ENOSYS: the library reads and sends instead. The last two errors are the socket's. */
    UNNOTICED(SENDFILE, FAULT_ONE_BYTE),
    UNNOTICED(SENDFILE, EAGAIN),
    UNNOTICED(SENDFILE, EINTR),
    UNNOTICED(SENDFILE, EINVAL),
    UNNOTICED(SENDFILE, ENOSYS),
    REPORTED(SENDFILE, EBADF),
    REPORTED(SENDFILE, EFAULT),
    REPORTED(SENDFILE, EIO),
    REPORTED(SENDFILE, ENOMEM),
    REPORTED(SENDFILE, EOVERFLOW),
    REPORTED(SENDFILE, ESPIPE),
    REPORTED(SENDFILE, ECONNRESET),
    REPORTED(SENDFILE, EPIPE),

    REPORTED(SETSOCKOPT, EBADF),
    REPORTED(SETSOCKOPT, EDOM),
    REPORTED(SETSOCKOPT, EFAULT),
    REPORTED(SETSOCKOPT, EINVAL),
    REPORTED(SETSOCKOPT, ENOMEM),
    REPORTED(SETSOCKOPT, ENOPROTOOPT),
    REPORTED(SETSOCKOPT, ENOTSOCK),

    REPORTED(SHUTDOWN, EBADF),
    REPORTED(SHUTDOWN, EINVAL),
    { CALL_SHUTDOWN, ENOTCONN, FAULT_REPORTED, ECONNRESET }, /* ENOTCONN means that the peer has reset the connection */
    REPORTED(SHUTDOWN, ENOTSOCK),

    IN_USE(SOCKET, EACCES),
    IN_USE(SOCKET, EAFNOSUPPORT),
    IN_USE(SOCKET, EINVAL),
    IN_USE(SOCKET, EMFILE),
    IN_USE(SOCKET, ENFILE),
    IN_USE(SOCKET, ENOBUFS),
    IN_USE(SOCKET, ENOMEM),
    IN_USE(SOCKET, EPROTONOSUPPORT),

    { FAULT_CALLS, 0, FAULT_UNNOTICED, 0 },
};

const char *fault_call_name(enum fault_call call)
{
    return call_names[call];
}

const char *fault_error_name(const struct fault *fault)
{
    return fault->number == FAULT_ONE_BYTE ? "one byte" : strerrorname_np(fault->number);
}
