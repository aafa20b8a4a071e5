#include "net/loop/loop_threads.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/platform/thread.h"

#include <jinduo/error.h>

enum { RETRY_AFTER_NS = 10 * 1000000 };

static void report_ready(struct loop_thread *thread)
{
    struct loop_threads *all = thread->all;

    thread_mutex_lock(&all->lock);
    all->ready++;
    thread_condition_signal(&all->changed);
    thread_mutex_unlock(&all->lock);
}

/* Until the server ends, whatever fails and whoever calls quit: connections are handed over to it that no other loop would
 * serve. */
static void run_until_stopped(jd_event_loop *loop, struct loop_threads *all)
{

    while (!atomic_load(&all->stopping)) {
        int result = jd_event_loop_run(loop);
        if (result >= 0)
            continue;
        log_message(JD_LOG_ERROR, "%s: waiting for events: %s", all->setup.name, jd_strerror(result));
        thread_sleep_ns(RETRY_AFTER_NS);
    }
    /* Whoever asked for the end has let go of the loop when it has let go of the lock. */
    thread_mutex_lock(&all->lock);
    thread_mutex_unlock(&all->lock);
}

static void *run_thread(void *arg)
{
    struct loop_thread *thread = arg;
    struct loop_threads *all = thread->all;
    jd_event_loop *loop;

    thread_set_numbered_name(all->setup.name, (unsigned)(thread - all->threads));
    thread->result = event_loop_create_on(&thread->loop, all->setup.options, all->setup.ops);
    loop = thread->loop;
    if (thread->result == 0 && all->setup.on_init != NULL)
        all->setup.on_init(loop, all->setup.on_init_arg);
    report_ready(thread);
    if (thread->result < 0)
        return NULL;
    run_until_stopped(loop, all);
    jd_event_loop_destroy(loop);
    return NULL;
}

static size_t bytes_for(unsigned count)
{
    return sizeof(struct loop_threads) + count * sizeof(struct loop_thread);
}

static void free_threads(struct loop_threads *threads, unsigned allocated)
{
    thread_condition_destroy(&threads->changed);
    thread_mutex_destroy(&threads->lock);
    memory_release(threads, bytes_for(allocated));
}

static int wait_until_ready(struct loop_threads *threads)
{
    thread_mutex_lock(&threads->lock);
    while (threads->ready < threads->count)
        thread_condition_wait(&threads->changed, &threads->lock);
    thread_mutex_unlock(&threads->lock);
    for (unsigned i = 0; i < threads->count; i++)
        if (threads->threads[i].result < 0)
            return threads->threads[i].result;
    return 0;
}

static void join_all(struct loop_threads *threads)
{
    thread_mutex_lock(&threads->lock);
    atomic_store(&threads->stopping, true);
    for (unsigned i = 0; i < threads->count; i++)
        if (threads->threads[i].result == 0)
            jd_event_loop_quit(threads->threads[i].loop);
    thread_mutex_unlock(&threads->lock);
    for (unsigned i = 0; i < threads->count; i++)
        thread_join(threads->threads[i].thread);
}

int loop_threads_start(struct loop_threads **out, unsigned count, const struct loop_threads_setup *setup)
{
    struct loop_threads *threads = memory_allocate_zeroed(bytes_for(count));
    int result = 0, ready;

    if (threads == NULL)
        return JD_ENOMEM;
    threads->setup = *setup;
    thread_mutex_init(&threads->lock);
    thread_condition_init(&threads->changed);
    while (threads->count < count && result == 0) {
        struct loop_thread *thread = &threads->threads[threads->count];
        thread->all = threads;
        result = thread_start(&thread->thread, run_thread, thread);
        if (result == 0)
            threads->count++;
    }
    ready = wait_until_ready(threads);
    if (result == 0)
        result = ready;
    if (result < 0) {
        join_all(threads);
        free_threads(threads, count);
        return result;
    }
    *out = threads;
    return 0;
}

void loop_threads_stop(struct loop_threads *threads)
{
    join_all(threads);
    free_threads(threads, threads->count);
}
