/* The clock of the loops. */
#ifndef BASE_PLATFORM_CLOCK_H
#define BASE_PLATFORM_CLOCK_H

#include <stdint.h>
#ifdef _WIN32

/* Monotonic time in nanoseconds. From any thread. */
int64_t clock_now(void);

#else
#include <time.h>

/* Monotonic time (clock_gettime(2)) in nanoseconds. From any thread. */
static inline int64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
#endif
