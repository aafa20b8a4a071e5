/* An echo server with libevent. In its best form: an event for each connection, and recv(2) and send(2) in its callback; only the
 * rest of a short write is kept, until a second event reports room. With the argument "frames" it decodes length-prefixed
 * frames, and sends the responses to the frames of one receive at once. With "discard" it drops all bytes. With
 * "documented" and "documented-frames" it uses bufferevents, as in libevent's documentation; they gather the responses. */
#include "benchmarks/peers/server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BUFFER_BYTES = 65536 };

static struct server_form form;

/* ---- the best form ---- */

struct connection {
    struct event *readable, *writable;
    struct evbuffer *rest;  /* unsent bytes */
    unsigned char *pending; /* bytes of an incomplete frame */
    size_t pending_bytes;
};

static unsigned char buffer[BUFFER_BYTES];
static unsigned char *answers;
static size_t answers_room;

static void close_connection(struct connection *connection, evutil_socket_t fd)
{
    event_free(connection->readable);
    event_free(connection->writable);
    evbuffer_free(connection->rest);
    free(connection->pending);
    free(connection);
    evutil_closesocket(fd);
}

static void send_bytes(struct connection *connection, evutil_socket_t fd, const unsigned char *bytes, size_t length)
{
    ssize_t sent = 0;

    if (evbuffer_get_length(connection->rest) == 0)
        sent = send(fd, bytes, length, MSG_NOSIGNAL);
    if (sent == (ssize_t)length || (sent < 0 && errno != EAGAIN))
        return;
    evbuffer_add(connection->rest, bytes + (sent > 0 ? sent : 0), length - (sent > 0 ? (size_t)sent : 0));
    event_add(connection->writable, NULL);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct connection *connection = arg;

    if (evbuffer_write(connection->rest, fd) > 0 && evbuffer_get_length(connection->rest) > 0)
        event_add(connection->writable, NULL);
}

static void answer_frames(struct connection *connection, evutil_socket_t fd, const unsigned char *bytes, size_t length)
{
    size_t answered, left;

    if (connection->pending_bytes > 0) {
        connection->pending = realloc(connection->pending, connection->pending_bytes + length);
        if (connection->pending == NULL)
            abort();
        memcpy(connection->pending + connection->pending_bytes, bytes, length);
        bytes = connection->pending;
        length += connection->pending_bytes;
    }
    answered = server_answer_frames(bytes, length, &answers, &answers_room);
    left = length - answered;
    if (left > 0) {
        unsigned char *rest = malloc(left);
        if (rest == NULL)
            abort();
        memcpy(rest, bytes + answered, left);
        free(connection->pending);
        connection->pending = rest;
    }
    connection->pending_bytes = left;
    if (answered > 0)
        send_bytes(connection, fd, answers, answered);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct connection *connection = arg;
    ssize_t received = recv(fd, buffer, sizeof(buffer), 0);

    if (received == 0 || (received < 0 && errno != EAGAIN))
        close_connection(connection, fd);
    else if (received > 0 && form.cuts_frames)
        answer_frames(connection, fd, buffer, (size_t)received);
    else if (received > 0 && !form.discards)
        send_bytes(connection, fd, buffer, (size_t)received);
}

static void open_connection(struct event_base *base, evutil_socket_t fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));

    if (connection == NULL)
        abort();
    connection->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, connection);
    connection->writable = event_new(base, fd, EV_WRITE, on_writable, connection);
    connection->rest = evbuffer_new();
    if (connection->readable == NULL || connection->writable == NULL || connection->rest == NULL ||
        event_add(connection->readable, NULL) < 0)
        abort();
}

/* ---- the documented form ---- */

static void on_read(struct bufferevent *connection, void *arg)
{
    evbuffer_add_buffer(bufferevent_get_output(connection), bufferevent_get_input(connection));
}

static void on_read_frames(struct bufferevent *connection, void *arg)
{
    struct evbuffer *input = bufferevent_get_input(connection);
    unsigned char header[4];

    while (evbuffer_copyout(input, header, sizeof(header)) == sizeof(header)) {
        size_t frame = server_frame_bytes(header);
        if (evbuffer_get_length(input) < frame)
            return;
        bufferevent_write(connection, evbuffer_pullup(input, (ev_ssize_t)frame), frame);
        evbuffer_drain(input, frame);
    }
}

static void on_event(struct bufferevent *connection, short events, void *arg)
{
    if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        bufferevent_free(connection);
}

static void open_bufferevent(struct event_base *base, evutil_socket_t fd)
{
    struct bufferevent *connection = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

    if (connection == NULL)
        return;
    bufferevent_setcb(connection, form.cuts_frames ? on_read_frames : on_read, NULL, on_event, NULL);
    bufferevent_enable(connection, EV_READ | EV_WRITE);
}

/* ---- the server ---- */

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
                      void *arg)
{
    struct event_base *base = evconnlistener_get_base(listener);

    if (form.documented)
        open_bufferevent(base, fd);
    else
        open_connection(base, fd);
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    const char *word;
    int fd;

    signal(SIGPIPE, SIG_IGN);
    fd = server_listen(argc, argv, &word);
    form = server_form_of(word);
    if (base == NULL || evconnlistener_new(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 0, fd) == NULL)
        return 1;
    return event_base_dispatch(base) < 0;
}
