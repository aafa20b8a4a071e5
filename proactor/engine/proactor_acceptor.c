/* Accepting by a continuous operation for each listener. Out of descriptors or memory it ends, and is begun again when a
 * descriptor has been freed here or, as others may free some, now and then. */
#include "base/platform/clock.h"
#include "proactor/engine/proactor_engine.h"

#include <jinduo/error.h>

enum {
    RETRY_AFTER_NS = 100 * 1000000,
    ACCEPT_AT_END_MAX = 64 * 1024, /* more than a queue holds: at the end, others may be filling it without end */
    REFUSALS_MAX = 128, /* in a row: beyond, it is the system that refuses, not one connection that has failed */
};

/* Of a listener's flags for its engine: engine_watches: the operation is under way; engine_ready: it has been cancelled;
 * engine_closing: unlisten was called. */

static uint64_t token_of(const struct listener *listener)
{
    return proactor_token(COMPLETES_ACCEPT, (uint64_t)(uintptr_t)listener);
}

static void put_on_starved(struct proactor_engine *proactor, struct listener *listener)
{
    listener->engine_starved = true;
    listener->engine_next = proactor->starved_listeners;
    proactor->starved_listeners = listener;
}

static void starve(struct proactor_engine *proactor, struct listener *listener, int error)
{
    proactor->retry_accept_at = clock_now() + RETRY_AFTER_NS;
    proactor->descriptor_freed = false;
    put_on_starved(proactor, listener);
    listener_starved(listener, error);
}

static void take_from_starved(struct proactor_engine *proactor, struct listener *listener)
{
    struct listener **link = &proactor->starved_listeners;

    while (*link != listener)
        link = &(*link)->engine_next;
    *link = listener->engine_next;
    listener->engine_starved = false;
}

static void begin(struct proactor_engine *proactor, struct listener *listener)
{
    const struct operation_request request = {
        .kind = OPERATION_ACCEPT_MANY,
        .token = token_of(listener),
        .fd = listener->socket,
    };
    int result = proactor_submit(proactor, &request);

    listener->engine_watches = result == 0;
    listener->engine_ready = false;
    if (result < 0)
        starve(proactor, listener, result);
}

static void cancel(struct proactor_engine *proactor, struct listener *listener)
{
    if (!listener->engine_watches || listener->engine_ready)
        return;
    listener->engine_ready = true;
    proactor_cancel(proactor, listener->socket, token_of(listener));
}

/* ---- asked for from above ---- */

int proactor_listen(struct listener *listener)
{
    return socket_listen(&listener->socket, &listener->endpoint, &listener->options, &listener->bound, &listener->path);
}

/* With the next wait: whoever starts paused has not begun by then. What has been cancelled goes on when its completion has
 * come. */
void proactor_accept(struct engine *engine, struct listener *listener)
{
    struct proactor_engine *proactor = proactor_of(engine);

    listener->engine_paused = false;
    if (listener->engine_watches || listener->engine_starved)
        return;
    put_on_starved(proactor, listener);
    proactor->descriptor_freed = true;
}

void proactor_pause_accept(struct engine *engine, struct listener *listener)
{
    listener->engine_paused = true;
    cancel(proactor_of(engine), listener);
}

static void finish(struct listener *listener)
{
    socket_close(listener->socket);
    listener->socket = SOCKET_NONE;
    listener_closed(listener);
}

static void accept_the_rest(struct listener *listener)
{
    for (int i = 0; i < ACCEPT_AT_END_MAX && !listener->engine_paused; i++) {
        struct peer_address peer;
        socket_handle socket;

        if (socket_accept(listener->socket, &socket, &peer) < 0)
            return;
        listener->accepted(listener, socket, &peer);
    }
}

/* The operation, if it is under way, holds the socket open, but its address is free from here on. */
void proactor_unlisten(struct engine *engine, struct listener *listener)
{
    listener->engine_closing = true;
    if (engine != NULL && listener->engine_starved)
        take_from_starved(proactor_of(engine), listener);
    if (engine != NULL)
        accept_the_rest(listener);
    socket_end_listening(listener->socket, &listener->bound, &listener->path);
    if (listener->engine_watches)
        cancel(proactor_of(engine), listener);
    else
        finish(listener);
}

/* ---- completions ---- */

/* One that has been reset already has no peer to name any more, and counts as failed. What comes after unlisten was accepted
 * before it. */
static void deliver(struct listener *listener, socket_handle socket)
{
    bool is_late = listener->engine_closing && listener->engine_paused;
    struct peer_address peer;
    int result = is_late ? JD_ECANCELED : socket_peer_address(socket, &peer);

    listener->engine_refusals = 0;
    if (result == 0) {
        listener->accepted(listener, socket, &peer);
        return;
    }
    socket_close(socket);
    if (!is_late)
        listener_lost(listener);
}

static bool is_passing(struct listener *listener, int64_t error)
{
    if (error == JD_ECANCELED || error == JD_EINTR || error == JD_EAGAIN)
        return true;
    return socket_is_connection_error((int)error) && listener->engine_refusals++ < REFUSALS_MAX;
}

void proactor_accepted(struct proactor_engine *proactor, const struct completion *completion)
{
    struct listener *listener = (struct listener *)(uintptr_t)proactor_token_value(completion->token);
    int result = 0;

    if (completion->result >= 0)
        deliver(listener, (socket_handle)completion->result);
    else if (!is_passing(listener, completion->result))
        result = (int)completion->result;
    if (completion->more)
        return;
    listener->engine_watches = false;
    if (listener->engine_closing)
        finish(listener);
    else if (result < 0)
        starve(proactor, listener, result);
    else if (!listener->engine_paused)
        begin(proactor, listener);
}

unsigned proactor_retry_accepting(struct proactor_engine *proactor)
{
    struct listener *listener = proactor->starved_listeners;
    unsigned count = 0;

    if (!proactor->descriptor_freed && clock_now() < proactor->retry_accept_at)
        return 0;
    proactor->descriptor_freed = false;
    proactor->starved_listeners = NULL;
    for (struct listener *next; listener != NULL; listener = next, count++) {
        next = listener->engine_next;
        listener->engine_starved = false;
        if (!listener->engine_paused)
            begin(proactor, listener);
    }
    return count;
}
