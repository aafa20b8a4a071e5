/* A million timers: what each library's side implements, and timers.c measures. All of it runs in one thread, inside a
 * callback of the loop, where programs start their timers and where every library knows the time best. */
#ifndef BENCHMARKS_PEERS_TIMERS_H
#define BENCHMARKS_PEERS_TIMERS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a delay counts from. Libraries differ in their default, so each is compared in both ways. */
enum timers_clock {
    TIMERS_TURN, /* the time that the loop has read when it woke: free of cost, late by what callbacks have taken since */
    TIMERS_REAL, /* the clock, read for each start */
};

/* Makes the loop, and whatever a program with at most count timers would keep for them. Returns 0, or anything else. */
int timers_prepare(uint32_t count, enum timers_clock clock);

/* Calls inside in a callback of the loop, then runs the loop until timers_expired_is_last has said so. */
void timers_run(void (*inside)(void));

/* Starts the timers with these numbers, none of which is started, once, delay_ms[i] from now. */
void timers_start(const uint32_t *numbers, const uint32_t *delay_ms, uint32_t count);

/* Cancels these, which are started. */
void timers_cancel(const uint32_t *numbers, uint32_t count);

/* Each timer's callback calls it; true for the last one that is awaited. */
extern uint32_t timers_awaited;
static inline int timers_expired_is_last(void)
{
    return --timers_awaited == 0;
}

#ifdef __cplusplus
}
#endif
#endif
