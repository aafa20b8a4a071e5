#include "base/platform/clock.h"

#include <stdatomic.h>
#include <windows.h>

enum { NS_PER_S = 1000000000 };

/* The counter's frequency is fixed when the system starts; two threads that ask at the same time get the same. */
static int64_t ticks_per_second(void)
{
    static _Atomic int64_t known;
    int64_t frequency = atomic_load_explicit(&known, memory_order_relaxed);
    LARGE_INTEGER asked;

    if (frequency != 0)
        return frequency;
    QueryPerformanceFrequency(&asked);
    atomic_store_explicit(&known, asked.QuadPart, memory_order_relaxed);
    return asked.QuadPart;
}

int64_t clock_now(void)
{
    int64_t frequency = ticks_per_second();
    LARGE_INTEGER ticks;

    QueryPerformanceCounter(&ticks);
    return ticks.QuadPart / frequency * NS_PER_S + ticks.QuadPart % frequency * NS_PER_S / frequency;
}
