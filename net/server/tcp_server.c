/* A server's life: created, started, stopped, destroyed. */
#include "base/log.h"
#include "base/memory.h"
#include "base/platform/thread.h"
#include "net/connection/connection_callbacks.h"
#include "net/server/server.h"

#include <assert.h>
#include <jinduo/error.h>

enum {
    IO_THREADS_MAX = 128,
};

/* ---- creation ---- */

static void link_server(jd_tcp_server *server)
{
    jd_event_loop *loop = server->loop;

    server->next = loop->servers;
    if (server->next != NULL)
        server->next->previous = server;
    loop->servers = server;
}

static void unlink_server(jd_tcp_server *server)
{
    if (server->previous != NULL)
        server->previous->next = server->next;
    else
        server->loop->servers = server->next;
    if (server->next != NULL)
        server->next->previous = server->previous;
}

static void free_server(jd_tcp_server *server)
{
    server_free_endpoints(server);
    connection_profile_release(server->profile);
    thread_mutex_destroy(&server->threads_lock);
    thread_mutex_destroy(&server->places.lock);
    memory_release(server, sizeof(*server));
}

static bool options_make_sense(const jd_tcp_server_options *options, const char *name,
                               const struct connection_options *connection_options, jd_endpoint *endpoint)
{
    if (options->io_threads > IO_THREADS_MAX || options->load_balance > JD_LOAD_BALANCE_PEER_ADDRESS)
        return false;
    if (options->listen != NULL && jd_endpoint_parse(endpoint, options->listen, NULL) < 0)
        return false;
    return connection_options_make_sense(name, connection_options);
}

static void run_finish(struct task_node *task);
static void run_drain(struct task_node *task);
static void run_close(struct task_node *task);

static void server_loop_init(struct server_loop *at, jd_tcp_server *server)
{
    at->server = server;
    at->update.run = server_loop_run_update;
    at->drain.run = run_drain;
    at->close.run = run_close;
}

static void server_init(jd_tcp_server *server, jd_event_loop *loop, const jd_tcp_server_options *options,
                        const struct connection_options *connection_options)
{
    server->loop = loop;
    server->endpoints_link = &server->endpoints;
    server->io_threads = options->io_threads;
    server->load_balance = options->load_balance;
    server->finish.run = run_finish;
    server->socket_options = connection_options->socket;
    server->socket_options.backlog = options->backlog;
    server->socket_options.reuse_port = options->reuse_port;
    server->places.limit = options->max_connections;
    server->places.refuses = options->refuse_above_max;
    server->places.waiting_link = &server->places.waiting;
    thread_mutex_init(&server->places.lock);
    thread_mutex_init(&server->threads_lock);
    server_loop_init(&server->own, server);
    server->own.loop = loop;
    atomic_init(&server->alive, 1);
}

int jd_tcp_server_create(jd_tcp_server **out, jd_event_loop *loop, const jd_tcp_server_options *options)
{
    static const jd_tcp_server_options defaults;
    struct connection_options connection_options;
    jd_tcp_server *server;
    jd_endpoint endpoint = { 0 };
    const char *name;
    int result;

    if (options == NULL)
        options = &defaults;
    name = options->name != NULL ? options->name : "server";
    connection_options = (struct connection_options)CONNECTION_OPTIONS_OF(options);
    if (!event_loop_is_mine(loop))
        return JD_EPERM;
    if (loop->destroying)
        return JD_ECANCELED;
    if (!options_make_sense(options, name, &connection_options, &endpoint))
        return JD_EINVAL;
    server = memory_allocate_zeroed(sizeof(*server));
    if (server == NULL)
        return JD_ENOMEM;
    server->owner = (struct connection_owner){ server_connection_seen, server_connection_gone };
    server->profile = connection_profile_create(&server->owner, name, &connection_options);
    if (server->profile == NULL) {
        memory_release(server, sizeof(*server));
        return JD_ENOMEM;
    }
    server_init(server, loop, options, &connection_options);
    result = endpoint.length > 0 ? jd_tcp_server_listen(server, &endpoint, NULL) : 0;
    if (result < 0) {
        free_server(server);
        return result;
    }
    link_server(server);
    *out = server;
    return 0;
}

/* To set it up: before start. */
static struct connection_profile *server_profile(jd_tcp_server *server)
{
    assert(server->state == SERVER_CREATED && event_loop_is_mine(server->loop));
    return server->profile;
}

DEFINE_SET_CALLBACKS(server)

void jd_tcp_server_set_thread_init_callback(jd_tcp_server *server, jd_thread_init_callback callback, void *arg)
{
    assert(server->state == SERVER_CREATED && event_loop_is_mine(server->loop));
    server->on_thread_init = callback;
    server->on_thread_init_arg = arg;
}

/* ---- start ---- */

static void free_threads(jd_tcp_server *server)
{
    struct loop_threads *threads = server_detach_threads(server);

    if (threads != NULL)
        loop_threads_stop(threads);
    memory_release(server->io_loops, server->io_threads * sizeof(*server->io_loops));
    server->io_loops = NULL;
}

