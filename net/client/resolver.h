/* Resolver: looks host names up outside the loop, because getaddrinfo(3) blocks. Threads of the process do it, which exist
 * only while lookups are pending: at most four at a time that are awaited, and sixteen in all. Lookups of equal names at the
 * same time are one question to the name service. */
#ifndef NET_CLIENT_RESOLVER_H
#define NET_CLIENT_RESOLVER_H

#include "base/endpoint.h"
#include "net/loop/event_loop.h"

enum { RESOLVER_ADDRESSES_MAX = 16 };

/* One name being looked up. Owned by the caller of lookup_start until lookup_release. */
struct lookup {
    struct task_node task; /* returns the lookup to its loop */
    struct lookup *next;   /* resolver.c, as are query, state and abandoned */
    struct query *query;
    jd_event_loop *loop;
    struct host_port name;
    int state;      /* enum lookup_state */
    bool abandoned; /* released while its task is queued */

    void (*done)(struct lookup *lookup); /* called in the loop's thread, from its task queue */
    void *arg;                           /* the caller's */

    /* The result, valid from done on: error is 0 and there is at least one address, in getaddrinfo's order; or error is
     * negative and reason says why (a static string). */
    int error;
    const char *reason;
    unsigned count;
    jd_endpoint addresses[RESOLVER_ADDRESSES_MAX];
};

/* Starts to look up name (copied). In the loop's thread. Returns 0 and sets *lookup: done is called exactly once, never
 * from inside this call, unless the lookup is released before. Or returns JD_ENOMEM, or JD_EAGAIN (the system allows no
 * thread). */
int lookup_start(struct lookup **lookup, jd_event_loop *loop, const struct host_port *name,
                 void (*done)(struct lookup *lookup), void *arg);

/* Ends the caller's ownership: before done (which is then not called), inside done, or after it. In the loop's thread,
 * before the loop's queue closes. A query that nobody awaits any more
 * delays others only if it occupies one of the last of sixteen threads. */
void lookup_release(struct lookup *lookup);

/* Returns the number of lookups in the process that were started and whose memory has not been freed, and of queries that
 * are worked on although nobody awaits them. From any thread; for tests. */
unsigned lookups_in_use(void);

#endif
