/* Timers with jinduo: the program keeps only the timer ids. */
#include "benchmarks/peers/timers.h"

#include <jinduo/jinduo.h>
#include <stdlib.h>

enum { NS_PER_MS = 1000000 };

static jd_event_loop *loop;
static enum timers_clock counts_from;
static jd_timer_id *ids;

int timers_prepare(uint32_t count, enum timers_clock clock)
{
    counts_from = clock;
    ids = calloc(count, sizeof(*ids));
    return ids == NULL || jd_event_loop_create(&loop, NULL) < 0;
}

static void on_expiry(void *arg)
{
    if (timers_expired_is_last())
        jd_event_loop_quit(loop);
}

static void run_inside(void *arg)
{
    (*(void (**)(void))arg)();
    if (timers_awaited == 0)
        jd_event_loop_quit(loop);
}

void timers_run(void (*inside)(void))
{
    if (jd_event_loop_queue_in_loop(loop, run_inside, &inside) < 0 || jd_event_loop_run(loop) < 0)
        abort();
}

void timers_start(const uint32_t *numbers, const uint32_t *delay_ms, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        jd_timer_id *id = &ids[numbers[i]];
        int result = counts_from == TIMERS_REAL
                         ? jd_event_loop_run_after(loop, delay_ms[i], on_expiry, NULL, id)
                         : jd_event_loop_run_at(loop, jd_event_loop_now(loop) + (jd_timestamp)delay_ms[i] * NS_PER_MS,
                                                on_expiry, NULL, id);
        if (result < 0)
            abort();
    }
}

void timers_cancel(const uint32_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        jd_event_loop_cancel_timer(loop, ids[numbers[i]]);
}
