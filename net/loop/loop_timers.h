/* The timers of a loop: the wheel, and the user's timers in it. In the loop's thread, except posted (under
 * posted_lock). */
#ifndef NET_LOOP_LOOP_TIMERS_H
#define NET_LOOP_LOOP_TIMERS_H

#include "base/platform/thread.h"
#include "base/slot_map.h"
#include "base/timer_wheel.h"
#include "net/loop/loop_services.h"

/* The kind of object that a timer of the wheel is part of. */
enum timer_kind {
    TIMER_USER,
    TIMER_USER_POSTED, /* started by another thread */
    TIMER_OF_SERVICE,  /* plus enum loop_service_id */
    TIMER_CLIENT = TIMER_OF_SERVICE + SERVICE_CLIENTS,
    TIMER_CONNECTION = TIMER_OF_SERVICE + SERVICE_CONNECTIONS,
};

enum { CANCELLED_TIMERS = 16 };

struct loop_timers {
    struct timer_wheel wheel;
    struct slot_map user;
    /* Cancelled timers that are still in the wheel: a ring, newest before cancelled_next. See timer_free_later. */
    struct loop_timer *cancelled[CANCELLED_TIMERS];
    uint32_t cancelled_next;
    struct slot_map posted; /* timers started by other threads; under posted_lock */
    thread_mutex posted_lock;
};

/* first_generation: the number after which the generations of timer ids continue. */
void loop_timers_init(jd_event_loop *loop, uint32_t first_generation);

/* Runs the timers that are due. */
void loop_timers_run(jd_event_loop *loop);

/* When the next timer may be due, in milliseconds of the loop's clock; UINT64_MAX: no timer is started. */
uint64_t loop_timers_next_ms(jd_event_loop *loop);

/* Cancels all timers of the user. */
void loop_timers_cancel_all(jd_event_loop *loop);

/* Cancels all and frees the memory. Returns the first_generation for the next loop of the same index. */
uint32_t loop_timers_destroy(jd_event_loop *loop);

#endif
