/* A clock_gettime for LD_PRELOAD (ld.so(8)) that advances by a fixed step at each call. Under callgrind a program runs
 * about fifty times slower, so decisions that depend on time differ from run to run; with this clock they repeat, and
 * so do the instruction counts. A program's timers practically never expire with this clock. */
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
