/* Holds threads up at random moments, so that what needs an unlucky one to be seen is seen soon: two loads between which
 * another thread must have come, something touched after the store that allows another thread to free it. Part of the build
 * with -Dshake=true, whose functions call these two at their beginning and end (gcc(1), -finstrument-functions).
 * JD_SHAKE in the environment: once in so many calls; without it never. */
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define HOOK __attribute__((no_instrument_function, no_sanitize("thread", "address", "undefined")))

enum { LONG_NS = 300 * 1000, SHORT_NS = 20 * 1000 };

void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);

static _Thread_local uint64_t state __attribute__((tls_model("initial-exec")));

static unsigned long one_in; /* 0: never */

HOOK __attribute__((constructor)) static void read_one_in(void)
{
    const char *wanted = getenv("JD_SHAKE");

    if (wanted != NULL)
        one_in = strtoul(wanted, NULL, 10);
}

/* xorshift64 (G. Marsaglia, 2003); another sequence in each thread and run. */
HOOK static uint64_t next_random(void)
{
    struct timespec now;

    if (state == 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        state = ((uint64_t)now.tv_nsec << 32 ^ (uintptr_t)&state) | 1;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

HOOK static void hold_up(uint64_t random)
{
    struct timespec pause = { .tv_nsec = random % 8 == 0 ? LONG_NS : SHORT_NS };
    int saved_errno = errno;

    if (random % 2 == 0)
        nanosleep(&pause, NULL);
    else
        sched_yield();
    errno = saved_errno;
}

HOOK static void shake(void)
{
    uint64_t random;

    if (one_in == 0)
        return;
    random = next_random() >> 16;
    if ((random >> 8) % one_in == 0)
        hold_up(random);
}

HOOK void __cyg_profile_func_enter(void *function, void *caller)
{
    shake();
}

HOOK void __cyg_profile_func_exit(void *function, void *caller)
{
    shake();
}
