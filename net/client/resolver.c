/* The process's look-ups. Those of equal names share one query, which one thread puts to the system's name service. Two
 * lists of queries, under one lock. */
#include "net/client/resolver.h"

#include "base/memory.h"
#include "base/platform/name_lookup.h"
#include "base/platform/thread.h"

#include <jinduo/error.h>
#include <string.h>

enum {
    /* Queries that are worked on and awaited: in parallel, so that a name that times out does not delay the others. */
    ACTIVE_MAX = 4,

    /* Threads, of which some may work on queries that nobody awaits any more: getaddrinfo(3) cannot be ended. */
    THREADS_MAX = 16,
};

enum lookup_state {
    LOOKUP_ASKING,    /* on the list of its query */
    LOOKUP_RETURNING, /* its task is in the loop's queue */
    LOOKUP_DONE,      /* done has been called, or is about to be */
};

/* A question to the name service, on one of the lists. */
struct query {
    struct query *next;
    struct lookup *lookups; /* that await the answer; NULL: given up, a thread still works on it */
    struct host_port name;
};

struct answer {
    int error;
    const char *reason;
    unsigned count;
    jd_endpoint addresses[RESOLVER_ADDRESSES_MAX];
};

/* Guards the following variables, all queries, and state, abandoned and next of every lookup. */
static thread_mutex resolver_lock = THREAD_MUTEX_INITIALIZER;
static struct query *waiting, **waiting_link = &waiting;
static struct query *running;     /* one for each thread that works */
static unsigned threads, working; /* threads in all; those that work on a query */
static unsigned active;           /* running queries that are awaited */
static unsigned in_use;           /* lookups, and queries that are given up */

static void lookup_free(struct lookup *lookup)
{
    memory_release(lookup, sizeof(*lookup));
    in_use--;
}

/* ---- queries ---- */

static void query_enqueue(struct query *query)
{
    query->next = NULL;
    *waiting_link = query;
    waiting_link = &query->next;
}

static void query_unlink(struct query **list, const struct query *query)
{
    while (*list != query)
        list = &(*list)->next;
    *list = query->next;
    if (waiting == NULL)
        waiting_link = &waiting;
    else if (waiting_link == &query->next)
        waiting_link = list;
}

static struct query *query_find(struct query *list, const struct host_port *name)
{
    while (list != NULL && (strcmp(list->name.host, name->host) != 0 || strcmp(list->name.port, name->port) != 0))
        list = list->next;
    return list;
}

/* Adds lookup to the query for its name. Returns 0 or JD_ENOMEM. */
static int query_join(struct lookup *lookup)
{
    struct query *query = query_find(waiting, &lookup->name), *at_work = query_find(running, &lookup->name);

    if (query == NULL && at_work == NULL) {
        query = memory_allocate_zeroed(sizeof(*query));
        if (query == NULL)
            return JD_ENOMEM;
        query->name = lookup->name;
        query_enqueue(query);
    }
    if (query == NULL) {
        query = at_work;
        if (query->lookups == NULL) { /* awaited again */
            in_use--;
            active++;
        }
    }
    lookup->query = query;
    lookup->next = query->lookups;
    query->lookups = lookup;
    return 0;
}

static void lookup_unlink(struct lookup **list, const struct lookup *lookup)
{
    for (; *list != NULL; list = &(*list)->next) {
        if (*list == lookup) {
            *list = lookup->next;
            return;
        }
    }
}

/* Takes lookup off its query. Returns whether a thread may begin with another query. */
static bool query_leave(struct lookup *lookup)
{
    struct query *query = lookup->query;
    bool is_waiting;

    if (query == NULL)
        return false;
    lookup_unlink(&query->lookups, lookup);
    is_waiting = query_find(waiting, &query->name) == query;
    if (query->lookups != NULL)
        return false;
    if (is_waiting) {
        query_unlink(&waiting, query);
        memory_release(query, sizeof(*query));
        return false;
    }
    in_use++;
    active--;
    return true;
}

/* ---- fork ---- */

/* A child of fork(2) has the lists, but neither the threads nor the loops, which belong to the parent (JD_EFORKED): its
 * lookups are done without an answer. The handlers are never removed, as the library is never unloaded: it is linked so that
 * dlclose(3) keeps it, because its threads may be running. */
static void resolver_before_fork(void)
{
    thread_mutex_lock(&resolver_lock);
}

