#include "base/platform/thread.h"

#include <signal.h>
#include <stdio.h>

int thread_start(pthread_t *thread, void *(*function)(void *), void *arg)
{
    sigset_t all_signals, before;
    int result;

    sigfillset(&all_signals);
    pthread_sigmask(SIG_SETMASK, &all_signals, &before);
    result = pthread_create(thread, NULL, function, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -result;
}

void thread_set_name(const char *name, unsigned number)
{
    char text[16]; /* the longest the kernel keeps (pthread_setname_np(3)) */

    snprintf(text, sizeof(text), "%.10s-%u", name, number % 1000);
    pthread_setname_np(pthread_self(), text);
}
