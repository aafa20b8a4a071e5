/* Timeouts in the units of poll(2) and epoll_wait(2). */
#ifndef BASE_TIMEOUT_H
#define BASE_TIMEOUT_H

#include <limits.h>
#include <stdint.h>

/* Converts nanoseconds to milliseconds, rounded up, so that a wait does not end before its timer is due. A negative
 * timeout (no limit) becomes -1; more than INT_MAX ms becomes INT_MAX. */
static inline int timeout_to_ms(int64_t timeout_ns)
{
    int64_t ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);

    return timeout_ns < 0 ? -1 : ms < INT_MAX ? (int)ms : INT_MAX;
}

#endif
