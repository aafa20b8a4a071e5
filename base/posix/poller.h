/* Poller: readiness by epoll (epoll(7)), and nothing more: who is ready is a token that the caller chose. */
#ifndef BASE_POSIX_POLLER_H
#define BASE_POSIX_POLLER_H

#include <stdint.h>
#include <sys/epoll.h>

enum { POLLER_BATCH = 256 };

struct poller {
    int epoll;
    struct epoll_event events[POLLER_BATCH]; /* what the last wait found */
};

/* All return 0 (wait: a count) or a negative error. */
int poller_open(struct poller *poller);
void poller_close(struct poller *poller);
int poller_add(struct poller *poller, int fd, uint32_t events, uint64_t token);
int poller_modify(struct poller *poller, int fd, uint32_t events, uint64_t token);
int poller_remove(struct poller *poller, int fd);

/* Waits at most timeout_ns (negative: without end), rounded up to the millisecond. A signal ends it with a count of 0. */
int poller_wait(struct poller *poller, int64_t timeout_ns);

#endif
