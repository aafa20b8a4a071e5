/* Threads, mutexes and condition variables, with the same names on all systems. */
#ifndef BASE_PLATFORM_THREAD_H
#define BASE_PLATFORM_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#ifdef _WIN32
/* The system's types, of one pointer each, without its header and that header's many names. */
typedef void *thread_handle;
typedef struct thread_mutex {
    void *lock;      /* SRWLOCK */
    uintptr_t owner; /* if recursive: the holder's thread id, 0: none */
    unsigned depth;
    bool recursive;
} thread_mutex;
typedef struct thread_condition {
    void *variable; /* CONDITION_VARIABLE */
} thread_condition;
typedef struct thread_once_flag {
    void *once; /* INIT_ONCE */
} thread_once_flag;

/* clang-format off */
#define THREAD_MUTEX_INITIALIZER { 0 }
#define THREAD_ONCE_INITIALIZER  { 0 }
/* clang-format on */

#define THREAD_INLINE
#else
#include <pthread.h>

typedef pthread_t thread_handle;
typedef pthread_mutex_t thread_mutex;
typedef pthread_cond_t thread_condition;
typedef pthread_once_t thread_once_flag;

#define THREAD_MUTEX_INITIALIZER PTHREAD_MUTEX_INITIALIZER
#define THREAD_ONCE_INITIALIZER  PTHREAD_ONCE_INIT

#define THREAD_INLINE            static inline
#endif

/* Starts a thread that runs function(arg), with all signals blocked: they are for the user's threads. thread_join must
 * follow. Returns 0 or a negative error (JD_EAGAIN). */
int thread_start(thread_handle *thread, void *(*function)(void *), void *arg);

/* As thread_start, for a thread that is not joined. */
int thread_start_detached(void *(*function)(void *), void *arg);

/* Waits until the thread has ended. */
THREAD_INLINE void thread_join(thread_handle thread);

/* Names the calling thread. The name is truncated to 15 bytes, the kernel's limit (pthread_setname_np(3)). */
void thread_set_name(const char *name);

/* Names the calling thread NAME-NUMBER, with at most 10 bytes of NAME and the last three digits of NUMBER. */
void thread_set_numbered_name(const char *name, unsigned number);

/* Lets other threads run (sched_yield(2)). */
void thread_yield(void);

/* Sleeps for duration_ns, or less if a signal arrives (nanosleep(2)). */
void thread_sleep_ns(int64_t duration_ns);

/* The number of processors that this process may use, 1 at least. */
unsigned thread_processor_count(void);

/* Identifies the calling thread's CPU clock; 0: the system has none (pthread_getcpuclockid(3)). */
int64_t thread_cpu_clock(void);

/* Nanoseconds of CPU time that the clock's thread has used, in the kernel too; 0 if the clock is 0 or the thread has ended. From
 * any thread. */
uint64_t thread_cpu_ns(int64_t clock);

/* Registers functions that each later fork(2) of the process calls: before it, and after it in the parent and in the
 * child (pthread_atfork(3)). Does nothing on systems without fork. */
void thread_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void));

/* Calls function in the first call for this flag; later calls, in any thread, wait until that call has returned. */
THREAD_INLINE void thread_once(thread_once_flag *flag, void (*function)(void));

THREAD_INLINE void thread_mutex_init(thread_mutex *mutex);

/* Initializes a mutex that its holder may lock again; each lock needs an unlock. */
void thread_mutex_init_recursive(thread_mutex *mutex);

THREAD_INLINE void thread_mutex_destroy(thread_mutex *mutex);
THREAD_INLINE void thread_mutex_lock(thread_mutex *mutex);
THREAD_INLINE void thread_mutex_unlock(thread_mutex *mutex);

THREAD_INLINE void thread_condition_init(thread_condition *condition);
THREAD_INLINE void thread_condition_destroy(thread_condition *condition);

/* Waits for a signal. The caller must hold the mutex; it is released during the wait. The wait may end without a signal
 * (pthread_cond_wait(3)). */
THREAD_INLINE void thread_condition_wait(thread_condition *condition, thread_mutex *mutex);

THREAD_INLINE void thread_condition_signal(thread_condition *condition);
THREAD_INLINE void thread_condition_broadcast(thread_condition *condition);

#ifndef _WIN32

static inline void thread_join(thread_handle thread)
{
    pthread_join(thread, NULL);
}

static inline void thread_once(thread_once_flag *flag, void (*function)(void))
{
    pthread_once(flag, function);
}

static inline void thread_mutex_init(thread_mutex *mutex)
{
    pthread_mutex_init(mutex, NULL);
}

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

#endif
