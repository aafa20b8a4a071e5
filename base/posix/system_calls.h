/* The table of system calls that sockets and engines use. Only tests write to it: they replace entries to inject
 * faults. */
#ifndef BASE_POSIX_SYSTEM_CALLS_H
#define BASE_POSIX_SYSTEM_CALLS_H

#include <netdb.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct io_uring;
struct io_uring_params;

struct system_calls {
    int (*accept4)(int fd, struct sockaddr *address, socklen_t *length, int flags);
    int (*bind)(int fd, const struct sockaddr *address, socklen_t length);
    int (*close)(int fd);
    int (*connect)(int fd, const struct sockaddr *address, socklen_t length);
    int (*epoll_create1)(int flags);
    int (*epoll_ctl)(int epoll, int operation, int fd, struct epoll_event *event);
    int (*epoll_wait)(int epoll, struct epoll_event *events, int count, int timeout_ms);
    int (*eventfd)(unsigned value, int flags);
    int (*fstat)(int fd, struct stat *status);
    void (*freeaddrinfo)(struct addrinfo *addresses);
    int (*getaddrinfo)(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **addresses);
    int (*getpeername)(int fd, struct sockaddr *address, socklen_t *length);
    int (*getsockname)(int fd, struct sockaddr *address, socklen_t *length);
    int (*getsockopt)(int fd, int level, int name, void *value, socklen_t *length);
    int (*ioctl)(int fd, unsigned long request, void *argument);
#if JD_WITH_IO_URING
    /* These three return negative errors, as liburing's functions do. */
    int (*io_uring_enter)(struct io_uring *ring, unsigned submissions, unsigned completions, unsigned flags,
                          const void *argument, size_t argument_bytes); /* io_uring_enter(2) on ring->enter_ring_fd */
    int (*io_uring_queue_init_params)(unsigned entries, struct io_uring *ring, struct io_uring_params *params);
    int (*io_uring_register)(unsigned fd, unsigned operation, const void *argument, unsigned argument_count);
#endif
    int (*listen)(int fd, int backlog);
    ssize_t (*pread)(int fd, void *data, size_t size, off_t offset);
    ssize_t (*preadv)(int fd, const struct iovec *pieces, int count, off_t offset);
    ssize_t (*pwritev)(int fd, const struct iovec *pieces, int count, off_t offset);
    ssize_t (*recv)(int fd, void *data, size_t size, int flags);
    ssize_t (*recvmsg)(int fd, struct msghdr *message, int flags);
    ssize_t (*send)(int fd, const void *data, size_t size, int flags);
    ssize_t (*sendfile)(int socket, int fd, off_t *offset, size_t size);
    ssize_t (*sendmsg)(int fd, const struct msghdr *message, int flags);
    int (*setsockopt)(int fd, int level, int name, const void *value, socklen_t length);
    int (*shutdown)(int fd, int how);
    int (*socket)(int domain, int type, int protocol);
};

extern struct system_calls system_calls;

/* Restores the system's functions. */
void system_calls_reset(void);

#endif
