#include "net/socket_stream.h"

#include <jinduo/error.h>

enum { DROP_MAX_BYTES = 16 * 1024 * 1024 }; /* more than kernels keep for a socket (tcp(7), tcp_rmem) */

int socket_stream_shut_down(const struct stream *stream)
{
    int result = socket_shutdown_write(stream->socket);

    /* ENOTCONN: reset meanwhile; what by is waiting on the socket. */
    if (result == JD_ENOTCONN && socket_error(stream->socket) < 0)
        result = JD_ECONNRESET;
    return result;
}

static void send_rest(struct stream *stream)
{
    while (output_queue_bytes(&stream->output) > 0) {
        struct iovec pieces[SEND_PIECES];
        size_t total;
        int count = output_queue_pieces(&stream->output, pieces, SEND_PIECES, &total);
        ssize_t sent = socket_send(stream->socket, pieces, count);

        if (sent < 0)
            return;
        stream_sent(stream, (size_t)sent);
    }
}

/* Input that has arrived and nobody wants any more: closing over it would send RST. Bounded, as a peer may send for ever. */
static void drop_input(const struct stream *stream)
{
    struct block *block = event_loop_receive_block(stream->loop);
    size_t left = DROP_MAX_BYTES;
    ssize_t received = 1;

    while (block != NULL && received > 0 && left > 0) {
        received = socket_receive(stream->socket, block->data, block->capacity);
        left -= received > 0 && (size_t)received < left ? (size_t)received : left;
    }
    if (block != NULL)
        block_put(block);
}

void socket_stream_settle(struct stream *stream, bool ended)
{
    send_rest(stream);
    if (!ended)
        drop_input(stream);
}

void socket_stream_close(struct stream *stream, bool reset)
{
    if (reset)
        socket_reset_on_close(stream->socket);
    else if (stream->shared_descriptor)
        socket_shutdown_write(stream->socket); /* with a duplicate open, closing alone sends no FIN */
    socket_close(stream->socket);
    stream->socket = SOCKET_NONE;
}
