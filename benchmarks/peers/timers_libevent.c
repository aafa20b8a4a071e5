/* Timers with libevent: events assigned once, then added repeatedly, the fast form (evtimer_assign, not evtimer_new).
 * Without evthread_use_pthreads libevent takes no locks. */
#include "benchmarks/peers/timers.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

static struct event_base *base;
static struct event *events;

static void on_expiry(evutil_socket_t fd, short what, void *arg)
{
    if (timers_expired_is_last())
        event_base_loopbreak(base);
}

int timers_prepare(uint32_t count, enum timers_clock clock)
{
    struct event_config *config = event_config_new();

    if (config == NULL)
        return -1;
    if (clock == TIMERS_REAL)
        event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME | EVENT_BASE_FLAG_PRECISE_TIMER);
    base = event_base_new_with_config(config);
    event_config_free(config);
    events = calloc(count, sizeof(*events));
    if (base == NULL || events == NULL)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        evtimer_assign(&events[i], base, on_expiry, NULL);
    return 0;
}

static void run_inside(evutil_socket_t fd, short what, void *arg)
{
    (*(void (**)(void))arg)();
    if (timers_awaited == 0)
        event_base_loopbreak(base);
}

void timers_run(void (*inside)(void))
{
    if (event_base_once(base, -1, EV_TIMEOUT, run_inside, &inside, NULL) < 0 || event_base_dispatch(base) < 0)
        abort();
}

void timers_start(const uint32_t *numbers, const uint32_t *delay_ms, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct timeval delay = { .tv_sec = delay_ms[i] / 1000, .tv_usec = delay_ms[i] % 1000 * 1000 };
        if (evtimer_add(&events[numbers[i]], &delay) < 0)
            abort();
    }
}

void timers_cancel(const uint32_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        evtimer_del(&events[numbers[i]]);
}
