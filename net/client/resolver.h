/* Resolver: looks names of hosts up off the loop, as getaddrinfo(3) may take its time. A few threads of the process do it,
 * which exist only while there is something to look up. */
#ifndef NET_CLIENT_RESOLVER_H
#define NET_CLIENT_RESOLVER_H

#include "base/endpoint.h"
#include "net/loop/event_loop.h"

enum { RESOLVER_ADDRESSES_MAX = 16 };

struct lookup {
    struct task_node task; /* brings it back to the loop */
    struct lookup *next;
    jd_event_loop *loop;
    struct host_port name;
    int state; /* resolver.c's */
    bool abandoned;

    void (*done)(struct lookup *lookup); /* in the loop's thread, from its queue */
    void *arg;                           /* the caller's */

    /* What was found, when done is called: 0 and at least one address, in the order of getaddrinfo, or an error. */
    int error;
    const char *reason; /* static */
    unsigned count;
    jd_endpoint addresses[RESOLVER_ADDRESSES_MAX];
};

/* Begins to look name up. In the loop's thread. Returns 0, and done is called exactly once unless the lookup is released
 * before; or JD_ENOMEM, JD_EAGAIN (no thread could be made). */
int lookup_start(struct lookup **lookup, jd_event_loop *loop, const struct host_port *name,
                 void (*done)(struct lookup *lookup), void *arg);

/* Gives it back, before or after done, in done too. In the loop's thread, before the loop's queue closes. Its memory is freed
 * when the thread that works on it has returned. */
void lookup_release(struct lookup *lookup);

/* Lookups that have been started and whose memory has not been freed, in the process. */
unsigned lookups_in_use(void);

#endif
