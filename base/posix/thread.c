#include "base/platform/thread.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000 };

static int start_without_signals(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *),
                                 void *arg)
{
    sigset_t all_signals, before;
    int result;

    sigfillset(&all_signals);
    pthread_sigmask(SIG_SETMASK, &all_signals, &before);
    result = pthread_create(thread, attributes, function, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -result;
}

int thread_start(thread_handle *thread, void *(*function)(void *), void *arg)
{
    return start_without_signals(thread, NULL, function, arg);
}

int thread_start_detached(void *(*function)(void *), void *arg)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int result = -pthread_attr_init(&attributes);

    if (result < 0)
        return result;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    result = start_without_signals(&thread, &attributes, function, arg);
    pthread_attr_destroy(&attributes);
    return result;
}

void thread_set_name(const char *name)
{
    char text[16]; /* the kernel's limit (pthread_setname_np(3)) */

    snprintf(text, sizeof(text), "%s", name);
    pthread_setname_np(pthread_self(), text);
}

void thread_set_numbered_name(const char *name, unsigned number)
{
    char text[16];

    snprintf(text, sizeof(text), "%.10s-%u", name, number % 1000);
    thread_set_name(text);
}

void thread_yield(void)
{
    sched_yield();
}

void thread_sleep_ns(int64_t duration_ns)
{
    const struct timespec duration = { .tv_sec = duration_ns / NS_PER_S, .tv_nsec = duration_ns % NS_PER_S };

    nanosleep(&duration, NULL);
}

unsigned thread_processor_count(void)
{
    cpu_set_t usable;
    long online;

    if (sched_getaffinity(0, sizeof(usable), &usable) == 0)
        return (unsigned)CPU_COUNT(&usable);
    online = sysconf(_SC_NPROCESSORS_ONLN); /* the system has more processors than a cpu_set_t has bits */
    return online > 0 ? (unsigned)online : 1;
}

int64_t thread_cpu_clock(void)
{
    clockid_t clock;

    return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? clock : 0;
}

uint64_t thread_cpu_ns(int64_t clock)
{
    struct timespec used;

    if (clock == 0 || clock_gettime((clockid_t)clock, &used) < 0)
        return 0;
    return (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
}

void thread_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
    pthread_atfork(before, in_parent, in_child);
}

void thread_mutex_init_recursive(thread_mutex *mutex)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}
