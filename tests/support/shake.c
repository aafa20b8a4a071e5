/* Delays threads at random moments, so that races show up soon: two loads between which another thread must have
 * stored, or an access after the store that allows another thread to free the object. Part of builds with
 * -Dshake=true, in which each function calls the two hooks below at its beginning and end (gcc(1),
 * -finstrument-functions). The environment enables the delays:
 *
 *   - JD_SHAKE=N: one in N calls of a hook is delayed, for at most 0.3 ms.
 *   - JD_SHAKE_SLOW=N: one in N places (the beginning or the end of a function; in the first thread or in all others)
 *     is delayed by 15 ms each time. The places differ between processes. At most 300 ms per thread and 1.5 s per
 *     process. Finds tests that should wait for an event and pass only because it usually has happened by then. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HOOK __attribute__((no_instrument_function, no_sanitize("thread", "address", "undefined")))

enum {
    LONG_NS = 300 * 1000,
    SHORT_NS = 20 * 1000,
    SLOW_NS = 15 * 1000 * 1000,
    SLOW_CALLS = 20,
    SLOW_CALLS_OF_PROCESS = 100
};

void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);

#define PER_THREAD static _Thread_local __attribute__((tls_model("initial-exec")))

PER_THREAD uint64_t state;
PER_THREAD pid_t thread;
PER_THREAD int slow_calls; /* so far */

static unsigned long one_in, slow_one_in; /* 0: never */
static pid_t process;
static _Atomic int slow_calls_left;

HOOK static void begin_process(void)
{
    process = getpid();
    state = 0;
    thread = 0;
    slow_calls = 0;
    slow_calls_left = SLOW_CALLS_OF_PROCESS;
}

HOOK static unsigned long environment_number(const char *variable)
{
    const char *value = getenv(variable);

    return value != NULL ? strtoul(value, NULL, 10) : 0;
}

HOOK __attribute__((constructor)) static void read_environment(void)
{
    one_in = environment_number("JD_SHAKE");
    slow_one_in = environment_number("JD_SHAKE_SLOW");
    begin_process();
    pthread_atfork(NULL, NULL, begin_process);
}

/* xorshift64 (G. Marsaglia, 2003); the sequence differs between threads and runs. */
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

HOOK static void delay_thread(uint64_t random)
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
        delay_thread(random);
}

HOOK static void slow_down(void *function, bool at_end)
{
    uint64_t place;
    struct timespec pause = { .tv_nsec = SLOW_NS };
    int saved_errno = errno;

    if (slow_one_in == 0)
        return;
    if (thread == 0)
        thread = (pid_t)syscall(SYS_gettid);
    place = (4 * (uintptr_t)function + 2 * at_end + (thread == process)) ^ (uint64_t)process << 32;
    place *= UINT64_C(0x9E3779B97F4A7C15);
    if ((place >> 32) % slow_one_in == 0 && slow_calls < SLOW_CALLS && slow_calls_left > 0) {
        slow_calls_left--;
        slow_calls++;
        nanosleep(&pause, NULL);
    }
    errno = saved_errno;
}

HOOK void __cyg_profile_func_enter(void *function, void *caller)
{
    shake();
    slow_down(function, false);
}

HOOK void __cyg_profile_func_exit(void *function, void *caller)
{
    shake();
    slow_down(function, true);
}
