/* What engines do alike with a listener and its socket. */
#ifndef NET_ENGINE_LISTEN_SOCKET_H
#define NET_ENGINE_LISTEN_SOCKET_H

#include "net/engine/engine_events.h"

enum {
    /* Out of descriptors or memory: the time until accepting is tried again, as other processes may free some. */
    LISTEN_RETRY_NS = 100 * 1000000,
};

/* Of engine_flags, which mean what the engine says. */
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

/* engine_ops.listen. */
int listen_socket_open(struct listener *listener);

/* Accepts the connections in the kernel's queue, a bounded number, unless the listener is paused: before its socket is
 * closed, which resets them. */
void listen_socket_accept_rest(struct listener *listener);

#endif
