/* A clock that advances by a fixed step at each call, for LD_PRELOAD (ld.so(8)). Under callgrind a program runs some fifty
 * times slower, so that its decisions by age and time differ from run to run; with this clock they repeat, and instruction
 * counts with them. Timers of a program with this clock are not due in any useful time. */
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

enum { STEP_NS = 100, NS_PER_SECOND = 1000000000 };

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static _Atomic uint64_t steps;
    uint64_t ns = (atomic_fetch_add_explicit(&steps, 1, memory_order_relaxed) + 1) * STEP_NS;

    time->tv_sec = (time_t)(1 + ns / NS_PER_SECOND);
    time->tv_nsec = (long)(ns % NS_PER_SECOND);
    return 0;
}
