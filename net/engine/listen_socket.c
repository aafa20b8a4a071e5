#include "net/engine/listen_socket.h"

enum { ACCEPT_REST_MAX = 64 * 1024 }; /* more than a queue holds; a bound, because clients may refill it without end */

int listen_socket_open(struct listener *listener)
{
    return socket_listen(&listener->socket, &listener->endpoint, &listener->options, &listener->bound, &listener->path);
}

void listen_socket_accept_rest(struct listener *listener)
{
    for (int i = 0; i < ACCEPT_REST_MAX && !listener->paused; i++) {
        struct peer_address peer;
        socket_handle socket;

        if (socket_accept(listener->socket, &socket, &peer) < 0)
            return;
        listener->accepted(listener, socket, &peer);
    }
}
