#include "net/client/resolver.h"

#include "base/memory.h"
#include "base/platform/name_lookup.h"
#include "base/platform/thread.h"

#include <jinduo/error.h>

/* Names are looked up side by side, so that one that times out does not hold up the others; so many at most. */
enum { THREADS_MAX = 4 };

enum lookup_state { LOOKUP_WAITING, LOOKUP_RUNNING, LOOKUP_RETURNING, LOOKUP_DONE };

/* Guards all that is static here and the state of every lookup. */
static thread_mutex lock = THREAD_MUTEX_INITIALIZER;
static struct lookup *waiting, **waiting_end = &waiting;
static struct lookup *running;
static unsigned threads, in_use;

static void free_lookup(struct lookup *lookup)
{
    memory_release(lookup, sizeof(*lookup));
    in_use--;
}

static void add_waiting(struct lookup *lookup)
{
    lookup->state = LOOKUP_WAITING;
    lookup->next = NULL;
    *waiting_end = lookup;
    waiting_end = &lookup->next;
}

static void take_off(struct lookup **list, const struct lookup *lookup)
{
    while (*list != lookup)
        list = &(*list)->next;
    *list = lookup->next;
    if (waiting == NULL)
        waiting_end = &waiting;
    else if (waiting_end == &lookup->next)
        waiting_end = list;
}

/* ---- fork ---- */

/* A child has the lists but not the threads: what they were working on waits again. The handlers stay for good, as the
 * library does: it is linked so that dlclose(3) does not unload it, whose threads may be at work in it. */
static void before_fork(void)
{
    thread_mutex_lock(&lock);
}

static void in_parent(void)
{
    thread_mutex_unlock(&lock);
}

static void in_child(void)
{
    struct lookup *lookup;

    threads = 0;
    while ((lookup = running) != NULL) {
        running = lookup->next;
        if (lookup->abandoned)
            free_lookup(lookup);
        else
            add_waiting(lookup);
    }
    thread_mutex_unlock(&lock);
}

static void register_fork_handlers(void)
{
    thread_at_fork(before_fork, in_parent, in_child);
}

/* ---- in a thread of its own ---- */

static void run_done(struct task_node *task);

/* The lock is held over the push: the loop does not end before its lookups are released, which waits for the lock. */
static void give_back(struct lookup *lookup)
{
    take_off(&running, lookup);
    if (lookup->abandoned) {
        free_lookup(lookup);
        return;
    }
    lookup->state = LOOKUP_RETURNING;
    lookup->task.run = run_done;
    if (!event_loop_push(lookup->loop, &lookup->task))
        free_lookup(lookup);
}

static void *run_thread(void *arg)
{
    thread_set_name("jd-resolver");
    thread_mutex_lock(&lock);
    while (waiting != NULL) {
        struct lookup *lookup = waiting;
        take_off(&waiting, lookup);
        lookup->state = LOOKUP_RUNNING;
        lookup->next = running;
        running = lookup;
        thread_mutex_unlock(&lock);
        lookup->error =
            name_lookup(&lookup->name, lookup->addresses, RESOLVER_ADDRESSES_MAX, &lookup->count, &lookup->reason);
        thread_mutex_lock(&lock);
        give_back(lookup);
    }
    threads--;
    thread_mutex_unlock(&lock);
    return NULL;
}

/* ---- in the loop's thread ---- */

static void run_done(struct task_node *task)
{
    struct lookup *lookup = (struct lookup *)task;
    bool abandoned;

    thread_mutex_lock(&lock);
    lookup->state = LOOKUP_DONE;
    abandoned = lookup->abandoned;
    if (abandoned)
        free_lookup(lookup);
    thread_mutex_unlock(&lock);
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
    thread_once(&once, register_fork_handlers);
    thread_mutex_lock(&lock);
    in_use++;
    add_waiting(lookup);
    if (threads < THREADS_MAX) {
        result = thread_start_detached(run_thread, NULL); /* nobody waits for a name service that does not answer */
        threads += result == 0;
    }
    /* With another thread at work it only has to wait longer. */
    if (threads > 0)
        result = 0;
    if (result < 0) {
        take_off(&waiting, lookup);
        free_lookup(lookup);
    } else {
        *out = lookup;
    }
    thread_mutex_unlock(&lock);
    return result;
}

void lookup_release(struct lookup *lookup)
{
    thread_mutex_lock(&lock);
    switch ((enum lookup_state)lookup->state) {
    case LOOKUP_WAITING:
        take_off(&waiting, lookup);
        free_lookup(lookup);
        break;
    case LOOKUP_RUNNING:
    case LOOKUP_RETURNING:
        lookup->abandoned = true;
        break;
    case LOOKUP_DONE:
        free_lookup(lookup);
        break;
    }
    thread_mutex_unlock(&lock);
}

unsigned lookups_in_use(void)
{
    unsigned count;

    thread_mutex_lock(&lock);
    count = in_use;
    thread_mutex_unlock(&lock);
    return count;
}
