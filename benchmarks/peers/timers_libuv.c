/* Timers with libuv: handles initialised once, then started and stopped repeatedly. Its time is that of the turn; with
 * the clock TIMERS_REAL the program calls uv_update_time before each start. */
#include "benchmarks/peers/timers.h"

#include <stdlib.h>
#include <uv.h>

static uv_loop_t loop;
static uv_timer_t *handles;
static enum timers_clock counts_from;

static void on_expiry(uv_timer_t *handle)
{
    if (timers_expired_is_last())
        uv_stop(&loop);
}

int timers_prepare(uint32_t count, enum timers_clock clock)
{
    counts_from = clock;
    handles = calloc(count, sizeof(*handles));
    if (handles == NULL || uv_loop_init(&loop) < 0)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        uv_timer_init(&loop, &handles[i]);
    return 0;
}

static void run_inside(uv_timer_t *handle)
{
    (*(void (**)(void))handle->data)();
    if (timers_awaited == 0)
        uv_stop(&loop);
}

void timers_run(void (*inside)(void))
{
    uv_timer_t now;

    uv_timer_init(&loop, &now);
    now.data = &inside;
    uv_update_time(&loop);
    uv_timer_start(&now, run_inside, 0, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&now, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

void timers_start(const uint32_t *numbers, const uint32_t *delay_ms, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (counts_from == TIMERS_REAL)
            uv_update_time(&loop);
        if (uv_timer_start(&handles[numbers[i]], on_expiry, delay_ms[i], 0) < 0)
            abort();
    }
}

void timers_cancel(const uint32_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        uv_timer_stop(&handles[numbers[i]]);
}
