/* The process's look-ups: two lists under one lock, and the threads that work on them. */
#include "net/client/resolver.h"

#include "base/memory.h"
#include "base/platform/name_lookup.h"
#include "base/platform/thread.h"

#include <jinduo/error.h>

/* Threads in the process: names are looked up in parallel, so that a name that times out does not delay the others. */
enum { THREADS_MAX = 4 };

enum lookup_state {
    LOOKUP_WAITING,   /* in the list waiting */
    LOOKUP_RUNNING,   /* in the list running: a thread works on it */
    LOOKUP_RETURNING, /* its task is in the loop's queue */
    LOOKUP_DONE,      /* done has been called, or is about to be */
};

/* Guards the following variables, and state and abandoned of every lookup. */
static thread_mutex resolver_lock = THREAD_MUTEX_INITIALIZER;
static struct lookup *waiting, **waiting_link = &waiting;
static struct lookup *running;
static unsigned threads, in_use;

static void lookup_free(struct lookup *lookup)
{
    memory_release(lookup, sizeof(*lookup));
    in_use--;
}

static void lookup_enqueue(struct lookup *lookup)
{
    lookup->state = LOOKUP_WAITING;
    lookup->next = NULL;
    *waiting_link = lookup;
    waiting_link = &lookup->next;
}

static void lookup_unlink(struct lookup **list, const struct lookup *lookup)
{
    while (*list != lookup)
        list = &(*list)->next;
    *list = lookup->next;
    if (waiting == NULL)
        waiting_link = &waiting;
    else if (waiting_link == &lookup->next)
        waiting_link = list;
}

/* ---- fork ---- */

/* A child of fork(2) has the lists but not the threads: there, lookups that were running wait again. The handlers are
 * never removed, as the library is never unloaded: it is linked so that dlclose(3) keeps it, because its threads may be
 * running. */
static void resolver_before_fork(void)
{
    thread_mutex_lock(&resolver_lock);
}

static void resolver_after_fork_in_parent(void)
{
    thread_mutex_unlock(&resolver_lock);
}

static void resolver_after_fork_in_child(void)
{
    struct lookup *lookup;

    threads = 0;
    while ((lookup = running) != NULL) {
        running = lookup->next;
        if (lookup->abandoned)
            lookup_free(lookup);
        else
            lookup_enqueue(lookup);
    }
    thread_mutex_unlock(&resolver_lock);
}

static void resolver_register_fork_handlers(void)
{
    thread_at_fork(resolver_before_fork, resolver_after_fork_in_parent, resolver_after_fork_in_child);
}

/* ---- in the resolver's threads ---- */

static void lookup_run_done(struct task_node *task);

/* Returns a lookup to its loop, or frees an abandoned one. The lock is held during the push: the loop does not end
 * before its lookups are released, and releasing takes the lock. */
static void lookup_return(struct lookup *lookup)
{
    lookup_unlink(&running, lookup);
    if (lookup->abandoned) {
        lookup_free(lookup);
        return;
    }
    lookup->state = LOOKUP_RETURNING;
    lookup->task.run = lookup_run_done;
    if (!event_loop_push(lookup->loop, &lookup->task))
        lookup_free(lookup);
}

static void *resolver_run_thread(void *arg)
{
    thread_set_name("jd-resolver");
    thread_mutex_lock(&resolver_lock);
    while (waiting != NULL) {
        struct lookup *lookup = waiting;
        lookup_unlink(&waiting, lookup);
        lookup->state = LOOKUP_RUNNING;
        lookup->next = running;
        running = lookup;
        thread_mutex_unlock(&resolver_lock);
        lookup->error =
            name_lookup(&lookup->name, lookup->addresses, RESOLVER_ADDRESSES_MAX, &lookup->count, &lookup->reason);
        thread_mutex_lock(&resolver_lock);
        lookup_return(lookup);
    }
    threads--;
    thread_mutex_unlock(&resolver_lock);
    return NULL;
}

/* ---- in the loop's thread ---- */

static void lookup_run_done(struct task_node *task)
{
    struct lookup *lookup = (struct lookup *)task;
    bool abandoned;

    thread_mutex_lock(&resolver_lock);
    lookup->state = LOOKUP_DONE;
    abandoned = lookup->abandoned;
    if (abandoned)
        lookup_free(lookup);
    thread_mutex_unlock(&resolver_lock);
    if (!abandoned)
        lookup->done(lookup);
}

int lookup_start(struct lookup **out, jd_event_loop *loop, const struct host_port *name,
                 void (*done)(struct lookup *lookup), void *arg)
{
    static thread_once_flag once = THREAD_ONCE_INITIALIZER;
    struct lookup *lookup = memory_allocate_zeroed(sizeof(*lookup));
    int result = 0;

    if (lookup == NULL)
        return JD_ENOMEM;
    lookup->loop = loop;
    lookup->name = *name;
    lookup->done = done;
    lookup->arg = arg;
    thread_once(&once, resolver_register_fork_handlers);
    thread_mutex_lock(&resolver_lock);
    in_use++;
    lookup_enqueue(lookup);
    if (threads < THREADS_MAX) {
        /* Detached: joining could wait for a name service that does not answer. */
        result = thread_start_detached(resolver_run_thread, NULL);
        threads += result == 0;
    }
    /* If other threads exist, one of them serves this lookup later. */
    if (threads > 0)
        result = 0;
    if (result < 0) {
        lookup_unlink(&waiting, lookup);
        lookup_free(lookup);
    } else {
        *out = lookup;
    }
    thread_mutex_unlock(&resolver_lock);
    return result;
}

void lookup_release(struct lookup *lookup)
{
    thread_mutex_lock(&resolver_lock);
    switch ((enum lookup_state)lookup->state) {
    case LOOKUP_WAITING:
        lookup_unlink(&waiting, lookup);
        lookup_free(lookup);
        break;
    case LOOKUP_RUNNING:
    case LOOKUP_RETURNING:
        lookup->abandoned = true;
        break;
    case LOOKUP_DONE:
        lookup_free(lookup);
        break;
    }
    thread_mutex_unlock(&resolver_lock);
}

unsigned lookups_in_use(void)
{
    unsigned count;

    thread_mutex_lock(&resolver_lock);
    count = in_use;
    thread_mutex_unlock(&resolver_lock);
    return count;
}
