/* The wait before a client's next attempt: exponential back-off with a random part. Thread rule: the client's loop
 * thread. */
#ifndef NET_CLIENT_CLIENT_SCHEDULE_H
#define NET_CLIENT_CLIENT_SCHEDULE_H

#include <stdint.h>

struct client_schedule {
    uint32_t initial_ms, max_ms; /* 0 < initial_ms <= max_ms */
    unsigned attempt;            /* number of attempts begun in this row; 0 begins a new row */
    uint64_t random;             /* state of the random numbers, set to a seed */
};

/* Returns the longest wait that may follow the attempts so far: initial_ms, doubled for each attempt after the first,
 * at most max_ms. */
uint32_t client_schedule_longest_ms(const struct client_schedule *schedule);

/* Returns the wait to use now: the longest wait less a random part of up to half of it. So clients that lost the same
 * server at the same time do not return at the same time. */
uint32_t client_schedule_wait_ms(struct client_schedule *schedule);

#endif
