/* A million timers: the functions that each library's program implements and timers.c measures. They are called in one
 * thread, inside a callback of the loop: there programs start most timers, and each library has read the time
 * recently. */
#ifndef BENCHMARKS_PEERS_TIMERS_H
#define BENCHMARKS_PEERS_TIMERS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The time at which a delay starts. The libraries' defaults differ, so they are compared with both. */
enum timers_clock {
    TIMERS_TURN, /* the time that the loop read when it woke up: no cost, but older by the callbacks' run time */
    TIMERS_REAL, /* the clock, read for each start */
};

/* Creates the loop, and the memory that a program with at most count timers would keep for them. Returns 0 on
 * success. */
int timers_prepare(uint32_t count, enum timers_clock clock);

/* Calls inside in a callback of the loop, then runs the loop until timers_expired_is_last returns true; not if inside
 * leaves timers_awaited at 0. */
void timers_run(void (*inside)(void));

/* Starts the one-shot timers with these numbers, which are not active; timer numbers[i] is due in delay_ms[i] ms. */
void timers_start(const uint32_t *numbers, const uint32_t *delay_ms, uint32_t count);

/* Cancels the timers with these numbers, which are active. */
void timers_cancel(const uint32_t *numbers, uint32_t count);

/* Called by each timer's callback. Returns true for the last awaited timer. */
extern uint32_t timers_awaited;
static inline int timers_expired_is_last(void)
{
    return --timers_awaited == 0;
}

#ifdef __cplusplus
}
#endif
#endif
