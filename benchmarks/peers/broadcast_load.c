/* broadcast-load: opens many connections to a broadcast server; the first sends messages, and all receive each. At most
 * --depth messages are in flight: the next is sent when all connections have received the oldest. On each connection
 * every 16th message is compared byte by byte, and the order is checked. Each delivery to one connection counts as a
 * message. */
#include "benchmarks/message.h"
#include "benchmarks/peers/load.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 1024, EVENTS_PER_WAIT = 512, BUFFER_BYTES = 65536, DEPTH_MAX = 64, SILENCE_MS = 10000 };

struct receiver {
    int fd;
    struct message_cursor cursor;
};

static const struct message_format format = {
    .seed = 1, .min_bytes = MESSAGE_BYTES, .max_bytes = MESSAGE_BYTES, .verify = VERIFY_SAMPLE
};

static struct small_load load = { .name = "broadcast-load", .connections = 1000, .depth = 1 };
static struct receiver *receivers;
static struct message_cursor sent;
static unsigned missing[DEPTH_MAX]; /* receivers without the message, by its number modulo the depth */

static void send_next(void)
{
    unsigned char bytes[MESSAGE_BYTES];
    uint64_t number = sent.sequence;

    message_write(&sent, &format, bytes, sizeof(bytes), number + 1);
    missing[number % load.depth] = load.connections;
    if (send(receivers[0].fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != sizeof(bytes))
        small_load_fail(&load, "cannot send");
}

static void open_connections(int epoll_fd)
{
    int on = 1;

    receivers = calloc(load.connections, sizeof(*receivers));
    if (receivers == NULL || load.depth > DEPTH_MAX)
        small_load_fail(&load, "cannot allocate the connections, or --depth is more than 64");
    for (unsigned i = 0; i < load.connections; i++) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = &receivers[i] };
        receivers[i].fd = small_load_connect(&load);
        /* All connections receive the same messages: those of connection number 0. */
        message_cursor_init(&receivers[i].cursor, &format, 0);
        setsockopt(receivers[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        fcntl(receivers[i].fd, F_SETFL, O_NONBLOCK);
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, receivers[i].fd, &event) < 0)
            small_load_fail(&load, "epoll_ctl");
    }
    message_cursor_init(&sent, &format, 0);
}

/* Returns the number of completed messages. Sends the next message for each one that all connections have now
 * received. */
static uint64_t receive(struct receiver *receiver)
{
    static unsigned char bytes[BUFFER_BYTES];
    uint64_t before = receiver->cursor.sequence;
    ssize_t length = recv(receiver->fd, bytes, sizeof(bytes), 0);
    struct message_fault fault;

    if (length < 0 && errno == EAGAIN)
        return 0;
    if (length <= 0)
        small_load_fail(&load, "a connection was lost");
    if (message_check(&receiver->cursor, &format, bytes, (size_t)length, &fault) > 0 ||
        receiver->cursor.sequence > sent.sequence) {
        errno = 0;
        small_load_fail(&load, "received wrong bytes");
    }
    for (uint64_t number = before; number < receiver->cursor.sequence; number++)
        if (--missing[number % load.depth] == 0)
            send_next();
    return receiver->cursor.sequence - before;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    uint64_t received = 0;

    small_load_parse(&load, argc, argv);
    open_connections(epoll_fd);
    /* Wait until the server has accepted all connections; a later one would miss the first message. */
    usleep(300000);
    for (unsigned i = 0; i < load.depth; i++)
        send_next();
    while (!small_load_count(&load, received)) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, SILENCE_MS);
        received = 0;
        if (count == 0) {
            errno = 0;
            small_load_fail(&load, "no message arrived within 10 s");
        }
        for (int i = 0; i < count; i++)
            received += receive(events[i].data.ptr);
    }
    return EXIT_SUCCESS;
}
