/* An echo server with libuv. Received bytes are written at once (uv_try_write); only the rest of a short write is
 * copied and queued (uv_write). One buffer serves all reads. With the argument "frames" it decodes length-prefixed
 * frames, and sends the responses to the frames of one read in one write. With "discard" it drops all bytes. With
 * "documented" and "documented-frames" it does as the echo server of libuv's guide: a buffer is allocated for each read,
 * and each answer is a write request. */
#include "benchmarks/peers/server.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { BUFFER_BYTES = 65536, BACKLOG = 4096 };

struct connection {
    uv_tcp_t tcp;
    unsigned char *pending; /* bytes of an incomplete frame */
    size_t pending_bytes;
};

struct write {
    uv_write_t request;
    char bytes[];
};

static char buffer[BUFFER_BYTES];
static unsigned char *answers;
static size_t answers_room;
static struct server_form form;

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = (struct connection *)handle;

    free(connection->pending);
    free(connection);
}

static void on_written(uv_write_t *request, int status)
{
    free(request);
}

static void write_bytes(uv_stream_t *stream, char *bytes, size_t length)
{
    uv_buf_t piece = uv_buf_init(bytes, (unsigned)length);
    int written = uv_try_write(stream, &piece, 1);
    size_t rest = length - (written > 0 ? (size_t)written : 0);
    struct write *later;

    if (rest == 0 || (written < 0 && written != UV_EAGAIN))
        return;
    later = malloc(sizeof(*later) + rest);
    if (later == NULL)
        abort();
    memcpy(later->bytes, bytes + length - rest, rest);
    piece = uv_buf_init(later->bytes, (unsigned)rest);
    if (uv_write(&later->request, stream, &piece, 1, on_written) < 0)
        free(later);
}

/* The form of the guide: bytes belongs to the request. */
static void write_request(uv_stream_t *stream, const char *bytes, size_t length)
{
    struct write *write = malloc(sizeof(*write) + length);
    uv_buf_t piece;

    if (write == NULL)
        abort();
    memcpy(write->bytes, bytes, length);
    piece = uv_buf_init(write->bytes, (unsigned)length);
    if (uv_write(&write->request, stream, &piece, 1, on_written) < 0)
        free(write);
}

static void write_each_frame(uv_stream_t *stream, const unsigned char *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        size_t frame = server_frame_bytes(bytes + done);
        write_request(stream, (const char *)bytes + done, frame);
        done += frame;
    }
}

/* Answers the complete frames and keeps the bytes of an incomplete one. */
static void answer_frames(struct connection *connection, const char *bytes, size_t length)
{
    const unsigned char *all = (const unsigned char *)bytes;
    size_t answered;

    if (connection->pending_bytes > 0) {
        connection->pending = realloc(connection->pending, connection->pending_bytes + length);
        if (connection->pending == NULL)
            abort();
        memcpy(connection->pending + connection->pending_bytes, bytes, length);
        all = connection->pending;
        length += connection->pending_bytes;
    }
    answered = server_answer_frames(all, length, &answers, &answers_room);
    if (answered < length) {
        unsigned char *rest = malloc(length - answered);
        if (rest == NULL)
            abort();
        memcpy(rest, all + answered, length - answered);
        free(connection->pending);
        connection->pending = rest;
    }
    connection->pending_bytes = length - answered;
    if (answered > 0 && form.documented)
        write_each_frame((uv_stream_t *)&connection->tcp, answers, answered);
    else if (answered > 0)
        write_bytes((uv_stream_t *)&connection->tcp, (char *)answers, answered);
}

static void on_documented_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece)
{
    if (length < 0)
        uv_close((uv_handle_t *)stream, on_closed);
    else if (form.cuts_frames)
        answer_frames((struct connection *)stream, piece->base, (size_t)length);
    else if (length > 0)
        write_request(stream, piece->base, (size_t)length);
    free(piece->base);
}

static void on_documented_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *piece)
{
    char *bytes = malloc(suggested);

    *piece = uv_buf_init(bytes, bytes != NULL ? (unsigned)suggested : 0);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece)
{
    if (length < 0)
        uv_close((uv_handle_t *)stream, on_closed);
    else if (form.cuts_frames)
        answer_frames((struct connection *)stream, piece->base, (size_t)length);
    else if (!form.discards)
        write_bytes(stream, piece->base, (size_t)length);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *piece)
{
    *piece = uv_buf_init(buffer, sizeof(buffer));
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct connection *connection = status < 0 ? NULL : calloc(1, sizeof(*connection));

    if (connection == NULL)
        return;
    uv_tcp_init(listener->loop, &connection->tcp);
    if (uv_accept(listener, (uv_stream_t *)&connection->tcp) < 0)
        uv_close((uv_handle_t *)&connection->tcp, on_closed);
    else
        uv_read_start((uv_stream_t *)&connection->tcp, form.documented ? on_documented_allocate : on_allocate,
                      form.documented ? on_documented_read : on_read);
}

int main(int argc, char **argv)
{
    const char *word;
    int fd = server_listen(argc, argv, &word);
    uv_tcp_t listener;

    signal(SIGPIPE, SIG_IGN);
    form = server_form_of(word);
    uv_tcp_init(uv_default_loop(), &listener);
    if (uv_tcp_open(&listener, fd) < 0 || uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection) < 0)
        return 1;
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
