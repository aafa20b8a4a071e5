/* The listening sockets of a server, and whether they accept. */
#include "base/log.h"
#include "base/memory.h"
#include "net/server/server.h"

#include <jinduo/error.h>

static const int64_t log_again_after_ns = 10 * (int64_t)1000000000;

/* ---- a listener's life ---- */

void listener_count_failed(struct listener *listener)
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
    counters_add_error(&base->loop->counters, error);
    /* Near the limit of descriptors, accepting may pause and resume with each connection: log it at most every 10 s. */
    if (listener->starvation_logged_at != 0 && now - listener->starvation_logged_at < log_again_after_ns)
        return;
    listener->starvation_logged_at = now;
    jd_endpoint_format(&base->bound, endpoint, sizeof(endpoint));
    log_message(JD_LOG_WARNING, "%s: %s: accepting paused, retried automatically: %s",
                listener->slot->server->profile->name, endpoint, jd_strerror(error));
}

static void server_listener_accepted(struct listener *base, socket_handle socket, const struct peer_address *peer)
{
    struct server_listener *listener = (struct server_listener *)base;

    listener->starving = false;
    counter_add(&listener->slot->loop->counters.connections_accepted, 1);
    server_take_accepted(listener->slot, socket, peer);
}

static int server_listener_open(struct server_loop *slot, const jd_endpoint *endpoint, struct server_listener **out)
{
    struct server_listener *listener = memory_allocate_zeroed(sizeof(*listener));
    int result;

    if (listener == NULL)
        return JD_ENOMEM;
    listener->slot = slot;
    listener->listener.endpoint = *endpoint;
    listener->listener.options = slot->server->socket_options;
    listener->listener.accepted = server_listener_accepted;
    listener->listener.socket = SOCKET_NONE;
    result = slot->server->loop->ops->listen(&listener->listener);
    if (result < 0) {
        memory_release(listener, sizeof(*listener));
        return result;
    }
    /* The engine owns the listener until listener_closed: it keeps the server. */
    server_ref(slot->server);
    *out = listener;
    return 0;
}

static void server_listener_free(struct server_listener *listener)
{
    jd_tcp_server *server = listener->slot->server;

    memory_release(listener, sizeof(*listener));
    server_unref(server);
}

static void server_listener_run_end(struct task_node *task)
{
    server_listener_free((struct server_listener *)((char *)task - offsetof(struct server_listener, task)));
}

void listener_closed(struct listener *base)
{
    struct server_listener *listener = (struct server_listener *)base;
    struct server_listener **link = &listener->slot->listeners;

    if (base->loop == NULL) {
        server_listener_free(listener);
        return;
    }
    while (*link != NULL && *link != listener)
        link = &(*link)->next;
    if (*link != NULL)
        *link = listener->next;
    /* Freed in a later task: the engine's current call, or an event of this turn, may still point to the listener. */
    listener->task.run = server_listener_run_end;
    event_loop_push(base->loop, &listener->task);
}

static void server_listener_begin(struct server_listener *listener)
{
    struct server_loop *slot = listener->slot;
    jd_event_loop *loop = slot->loop;

    listener->next = slot->listeners;
    slot->listeners = listener;
    loop->ops->accept(loop->engine, &listener->listener);
    if (!slot->accepting)
        loop->ops->pause_accept(loop->engine, &listener->listener);
}

static void server_listener_run_begin(struct task_node *task)
{
    server_listener_begin((struct server_listener *)((char *)task - offsetof(struct server_listener, task)));
}

void server_begin_listening(struct server_listener *opened)
{
    for (struct server_listener *next; opened != NULL; opened = next) {
        next = opened->next;
        opened->listener.loop = opened->slot->loop;
        opened->task.run = server_listener_run_begin;
        if (opened->slot == &opened->slot->server->base_loop)
            server_listener_begin(opened);
        else
            event_loop_push(opened->slot->loop, &opened->task);
    }
}

void server_abandon_listeners(struct server_listener *opened)
{
    for (struct server_listener *next; opened != NULL; opened = next) {
        next = opened->next;
        opened->slot->server->loop->ops->unlisten(NULL, &opened->listener);
    }
}

/* ---- an endpoint's listeners ---- */

/* The number of io loops that listen on the endpoint; 0: the base loop does. With reuse_port, each io loop has a socket
 * and the kernel spreads the connections. For Unix-domain sockets there is no such thing (socket(7), SO_REUSEPORT:
 * "AF_INET or AF_INET6 sockets"). */
