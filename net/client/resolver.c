#include "net/client/resolver.h"

#include "base/memory.h"
#include "base/posix/system_calls.h"

#include <jinduo/error.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Names are looked up side by side, so that one that times out does not hold up the others; so many at most. */
enum { THREADS_MAX = 4 };

enum lookup_state { LOOKUP_WAITING, LOOKUP_RUNNING, LOOKUP_RETURNING, LOOKUP_DONE };

/* Guards all that is static here and the state of every lookup. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
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
    pthread_mutex_lock(&lock);
}

static void in_parent(void)
{
    pthread_mutex_unlock(&lock);
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
    pthread_mutex_unlock(&lock);
}

static void register_fork_handlers(void)
{
    pthread_atfork(before_fork, in_parent, in_child);
}

/* ---- in a thread of its own ---- */

static void set_error(struct lookup *lookup, int error, const char *reason)
{
    lookup->error = error;
    lookup->reason = reason;
}

/* result: getaddrinfo's. */
static void explain(struct lookup *lookup, int result, int system_error)
{
    switch (result) {
    case EAI_SYSTEM:
        system_error = system_error != 0 ? system_error : EIO;
        set_error(lookup, -system_error, jd_strerror(system_error));
        break;
    case EAI_MEMORY:
        set_error(lookup, JD_ENOMEM, jd_strerror(JD_ENOMEM));
        break;
    case EAI_AGAIN:
        set_error(lookup, JD_EAGAIN, "the name could not be looked up now");
        break;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
    case EAI_SERVICE:
        set_error(lookup, JD_ENOENT, "no address is known for the name");
        break;
    default:
        set_error(lookup, JD_EPROTO, "the name service failed");
        break;
    }
}

static void keep_addresses(struct lookup *lookup, const struct addrinfo *found)
{
    lookup->count = 0;
    for (; found != NULL && lookup->count < RESOLVER_ADDRESSES_MAX; found = found->ai_next) {
        jd_endpoint *endpoint = &lookup->addresses[lookup->count];
        endpoint_from_sockaddr(endpoint, found->ai_addr, found->ai_addrlen);
        lookup->count += endpoint->length > 0;
    }
}

static void look_up(struct lookup *lookup)
{
    /* Not AI_ADDRCONFIG: it hides addresses where only the loopback interface is up; one without a route fails at once. */
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    int result = system_calls.getaddrinfo(lookup->name.host, lookup->name.port, &hints, &found);
    int system_error = errno;

    if (result == 0) {
        keep_addresses(lookup, found);
        system_calls.freeaddrinfo(found);
        result = lookup->count > 0 ? 0 : EAI_NODATA;
    }
    if (result != 0)
        explain(lookup, result, system_error);
}

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
    pthread_setname_np(pthread_self(), "jd-resolver");
    pthread_mutex_lock(&lock);
    while (waiting != NULL) {
        struct lookup *lookup = waiting;
        take_off(&waiting, lookup);
        lookup->state = LOOKUP_RUNNING;
        lookup->next = running;
        running = lookup;
        pthread_mutex_unlock(&lock);
        look_up(lookup);
        pthread_mutex_lock(&lock);
        give_back(lookup);
    }
    threads--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Detached: nobody waits for a name service that does not answer. Signals are for the user's threads. */
static int start_thread(void)
{
    pthread_attr_t attributes;
    sigset_t all_signals, before;
    pthread_t thread;
    int result;

    if (pthread_attr_init(&attributes) != 0)
        return JD_ENOMEM;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all_signals);
    pthread_sigmask(SIG_SETMASK, &all_signals, &before);
    result = pthread_create(&thread, &attributes, run_thread, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -result;
}

/* ---- in the loop's thread ---- */

static void run_done(struct task_node *task)
{
    struct lookup *lookup = (struct lookup *)task;
    bool abandoned;

    pthread_mutex_lock(&lock);
    lookup->state = LOOKUP_DONE;
    abandoned = lookup->abandoned;
    if (abandoned)
        free_lookup(lookup);
    pthread_mutex_unlock(&lock);
    if (!abandoned)
        lookup->done(lookup);
}

int lookup_start(struct lookup **out, jd_event_loop *loop, const struct host_port *name,
                 void (*done)(struct lookup *lookup), void *arg)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct lookup *lookup = memory_allocate_zeroed(sizeof(*lookup));
    int result = 0;

    if (lookup == NULL)
        return JD_ENOMEM;
    lookup->loop = loop;
    lookup->name = *name;
    lookup->done = done;
    lookup->arg = arg;
    pthread_once(&once, register_fork_handlers);
    pthread_mutex_lock(&lock);
    in_use++;
    add_waiting(lookup);
    if (threads < THREADS_MAX) {
        result = start_thread();
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
    pthread_mutex_unlock(&lock);
    return result;
}

void lookup_release(struct lookup *lookup)
{
    pthread_mutex_lock(&lock);
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
    pthread_mutex_unlock(&lock);
}

unsigned lookups_in_use(void)
{
    unsigned count;

    pthread_mutex_lock(&lock);
    count = in_use;
    pthread_mutex_unlock(&lock);
    return count;
}
