/* Holds threads up at random moments, so that what needs an unlucky one to be seen is seen soon: two loads between which
 * another thread must have come, something touched after the store that allows another thread to free it. Part of the build
 * with -Dshake=true, whose functions call these two at their beginning and end (gcc(1), -finstrument-functions).
 * In the environment, without which nothing is held up:
 * JD_SHAKE=N: once in so many calls, for up to 0.3 ms.
 * JD_SHAKE_SLOW=N: of so many beginnings and ends of functions one, others in each process, takes 15 ms longer, in the
 * first thread or in all others; a thread 300 ms at most and a process 1.5 s. For what a test has to wait for, and only
 * happens to be there by then. */
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

#define OF_THREAD static _Thread_local __attribute__((tls_model("initial-exec")))

OF_THREAD uint64_t state;
OF_THREAD pid_t thread;
OF_THREAD int slow_calls; /* so far */

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

HOOK static unsigned long number_of(const char *variable)
{
    const char *wanted = getenv(variable);

    return wanted != NULL ? strtoul(wanted, NULL, 10) : 0;
}

HOOK __attribute__((constructor)) static void read_environment(void)
{
    one_in = number_of("JD_SHAKE");
    slow_one_in = number_of("JD_SHAKE_SLOW");
    begin_process();
    pthread_atfork(NULL, NULL, begin_process);
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

HOOK static void be_slow(void *function, bool at_end)
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
    be_slow(function, false);
}

HOOK void __cyg_profile_func_exit(void *function, void *caller)
{
    shake();
    be_slow(function, true);
}
