/* A loop's timers: the wheel, and the user's timers in it. */
#ifndef NET_LOOP_LOOP_TIMERS_H
#define NET_LOOP_LOOP_TIMERS_H

#include "base/platform/thread.h"
#include "base/slot_map.h"
#include "base/timer_wheel.h"
#include "net/loop/loop_services.h"

/* What a timer of the wheel is part of. */
enum timer_kind {
    TIMER_USER,
    TIMER_USER_POSTED,
    TIMER_OF_SERVICE, /* the first service's; the others' follow */
    TIMER_CLIENT = TIMER_OF_SERVICE + SERVICE_CLIENTS,
    TIMER_CONNECTION = TIMER_OF_SERVICE + SERVICE_CONNECTIONS,
};

enum { LATE_TIMERS = 16 };

struct loop_timers {
    struct timer_wheel wheel;
    struct slot_map user;
    struct loop_timer *late[LATE_TIMERS]; /* cancelled, in the wheel still: the latest ones before late_place */
    uint32_t late_place;
    struct slot_map posted; /* started by other threads; under the lock */
    thread_mutex posted_lock;
};

void loop_timers_init(jd_event_loop *loop, uint32_t first_generation);
void loop_timers_run(jd_event_loop *loop);
uint64_t loop_timers_next_ms(jd_event_loop *loop); /* UINT64_MAX: none */
void loop_timers_cancel_all(jd_event_loop *loop);
uint32_t loop_timers_destroy(jd_event_loop *loop); /* where the next loop's timers go on counting */

#endif
