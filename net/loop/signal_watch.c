/* Signals as callbacks on a loop. The signal handler sets the signal's bit in the loop that watches it, and wakes the
 * loop; both are safe in a signal handler (signal-safety(7)). */
#include "net/loop/signal_watch.h"
#include "base/log.h"
#include "base/platform/signal_catch.h"
#include "base/platform/thread.h"
#include "net/loop/event_loop.h"

#include <jinduo/error.h>

enum { SIGNALS = 64 };

static struct watched_signal {
    _Atomic(jd_event_loop *) loop; /* read by the handler */
    jd_signal_callback callback;
    void *arg;
    signal_before before;
} watched[SIGNALS];

static thread_mutex watch_lock = THREAD_MUTEX_INITIALIZER;

/* Threads that are inside the handler and may use the loop that they have read. */
static _Atomic unsigned handlers;

static void on_signal(int number)
{
    int saved_errno = errno;
    jd_event_loop *loop;

    atomic_fetch_add(&handlers, 1);
    loop = atomic_load(&watched[number].loop);
    if (loop != NULL) {
        atomic_fetch_or(&loop->shared.pending_signals, (uint64_t)1 << number);
        event_loop_wake(loop->shared.wake);
    }
    atomic_fetch_sub(&handlers, 1);
    errno = saved_errno;
}

static int begin_watch(jd_event_loop *loop, int number)
{
    int result;

    atomic_store(&watched[number].loop, loop);
    result = signal_catch(number, on_signal, &watched[number].before);
    if (result < 0)
        atomic_store(&watched[number].loop, NULL);
    return result == JD_EINVAL ? log_invalid("watch_signal: signal_number %d cannot be caught", number) : result;
}

static void end_watch(int number)
{
    jd_event_loop *loop = atomic_load(&watched[number].loop);

    signal_release(number, &watched[number].before);
    atomic_store(&watched[number].loop, NULL);
    watched[number].callback = NULL;
    while (atomic_load(&handlers) > 0)
        thread_yield();
    /* A signal that has not been reported must not be reported to a later watch. */
    atomic_fetch_and(&loop->shared.pending_signals, ~((uint64_t)1 << number));
}

int jd_event_loop_watch_signal(jd_event_loop *loop, int number, jd_signal_callback callback, void *arg)
{
    jd_event_loop *watcher;
    int result = 0;

    if (number <= 0 || number >= SIGNALS)
        return log_invalid("watch_signal: signal_number %d: must be from 1 to %d", number, SIGNALS - 1);
    if (!event_loop_is_in_loop_thread(loop))
        return JD_EPERM;
    if (loop->destroying)
        return JD_ECANCELED;
    thread_mutex_lock(&watch_lock);
    watcher = atomic_load(&watched[number].loop);
    if (watcher != NULL && watcher != loop)
        result = JD_EBUSY;
    else if (callback == NULL && watcher == loop)
        end_watch(number);
    else if (callback != NULL) {
        watched[number].callback = callback;
        watched[number].arg = arg;
        if (watcher == NULL)
            result = begin_watch(loop, number);
    }
    thread_mutex_unlock(&watch_lock);
    return result;
}

unsigned loop_signals_run(jd_event_loop *loop)
{
    uint64_t pending = 0;
    unsigned count = 0;

    if (atomic_load_explicit(&loop->shared.pending_signals, memory_order_relaxed) != 0)
        pending = atomic_exchange(&loop->shared.pending_signals, 0);
    for (; pending != 0; pending &= pending - 1, count++) {
        int number = __builtin_ctzll(pending);
        if (atomic_load(&watched[number].loop) == loop)
            watched[number].callback(number, watched[number].arg);
    }
    return count;
}

jd_signal_callback loop_signal_callback(const jd_event_loop *loop, int number)
{
    return atomic_load(&watched[number].loop) == loop ? watched[number].callback : NULL;
}

void loop_signals_unwatch_all(jd_event_loop *loop)
{
    thread_mutex_lock(&watch_lock);
    for (int number = 1; number < SIGNALS; number++)
        if (atomic_load(&watched[number].loop) == loop)
            end_watch(number);
    thread_mutex_unlock(&watch_lock);
}
