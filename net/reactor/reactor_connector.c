/* Connector: a connecting socket becomes writable when it has connected or failed to (connect(2)). */
#include "net/reactor/reactor.h"

#include <jinduo/error.h>

/* Reports the end of the attempt. The socket leaves the poller even if it stays open: its stream registers it anew. */
static void connector_end(struct reactor *reactor, struct connector *connector, int error,
                          const struct peer_address *peer)
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
    /* Registered after connect(2), as epoll reports EPOLLHUP for a socket that is not connecting. If it is connected
     * already, the edge comes at once. */
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
    connector_end(reactor_of(engine), connector, JD_ECANCELED, NULL);
}

void connector_event(struct reactor *reactor, struct connector *connector)
{
    struct peer_address peer;

    /* An earlier callback of this turn may have abandoned the connector. It is used again, or freed, in a later task
     * only. */
    if (connector->socket != SOCKET_NONE)
        connector_end(reactor, connector, socket_finish_connect(connector->socket, &peer), &peer);
}
