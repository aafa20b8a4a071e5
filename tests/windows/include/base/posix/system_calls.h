/* In place of the header of that name, which Windows has not: a table of system calls that tests replace to inject faults.
 * The library here has no such table; system_calls.c puts itself in place of the functions that the library imports. */
#ifndef TESTS_WINDOWS_SYSTEM_CALLS_H
#define TESTS_WINDOWS_SYSTEM_CALLS_H

#include <netdb.h>
#include <sys/epoll.h>

struct system_calls {
    int (*bind)(int fd, const struct sockaddr *address, socklen_t length);
    void (*freeaddrinfo)(struct addrinfo *addresses);
    int (*getaddrinfo)(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **addresses);
    ssize_t (*recv)(int fd, void *data, size_t size, int flags);
    int (*shutdown)(int fd, int how);

    /* These the library does not call here. Tests that replace them are left out (suites.txt), but are compiled. */
    int (*accept4)(int fd, struct sockaddr *address, socklen_t *length, int flags);
    int (*connect)(int fd, const struct sockaddr *address, socklen_t length);
    int (*epoll_create1)(int flags);
    int (*epoll_ctl)(int epoll, int operation, int fd, struct epoll_event *event);
    int (*epoll_wait)(int epoll, struct epoll_event *events, int count, int timeout_ms);
    int (*eventfd)(unsigned value, int flags);
    int (*fstat)(int fd, struct stat *status);
    int (*ioctl)(int fd, unsigned long request, void *argument);
    ssize_t (*pread)(int fd, void *data, size_t size, off_t offset);
    ssize_t (*recvmsg)(int fd, struct msghdr *message, int flags);
    ssize_t (*send)(int fd, const void *data, size_t size, int flags);
    ssize_t (*sendfile)(int socket, int fd, off_t *offset, size_t size);
    ssize_t (*sendmsg)(int fd, const struct msghdr *message, int flags);
};

extern struct system_calls system_calls;

/* Restores the system's functions. */
void system_calls_reset(void);

#endif
