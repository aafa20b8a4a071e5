/* Sockets of streams: the code that all engines share. In the loop's thread. */
#ifndef NET_ENGINE_STREAM_SOCKET_H
#define NET_ENGINE_STREAM_SOCKET_H

#include "net/engine/engine_events.h"

enum { SEND_PIECES = 64 }; /* at most in one gathered send: 1 MiB of large blocks; IOV_MAX is 1024 */

/* The engine's bits of stream.flags; each engine defines its own. */
static inline void set_flag(struct stream *stream, unsigned flag)
{
    stream->flags |= flag;
}

static inline void clear_flag(struct stream *stream, unsigned flag)
{
    stream->flags &= ~flag;
}

static inline bool has_flag(const struct stream *stream, unsigned flag)
{
    return (stream->flags & flag) != 0;
}

/* Sends the first bytes of the output queue by one system call; of a file about `most` bytes. Returns the bytes that
 * the kernel took, perhaps 0, or a negative error. Does not remove them from the queue (stream_sent). */
ssize_t socket_stream_send(struct stream *stream, size_t most);

/* Half-closes the socket (sends FIN). Returns 0, or a negative error: the connection is broken. */
int socket_stream_shutdown_write(const struct stream *stream);

/* Sending has failed: what the kernel has of input can still be received, then comes the end. Without this call a
 * connection that is not broken, for example behind a file that was too short, would be received from for ever. Returns
 * false if no end will come, because the call has failed. */
bool socket_stream_end_input(const struct stream *stream);

/* Prepares a close without reset: sends as much of the output queue as the kernel takes without waiting, and reports it
 * as sent. Then drops the input that has arrived, because a close over unread input sends RST; not if the peer's FIN
 * has been received (ended). */
void socket_stream_prepare_close(struct stream *stream, bool ended);

/* Closes the socket; sends RST if reset. */
void socket_stream_close(struct stream *stream, bool reset);

#endif
