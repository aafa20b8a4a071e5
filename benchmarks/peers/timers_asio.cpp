/* Timers with Asio: steady_timers created once, then waited on and cancelled repeatedly. The context has the
 * concurrency hint 1: one thread runs it. The handler of a cancelled wait is invoked too, so cancelling includes
 * running the handlers of each batch; else they, and their memory, would accumulate. */
#include "benchmarks/peers/timers.h"

#include <asio.hpp>
#include <chrono>
#include <cstdlib>
#include <deque>

static asio::io_context context(1);
static std::deque<asio::steady_timer> timers;
static timers_clock counts_from;
static std::chrono::steady_clock::time_point turn;

int timers_prepare(uint32_t count, timers_clock clock)
{
    counts_from = clock;
    for (uint32_t i = 0; i < count; i++)
        timers.emplace_back(context);
    return 0;
}

void timers_run(void (*inside)(void))
{
    context.restart();
    turn = std::chrono::steady_clock::now();
    asio::post(context, inside);
    context.run();
}

void timers_start(const uint32_t *numbers, const uint32_t *delay_ms, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        asio::steady_timer &timer = timers[numbers[i]];
        if (counts_from == TIMERS_REAL)
            timer.expires_after(std::chrono::milliseconds(delay_ms[i]));
        else
            timer.expires_at(turn + std::chrono::milliseconds(delay_ms[i]));
        timer.async_wait([](const asio::error_code &error) {
            if (!error)
                timers_expired_is_last();
        });
    }
}

void timers_cancel(const uint32_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        timers[numbers[i]].cancel();
    context.poll();
}
