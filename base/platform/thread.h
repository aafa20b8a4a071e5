/* Threads of the library's own. */
#ifndef BASE_PLATFORM_THREAD_H
#define BASE_PLATFORM_THREAD_H

#include <pthread.h>

/* Starts a thread that takes no signals: those are for the user's threads. Returns 0 or a negative error (JD_EAGAIN). */
int thread_start(pthread_t *thread, void *(*function)(void *), void *arg);

/* Names the calling thread NAME-NUMBER, cut to what the kernel keeps. */
void thread_set_name(const char *name, unsigned number);

#endif
