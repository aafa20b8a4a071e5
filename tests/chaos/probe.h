/* Honest clients beside the hostile ones, in threads of their own: every answer must be right, byte for byte, and no
 * connection may be lost. */
#ifndef TESTS_CHAOS_PROBE_H
#define TESTS_CHAOS_PROBE_H

#include "tests/chaos/traffic.h"

#include <jinduo/endpoint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct probe {
    jd_endpoint server;
    enum protocol protocol;
    unsigned exchanges_each; /* on a connection before the next one; 0: one connection for the whole run */
    uint64_t seed;
    atomic_bool stops;
    atomic_bool failed;
    char error[256]; /* if failed; valid after probe_end */
    uint64_t exchanges, connections;
    pthread_t thread;
};

/* Starts a probe whose first members, up to seed, are set. */
void probe_begin(struct probe *probe);

/* Completes the exchange under way, and joins the thread. */
void probe_end(struct probe *probe);

#endif
