/* When a client tries again: exponential back-off with a random part. */
#ifndef NET_CLIENT_CLIENT_SCHEDULE_H
#define NET_CLIENT_CLIENT_SCHEDULE_H

#include <stdint.h>

struct client_schedule {
    uint32_t initial_ms, max_ms; /* 0 < initial_ms <= max_ms */
    unsigned attempt;            /* begun in a row; set to 0 to start the row anew */
    uint64_t random;             /* a seed */
};

/* The longest wait that may follow the attempts so far: initial_ms, doubled with each after the first, at most max_ms. */
uint32_t client_schedule_longest_ms(const struct client_schedule *schedule);

/* The wait that does follow: up to half of the longest is taken off at random, so that clients that have lost the same
 * server at once do not come back at once. */
uint32_t client_schedule_wait_ms(struct client_schedule *schedule);

#endif
