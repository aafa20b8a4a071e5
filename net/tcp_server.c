#include "net/tcp_server.h"

#include "base/log.h"
#include "base/memory.h"
#include "net/loop_threads.h"
#include "net/tcp_connection.h"

#include <assert.h>
#include <jinduo/error.h>

enum {
    IO_THREADS_MAX = 128,
};

static const int64_t tell_again_after_ns = 10 * (int64_t)1000000000;

enum server_state { SERVER_CREATED, SERVER_STARTED, SERVER_STOPPING, SERVER_FINISHING, SERVER_STOPPED };

struct server_listener {
    struct listener listener;
    jd_tcp_server *server;
    struct server_listener *next;
    bool starving;                   /* since it has accepted last */
    jd_timestamp starvation_told_at; /* in the log */
};

/* What is asked of an io loop when the server stops. */
struct stop_order {
    struct loop_task drain, close;
    jd_event_loop *loop;
    struct connection_profile *profile;
};

struct jd_tcp_server {
    jd_event_loop *loop;
    jd_tcp_server *next, *previous; /* on the loop's list of servers */
    struct connection_owner owner;  /* of the connections: this server */
    struct connection_profile *profile;
    struct socket_options socket_options;
    struct server_listener *listeners, **listeners_link;
    unsigned io_threads;
    struct loop_threads *threads;
    struct stop_order *stop_orders; /* one for each thread */
    enum server_state state;
    jd_timer_id drain_timer;
    jd_done_callback stopped, destroyed;
    void *stopped_arg, *destroyed_arg;
    _Atomic bool destroying; /* asked for */
    bool destroy_begun;      /* in the loop */
    struct loop_task finish, destroy;
    _Atomic unsigned pending_stops;            /* asked for by other threads, in the loop's queue */
    jd_event_loop_statistics ended_statistics; /* of the io loops, when they are gone */
    _Atomic size_t seen;                       /* connections up and not down */
    _Atomic size_t alive; /* connections accepted and not gone, open listeners, and 1 until the server stops */
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
    while (server->listeners != NULL) {
        struct server_listener *listener = server->listeners;
        server->listeners = listener->next;
        memory_release(listener, sizeof(*listener));
    }
    connection_profile_release(server->profile);
    memory_release(server, sizeof(*server));
}

static void run_finish(struct loop_task *task);
static void server_connection_gone(jd_tcp_server *server);
static void on_connection_seen(struct connection_owner *owner, jd_tcp_connection *connection, int change);
static void on_connection_gone(struct connection_owner *owner, int error);

int jd_tcp_server_create(jd_tcp_server **out, jd_event_loop *loop, const jd_tcp_server_options *options)
{
    static const jd_tcp_server_options defaults;
    struct connection_options connection_options;
    jd_tcp_server *server;
    jd_endpoint endpoint = { 0 };
    int result;

    if (options == NULL)
        options = &defaults;
    connection_options = (struct connection_options)CONNECTION_OPTIONS_OF(options);
    if (!event_loop_is_mine(loop))
        return JD_EPERM;
    if (loop->destroying)
        return JD_ECANCELED;
    if (options->io_threads > IO_THREADS_MAX || !connection_options_make_sense(&connection_options))
        return JD_EINVAL;
    if (options->listen != NULL && jd_endpoint_parse(&endpoint, options->listen, NULL) < 0)
        return JD_EINVAL;
    server = memory_allocate_zeroed(sizeof(*server));
    if (server == NULL)
        return JD_ENOMEM;
    server->owner = (struct connection_owner){ on_connection_seen, on_connection_gone };
    server->profile = connection_profile_create(&server->owner, options->name != NULL ? options->name : "server",
                                                &connection_options);
    if (server->profile == NULL) {
        memory_release(server, sizeof(*server));
        return JD_ENOMEM;
    }
    server->loop = loop;
    server->listeners_link = &server->listeners;
    server->io_threads = options->io_threads;
    server->finish.run = run_finish;
    server->socket_options = connection_options.socket;
    server->socket_options.backlog = options->backlog;
    atomic_init(&server->alive, 1);
    result = endpoint.length > 0 ? jd_tcp_server_listen(server, &endpoint, NULL) : 0;
    if (result < 0) {
        free_server(server);
        return result;
    }
    link_server(server);
    *out = server;
    return 0;
}

