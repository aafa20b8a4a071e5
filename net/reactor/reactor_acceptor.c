/* Acceptor: accepts, edge-triggered, until the kernel has no more connections, at most ACCEPT_BUDGET in one go. Without
 * descriptors or memory it stops; it retries when this loop has freed a descriptor, and every LISTEN_RETRY_NS, as
 * others may free some. */
#include "net/engine/listen_socket.h"
#include "net/reactor/reactor.h"

#include <jinduo/error.h>

enum { ACCEPT_BUDGET = 64 };

/* Of a listener's engine_flags. */
enum {
    LISTENER_STARVED = 1, /* on starved_listeners */
    LISTENER_READY = 2,   /* on ready_listeners: may have more to accept */
    LISTENER_WATCHED = 4, /* registered with the poller */
};

static void listener_list_remove(struct listener **list, struct listener *listener)
{
    while (*list != NULL && *list != listener)
        list = &(*list)->engine_next;
    if (*list != NULL)
        *list = listener->engine_next;
}

static void listener_list_push(struct listener **list, struct listener *listener)
{
    listener->engine_next = *list;
    *list = listener;
}

static void acceptor_starve(struct reactor *reactor, struct listener *listener, int error)
{
    reactor->retry_accept_at = jd_event_loop_now(reactor->engine.loop) + LISTEN_RETRY_NS;
    reactor->descriptor_freed = false;
    listener_set_flag(listener, LISTENER_STARVED);
    listener_list_push(&reactor->starved_listeners, listener);
    listener_out_of_resources(listener, error);
}

/* Registers the socket once. Connections that arrived before are reported, too: as one edge (epoll(7)). */
static int acceptor_watch(struct reactor *reactor, struct listener *listener)
{
    uint64_t token = reactor_token(TOKEN_LISTENER, (uint64_t)(uintptr_t)listener);
    int result = listener_has_flag(listener, LISTENER_WATCHED)
                     ? 0
                     : poller_add(&reactor->poller, listener->socket, EPOLLIN | EPOLLET, token);

    if (result == 0)
        listener_set_flag(listener, LISTENER_WATCHED);
    return result;
}

/* To be checked after each callback, which may pause or close the listener. It is freed in a later task only. */
static bool listener_is_accepting(const struct listener *listener)
{
    return listener->socket != SOCKET_NONE && !listener->paused;
}

static void acceptor_accept_batch(struct reactor *reactor, struct listener *listener)
{
    int result = listener_is_accepting(listener) ? acceptor_watch(reactor, listener) : 0;

    if (result < 0) {
        acceptor_starve(reactor, listener, result);
        return;
    }
    for (int i = 0; i < ACCEPT_BUDGET && listener_is_accepting(listener); i++) {
        struct peer_address peer;
        socket_handle socket;

        result = socket_accept(listener->socket, &socket, &peer);
        if (result == JD_EAGAIN)
            return;
        if (result < 0) {
            acceptor_starve(reactor, listener, result);
            return;
        }
        listener->accepted(listener, socket, &peer);
    }
    if (listener_is_accepting(listener) && !listener_has_flag(listener, LISTENER_READY)) {
        listener_set_flag(listener, LISTENER_READY);
        listener_list_push(&reactor->ready_listeners, listener);
    }
}

void acceptor_event(struct reactor *reactor, struct listener *listener)
{
    if (!listener_has_flag(listener, LISTENER_STARVED | LISTENER_READY))
        acceptor_accept_batch(reactor, listener);
}

/* Serves each listener of a list once, oldest first; those that return to the list meanwhile wait for the next call.
 * They are taken off one at a time, because a callback may remove any of them. */
static unsigned acceptor_run_list(struct reactor *reactor, struct listener **list)
{
    struct listener *waiting = *list;
    unsigned count = 0;

    for (struct listener *listener = waiting; listener != NULL; listener = listener->engine_next)
        count++;
    for (unsigned i = 0; i < count && *list != NULL; i++) {
        struct listener **last = list;
        struct listener *listener;
        while ((*last)->engine_next != NULL)
            last = &(*last)->engine_next;
        listener = *last; /* the oldest: new ones are added in front */
        *last = NULL;
        listener_clear_flag(listener, LISTENER_READY | LISTENER_STARVED);
        acceptor_accept_batch(reactor, listener);
    }
    return count;
}

unsigned acceptor_run_ready(struct reactor *reactor)
{
    return reactor->ready_listeners != NULL ? acceptor_run_list(reactor, &reactor->ready_listeners) : 0;
}

unsigned acceptor_retry(struct reactor *reactor)
{
    if (!reactor->descriptor_freed && jd_event_loop_now(reactor->engine.loop) < reactor->retry_accept_at)
        return 0;
    reactor->descriptor_freed = false;
    return acceptor_run_list(reactor, &reactor->starved_listeners);
}

/* ---- engine_ops ---- */

/* The ready list, because no new edge reports connections that were queued during a pause. */
void acceptor_accept(struct engine *engine, struct listener *listener)
{
    listener->paused = false;
    if (listener_has_flag(listener, LISTENER_READY | LISTENER_STARVED))
        return;
    listener_set_flag(listener, LISTENER_READY);
    listener_list_push(&reactor_of(engine)->ready_listeners, listener);
}

void acceptor_pause(struct engine *engine, struct listener *listener)
{
    listener->paused = true;
    if (listener_has_flag(listener, LISTENER_READY))
        listener_list_remove(&reactor_of(engine)->ready_listeners, listener);
    listener_clear_flag(listener, LISTENER_READY);
}

static void acceptor_leave(struct reactor *reactor, struct listener *listener)
{
    listener_list_remove(&reactor->ready_listeners, listener);
    listener_list_remove(&reactor->starved_listeners, listener);
    listener_clear_flag(listener, LISTENER_READY | LISTENER_STARVED);
    listen_socket_accept_rest(listener);
    if (listener_has_flag(listener, LISTENER_WATCHED))
        poller_remove(&reactor->poller, listener->socket);
}

void acceptor_unlisten(struct engine *engine, struct listener *listener)
{
    if (engine != NULL)
        acceptor_leave(reactor_of(engine), listener);
    socket_close_listener(listener->socket, &listener->bound, &listener->path);
    listener->socket = SOCKET_NONE;
    listener_closed(listener);
}
