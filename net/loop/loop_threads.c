#include "net/loop/loop_threads.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/platform/thread.h"

#include <jinduo/error.h>

enum { RETRY_AFTER_MS = 10, NS_PER_MS = 1000000 };

static void report_ready(struct loop_thread *thread)
{
    struct loop_threads *group = thread->group;

    thread_mutex_lock(&group->lock);
    group->ready++;
    thread_condition_signal(&group->changed);
    thread_mutex_unlock(&group->lock);
}

/* Runs the loop until loop_threads_stop, even after a failed wait or a jd_event_loop_quit of the user: the server hands
 * connections over to this loop, and no other loop would serve them. */
static void run_until_stopped(jd_event_loop *loop, struct loop_threads *group)
{
    while (!atomic_load(&group->stopping)) {
        int result = jd_event_loop_run(loop);
        if (result >= 0)
            continue;
        log_message(JD_LOG_ERROR, "%s: waiting for events failed, retrying in %d ms: %s", group->setup.name,
                    RETRY_AFTER_MS, jd_strerror(result));
        thread_sleep_ns(RETRY_AFTER_MS * NS_PER_MS);
    }
    /* The stopping thread calls jd_event_loop_quit under the lock. Do not destroy the loop before that call has
     * returned. */
    thread_mutex_lock(&group->lock);
    thread_mutex_unlock(&group->lock);
}

static void *run_thread(void *arg)
{
    struct loop_thread *thread = arg;
    struct loop_threads *group = thread->group;
    jd_event_loop *loop;

    thread_set_numbered_name(group->setup.name, (unsigned)(thread - group->threads));
    thread->result = event_loop_create_on(&thread->loop, group->setup.options, group->setup.ops);
    loop = thread->loop;
    if (thread->result == 0 && group->setup.on_init != NULL)
        group->setup.on_init(loop, group->setup.on_init_arg);
    report_ready(thread);
    if (thread->result < 0)
        return NULL;
    run_until_stopped(loop, group);
    if (group->setup.on_exit != NULL)
        group->setup.on_exit(loop, group->setup.on_exit_arg);
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
        thread->group = threads;
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
