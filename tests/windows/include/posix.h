/* The few POSIX functions that tests use, by the system's, so that the tests' sources are the same everywhere: sockets as
 * small numbers with errors in errno. The headers beside this one have the names of POSIX and include it. */
#ifndef TESTS_WINDOWS_POSIX_H
#define TESTS_WINDOWS_POSIX_H

#include "base/platform/socket_address.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/types.h>

enum { SOCK_CLOEXEC = 0x80000, SOCK_NONBLOCK = 0x800 };
enum { MSG_NOSIGNAL = 0x4000, MSG_DONTWAIT = 0x40 };
enum { SHUT_RD = SD_RECEIVE, SHUT_WR = SD_SEND, SHUT_RDWR = SD_BOTH };
enum { F_GETFD = 1, F_GETFL = 3, F_SETFL = 4, FD_CLOEXEC = 1, O_NONBLOCK = 0x800, O_CLOEXEC = 0 };

int posix_socket(int family, int type, int protocol);
int posix_connect(int fd, const struct sockaddr *address, socklen_t length);
int posix_bind(int fd, const struct sockaddr *address, socklen_t length);
int posix_listen(int fd, int backlog);
int posix_accept(int fd, struct sockaddr *address, socklen_t *length);
int posix_shutdown(int fd, int how);
int posix_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int posix_getsockopt(int fd, int level, int name, void *value, socklen_t *length);
int posix_getsockname(int fd, struct sockaddr *address, socklen_t *length);
int posix_getpeername(int fd, struct sockaddr *address, socklen_t *length);
ssize_t posix_send(int fd, const void *data, size_t length, int flags);
ssize_t posix_recv(int fd, void *data, size_t length, int flags);
int fcntl(int fd, int command, ...); /* the C library has none */
int posix_poll(struct pollfd *fds, unsigned count, int timeout_ms);
int posix_close(int fd);
int posix_setenv(const char *name, const char *value, int overwrite);
int posix_unsetenv(const char *name);

#define socket(family, type, protocol)             posix_socket(family, type, protocol)
#define connect(fd, address, length)               posix_connect(fd, address, length)
#define bind(fd, address, length)                  posix_bind(fd, address, length)
#define listen(fd, backlog)                        posix_listen(fd, backlog)
#define accept(fd, address, length)                posix_accept(fd, address, length)
#define shutdown(fd, how)                          posix_shutdown(fd, how)
#define setsockopt(fd, level, name, value, length) posix_setsockopt(fd, level, name, value, length)
#define getsockopt(fd, level, name, value, length) posix_getsockopt(fd, level, name, value, length)
#define getsockname(fd, address, length)           posix_getsockname(fd, address, length)
#define getpeername(fd, address, length)           posix_getpeername(fd, address, length)
#define send(fd, data, length, flags)              posix_send(fd, data, length, flags)
#define recv(fd, data, length, flags)              posix_recv(fd, data, length, flags)
#define poll(fds, count, timeout_ms)               posix_poll(fds, count, timeout_ms)
#define close(fd)                                  posix_close(fd)
#define setenv(name, value, overwrite)             posix_setenv(name, value, overwrite)
#define unsetenv(name)                             posix_unsetenv(name)

#endif