static int make_io_loops(jd_tcp_server *server)
{
    if (server->io_threads == 0)
        return 0;
    server->io_loops = memory_allocate_zeroed(server->io_threads * sizeof(*server->io_loops));
    if (server->io_loops == NULL)
        return JD_ENOMEM;
    for (unsigned i = 0; i < server->io_threads; i++)
        server_loop_init(&server->io_loops[i], server);
    return 0;
}

static int start_threads(jd_tcp_server *server)
{
    const struct loop_threads_setup setup = {
        .name = server->profile->name,
        .options = &server->loop->options,
        .ops = server->loop->ops,
        .on_init = server->on_thread_init,
        .on_init_arg = server->on_thread_init_arg,
    };
    struct loop_threads *threads;
    int result;

    if (server->io_threads == 0)
        return 0;
    result = loop_threads_start(&threads, server->io_threads, &setup);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < server->io_threads; i++)
        server->io_loops[i].loop = threads->threads[i].loop;
    thread_mutex_lock(&server->threads_lock);
    server->threads = threads;
    thread_mutex_unlock(&server->threads_lock);
    return 0;
}

static int open_endpoints(jd_tcp_server *server, struct server_listener **opened, jd_endpoint *failed)
{
    for (struct server_endpoint *endpoint = server->endpoints; endpoint != NULL; endpoint = endpoint->next) {
        int result = server_open_endpoint(server, endpoint, opened);
        if (result < 0 && failed != NULL)
            *failed = endpoint->asked;
        if (result < 0)
            return result;
    }
    return 0;
}

static void give_up_start(jd_tcp_server *server, struct server_listener *opened)
{
    server_abandon(opened);
    for (struct server_endpoint *endpoint = server->endpoints; endpoint != NULL; endpoint = endpoint->next)
        endpoint->bound.length = 0;
    free_threads(server);
}

/* Accepting begins when nothing can fail any more: what has not accepted is closed at once, on every engine, and the same
 * endpoints are free for another start. */
int jd_tcp_server_start(jd_tcp_server *server, jd_endpoint *failed)
{
    struct server_listener *opened = NULL;
    bool accepting = !atomic_load(&server->accepting_paused);
    int result;

    if (!event_loop_is_mine(server->loop))
        return JD_EPERM;
    if (server->state != SERVER_CREATED || atomic_load(&server->destroying))
        return JD_EALREADY;
    if (server->endpoints == NULL)
        return JD_EINVAL;
    result = make_io_loops(server);
    if (result == 0)
        result = open_endpoints(server, &opened, failed);
    if (result == 0)
        result = start_threads(server);
    if (result < 0) {
        give_up_start(server, opened);
        return result;
    }
    server->state = SERVER_STARTED;
    server->own.accepting = accepting;
    for (unsigned i = 0; i < server->io_threads; i++)
        server->io_loops[i].accepting = accepting;
    if (server->io_threads == 0 && server->on_thread_init != NULL)
        server->on_thread_init(server->loop, server->on_thread_init_arg);
    server_begin_listening(opened);
    return 0;
}

/* ---- the end ---- */

