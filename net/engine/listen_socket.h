/* Listening sockets: the code that all engines share. In the loop's thread, except listen_socket_open. */
#ifndef NET_ENGINE_LISTEN_SOCKET_H
#define NET_ENGINE_LISTEN_SOCKET_H

#include "net/engine/engine_events.h"

enum {
    /* Time until accepting is retried after descriptors or memory ran out: another process may free some. */
    LISTEN_RETRY_NS = 100 * 1000000,
};

/* Flags in engine_flags; each engine defines its own. */
static inline void listener_set_flag(struct listener *listener, unsigned flag)
{
    listener->engine_flags |= flag;
}

static inline void listener_clear_flag(struct listener *listener, unsigned flag)
{
    listener->engine_flags &= ~flag;
}

static inline bool listener_has_flag(const struct listener *listener, unsigned flag)
{
    return (listener->engine_flags & flag) != 0;
}

/* Implements engine_ops.listen. From any thread. */
int listen_socket_open(struct listener *listener);

/* Accepts and reports the connections in the socket's queue, a bounded number, unless the listener is paused. To be
 * called before the socket is closed, because closing resets the connections in the queue. */
void listen_socket_accept_rest(struct listener *listener);

#endif