struct connection_profile *server_profile(jd_tcp_server *server)
{
    assert(server->state == SERVER_CREATED && event_loop_is_mine(server->loop));
    return server->profile;
}

/* ---- accepting ---- */

void listener_starved(struct listener *base, int error)
{
    struct server_listener *listener = (struct server_listener *)base;
    jd_timestamp now = jd_event_loop_now(base->loop);
    char endpoint[JD_ENDPOINT_TEXT_BYTES];

    if (listener->starving)
        return;
    listener->starving = true;
    counter_add(&base->loop->counters.accept_pauses, 1);
    /* At the edge of the limit accepting stops and goes on with each connection. */
    if (listener->starvation_told_at != 0 && now - listener->starvation_told_at < tell_again_after_ns)
        return;
    listener->starvation_told_at = now;
    jd_endpoint_format(&base->bound, endpoint, sizeof(endpoint));
    log_message(JD_LOG_WARNING, "%s: %s: accepting paused: %s", listener->server->profile->name, endpoint,
                jd_strerror(error));
}

/* An accepted socket on its way to the loop it will live on. */
struct handover {
    struct loop_task task;
    jd_event_loop *loop;
    struct connection_profile *profile;
    socket_handle socket;
    struct peer_address peer;
};

static void run_handover(struct loop_task *task)
{
    struct handover handover = *(struct handover *)task;

    memory_release(task, sizeof(handover));
    connection_open(handover.loop, handover.profile, handover.socket, &handover.peer);
}

static void hand_over(jd_tcp_server *server, socket_handle socket, const struct peer_address *peer)
{
    struct handover *handover = memory_allocate(sizeof(*handover));

    if (handover == NULL) {
        socket_close(socket);
        counter_add(&server->loop->counters.connections_failed, 1);
        server_connection_gone(server);
        return;
    }
    *handover = (struct handover){
        .task.run = run_handover,
        .loop = loop_threads_next(server->threads),
        .profile = server->profile,
        .socket = socket,
        .peer = *peer,
    };
    /* The io loops take tasks as long as a connection is alive, and this one is. */
    event_loop_push(handover->loop, &handover->task);
}

static void on_accepted(struct listener *base, socket_handle socket, const struct peer_address *peer)
{
    struct server_listener *listener = (struct server_listener *)base;
    jd_tcp_server *server = listener->server;

    listener->starving = false;
    atomic_fetch_add_explicit(&server->alive, 1, memory_order_relaxed);
    if (server->threads != NULL)
        hand_over(server, socket, peer);
    else
        connection_open(server->loop, server->profile, socket, peer);
}

/* An open listener counts as alive: its memory is the engine's until listener_closed. */
static int listen_on(jd_tcp_server *server, struct server_listener *listener)
{
    int result = server->loop->ops->listen(server->loop->engine, &listener->listener);

    if (result == 0)
        atomic_fetch_add_explicit(&server->alive, 1, memory_order_relaxed);
    return result;
}

void listener_closed(struct listener *listener)
{
    server_connection_gone(((struct server_listener *)listener)->server);
}

static void unlisten_all(jd_tcp_server *server)
{
    for (struct server_listener *listener = server->listeners; listener != NULL; listener = listener->next)
        if (listener->listener.socket != SOCKET_NONE)
            server->loop->ops->unlisten(server->loop->engine, &listener->listener);
}

int jd_tcp_server_listen(jd_tcp_server *server, const jd_endpoint *endpoint, jd_endpoint *bound)
{
    struct server_listener *listener;
    int result;

    if (!event_loop_is_mine(server->loop))
        return JD_EPERM;
    if (endpoint->length == 0 || server->state > SERVER_STARTED)
        return JD_EINVAL;
    listener = memory_allocate_zeroed(sizeof(*listener));
    if (listener == NULL)
        return JD_ENOMEM;
    listener->server = server;
    listener->listener.loop = server->loop;
    listener->listener.endpoint = *endpoint;
    listener->listener.options = server->socket_options;
    listener->listener.accepted = on_accepted;
    listener->listener.socket = SOCKET_NONE;
    result = server->state == SERVER_STARTED ? listen_on(server, listener) : 0;
    if (result < 0) {
        memory_release(listener, sizeof(*listener));
        return result;
    }
    *server->listeners_link = listener;
    server->listeners_link = &listener->next;
    if (bound != NULL)
        *bound = listener->listener.bound;
    return 0;
}

