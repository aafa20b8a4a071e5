/* Numbers of calls into the kernel that a server has made, in a file that the server and the load map. count_calls.c
 * counts the calls of functions of the C library; a call that liburing makes itself is not seen. */
#ifndef BENCHMARKS_CALL_COUNTS_H
#define BENCHMARKS_CALL_COUNTS_H

#include <stdatomic.h>
#include <stdint.h>

enum call_kind {
    CALL_WAIT,    /* epoll_wait(2) and its relatives, poll(2) */
    CALL_CONTROL, /* epoll_ctl(2) */
    CALL_RECEIVE, /* read(2), recv(2) and their relatives */
    CALL_SEND,    /* write(2), send(2) and their relatives */
    CALL_FILE,    /* sendfile(2), splice(2), pread(2) */
    CALL_ACCEPT,
    CALL_CLOSE,
    CALL_OTHER, /* ioctl(2), timerfd_settime(2), setsockopt(2), shutdown(2) */
    CALL_KINDS,
};

#define CALL_KIND_NAMES                                                                                                \
    {                                                                                                                  \
        "wait", "control", "receive", "send", "file", "accept", "close", "other"                                       \
    }
#define CALL_COUNTS_VARIABLE "JD_CALL_COUNTS" /* the environment variable that names the file */

struct call_counts {
    _Atomic uint64_t of[CALL_KINDS];
};

#endif