bool server_hold(jd_tcp_server *server)
{
    size_t alive = atomic_load_explicit(&server->alive, memory_order_relaxed);

    while (alive > 0)
        if (atomic_compare_exchange_weak_explicit(&server->alive, &alive, alive + 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    return false;
}

void server_release(jd_tcp_server *server)
{
    /* The last one: nothing but the finish task holds the server any more. A sub-loop's thread is joined by it, so this
     * push has ended before the loop can. */
    if (atomic_fetch_sub_explicit(&server->alive, 1, memory_order_acq_rel) == 1)
        event_loop_push(server->loop, &server->finish);
}

static void stop_here(struct server_loop *at, enum closing closing)
{
    at->closing = closing;
    server_loop_end_listening(at);
    connections_close(at->loop, at->server->profile, closing);
}

static void run_drain(struct task_node *task)
{
    stop_here((struct server_loop *)((char *)task - offsetof(struct server_loop, drain)), CLOSING_DRAINED);
}

static void run_close(struct task_node *task)
{
    struct server_loop *at = (struct server_loop *)((char *)task - offsetof(struct server_loop, close));

    stop_here(at, at->ending ? CLOSING_OVERDUE : CLOSING_NOW);
}

/* The server's own loop first: what its listeners still accept is handed over before the io loops are told to end. */
static void stop_loops(jd_tcp_server *server, enum closing closing)
{
    stop_here(&server->own, closing);
    for (unsigned i = 0; server->threads != NULL && i < server->io_threads; i++) {
        struct server_loop *at = &server->io_loops[i];
        event_loop_push(at->loop, closing == CLOSING_DRAINED ? &at->drain : &at->close);
    }
}

static void drain_is_over(void *arg)
{
    jd_tcp_server *server = arg;

    server->drain_timer = 0;
    stop_loops(server, CLOSING_OVERDUE);
}

static int stop_in_loop(jd_tcp_server *server, uint64_t drain_ms, jd_done_callback done, void *arg)
{
    bool drain = drain_ms > 0;
    int result;

    if (server->state != SERVER_STARTED)
        return JD_EALREADY;
    /* First what can fail: without the timer nothing would end the draining. */
    result = drain ? jd_event_loop_run_after(server->loop, drain_ms, drain_is_over, server, &server->drain_timer) : 0;
    if (result < 0)
        return result;
    server->state = SERVER_STOPPING;
    server->stopped = done;
    server->stopped_arg = arg;
    server_close_admission(server);
    stop_loops(server, drain ? CLOSING_DRAINED : CLOSING_NOW);
    server_release(server);
    return 0;
}

/* From another thread, an io thread's callback perhaps. */
struct stop_task {
    struct task_node task;
    jd_tcp_server *server;
    uint64_t drain_ms;
    jd_done_callback done;
    void *arg;
};

static void run_stop(struct task_node *task)
{
    struct stop_task stop = *(struct stop_task *)task;

    int result;

    memory_release(task, sizeof(stop));
    atomic_fetch_sub(&stop.server->pending_orders, 1);
    result = stop_in_loop(stop.server, stop.drain_ms, stop.done, stop.arg);
    /* What can no longer be told at the call: without memory there is no draining, */
    if (result == JD_ENOMEM)
        result = stop_in_loop(stop.server, 0, stop.done, stop.arg);
    /* and a server that has stopped is nothing to wait for. */
    if (result < 0 && stop.done != NULL)
        stop.done(stop.arg);
}

int jd_tcp_server_stop(jd_tcp_server *server, uint64_t drain_ms, jd_done_callback done, void *arg)
{
    struct stop_task *stop;
    bool locked;
    int result;

    if (event_loop_begin_work(server->loop, &locked)) {
        result = stop_in_loop(server, drain_ms, done, arg);
        event_loop_end_work(server->loop, locked);
        return result;
    }
    stop = memory_allocate(sizeof(*stop));
    if (stop == NULL)
        return JD_ENOMEM;
    *stop = (struct stop_task){ { .run = run_stop }, server, drain_ms, done, arg };
    atomic_fetch_add(&server->pending_orders, 1);
    if (event_loop_push_last(server->loop, &stop->task))
        return 0;
    atomic_fetch_sub(&server->pending_orders, 1);
    memory_release(stop, sizeof(*stop));
    return JD_ECANCELED;
}

static void run_finish(struct task_node *task)
{
    jd_tcp_server *server = (jd_tcp_server *)((char *)task - offsetof(jd_tcp_server, finish));
    jd_done_callback stopped = server->stopped, destroyed;
    void *destroyed_arg;

    if (server->drain_timer != 0)
        jd_event_loop_cancel_timer(server->loop, server->drain_timer);
    server->drain_timer = 0;
    server->stopped = NULL;
    free_threads(server);
    server->state = SERVER_FINISHING;
    if (stopped != NULL)
        stopped(server->stopped_arg);
    server->state = SERVER_STOPPED;
    if (!server->destroy_begun)
        return;
    /* What io threads have asked for while they ended is behind this in the queue. */
    if (atomic_load(&server->pending_orders) > 0) {
        event_loop_push(server->loop, &server->finish);
        return;
    }
    destroyed = server->destroyed;
    destroyed_arg = server->destroyed_arg;
    unlink_server(server);
    free_server(server);
    if (destroyed != NULL)
        destroyed(destroyed_arg);
}

static void destroy_in_loop(jd_tcp_server *server)
{
    server->destroy_begun = true;
    if (server->state == SERVER_STARTED) {
        stop_in_loop(server, 0, NULL, NULL);
    } else if (server->state == SERVER_CREATED) {
        server->state = SERVER_STOPPING;
        server_release(server);
    } else if (server->state == SERVER_STOPPED) {
        event_loop_push(server->loop, &server->finish);
    } else if (server->drain_timer != 0) {
        jd_event_loop_cancel_timer(server->loop, server->drain_timer);
        drain_is_over(server);
    }
}

static void run_destroy(struct task_node *task)
{
    destroy_in_loop((jd_tcp_server *)((char *)task - offsetof(jd_tcp_server, destroy)));
}

void jd_tcp_server_destroy(jd_tcp_server *server, jd_done_callback done, void *arg)
{
    bool locked;

    if (server == NULL) {
        if (done != NULL)
            done(arg);
        return;
    }
    if (atomic_exchange(&server->destroying, true))
        return;
    server->destroyed = done;
    server->destroyed_arg = arg;
    server->destroy.run = run_destroy;
    if (event_loop_begin_work(server->loop, &locked)) {
        jd_event_loop *loop = server->loop; /* unlocked, another thread may run it, and end the server */
        destroy_in_loop(server);
        event_loop_end_work(loop, locked);
    } else {
        event_loop_push_last(server->loop, &server->destroy);
    }
}

static bool no_server_is_left(const jd_event_loop *loop)
{
    return loop->servers == NULL;
}

static int servers_destroy_all(jd_event_loop *loop)
{
    for (jd_tcp_server *server = loop->servers; server != NULL; server = server->next)
        jd_tcp_server_destroy(server, NULL, NULL);
    return event_loop_turn_until(loop, no_server_is_left);
}

const struct loop_service server_service = { .end_all = servers_destroy_all };
