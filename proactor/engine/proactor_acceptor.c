/* Accepting: one multishot operation per listener. It ends when descriptors or memory run out, and is submitted again
 * when this engine has closed a socket or, because others may free descriptors too, after LISTEN_RETRY_NS. */
#include "base/platform/clock.h"
#include "net/engine/listen_socket.h"
#include "proactor/engine/proactor_engine.h"

#include <jinduo/error.h>

enum { REFUSALS_MAX = 128 }; /* in a row; more mean that the system refuses, not that single connections have failed */

/* Of a listener's engine_flags. */
enum {
    LISTENER_WAITING = 1,   /* on the list accepting.waiters */
    LISTENER_ACCEPTING = 2, /* the operation is in flight */
    LISTENER_CANCELLED = 4, /* and has been cancelled */
    LISTENER_CLOSING = 8,   /* unlisten was called */
};

static uint64_t listener_token(const struct listener *listener)
{
    return proactor_token(COMPLETES_ACCEPT, (uint64_t)(uintptr_t)listener);
}

static void accept_waiters_add(struct proactor_engine *proactor, struct listener *listener)
{
    listener_set_flag(listener, LISTENER_WAITING);
    listener->engine_next = proactor->accepting.waiters;
    proactor->accepting.waiters = listener;
}

static void listener_wait_for_resources(struct proactor_engine *proactor, struct listener *listener, int error)
{
    proactor->accepting.retry_at = clock_now() + LISTEN_RETRY_NS;
    proactor->accepting.descriptor_freed = false;
    accept_waiters_add(proactor, listener);
    listener_out_of_resources(listener, error);
}

static void accept_waiters_remove(struct proactor_engine *proactor, struct listener *listener)
{
    struct listener **link = &proactor->accepting.waiters;

    while (*link != listener)
        link = &(*link)->engine_next;
    *link = listener->engine_next;
    listener_clear_flag(listener, LISTENER_WAITING);
}

static void listener_begin_accept(struct proactor_engine *proactor, struct listener *listener)
{
    const struct operation_request request = {
        .opcode = OPCODE_ACCEPT_MULTISHOT,
        .token = listener_token(listener),
        .fd = listener->socket,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        listener_set_flag(listener, LISTENER_ACCEPTING);
    else
        listener_wait_for_resources(proactor, listener, result);
}

static void listener_cancel_accept(struct proactor_engine *proactor, struct listener *listener)
{
    if (!listener_has_flag(listener, LISTENER_ACCEPTING) || listener_has_flag(listener, LISTENER_CANCELLED))
        return;
    listener_set_flag(listener, LISTENER_CANCELLED);
    proactor_cancel(proactor, listener->socket, listener_token(listener));
}

/* ---- engine_ops ---- */

/* Accepting begins with the next wait, so a listener that is paused until then has not begun. If a cancelled
 * operation is still in flight, accepting continues when it has completed. */
void proactor_accept(struct engine *engine, struct listener *listener)
{
    struct proactor_engine *proactor = proactor_of(engine);

    listener->paused = false;
    if (listener_has_flag(listener, LISTENER_ACCEPTING | LISTENER_WAITING))
        return;
    accept_waiters_add(proactor, listener);
    proactor->accepting.descriptor_freed = true;
}

void proactor_pause_accept(struct engine *engine, struct listener *listener)
{
    listener->paused = true;
    listener_cancel_accept(proactor_of(engine), listener);
}

static void listener_finish(struct listener *listener)
{
    socket_close(listener->socket);
    listener->socket = SOCKET_NONE;
    listener_closed(listener);
}

/* An operation in flight keeps the socket open, but the address is free once the socket no longer listens. */
void proactor_unlisten(struct engine *engine, struct listener *listener)
{
    listener_set_flag(listener, LISTENER_CLOSING);
    if (engine != NULL && listener_has_flag(listener, LISTENER_WAITING))
        accept_waiters_remove(proactor_of(engine), listener);
    if (engine != NULL)
        listen_socket_accept_rest(listener);
    socket_end_listening(listener->socket, &listener->bound, &listener->path);
    if (listener_has_flag(listener, LISTENER_ACCEPTING))
        listener_cancel_accept(proactor_of(engine), listener);
    else
        listener_finish(listener);
}

/* ---- completions ---- */

/* A connection that has been reset already has no peer address and counts as lost. A socket that completes after
 * unlisten was accepted before it; if accepting was paused, it is closed. */
static void listener_deliver(struct listener *listener, socket_handle socket)
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
        listener_count_failed(listener);
}

/* Whether accepting continues after this error: the operation was interrupted, or a single connection failed. Too
 * many failed connections in a row stop it. */
static bool accept_error_is_transient(const struct listener *listener, int error)
{
    if (error == JD_ECANCELED || error == JD_EINTR || error == JD_EAGAIN)
        return true;
    return socket_is_connection_error(error) && listener->engine_refusals <= REFUSALS_MAX;
}

/* Returns 0, or the error for which accepting stops. */
static int listener_refused(struct listener *listener, int error)
{
    listener->engine_refusals += socket_is_connection_error(error);
    return accept_error_is_transient(listener, error) ? 0 : error;
}

void proactor_accepted(struct proactor_engine *proactor, const struct completion *completion)
{
    struct listener *listener = (struct listener *)(uintptr_t)proactor_token_value(completion->token);
    int result = 0;

    if (completion->result >= 0)
        listener_deliver(listener, (socket_handle)completion->result);
    else
        result = listener_refused(listener, (int)completion->result);
    if (completion->more)
        return;
    listener_clear_flag(listener, LISTENER_ACCEPTING | LISTENER_CANCELLED);
    if (listener_has_flag(listener, LISTENER_CLOSING))
        listener_finish(listener);
    else if (result < 0)
        listener_wait_for_resources(proactor, listener, result);
    else if (!listener->paused)
        listener_begin_accept(proactor, listener);
}

unsigned proactor_retry_accepting(struct proactor_engine *proactor)
{
    struct listener *listener = proactor->accepting.waiters;
    unsigned count = 0;

    if (!proactor->accepting.descriptor_freed && clock_now() < proactor->accepting.retry_at)
        return 0;
    proactor->accepting.descriptor_freed = false;
    proactor->accepting.waiters = NULL;
    for (struct listener *next; listener != NULL; listener = next, count++) {
        next = listener->engine_next;
        listener_clear_flag(listener, LISTENER_WAITING);
        if (!listener->paused)
            listener_begin_accept(proactor, listener);
    }
    return count;
}

int64_t proactor_accept_patience(const struct proactor_engine *proactor)
{
    int64_t left_ns = proactor->accepting.descriptor_freed ? 0 : proactor->accepting.retry_at - clock_now();

    return left_ns > 0 ? left_ns : 0;
}
