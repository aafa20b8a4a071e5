/* Threads, locks and waiting, by one set of names on every system. */
#ifndef BASE_PLATFORM_THREAD_H
#define BASE_PLATFORM_THREAD_H

#include <pthread.h>
#include <stdint.h>

typedef pthread_t thread_handle;
typedef pthread_mutex_t thread_mutex;
typedef pthread_cond_t thread_condition;
typedef pthread_once_t thread_once_flag;

#define THREAD_MUTEX_INITIALIZER PTHREAD_MUTEX_INITIALIZER
#define THREAD_ONCE_INITIALIZER  PTHREAD_ONCE_INIT

/* Starts a thread that takes no signals: those are for the user's threads. Returns 0 or a negative error (JD_EAGAIN). */
int thread_start(thread_handle *thread, void *(*function)(void *), void *arg);

/* The same for a thread that nobody joins. */
int thread_start_detached(void *(*function)(void *), void *arg);

/* Returns when the thread has ended. */
static inline void thread_join(thread_handle thread)
{
    pthread_join(thread, NULL);
}

/* Names the calling thread, cut to the 15 bytes that the kernel keeps (pthread_setname_np(3)). */
void thread_set_name(const char *name);

/* Names the calling thread NAME-NUMBER, NAME cut to 10 bytes and NUMBER to three digits. */
void thread_set_numbered_name(const char *name, unsigned number);

/* Lets other threads run; sleeps. */
void thread_yield(void);
void thread_sleep_ns(int64_t duration_ns);

/* The number of processors that this process may use, 1 at least. */
unsigned thread_processor_count(void);

/* Calls these functions around each fork(2) from now on: before it, and after it in the parent and in the child. For as long
 * as the process lives. Nothing where there is no fork. */
void thread_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void));

/* Calls function if it has not been called for this flag; returns when that call has returned, whichever thread made it. */
static inline void thread_once(thread_once_flag *flag, void (*function)(void))
{
    pthread_once(flag, function);
}

static inline void thread_mutex_init(thread_mutex *mutex)
{
    pthread_mutex_init(mutex, NULL);
}

/* For a mutex that its holder may lock again: each lock needs its unlock. */
void thread_mutex_init_recursive(thread_mutex *mutex);

static inline void thread_mutex_destroy(thread_mutex *mutex)
{
    pthread_mutex_destroy(mutex);
}

static inline void thread_mutex_lock(thread_mutex *mutex)
{
    pthread_mutex_lock(mutex);
}

static inline void thread_mutex_unlock(thread_mutex *mutex)
{
    pthread_mutex_unlock(mutex);
}

static inline void thread_condition_init(thread_condition *condition)
{
    pthread_cond_init(condition, NULL);
}

static inline void thread_condition_destroy(thread_condition *condition)
{
    pthread_cond_destroy(condition);
}

/* The mutex is held by the caller, and again on return. A wait may end without a signal (pthread_cond_wait(3)). */
static inline void thread_condition_wait(thread_condition *condition, thread_mutex *mutex)
{
    pthread_cond_wait(condition, mutex);
}

static inline void thread_condition_signal(thread_condition *condition)
{
    pthread_cond_signal(condition);
}

static inline void thread_condition_broadcast(thread_condition *condition)
{
    pthread_cond_broadcast(condition);
}

#endif
