/* Timer wheel: hierarchical, with ticks of one millisecond. Start, re-arm and cancel are O(1). Timers are embedded in
 * their objects: the wheel allocates nothing (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987).
 * Not locked. */
#ifndef BASE_TIMER_WHEEL_H
#define BASE_TIMER_WHEEL_H

#include <jinduo/types.h>

/* Embedded in the object that it belongs to. All zero is a stopped timer. 24 bytes, because each idle connection has
 * one. */
struct timer {
    struct timer *next;
    struct timer **link; /* the pointer that points to this timer; NULL: not started */
    uint64_t expiry_ms : 56;
    uint64_t kind : 8; /* free for the owner */
};

/* 10 levels of 64 slots cover 60 bits, more than the 56 bits of an expiry (two million years): no expiry is out of
 * reach. */
enum { TIMER_LEVELS = 10, TIMER_LEVEL_BITS = 6, TIMER_SLOTS = 1 << TIMER_LEVEL_BITS };

struct timer_wheel {
    uint64_t now_ms;                 /* all timers due at this time or before have run */
    uint64_t occupied[TIMER_LEVELS]; /* one bit for each slot with timers: an advance skips empty slots */
    struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
    struct timer *due; /* during an advance: the timers that it still has to run */
    size_t count;      /* started timers */
};

typedef void (*timer_expired)(struct timer *timer, void *arg);

/* Makes an empty wheel whose time is now_ms. */
void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* Starts timer; a started timer is moved to the new expiry. An expiry in the past counts as now: the timer runs in the
 * next advance. An expiry of 2^56 ms or more counts as 2^56 - 1. */
void timer_start(struct timer_wheel *wheel, struct timer *timer, uint64_t expiry_ms);

/* Stops timer. Does nothing if it is not started. */
void timer_cancel(struct timer_wheel *wheel, struct timer *timer);

static inline bool timer_is_started(const struct timer *timer)
{
    return timer->link != NULL;
}

/* Returns when the next advance has work to do, in ms: not later than the earliest expiry (now, if that is in the
 * past), and earlier by less than one slot of its level. UINT64_MAX: no timer is started. */
uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel);

/* Sets the wheel's time to now_ms (a time before the last advance counts as that), and calls expired(timer, arg) for
 * each timer that is due, in the order of expiry; timers with equal expiry in the order of their starts. A timer is
 * stopped before its call. expired may start and cancel any timer, also one that is due in this advance; a timer that
 * it starts runs in the next advance at the earliest. It must not call timer_wheel_advance. Returns the number of
 * timers that ran. */
size_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms, timer_expired expired, void *arg);

#endif
