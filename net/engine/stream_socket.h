/* What engines do alike with a stream and its socket. */
#ifndef NET_ENGINE_STREAM_SOCKET_H
#define NET_ENGINE_STREAM_SOCKET_H

#include "net/engine/engine_events.h"

enum { SEND_PIECES = 64 }; /* in one gathered send: 1 MiB of large blocks; IOV_MAX is 1024 */

/* Of engine_flags, which mean what the engine says. */
static inline void set_flag(struct stream *stream, unsigned flag)
{
    stream->engine_flags |= (uint16_t)flag;
}

static inline void clear_flag(struct stream *stream, unsigned flag)
{
    stream->engine_flags &= (uint16_t)~flag;
}

static inline bool has_flag(const struct stream *stream, unsigned flag)
{
    return (stream->engine_flags & flag) != 0;
}

/* One send of what is first in the output queue, of a file about most bytes. Returns the bytes the kernel took, perhaps 0,
 * or a negative error. */
ssize_t socket_stream_send(struct stream *stream, size_t most);

/* FIN. Returns 0, or the error with which the connection is broken. */
int socket_stream_shut_down(const struct stream *stream);

/* Before a close without reset: gives the kernel what it takes of the output without waiting, which is reported as sent;
 * and, unless the peer's FIN has come (ended), drops the input that has arrived. */
void socket_stream_settle(struct stream *stream, bool ended);

/* Closes the socket: with RST if reset. */
void socket_stream_close(struct stream *stream, bool reset);

#endif
