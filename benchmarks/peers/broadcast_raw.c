/* A broadcast server written directly on epoll: sends the complete messages of 1 KiB that it has received to all
 * connections, with one send(2) for each connection. It does not handle peers that do not read: a short write aborts
 * the program. */
#include "benchmarks/peers/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 1024, BUFFER_BYTES = 65536, EVENTS_PER_WAIT = 64, CONNECTIONS_MAX = 65536 };

static int connections[CONNECTIONS_MAX];
static size_t connection_count;
static unsigned char input[BUFFER_BYTES]; /* for all connections: only one of them sends */
static size_t input_bytes;

static void accept_all(int epoll_fd, int listener)
{
    int fd, on = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd };
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connection_count == CONNECTIONS_MAX || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            abort();
        connections[connection_count++] = fd;
    }
}

static void drop(int fd)
{
    for (size_t i = 0; i < connection_count; i++)
        if (connections[i] == fd)
            connections[i--] = connections[--connection_count];
    close(fd);
}

static void broadcast(size_t length)
{
    for (size_t i = 0; i < connection_count; i++)
        if (send(connections[i], input, length, MSG_NOSIGNAL) != (ssize_t)length)
            abort();
}

static void serve(int fd)
{
    ssize_t received = recv(fd, input + input_bytes, sizeof(input) - input_bytes, 0);
    size_t complete;

    if (received <= 0) {
        drop(fd);
        return;
    }
    input_bytes += (size_t)received;
    complete = input_bytes / MESSAGE_BYTES * MESSAGE_BYTES;
    if (complete == 0)
        return;
    broadcast(complete);
    input_bytes -= complete;
    memmove(input, input + complete, input_bytes);
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    struct epoll_event event = { .events = EPOLLIN };
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = server_listen(argc, argv, NULL);

    event.data.fd = listener;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        return EXIT_FAILURE;
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll_fd, listener);
            else
                serve(events[i].data.fd);
        }
    }
}
