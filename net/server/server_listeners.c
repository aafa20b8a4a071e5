/* Where a server listens, and whether it accepts. */
#include "base/log.h"
#include "base/memory.h"
#include "net/server/server.h"

#include <jinduo/error.h>

static const int64_t tell_again_after_ns = 10 * (int64_t)1000000000;

/* ---- a listener's life ---- */

void listener_count_lost(struct listener *listener)
{
    counter_add(&listener->loop->counters.connections_accepted, 1);
    counter_add(&listener->loop->counters.connections_failed, 1);
}

void listener_out_of_resources(struct listener *base, int error)
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
    log_message(JD_LOG_WARNING, "%s: %s: accepting paused: %s", listener->at->server->profile->name, endpoint,
                jd_strerror(error));
}

static void on_accepted(struct listener *base, socket_handle socket, const struct peer_address *peer)
{
    struct server_listener *listener = (struct server_listener *)base;

    listener->starving = false;
    counter_add(&listener->at->loop->counters.connections_accepted, 1);
    server_take(listener->at, socket, peer);
}

static int open_listener(struct server_loop *at, const jd_endpoint *endpoint, struct server_listener **out)
{
    struct server_listener *listener = memory_allocate_zeroed(sizeof(*listener));
    int result;

    if (listener == NULL)
        return JD_ENOMEM;
    listener->at = at;
    listener->listener.endpoint = *endpoint;
    listener->listener.options = at->server->socket_options;
    listener->listener.accepted = on_accepted;
    listener->listener.socket = SOCKET_NONE;
    result = at->server->loop->ops->listen(&listener->listener);
    if (result < 0) {
        memory_release(listener, sizeof(*listener));
        return result;
    }
    /* Its memory is the engine's until listener_closed. */
    server_hold(at->server);
    *out = listener;
    return 0;
}

static void free_listener(struct server_listener *listener)
{
    jd_tcp_server *server = listener->at->server;

    memory_release(listener, sizeof(*listener));
    server_release(server);
}

static void run_end(struct task_node *task)
{
    free_listener((struct server_listener *)((char *)task - offsetof(struct server_listener, task)));
}

void listener_closed(struct listener *base)
{
    struct server_listener *listener = (struct server_listener *)base;
    struct server_listener **link = &listener->at->listeners;

    if (base->loop == NULL) {
        free_listener(listener);
        return;
    }
    while (*link != NULL && *link != listener)
        link = &(*link)->next;
    if (*link != NULL)
        *link = listener->next;
    /* The engine may be looking at it still, and so may an event that waits in this turn. */
    listener->task.run = run_end;
    event_loop_push(base->loop, &listener->task);
}

static void begin(struct server_listener *listener)
{
    struct server_loop *at = listener->at;
    jd_event_loop *loop = at->loop;

    listener->next = at->listeners;
    at->listeners = listener;
    loop->ops->accept(loop->engine, &listener->listener);
    if (!at->accepting)
        loop->ops->pause_accept(loop->engine, &listener->listener);
}

static void run_begin(struct task_node *task)
{
    begin((struct server_listener *)((char *)task - offsetof(struct server_listener, task)));
}

void server_begin_listening(struct server_listener *opened)
{
    for (struct server_listener *next; opened != NULL; opened = next) {
        next = opened->next;
        opened->listener.loop = opened->at->loop;
        opened->task.run = run_begin;
        if (opened->at == &opened->at->server->own)
            begin(opened);
        else
            event_loop_push(opened->at->loop, &opened->task);
    }
}

void server_abandon(struct server_listener *opened)
{
    for (struct server_listener *next; opened != NULL; opened = next) {
        next = opened->next;
        opened->at->server->loop->ops->unlisten(NULL, &opened->listener);
    }
}

/* ---- endpoints ---- */

/* With reuse_port the kernel spreads the connections over a socket for each io loop. It does not know that for Unix-domain
 * sockets (socket(7), SO_REUSEPORT: "AF_INET or AF_INET6"): one on the server's own loop serves those. */
static unsigned listeners_for(const jd_tcp_server *server, const jd_endpoint *endpoint)
{
    return server_listens_on_io_loops(server) && endpoint_sockaddr(endpoint)->sa_family != AF_UNIX ? server->io_threads
                                                                                                   : 0;
}

int server_open_endpoint(jd_tcp_server *server, struct server_endpoint *endpoint, struct server_listener **opened)
{
    unsigned shares = listeners_for(server, &endpoint->asked);
    const jd_endpoint *where = &endpoint->asked;

    for (unsigned i = 0; i < (shares > 0 ? shares : 1); i++) {
        struct server_loop *at = shares > 0 ? &server->io_loops[i] : &server->own;
        struct server_listener *listener;
        int result = open_listener(at, where, &listener);
        if (result < 0)
            return result;
        listener->next = *opened;
        *opened = listener;
        endpoint->bound = listener->listener.bound;
        where = &endpoint->bound; /* the others share the port that the system has picked for the first */
    }
    return 0;
}

