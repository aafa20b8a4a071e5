/* The few POSIX functions that tests use, by the system's, so that the tests' sources are the same everywhere: sockets, files
 * and pipes as small numbers, which are the system's handles, with errors in errno. The headers beside this one have the names
 * of POSIX and include it. Tests that need a function which Windows has not are left out (suites.txt): it fails here. */
#ifndef TESTS_WINDOWS_POSIX_H
#define TESTS_WINDOWS_POSIX_H

#include "base/platform/socket_address.h"

#include <errno.h>
#include <io.h> /* before the macros */
#include <process.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { SOCK_CLOEXEC = 0x80000, SOCK_NONBLOCK = 0x800 };
enum { MSG_NOSIGNAL = 0x4000, MSG_DONTWAIT = 0x40 };
enum { SHUT_RD = SD_RECEIVE, SHUT_WR = SD_SEND, SHUT_RDWR = SD_BOTH };
enum { MFD_CLOEXEC = 1 };
enum {
    F_DUPFD = 0,
    F_DUPFD_CLOEXEC = 1030,
    F_GETFD = 1,
    F_GETFL = 3,
    F_SETFL = 4,
    FD_CLOEXEC = 1,
    O_NONBLOCK = 0x800,
    O_CLOEXEC = 0,
    O_TMPFILE = 0x400000,
    O_DIRECTORY = 0x10000
};
enum { AF_NETLINK = 16 };
enum { EAI_ADDRFAMILY = WSAEAFNOSUPPORT, EAI_SYSTEM = -11 };

struct iovec {
    void *iov_base;
    size_t iov_len;
};

struct msghdr {
    struct iovec *msg_iov;
    size_t msg_iovlen;
};

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
ssize_t posix_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t posix_sendmsg(int fd, const struct msghdr *message, int flags);

/* Files and pipes. A file is opened for overlapped operations, as the library asks. read, write and close are for sockets, too. */
int posix_open(const char *path, int flags, ...);
int posix_mkstemp(char *path);
int memfd_create(const char *name, unsigned flags);
int posix_unlink(const char *path);
int posix_ftruncate(int fd, off_t size);
off_t posix_lseek(int fd, off_t offset, int whence);
ssize_t posix_read(int fd, void *data, size_t size);
ssize_t posix_write(int fd, const void *data, size_t size);
ssize_t pread(int fd, void *data, size_t size, off_t offset);
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset);
int pipe(int ends[2]);
int pipe2(int ends[2], int flags);
int socketpair(int family, int type, int protocol, int ends[2]);
int posix_dup(int fd);
int posix_dup2(int fd, int replaced); /* replaced: STDERR_FILENO */

int posix_file_close(int fd); /* of close: what is no socket */

/* They fail. */
int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
int fork(void);
int geteuid(void);

int posix_setenv(const char *name, const char *value, int overwrite);
int posix_unsetenv(const char *name);

#define socket(family, type, protocol)             posix_socket(family, type, protocol)
#define connect(fd, address, length)               posix_connect(fd, address, length)
#define bind(fd, address, length)                  posix_bind(fd, address, length)
#define listen(fd, backlog)                        posix_listen(fd, backlog)
#define accept(fd, address, length)                posix_accept(fd, address, length)
#define shutdown                                   posix_shutdown
#define setsockopt(fd, level, name, value, length) posix_setsockopt(fd, level, name, value, length)
#define getsockopt(fd, level, name, value, length) posix_getsockopt(fd, level, name, value, length)
#define getsockname(fd, address, length)           posix_getsockname(fd, address, length)
#define getpeername(fd, address, length)           posix_getpeername(fd, address, length)
#define send                                       posix_send
#define recv                                       posix_recv
#define poll(fds, count, timeout_ms)               posix_poll(fds, count, timeout_ms)
#define recvmsg                                    posix_recvmsg
#define sendmsg                                    posix_sendmsg
#define close(fd)                                  posix_close(fd)
#define open(path, ...)                            posix_open(path, __VA_ARGS__)
#define mkstemp(path)                              posix_mkstemp(path)
#undef ftruncate
#undef lseek
#define unlink(path)                   posix_unlink(path)
#define ftruncate(fd, size)            posix_ftruncate(fd, size)
#define lseek(fd, offset, whence)      posix_lseek(fd, offset, whence)
#define read(fd, data, size)           posix_read(fd, data, size)
#define write(fd, data, size)          posix_write(fd, data, size)
#define dup(fd)                        posix_dup(fd)
#define dup2(fd, replaced)             posix_dup2(fd, replaced)
#define setenv(name, value, overwrite) posix_setenv(name, value, overwrite)
#define unsetenv(name)                 posix_unsetenv(name)

#endif