static void close_orders_run(struct loop_task *task);
static void drain_orders_run(struct loop_task *task);

static void free_threads(jd_tcp_server *server)
{
    if (server->threads != NULL)
        loop_threads_stop(server->threads);
    memory_release(server->stop_orders, server->io_threads * sizeof(*server->stop_orders));
    server->threads = NULL;
    server->stop_orders = NULL;
}

static int start_threads(jd_tcp_server *server)
{
    int result;

    if (server->io_threads == 0)
        return 0;
    server->stop_orders = memory_allocate_zeroed(server->io_threads * sizeof(*server->stop_orders));
    if (server->stop_orders == NULL)
        return JD_ENOMEM;
    result = loop_threads_start(&server->threads, server->io_threads, server->profile->name, &server->loop->options,
                                server->loop->ops);
    for (unsigned i = 0; result == 0 && i < server->io_threads; i++)
        server->stop_orders[i] = (struct stop_order){
            .drain.run = drain_orders_run,
            .close.run = close_orders_run,
            .loop = server->threads->threads[i].loop,
            .profile = server->profile,
        };
    return result;
}

int jd_tcp_server_start(jd_tcp_server *server, jd_endpoint *failed)
{
    int result;

    if (!event_loop_is_mine(server->loop))
        return JD_EPERM;
    if (server->state != SERVER_CREATED || atomic_load(&server->destroying))
        return JD_EALREADY;
    if (server->listeners == NULL)
        return JD_EINVAL;
    result = start_threads(server);
    for (struct server_listener *listener = server->listeners; listener != NULL && result == 0;
         listener = listener->next) {
        result = listen_on(server, listener);
        if (result < 0 && failed != NULL)
            *failed = listener->listener.endpoint;
    }
    if (result < 0) {
        unlisten_all(server);
        free_threads(server);
        return result;
    }
    server->state = SERVER_STARTED;
    return 0;
}

size_t jd_tcp_server_endpoint_count(const jd_tcp_server *server)
{
    size_t count = 0;

    for (struct server_listener *listener = server->listeners; listener != NULL; listener = listener->next)
        count++;
    return count;
}

int jd_tcp_server_endpoint(const jd_tcp_server *server, size_t index, jd_endpoint *endpoint)
{
    struct server_listener *listener = server->listeners;

    while (listener != NULL && index-- > 0)
        listener = listener->next;
    if (listener == NULL)
        return JD_ENOENT;
    *endpoint = listener->listener.bound.length > 0 ? listener->listener.bound : listener->listener.endpoint;
    return 0;
}

/* ---- the end ---- */

static void on_connection_seen(struct connection_owner *owner, jd_tcp_connection *connection, int change)
{
    jd_tcp_server *server = (jd_tcp_server *)((char *)owner - offsetof(jd_tcp_server, owner));

    atomic_fetch_add_explicit(&server->seen, (size_t)change, memory_order_relaxed);
}

static void on_connection_gone(struct connection_owner *owner, int error)
{
    server_connection_gone((jd_tcp_server *)((char *)owner - offsetof(jd_tcp_server, owner)));
}

static void server_connection_gone(jd_tcp_server *server)
{
    /* The last one: nothing but the finish task holds the server any more. A sub-loop's thread is joined by it, so this
     * push has ended before the loop can. */
    if (atomic_fetch_sub_explicit(&server->alive, 1, memory_order_acq_rel) == 1)
        event_loop_push(server->loop, &server->finish);
}

static void drain_orders_run(struct loop_task *task)
{
    struct stop_order *order = (struct stop_order *)task;

    connections_close(order->loop, order->profile, true);
}

static void close_orders_run(struct loop_task *task)
{
    struct stop_order *order = (struct stop_order *)((char *)task - offsetof(struct stop_order, close));

    connections_close(order->loop, order->profile, false);
}

static void close_connections(jd_tcp_server *server, bool drain)
{
    if (server->threads == NULL)
        connections_close(server->loop, server->profile, drain);
    for (unsigned i = 0; server->threads != NULL && i < server->io_threads; i++) {
        struct stop_order *order = &server->stop_orders[i];
        event_loop_push(order->loop, drain ? &order->drain : &order->close);
    }
}

static void drain_is_over(void *arg)
{
    jd_tcp_server *server = arg;

    server->drain_timer = 0;
    close_connections(server, false);
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
    unlisten_all(server);
    close_connections(server, drain);
    server_connection_gone(server);
    return 0;
}