void server_free_endpoints(jd_tcp_server *server)
{
    while (server->endpoints != NULL) {
        struct server_endpoint *endpoint = server->endpoints;
        server->endpoints = endpoint->next;
        memory_release(endpoint, sizeof(*endpoint));
    }
}

static int listen_now(jd_tcp_server *server, struct server_endpoint *endpoint)
{
    struct server_listener *opened = NULL;
    int result = server_open_endpoint(server, endpoint, &opened);

    if (result < 0)
        server_abandon(opened);
    else
        server_begin_listening(opened);
    return result;
}

int jd_tcp_server_listen(jd_tcp_server *server, const jd_endpoint *asked, jd_endpoint *bound)
{
    struct server_endpoint *endpoint;
    int result;

    if (!event_loop_is_mine(server->loop))
        return JD_EPERM;
    if (asked->length == 0 || server->state > SERVER_STARTED)
        return JD_EINVAL;
    endpoint = memory_allocate_zeroed(sizeof(*endpoint));
    if (endpoint == NULL)
        return JD_ENOMEM;
    endpoint->asked = *asked;
    result = server->state == SERVER_STARTED ? listen_now(server, endpoint) : 0;
    if (result < 0) {
        memory_release(endpoint, sizeof(*endpoint));
        return result;
    }
    *server->endpoints_link = endpoint;
    server->endpoints_link = &endpoint->next;
    if (bound != NULL)
        *bound = endpoint->bound;
    return 0;
}

size_t jd_tcp_server_endpoint_count(const jd_tcp_server *server)
{
    size_t count = 0;

    for (struct server_endpoint *endpoint = server->endpoints; endpoint != NULL; endpoint = endpoint->next)
        count++;
    return count;
}

int jd_tcp_server_endpoint(const jd_tcp_server *server, size_t index, jd_endpoint *out)
{
    struct server_endpoint *endpoint = server->endpoints;

    while (endpoint != NULL && index-- > 0)
        endpoint = endpoint->next;
    if (endpoint == NULL)
        return JD_ENOENT;
    *out = endpoint->bound.length > 0 ? endpoint->bound : endpoint->asked;
    return 0;
}

/* ---- whether to accept ---- */

void server_loop_update(struct server_loop *at)
{
    const jd_event_loop *loop = at->loop;
    bool accepting = !atomic_load(&at->server->accepting_paused) && !server_loop_is_full(at);

    if (at->ending || at->accepting == accepting)
        return;
    at->accepting = accepting;
    for (struct server_listener *listener = at->listeners; listener != NULL; listener = listener->next)
        (accepting ? loop->ops->accept : loop->ops->pause_accept)(loop->engine, &listener->listener);
}

void server_loop_run_update(struct task_node *task)
{
    struct server_loop *at = (struct server_loop *)((char *)task - offsetof(struct server_loop, update));
    jd_tcp_server *server = at->server;

    atomic_store(&at->update_queued, false);
    server_loop_update(at);
    if (at->ending)
        connections_close(at->loop, server->profile, at->closing);
    if (at != &server->own)
        return;
    for (unsigned i = 0; server->threads != NULL && server_listens_on_io_loops(server) && i < server->io_threads; i++)
        server_loop_queue_update(&server->io_loops[i]);
    atomic_fetch_sub(&server->pending_orders, 1);
}

void server_loop_queue_update(struct server_loop *at)
{
    bool own = at == &at->server->own;

    if (atomic_exchange(&at->update_queued, true))
        return;
    if (own)
        atomic_fetch_add(&at->server->pending_orders, 1);
    if (event_loop_push_last(at->loop, &at->update))
        return;
    if (own)
        atomic_fetch_sub(&at->server->pending_orders, 1);
}

void server_loop_end_listening(struct server_loop *at)
{
    const jd_event_loop *loop = at->loop;

    if (at->ending)
        return;
    at->ending = true;
    for (struct server_listener *listener = at->listeners, *next; listener != NULL; listener = next) {
        next = listener->next;
        if (at->closing != CLOSING_DRAINED)
            loop->ops->pause_accept(loop->engine, &listener->listener);
        loop->ops->unlisten(loop->engine, &listener->listener);
    }
}

static void set_paused(jd_tcp_server *server, bool paused)
{
    jd_event_loop *loop = server->loop;
    bool locked, mine;

    atomic_store(&server->accepting_paused, paused);
    mine = event_loop_begin_work(loop, &locked);
    if (mine)
        server_loop_update(&server->own);
    server_loop_queue_update(&server->own); /* unlocked, another thread may run the loop, and end the server */
    if (mine)
        event_loop_end_work(loop, locked);
}

void jd_tcp_server_pause_accepting(jd_tcp_server *server)
{
    set_paused(server, true);
}

void jd_tcp_server_resume_accepting(jd_tcp_server *server)
{
    set_paused(server, false);
}
