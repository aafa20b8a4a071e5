/* Accepting by a continuous operation for each listener. Out of descriptors or memory it ends, and is begun again when a
 * descriptor has been freed here or, as others may free some, now and then. */
#include "base/platform/clock.h"
#include "net/engine/listen_socket.h"
#include "proactor/engine/proactor_engine.h"

#include <jinduo/error.h>

enum { REFUSALS_MAX = 128 }; /* in a row: beyond, it is the system that refuses, not one connection that has failed */

/* Of a listener's engine_flags. */
enum {
    LISTENER_STARVED = 1,   /* on the list of those that ran out of descriptors or memory */
    LISTENER_ACCEPTING = 2, /* the operation is in flight */
    LISTENER_CANCELLED = 4, /* and has been cancelled */
    LISTENER_CLOSING = 8,   /* unlisten was called */
};

static uint64_t token_of(const struct listener *listener)
{
    return proactor_token(COMPLETES_ACCEPT, (uint64_t)(uintptr_t)listener);
}

static void put_on_starved(struct proactor_engine *proactor, struct listener *listener)
{
    listener_set_flag(listener, LISTENER_STARVED);
    listener->engine_next = proactor->accepting.starved;
    proactor->accepting.starved = listener;
}

static void starve(struct proactor_engine *proactor, struct listener *listener, int error)
{
    proactor->accepting.retry_at = clock_now() + LISTEN_RETRY_NS;
    proactor->accepting.descriptor_freed = false;
    put_on_starved(proactor, listener);
    listener_out_of_resources(listener, error);
}

static void take_from_starved(struct proactor_engine *proactor, struct listener *listener)
{
    struct listener **link = &proactor->accepting.starved;

    while (*link != listener)
        link = &(*link)->engine_next;
    *link = listener->engine_next;
    listener_clear_flag(listener, LISTENER_STARVED);
}

static void begin(struct proactor_engine *proactor, struct listener *listener)
{
    const struct operation_request request = {
        .opcode = OPCODE_ACCEPT_MULTISHOT,
        .token = token_of(listener),
        .fd = listener->socket,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        listener_set_flag(listener, LISTENER_ACCEPTING);
    else
        starve(proactor, listener, result);
}

static void cancel(struct proactor_engine *proactor, struct listener *listener)
{
    if (!listener_has_flag(listener, LISTENER_ACCEPTING) || listener_has_flag(listener, LISTENER_CANCELLED))
        return;
    listener_set_flag(listener, LISTENER_CANCELLED);
    proactor_cancel(proactor, listener->socket, token_of(listener));
}

/* ---- asked for from above ---- */

/* With the next wait: whoever starts paused has not begun by then. What has been cancelled goes on when its completion has
 * come. */
void proactor_accept(struct engine *engine, struct listener *listener)
{
    struct proactor_engine *proactor = proactor_of(engine);

    listener->paused = false;
    if (listener_has_flag(listener, LISTENER_ACCEPTING | LISTENER_STARVED))
        return;
    put_on_starved(proactor, listener);
    proactor->accepting.descriptor_freed = true;
}

void proactor_pause_accept(struct engine *engine, struct listener *listener)
{
    listener->paused = true;
    cancel(proactor_of(engine), listener);
}

static void finish(struct listener *listener)
{
    socket_close(listener->socket);
    listener->socket = SOCKET_NONE;
    listener_closed(listener);
}

/* The operation, if it is under way, holds the socket open, but its address is free from here on. */
void proactor_unlisten(struct engine *engine, struct listener *listener)
{
    listener_set_flag(listener, LISTENER_CLOSING);
    if (engine != NULL && listener_has_flag(listener, LISTENER_STARVED))
        take_from_starved(proactor_of(engine), listener);
    if (engine != NULL)
        listen_socket_accept_rest(listener);
    socket_end_listening(listener->socket, &listener->bound, &listener->path);
    if (listener_has_flag(listener, LISTENER_ACCEPTING))
        cancel(proactor_of(engine), listener);
    else
        finish(listener);
}

/* ---- completions ---- */

/* One that has been reset already has no peer to name any more, and counts as failed. What comes after unlisten was accepted
 * before it. */
static void deliver(struct listener *listener, socket_handle socket)
{
    bool is_late = listener_has_flag(listener, LISTENER_CLOSING) && listener->paused;
    struct peer_address peer;
    int result = is_late ? JD_ECANCELED : socket_peer_address(socket, &peer);

    listener->engine_refusals = 0;
    if (result == 0) {
        listener->accepted(listener, socket, &peer);
        return;
    }
    socket_close(socket);
    if (!is_late)
        listener_count_lost(listener);
}

/* Whether accepting goes on after this error: it is none, or one connection's. Too many of the second kind in a row are not. */
static bool is_passing(const struct listener *listener, int error)
{
    if (error == JD_ECANCELED || error == JD_EINTR || error == JD_EAGAIN)
        return true;
    return socket_is_connection_error(error) && listener->engine_refusals <= REFUSALS_MAX;
}

/* Returns 0, or the error for which accepting stops. */
static int refused(struct listener *listener, int error)
{
    listener->engine_refusals += socket_is_connection_error(error);
    return is_passing(listener, error) ? 0 : error;
}

void proactor_accepted(struct proactor_engine *proactor, const struct completion *completion)
{
    struct listener *listener = (struct listener *)(uintptr_t)proactor_token_value(completion->token);
    int result = 0;

    if (completion->result >= 0)
        deliver(listener, (socket_handle)completion->result);
    else
        result = refused(listener, (int)completion->result);
    if (completion->more)
        return;
    listener_clear_flag(listener, LISTENER_ACCEPTING | LISTENER_CANCELLED);
    if (listener_has_flag(listener, LISTENER_CLOSING))
        finish(listener);
    else if (result < 0)
        starve(proactor, listener, result);
    else if (!listener->paused)
        begin(proactor, listener);
}

unsigned proactor_retry_accepting(struct proactor_engine *proactor)
{
    struct listener *listener = proactor->accepting.starved;
    unsigned count = 0;

    if (!proactor->accepting.descriptor_freed && clock_now() < proactor->accepting.retry_at)
        return 0;
    proactor->accepting.descriptor_freed = false;
    proactor->accepting.starved = NULL;
    for (struct listener *next; listener != NULL; listener = next, count++) {
        next = listener->engine_next;
        listener_clear_flag(listener, LISTENER_STARVED);
        if (!listener->paused)
            begin(proactor, listener);
    }
    return count;
}

int64_t proactor_accept_patience(const struct proactor_engine *proactor)
{
    int64_t left_ns = proactor->accepting.descriptor_freed ? 0 : proactor->accepting.retry_at - clock_now();

    return left_ns > 0 ? left_ns : 0;
}
