#include "net/engine/stream_socket.h"

#include <jinduo/error.h>

/* Bounds for a close that must not wait for the peer: more than the kernel buffers for a socket (tcp(7), tcp_rmem and
 * tcp_wmem). Without them, a peer that sends, or reads, as fast as this thread would keep a close busy without end. */
enum { CLOSE_DROP_MAX_BYTES = 16 * 1024 * 1024, CLOSE_SEND_MAX_BYTES = 16 * 1024 * 1024 };

int socket_stream_shutdown_write(const struct stream *stream)
{
    int result = socket_shutdown_write(stream->socket);

    /* The socket was connected, so ENOTCONN means a reset. SO_ERROR need not report it: another call on the socket may
     * have fetched and cleared the error. */
    if (result == JD_ENOTCONN) {
        int error = socket_error(stream->socket);
        return error < 0 ? error : JD_ECONNRESET;
    }
    return result;
}

bool socket_stream_end_input(const struct stream *stream)
{
    int result = socket_shutdown_read(stream->socket);

    /* On a broken connection the call fails with JD_ENOTCONN, but wakes a receive that waits, and there is an end. */
    return result == 0 || (result == JD_ENOTCONN && !socket_awaits_input(stream->socket));
}

/* Sends from the file that is first in the output queue. Returns the bytes sent, perhaps 0, or a negative error. */
static ssize_t send_file(struct stream *stream, size_t most)
{
    const struct output_reference *file = output_queue_first_file(&stream->output);
    size_t size = file->length < most ? (size_t)file->length : most;
    ssize_t sent = socket_send_file(stream->socket, file->fd, file->offset, size);

    if (sent == JD_EINVAL || sent == JD_ENOSYS)
        return stream_read_file(stream, most);
    return sent == 0 ? JD_ENODATA : sent;
}

ssize_t socket_stream_send(struct stream *stream, size_t most)
{
    const struct block *only = output_queue_only_block(&stream->output);
    jd_iovec pieces[SEND_PIECES];
    size_t total;
    bool more;
    int count;

    if (only != NULL)
        return socket_send_bytes(stream->socket, only->data + only->begin, block_length(only));
    count = output_queue_pieces(&stream->output, pieces, SEND_PIECES, &total, &more);
    if (count == 0)
        return send_file(stream, most);
    return more ? socket_send_more(stream->socket, pieces, count) : socket_send(stream->socket, pieces, count);
}

static void send_rest(struct stream *stream)
{
    size_t left = CLOSE_SEND_MAX_BYTES;

    while (output_queue_bytes(&stream->output) > 0 && left > 0) {
        ssize_t sent = socket_stream_send(stream, left);
        if (sent < 0)
            return;
        stream_sent(stream, (size_t)sent);
        left -= (size_t)sent < left ? (size_t)sent : left;
    }
}

static void drop_input(const struct stream *stream)
{
    struct block *block = event_loop_receive_block(stream->loop);
    size_t left = CLOSE_DROP_MAX_BYTES;
    ssize_t received = 1;

    while (block != NULL && received > 0 && left > 0) {
        received = socket_receive(stream->socket, block->data, block->capacity);
        left -= received > 0 && (size_t)received < left ? (size_t)received : left;
    }
    if (block != NULL)
        block_release(block);
}

void socket_stream_prepare_close(struct stream *stream, bool ended)
{
    send_rest(stream);
    if (!ended)
        drop_input(stream);
}

void socket_stream_close(struct stream *stream, bool reset)
{
    if (reset)
        socket_reset_on_close(stream->socket);
    else if (has_flag(stream, STREAM_SHARED_DESCRIPTOR))
        socket_shutdown_write(stream->socket); /* close sends no FIN while a duplicate of the descriptor is open */
    socket_close(stream->socket);
    stream->socket = SOCKET_NONE;
}
