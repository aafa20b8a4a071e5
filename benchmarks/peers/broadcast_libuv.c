/* A broadcast server with libuv: sends the complete messages of 1 KiB that it has received to all connections, with one
 * uv_try_write for each connection, the form with the least calls. It does not handle peers that do not read: a short
 * write aborts the program. */
#include "benchmarks/peers/server.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { MESSAGE_BYTES = 1024, BUFFER_BYTES = 65536, BACKLOG = 4096, CONNECTIONS_MAX = 65536 };

static uv_tcp_t *connections[CONNECTIONS_MAX];
static size_t connection_count;
static char input[BUFFER_BYTES]; /* for all connections: only one of them sends */
static size_t input_bytes;

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void drop(uv_stream_t *stream)
{
    for (size_t i = 0; i < connection_count; i++)
        if (connections[i] == (uv_tcp_t *)stream)
            connections[i--] = connections[--connection_count];
    uv_close((uv_handle_t *)stream, on_closed);
}

static void broadcast(size_t length)
{
    uv_buf_t piece = uv_buf_init(input, (unsigned)length);

    for (size_t i = 0; i < connection_count; i++)
        if (uv_try_write((uv_stream_t *)connections[i], &piece, 1) != (int)length)
            abort();
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *piece)
{
    size_t complete;

    if (length < 0) {
        drop(stream);
        return;
    }
    input_bytes += (size_t)length;
    complete = input_bytes / MESSAGE_BYTES * MESSAGE_BYTES;
    if (complete == 0)
        return;
    broadcast(complete);
    input_bytes -= complete;
    memmove(input, input + complete, input_bytes);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *piece)
{
    *piece = uv_buf_init(input + input_bytes, (unsigned)(sizeof(input) - input_bytes));
}

static void on_connection(uv_stream_t *listener, int status)
{
    uv_tcp_t *connection = status < 0 || connection_count == CONNECTIONS_MAX ? NULL : calloc(1, sizeof(*connection));

    if (connection == NULL)
        abort();
    uv_tcp_init(listener->loop, connection);
    if (uv_accept(listener, (uv_stream_t *)connection) < 0 ||
        uv_read_start((uv_stream_t *)connection, on_allocate, on_read) < 0)
        abort();
    connections[connection_count++] = connection;
}

int main(int argc, char **argv)
{
    int fd = server_listen(argc, argv, NULL);
    uv_tcp_t listener;

    signal(SIGPIPE, SIG_IGN);
    uv_tcp_init(uv_default_loop(), &listener);
    if (uv_tcp_open(&listener, fd) < 0 || uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection) < 0)
        return 1;
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
