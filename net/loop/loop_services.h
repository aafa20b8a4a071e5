/* Services: the kinds of objects that live on a loop (clients, servers, connections). Each registers a table of
 * functions, so that the loop depends on none of them. All functions are called in the loop's thread. Each service has
 * end_all; flush_early, settle and free_dead are called for connections only; a function that is not needed is NULL. */
#ifndef NET_LOOP_LOOP_SERVICES_H
#define NET_LOOP_LOOP_SERVICES_H

#include <jinduo/event_loop.h>

struct timer;

/* In the order in which jd_event_loop_destroy ends them. */
enum loop_service_id { SERVICE_CLIENTS, SERVICE_SERVERS, SERVICE_CONNECTIONS, LOOP_SERVICES };

struct loop_service {
    /* The loop is being created. first_generation: the number after which the generations of object ids continue. */
    void (*init)(jd_event_loop *loop, uint32_t first_generation);

    /* Called before a user callback when output may have reached a limit of the flush policy: checks and flushes.
     * Invokes no callback. */
    void (*flush_early)(jd_event_loop *loop);

    /* The settle step of a turn: does the work that was deferred to the end of the turn. Work deferred meanwhile waits
     * for the next turn. Returns the number of objects that had work to do. */
    unsigned (*settle)(jd_event_loop *loop);

    /* A timer of the service has expired (loop_timers.h, enum timer_kind). */
    void (*timer_expired)(struct timer *timer);

    /* Ends all objects of the service on the loop, and runs turns until they have ended. Returns 0, or the negative
     * error of event_loop_turn_until; after an error it may be called again. */
    int (*end_all)(jd_event_loop *loop);

    /* Frees the objects that have ended. Called at the end of a turn, when no event of the turn refers to them. */
    void (*free_dead)(jd_event_loop *loop);
};

/* Indexed by enum loop_service_id; defined in proactor/engines_compiled_in.c. */
extern const struct loop_service *const loop_services[LOOP_SERVICES];

#endif
