/* What lives on a loop, as the loop knows it: connections, servers and clients are services, each a table of functions. So the
 * loop includes nothing of theirs. All functions are called in the loop's thread; those that a service does not need are
 * NULL. */
#ifndef NET_LOOP_LOOP_SERVICES_H
#define NET_LOOP_LOOP_SERVICES_H

#include <jinduo/event_loop.h>

struct timer;

/* In the order in which a loop that is destroyed ends them. */
enum loop_service_id { SERVICE_CLIENTS, SERVICE_SERVERS, SERVICE_CONNECTIONS, LOOP_SERVICES };

struct loop_service {
    /* The loop has just been made. first_generation: where ids of this loop's objects go on counting. */
    void (*init)(jd_event_loop *loop, uint32_t first_generation);

    /* Before a callback, when output has waited too long or too much of it waits: sends it. Calls no callback itself. */
    void (*flush_early)(jd_event_loop *loop);

    /* The turn's end: does what was put off until then. What is put off meanwhile waits for the next turn. Returns how many
     * objects had something to do. */
    unsigned (*settle)(jd_event_loop *loop);

    /* One of the service's timers (loop_timers.h, enum timer_kind) has expired. */
    void (*timer_expired)(struct timer *timer);

    /* Ends all that the service has on the loop, and runs turns until it is gone. Returns 0, or a negative error as
     * event_loop_turn_until: then it may be called again. */
    int (*end_all)(jd_event_loop *loop);

    /* Frees what has ended: nothing in the turn points to it any more. */
    void (*free_dead)(jd_event_loop *loop);
};

/* By enum loop_service_id; put together in proactor/engines_compiled_in.c. */
extern const struct loop_service *const loop_services[LOOP_SERVICES];

#endif