static unsigned endpoint_io_listeners(const jd_tcp_server *server, const jd_endpoint *endpoint)
{
    return server_listens_on_io_loops(server) && endpoint_sockaddr(endpoint)->sa_family != AF_UNIX ? server->io_threads
                                                                                                   : 0;
}

int server_open_endpoint(jd_tcp_server *server, struct server_endpoint *endpoint, struct server_listener **opened)
{
    unsigned shares = endpoint_io_listeners(server, &endpoint->asked);
    const jd_endpoint *where = &endpoint->asked;

    for (unsigned i = 0; i < (shares > 0 ? shares : 1); i++) {
        struct server_loop *slot = shares > 0 ? &server->io_loops[i] : &server->base_loop;
        struct server_listener *listener;
        int result = server_listener_open(slot, where, &listener);
        if (result < 0)
            return result;
        listener->next = *opened;
        *opened = listener;
        endpoint->bound = listener->listener.bound;
        where = &endpoint->bound; /* the other sockets share the port that the system picked for the first */
    }
    return 0;
}

/* ---- whether to accept ---- */

void server_loop_update(struct server_loop *slot)
{
    const jd_event_loop *loop = slot->loop;
    bool accepting = !atomic_load(&slot->server->accepting_paused) && !server_admission_is_full(slot);

    if (slot->ending || slot->accepting == accepting)
        return;
    slot->accepting = accepting;
    for (struct server_listener *listener = slot->listeners; listener != NULL; listener = listener->next)
        (accepting ? loop->ops->accept : loop->ops->pause_accept)(loop->engine, &listener->listener);
}

/* The loop's connections, when the server has come under pressure or out of it. */
static void server_loop_apply_pressure(struct server_loop *slot)
{
    const struct connection_totals *totals = slot->server->profile->totals;
    unsigned changes = totals != NULL ? connection_totals_pressure_changes(totals) : 0;

    if (slot->pressure_changes == changes)
        return;
    slot->pressure_changes = changes;
    connections_apply_pressure(slot->loop, &slot->server->owner);
}

static bool server_updates_io_loops(const jd_tcp_server *server)
{
    return server->threads != NULL && (server_listens_on_io_loops(server) || server->profile->totals != NULL);
}

void server_pressure_changed(struct connection_owner *owner)
{
    server_loop_queue_update(&server_of_owner(owner)->base_loop);
}

void server_loop_run_update(struct task_node *task)
{
    struct server_loop *slot = (struct server_loop *)((char *)task - offsetof(struct server_loop, update));
    jd_tcp_server *server = slot->server;

    atomic_store(&slot->update_queued, false);
    server_loop_update(slot);
    server_loop_apply_pressure(slot);
    if (slot->ending)
        connections_close(slot->loop, &server->owner, slot->closing);
    if (slot != &server->base_loop)
        return;
    for (unsigned i = 0; server_updates_io_loops(server) && i < server->io_threads; i++)
        server_loop_queue_update(&server->io_loops[i]);
    atomic_fetch_sub(&server->pending_commands, 1);
}

void server_loop_queue_update(struct server_loop *slot)
{
    bool is_base_loop = slot == &slot->server->base_loop;

    if (atomic_exchange(&slot->update_queued, true))
        return;
    if (is_base_loop)
        atomic_fetch_add(&slot->server->pending_commands, 1);
    if (event_loop_push_with_ref(slot->loop, &slot->update))
        return;
    if (is_base_loop)
        atomic_fetch_sub(&slot->server->pending_commands, 1);
}

void server_loop_end_listening(struct server_loop *slot)
{
    const jd_event_loop *loop = slot->loop;

    if (slot->ending)
        return;
    slot->ending = true;
    for (struct server_listener *listener = slot->listeners, *next; listener != NULL; listener = next) {
        next = listener->next;
        if (slot->closing != CLOSING_DRAINED)
            loop->ops->pause_accept(loop->engine, &listener->listener);
        loop->ops->unlisten(loop->engine, &listener->listener);
    }
}

static void server_set_accepting_paused(jd_tcp_server *server, bool paused)
{
    jd_event_loop *loop = server->loop;
    bool locked, mine;

    atomic_store(&server->accepting_paused, paused);
    mine = event_loop_begin_work(loop, &locked);
    if (mine)
        server_loop_update(&server->base_loop);
    server_loop_queue_update(
        &server->base_loop); /* before end_work: after it, another thread may run the loop and free the server */
    if (mine)
        event_loop_end_work(loop, locked);
}

void jd_tcp_server_pause_accepting(jd_tcp_server *server)
{
    server_set_accepting_paused(server, true);
}

void jd_tcp_server_resume_accepting(jd_tcp_server *server)
{
    server_set_accepting_paused(server, false);
}
