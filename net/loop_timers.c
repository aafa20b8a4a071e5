/* The user's timers: each a slot with a generation, so that an id names one timer and never a later one. */
#include "net/event_loop.h"

#include <jinduo/error.h>

enum { NS_PER_MS = 1000000 };

static const uint64_t delay_max_ms = (uint64_t)1 << 46; /* 2 000 years: the sum with any time does not overflow */

struct loop_timer {
    struct slot_header slot;
    struct timer timer;
    jd_task function;
    void *arg;
};

void loop_timers_init(jd_event_loop *loop)
{
    slot_map_init(&loop->user_timers, sizeof(struct loop_timer), 0);
}

static jd_timer_id timer_id(const struct loop_timer *timer)
{
    return (uint64_t)timer->slot.slot << 32 | timer->slot.generation;
}

int jd_event_loop_run_after(jd_event_loop *loop, uint64_t delay_ms, jd_task function, void *arg, jd_timer_id *id)
{
    uint64_t now_ns = (uint64_t)event_loop_clock(loop);
    struct loop_timer *timer;

    if (!event_loop_is_mine(loop))
        return JD_EPERM;
    if (loop->destroying)
        return JD_ECANCELED;
    timer = slot_map_allocate(&loop->user_timers);
    if (timer == NULL)
        return JD_ENOMEM;
    timer->function = function;
    timer->arg = arg;
    if (delay_ms > delay_max_ms)
        delay_ms = delay_max_ms;
    /* Rounded up: a timer is never early. */
    timer_start(&loop->wheel, &timer->timer, (now_ns + NS_PER_MS - 1) / NS_PER_MS + delay_ms);
    if (id != NULL)
        *id = timer_id(timer);
    return 0;
}

static void free_timer(jd_event_loop *loop, struct loop_timer *timer)
{
    timer_cancel(&loop->wheel, &timer->timer);
    slot_map_free(&loop->user_timers, timer);
}

int jd_event_loop_cancel_timer(jd_event_loop *loop, jd_timer_id id)
{
    struct loop_timer *timer;

    if (!event_loop_is_mine(loop))
        return JD_EPERM;
    timer = slot_map_find(&loop->user_timers, (uint32_t)(id >> 32), (uint32_t)id);
    if (timer == NULL)
        return JD_ENOENT;
    free_timer(loop, timer);
    return 0;
}

static void run_expired(struct timer *expired, void *arg)
{
    jd_event_loop *loop = arg;
    struct loop_timer *timer = (struct loop_timer *)((char *)expired - offsetof(struct loop_timer, timer));
    jd_task function = timer->function;
    void *function_arg = timer->arg;

    slot_map_free(&loop->user_timers, timer);
    flush_before_callback(loop);
    function(function_arg);
}

void loop_timers_run(jd_event_loop *loop)
{
    if (loop->wheel.count > 0)
        counter_add(&loop->counters.timers,
                    timer_wheel_advance(&loop->wheel, (uint64_t)(loop->now / NS_PER_MS), run_expired, loop));
}

void loop_timers_cancel_all(jd_event_loop *loop)
{
    struct loop_timer *timer;

    while ((timer = slot_map_next(&loop->user_timers, 0)) != NULL)
        free_timer(loop, timer);
}
