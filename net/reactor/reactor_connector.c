/* Connector: a socket that is connecting is writable when that is over, whichever way it went (connect(2)). */
#include "net/reactor/reactor.h"

#include <jinduo/error.h>

/* The socket leaves the poller even if it stays open: the stream that it becomes puts it there in its own way. */
static void end(struct reactor *reactor, struct connector *connector, int error, const struct peer_address *peer)
{
    socket_handle socket = connector->socket;

    connector->socket = SOCKET_NONE;
    poller_remove(&reactor->poller, socket);
    if (error < 0) {
        socket_close(socket);
        reactor->descriptor_freed = true;
        socket = SOCKET_NONE;
    }
    connector->connected(connector, error, socket, peer);
}

int connector_connect(struct engine *engine, struct connector *connector)
{
    struct reactor *reactor = reactor_of(engine);
    uint64_t token = reactor_token(TOKEN_CONNECTOR, (uint64_t)(uintptr_t)connector);
    int result =
        socket_open_to_connect(&connector->socket, &connector->endpoint, &connector->local, &connector->options);

    if (result < 0)
        return result;
    result = socket_connect(connector->socket, &connector->endpoint);
    /* Only now: before, a socket is told to be hung up. One that is connected already has its edge at once. */
    if (result == 0)
        result = poller_add(&reactor->poller, connector->socket, EPOLLOUT | EPOLLET, token);
    if (result < 0) {
        socket_close(connector->socket);
        connector->socket = SOCKET_NONE;
        reactor->descriptor_freed = true;
    }
    return result;
}

void connector_abandon(struct engine *engine, struct connector *connector)
{
    end(reactor_of(engine), connector, JD_ECANCELED, NULL);
}

void connector_event(struct reactor *reactor, struct connector *connector)
{
    struct peer_address peer;

    /* A callback before it in this turn may have abandoned it; it connects again, or is freed, in a later task only. */
    if (connector->socket != SOCKET_NONE)
        end(reactor, connector, socket_finish_connect(connector->socket, &peer), &peer);
}
