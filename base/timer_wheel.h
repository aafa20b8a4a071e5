/* Timer wheel: hierarchical, millisecond ticks; start, re-arm and cancel are O(1), no memory of its own per timer
 * (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987). */
#ifndef BASE_TIMER_WHEEL_H
#define BASE_TIMER_WHEEL_H

#include <jinduo/types.h>

/* Embedded in what is timed; all zero is a stopped timer. 24 bytes: it is part of every idle connection. */
struct timer {
    struct timer *next;
    struct timer **link; /* the pointer that points here; NULL: not started */
    uint64_t expiry_ms : 56;
    uint64_t kind : 8; /* the owner's, passed to the expiry function */
};

/* 10 levels of 64 slots reach further than an expiry's 56 bits (two million years): no expiry is too far away. */
enum { TIMER_LEVELS = 10, TIMER_LEVEL_BITS = 6, TIMER_SLOTS = 1 << TIMER_LEVEL_BITS };

struct timer_wheel {
    uint64_t now_ms;                 /* everything due up to and including this has run */
    uint64_t occupied[TIMER_LEVELS]; /* a bit per slot that holds timers: empty ticks are skipped, not walked */
    struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
    struct timer *due; /* what an advance under way has still to run */
    size_t count;      /* timers started */
};

typedef void (*timer_expired)(struct timer *timer, void *arg);

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* Starts timer, or moves it if it is started. An expiry that has passed counts as now: it runs at the next advance. One
 * of 2^56 ms or more is taken as 2^56 - 1. */
void timer_start(struct timer_wheel *wheel, struct timer *timer, uint64_t expiry_ms);

/* Stops timer; one that is not started is left alone. */
void timer_cancel(struct timer_wheel *wheel, struct timer *timer);

static inline bool timer_is_started(const struct timer *timer)
{
    return timer->link != NULL;
}

/* The time of the next advance that is worth making: never later than the earliest expiry (now, if that has passed), at
 * most a level's step earlier. UINT64_MAX when no timer is started. */
uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel);

/* Runs everything due at now_ms (a time before the last advance is taken as that), each timer stopped before expired is
 * called with it, in the order of expiry, equal ones in the order of start. expired may start and cancel any timer,
 * one due in this advance too; those it starts run in the next advance at the earliest, even when already due. It must
 * not call timer_wheel_advance. Returns how many ran. */
size_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms, timer_expired expired, void *arg);

#endif
