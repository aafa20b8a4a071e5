/* Accepting by a continuous operation for each listener. Out of descriptors or memory it ends, and is begun again when a
 * descriptor has been freed here or, as others may free some, now and then. */
#include "base/clock.h"
#include "base/memory.h"
#include "proactor/proactor_engine.h"

#include <jinduo/error.h>
#include <string.h>

enum {
    RETRY_AFTER_NS = 100 * 1000000,
    REFUSALS_MAX = 128, /* in a row: beyond, it is the system that refuses, not one connection that has failed */
};

/* One time of listening: the listener may listen again before the end of this one has been told. */
struct proactor_listener {
    struct proactor_listener *next; /* on the list of starved ones */
    struct listener *listener;
    socket_handle socket;
    jd_endpoint bound;
    unsigned refusals;
    bool accepting; /* the operation is under way */
    bool closed;
    bool starved; /* or about to begin */
};

static uint64_t token_of(const struct proactor_listener *accepting)
{
    return proactor_token(COMPLETES_ACCEPT, (uint64_t)(uintptr_t)accepting);
}

static int accept_many(struct proactor_engine *proactor, struct proactor_listener *accepting)
{
    const struct operation_request request = {
        .kind = OPERATION_ACCEPT_MANY,
        .token = token_of(accepting),
        .fd = accepting->socket,
    };
    int result = proactor_submit(proactor, &request);

    accepting->accepting = result == 0;
    return result;
}

/* ---- beginning and end ---- */

static void put_on_starved(struct proactor_engine *proactor, struct proactor_listener *accepting)
{
    accepting->starved = true;
    accepting->next = proactor->starved_listeners;
    proactor->starved_listeners = accepting;
}

/* Accepting begins with the next turn: a server that cannot have all its endpoints gives this one up with nothing under
 * way. */
int proactor_listen(struct engine *engine, struct listener *listener)
{
    struct proactor_engine *proactor = proactor_of(engine);
    struct proactor_listener *accepting = memory_allocate_zeroed(sizeof(*accepting));
    int result;

    if (accepting == NULL)
        return JD_ENOMEM;
    result = socket_listen(&accepting->socket, &listener->endpoint, &listener->options, &listener->bound);
    if (result < 0) {
        memory_release(accepting, sizeof(*accepting));
        return result;
    }
    accepting->listener = listener;
    accepting->bound = listener->bound;
    listener->socket = accepting->socket;
    listener->engine_data = accepting;
    put_on_starved(proactor, accepting);
    proactor->descriptor_freed = true;
    return 0;
}

static void take_from_starved(struct proactor_engine *proactor, struct proactor_listener *accepting)
{
    struct proactor_listener **link = &proactor->starved_listeners;

    while (*link != accepting)
        link = &(*link)->next;
    *link = accepting->next;
    accepting->starved = false;
}

static void finish(struct proactor_listener *accepting)
{
    struct listener *listener = accepting->listener;

    socket_close(accepting->socket);
    memory_release(accepting, sizeof(*accepting));
    listener_closed(listener);
}

void proactor_unlisten(struct engine *engine, struct listener *listener)
{
    struct proactor_engine *proactor = proactor_of(engine);
    struct proactor_listener *accepting = listener->engine_data;

    listener->socket = SOCKET_NONE;
    listener->engine_data = NULL;
    accepting->closed = true;
    if (accepting->starved)
        take_from_starved(proactor, accepting);
    /* The operation holds the socket open, but its address is free from here on. */
    socket_end_listening(accepting->socket, &accepting->bound);
    if (accepting->accepting)
        proactor_cancel(proactor, accepting->socket, token_of(accepting));
    else
        finish(accepting);
}

/* ---- completions ---- */

static void starve(struct proactor_engine *proactor, struct proactor_listener *accepting, int error)
{
    proactor->retry_accept_at = clock_now() + RETRY_AFTER_NS;
    proactor->descriptor_freed = false;
    put_on_starved(proactor, accepting);
    listener_starved(accepting->listener, error);
}

/* One that has been reset already has no peer to name any more: as if accepting had said ECONNABORTED. */
static void deliver(struct proactor_listener *accepting, socket_handle socket)
{
    struct peer_address peer;
    int result = accepting->closed ? JD_ECANCELED : socket_peer_address(socket, &peer);

    accepting->refusals = 0;
    if (result < 0)
        socket_close(socket);
    else
        accepting->listener->accepted(accepting->listener, socket, &peer);
}

static bool is_passing(struct proactor_listener *accepting, int64_t error)
{
    if (error == JD_ECANCELED || error == JD_EINTR || error == JD_EAGAIN)
        return true;
    return socket_is_connection_error((int)error) && accepting->refusals++ < REFUSALS_MAX;
}

void proactor_accepted(struct proactor_engine *proactor, const struct completion *completion)
{
    struct proactor_listener *accepting =
        (struct proactor_listener *)(uintptr_t)proactor_token_value(completion->token);
    int result = 0;

    if (completion->result >= 0)
        deliver(accepting, (socket_handle)completion->result);
    else if (!is_passing(accepting, completion->result))
        result = (int)completion->result;
    if (completion->more)
        return;
    accepting->accepting = false;
    if (accepting->closed) {
        finish(accepting);
        return;
    }
    if (result == 0)
        result = accept_many(proactor, accepting);
    if (result < 0)
        starve(proactor, accepting, result);
}

unsigned proactor_retry_accepting(struct proactor_engine *proactor)
{
    struct proactor_listener *accepting = proactor->starved_listeners;
    unsigned count = 0;

    if (!proactor->descriptor_freed && clock_now() < proactor->retry_accept_at)
        return 0;
    proactor->descriptor_freed = false;
    proactor->starved_listeners = NULL;
    for (struct proactor_listener *next; accepting != NULL; accepting = next, count++) {
        int result;
        next = accepting->next;
        accepting->starved = false;
        result = accept_many(proactor, accepting);
        if (result < 0)
            starve(proactor, accepting, result);
    }
    return count;
}
