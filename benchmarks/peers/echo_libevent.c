/* An echo server with libevent's bufferevents, as in its documentation. With the argument "frames" it decodes
 * length-prefixed frames and writes a response to each; the bufferevent gathers the responses. With "discard" it drops all
 * bytes. */
#include "benchmarks/peers/server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>

static int cuts_frames, discards;

static void on_read(struct bufferevent *connection, void *arg)
{
    struct evbuffer *input = bufferevent_get_input(connection);

    if (discards)
        evbuffer_drain(input, evbuffer_get_length(input));
    else
        evbuffer_add_buffer(bufferevent_get_output(connection), input);
}

static void on_read_frames(struct bufferevent *connection, void *arg)
{
    struct evbuffer *input = bufferevent_get_input(connection);
    uint32_t length;

    while (evbuffer_copyout(input, &length, sizeof(length)) == sizeof(length)) {
        size_t frame = sizeof(length) + ntohl(length);
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

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
                      void *arg)
{
    struct bufferevent *connection =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);

    if (connection == NULL)
        return;
    bufferevent_setcb(connection, cuts_frames ? on_read_frames : on_read, NULL, on_event, NULL);
    bufferevent_enable(connection, EV_READ | EV_WRITE);
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    const char *word;
    int fd;

    signal(SIGPIPE, SIG_IGN);
    fd = server_listen(argc, argv, &word);
    cuts_frames = word != NULL && strcmp(word, "frames") == 0;
    discards = word != NULL && strcmp(word, "discard") == 0;
    if (base == NULL || evconnlistener_new(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 0, fd) == NULL)
        return 1;
    return event_base_dispatch(base) < 0;
}