static void resolver_after_fork_in_parent(void)
{
    thread_mutex_unlock(&resolver_lock);
}

static void queries_abandon(struct query **list)
{
    struct query *query;

    while ((query = *list) != NULL) {
        *list = query->next;
        in_use -= query->lookups == NULL;
        for (struct lookup *lookup = query->lookups; lookup != NULL; lookup = lookup->next)
            lookup->state = LOOKUP_DONE;
        memory_release(query, sizeof(*query));
    }
}

static void resolver_after_fork_in_child(void)
{
    threads = working = active = 0;
    queries_abandon(&running);
    queries_abandon(&waiting);
    waiting_link = &waiting;
    thread_mutex_unlock(&resolver_lock);
}

static void resolver_register_fork_handlers(void)
{
    thread_at_fork(resolver_before_fork, resolver_after_fork_in_parent, resolver_after_fork_in_child);
}

/* ---- in the resolver's threads ---- */

static void lookup_run_done(struct task_node *task);

/* Returns a lookup to its loop. The lock is held during the push: the loop does not end before its lookups are released,
 * and releasing takes the lock. */
static void lookup_return(struct lookup *lookup, const struct answer *answer)
{
    lookup->error = answer->error;
    lookup->reason = answer->reason;
    lookup->count = answer->count;
    memcpy(lookup->addresses, answer->addresses, answer->count * sizeof(answer->addresses[0]));
    lookup->state = LOOKUP_RETURNING;
    lookup->task.run = lookup_run_done;
    if (!event_loop_push(lookup->loop, &lookup->task))
        lookup_free(lookup);
}

static void query_end(struct query *query, const struct answer *answer)
{
    struct lookup *lookup = query->lookups;

    query_unlink(&running, query);
    if (lookup != NULL)
        active--;
    else
        in_use--;
    for (struct lookup *next; lookup != NULL; lookup = next) {
        next = lookup->next;
        lookup_return(lookup, answer);
    }
    memory_release(query, sizeof(*query));
}

static void *resolver_run_thread(void *arg)
{
    thread_set_name("jd-resolver");
    thread_mutex_lock(&resolver_lock);
    while (waiting != NULL && active < ACTIVE_MAX) {
        struct query *query = waiting;
        struct host_port name = query->name;
        struct answer answer;
        query_unlink(&waiting, query);
        query->next = running;
        running = query;
        working++;
        active++;
        thread_mutex_unlock(&resolver_lock);
        answer.reason = NULL;
        answer.error = name_lookup(&name, answer.addresses, RESOLVER_ADDRESSES_MAX, &answer.count, &answer.reason);
        thread_mutex_lock(&resolver_lock);
        working--;
        query_end(query, &answer);
    }
    threads--;
    thread_mutex_unlock(&resolver_lock);
    return NULL;
}

/* Starts a thread if one more query may be worked on. Returns 0, or an error if there is no thread at all. */
static int resolver_start_thread(void)
{
    unsigned beginning = threads - working; /* they take a query as soon as they get the lock */
    int result = 0;

    if (active + beginning < ACTIVE_MAX && threads < THREADS_MAX) {
        /* Detached: joining could wait for a name service that does not answer. */
        result = thread_start_detached(resolver_run_thread, NULL);
        threads += result == 0;
    }
    return threads > 0 ? 0 : result;
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
    int result;

    if (lookup == NULL)
        return JD_ENOMEM;
    lookup->loop = loop;
    lookup->name = *name;
    lookup->done = done;
    lookup->arg = arg;
    thread_once(&once, resolver_register_fork_handlers);
    thread_mutex_lock(&resolver_lock);
    in_use++;
    result = query_join(lookup);
    if (result == 0) {
        result = waiting != NULL ? resolver_start_thread() : 0;
        if (result < 0)
            query_leave(lookup);
    }
    if (result < 0)
        lookup_free(lookup);
    else
        *out = lookup;
    thread_mutex_unlock(&resolver_lock);
    return result;
}

void lookup_release(struct lookup *lookup)
{
    thread_mutex_lock(&resolver_lock);
    switch ((enum lookup_state)lookup->state) {
    case LOOKUP_ASKING:
        if (query_leave(lookup) && waiting != NULL)
            resolver_start_thread(); /* without one, the threads that work continue with what waits */
        lookup_free(lookup);
        break;
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
