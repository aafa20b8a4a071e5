/* Timeouts in the units of poll(2) and epoll_wait(2). */
#ifndef BASE_TIMEOUT_H
#define BASE_TIMEOUT_H

#include <limits.h>
#include <stdint.h>

/* In whole milliseconds, rounded up, so that nobody wakes up too early and finds nothing; -1, for without end, if
 * negative. */
static inline int timeout_to_ms(int64_t timeout_ns)
{
    int64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);

    return timeout_ns < 0 ? -1 : ms < INT_MAX ? (int)ms : INT_MAX;
}

#endif
