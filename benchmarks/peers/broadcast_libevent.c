/* A broadcast server with libevent: sends each received message of 1 KiB to all connections, at once by send(2) to those whose output
 * is empty; what a socket does not take, as counted references to one copy (evbuffer_add_reference; faster here than the copies of
 * bufferevent_write). The base uses the epoll changelist, which saves epoll_ctl(2) calls when a connection is written to
 * repeatedly. */
#include "benchmarks/peers/server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { MESSAGE_BYTES = 1024, CONNECTIONS_MAX = 65536 };

struct message {
    size_t references;
    unsigned char bytes[MESSAGE_BYTES];
};

static struct bufferevent *connections[CONNECTIONS_MAX];
static size_t connection_count;

static void release(const void *data, size_t length, void *arg)
{
    struct message *message = arg;

    if (--message->references == 0)
        free(message);
}

static void send_to(struct bufferevent *connection, struct message *message)
{
    struct evbuffer *output = bufferevent_get_output(connection);
    ssize_t sent = 0;

    if (evbuffer_get_length(output) == 0)
        sent = send(bufferevent_getfd(connection), message->bytes, MESSAGE_BYTES, 0);
    if (sent < 0) /* the socket is full; other errors are reported to on_event */
        sent = 0;
    if (sent == MESSAGE_BYTES)
        release(NULL, 0, message);
    else if (evbuffer_add_reference(output, message->bytes + sent, MESSAGE_BYTES - (size_t)sent, release, message) < 0)
        abort();
}

static void broadcast(struct message *message)
{
    message->references = 1 + connection_count;
    for (size_t i = 0; i < connection_count; i++)
        send_to(connections[i], message);
    release(NULL, 0, message);
}

static void on_read(struct bufferevent *connection, void *arg)
{
    struct evbuffer *input = bufferevent_get_input(connection);

    while (evbuffer_get_length(input) >= MESSAGE_BYTES) {
        struct message *message = malloc(sizeof(*message));
        if (message == NULL)
            abort();
        evbuffer_remove(input, message->bytes, MESSAGE_BYTES);
        broadcast(message);
    }
}

static void on_event(struct bufferevent *connection, short events, void *arg)
{
    if ((events & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) == 0)
        return;
    for (size_t i = 0; i < connection_count; i++)
        if (connections[i] == connection)
            connections[i--] = connections[--connection_count];
    bufferevent_free(connection);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
                      void *arg)
{
    struct bufferevent *connection =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);

    if (connection == NULL || connection_count == CONNECTIONS_MAX)
        abort();
    connections[connection_count++] = connection;
    bufferevent_setcb(connection, on_read, NULL, on_event, NULL);
    bufferevent_enable(connection, EV_READ | EV_WRITE);
}

static struct event_base *make_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base;

    if (config == NULL)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

int main(int argc, char **argv)
{
    struct event_base *base = make_base();

    signal(SIGPIPE, SIG_IGN);
    if (base == NULL ||
        evconnlistener_new(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 0, server_listen(argc, argv, NULL)) == NULL)
        return 1;
    return event_base_dispatch(base) < 0;
}