/* From another thread, an io thread's callback perhaps. */
struct stop_task {
    struct loop_task task;
    jd_tcp_server *server;
    uint64_t drain_ms;
    jd_done_callback done;
    void *arg;
};

static void run_stop(struct loop_task *task)
{
    struct stop_task stop = *(struct stop_task *)task;

    int result;

    memory_release(task, sizeof(stop));
    atomic_fetch_sub(&stop.server->pending_stops, 1);
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

    if (event_loop_is_mine(server->loop))
        return stop_in_loop(server, drain_ms, done, arg);
    stop = memory_allocate(sizeof(*stop));
    if (stop == NULL)
        return JD_ENOMEM;
    *stop = (struct stop_task){ { .run = run_stop }, server, drain_ms, done, arg };
    atomic_fetch_add(&server->pending_stops, 1);
    if (event_loop_push_last(server->loop, &stop->task))
        return 0;
    atomic_fetch_sub(&server->pending_stops, 1);
    memory_release(stop, sizeof(*stop));
    return JD_ECANCELED;
}

/* The io loops' totals, before they are gone. */
static void keep_statistics(jd_tcp_server *server)
{
    jd_event_loop_statistics ended;

    if (server->threads == NULL)
        return;
    jd_tcp_server_get_statistics(server, &ended);
    server->ended_statistics = ended;
}

static void run_finish(struct loop_task *task)
{
    jd_tcp_server *server = (jd_tcp_server *)((char *)task - offsetof(jd_tcp_server, finish));
    jd_done_callback stopped = server->stopped, destroyed;
    void *destroyed_arg;

    if (server->drain_timer != 0)
        jd_event_loop_cancel_timer(server->loop, server->drain_timer);
    server->drain_timer = 0;
    server->stopped = NULL;
    keep_statistics(server);
    free_threads(server);
    server->state = SERVER_FINISHING;
    if (stopped != NULL)
        stopped(server->stopped_arg);
    server->state = SERVER_STOPPED;
    if (!server->destroy_begun)
        return;
    /* What io threads have asked for while they ended is behind this in the queue. */
    if (atomic_load(&server->pending_stops) > 0) {
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
        server_connection_gone(server);
    } else if (server->state == SERVER_STOPPED) {
        event_loop_push(server->loop, &server->finish);
    } else if (server->drain_timer != 0) {
        jd_event_loop_cancel_timer(server->loop, server->drain_timer);
        drain_is_over(server);
    }
}

static void run_destroy(struct loop_task *task)
{
    destroy_in_loop((jd_tcp_server *)((char *)task - offsetof(jd_tcp_server, destroy)));
}

void jd_tcp_server_destroy(jd_tcp_server *server, jd_done_callback done, void *arg)
{
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
    if (event_loop_is_mine(server->loop))
        destroy_in_loop(server);
    else
        event_loop_push_last(server->loop, &server->destroy);
}

void servers_destroy_all(jd_event_loop *loop)
{
    for (jd_tcp_server *server = loop->servers; server != NULL; server = server->next)
        jd_tcp_server_destroy(server, NULL, NULL);
    /* An error of waiting must not leave one behind: its threads and connections would use the loop when it is gone. */
    while (loop->servers != NULL)
        event_loop_turn(loop, -1);
}

/* ---- what can be asked ---- */

size_t jd_tcp_server_connection_count(const jd_tcp_server *server)
{
    return atomic_load_explicit(&server->seen, memory_order_relaxed);
}

void jd_tcp_server_get_statistics(const jd_tcp_server *server, jd_event_loop_statistics *statistics)
{
    jd_event_loop_statistics one;

    if (server->io_threads == 0) {
        jd_event_loop_get_statistics(server->loop, statistics);
        return;
    }
    if (server->threads == NULL) {
        *statistics = server->ended_statistics;
        return;
    }
    /* The server's own loop only accepts. */
    jd_event_loop_get_statistics(server->loop, &one);
    *statistics = (jd_event_loop_statistics){
        .accept_pauses = one.accept_pauses,
        .connections_failed = one.connections_failed,
    };
    for (unsigned i = 0; i < server->io_threads; i++) {
        jd_event_loop_get_statistics(server->threads->threads[i].loop, &one);
        statistics_add(statistics, &one);
    }
}
