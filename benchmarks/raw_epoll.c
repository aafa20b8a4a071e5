/* raw-epoll: a minimal echo server written directly on epoll, the baseline for jinduo's Reactor. One thread;
 * edge-triggered, armed once; one buffer for all connections; received bytes are sent at once. --trigger=level is the same
 * loop level-triggered: it waits for room to send only while bytes are left, which costs two calls of epoll_ctl(2) each
 * time. */
#include "benchmarks/raw_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 65536, EVENTS_PER_WAIT = 512 };

/* Unsent bytes, by descriptor. Untouched pages of the array take no memory. */
static struct remainder {
    unsigned char *bytes;
    size_t begin, end;
} remainders[RAW_CONNECTIONS_MAX];

static unsigned char buffer[BUFFER_BYTES];
static int epoll_fd;
static bool level_triggered;

static void close_connection(int fd)
{
    free(remainders[fd].bytes);
    remainders[fd] = (struct remainder){ 0 };
    close(fd);
}

/* Returns the bytes sent (0: the send buffer is full), or -1 if the connection is broken. */
static ssize_t send_some(int fd, const unsigned char *bytes, size_t length)
{
    ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);

    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static bool keep_remainder(int fd, const unsigned char *bytes, size_t length)
{
    unsigned char *copy = malloc(length);

    if (copy == NULL)
        return false;
    memcpy(copy, bytes, length);
    remainders[fd] = (struct remainder){ copy, 0, length };
    return true;
}

/* Returns false if the connection is broken. */
static bool send_remainder(int fd)
{
    struct remainder *rest = &remainders[fd];
    ssize_t sent = send_some(fd, rest->bytes + rest->begin, rest->end - rest->begin);

    if (sent < 0)
        return false;
    rest->begin += (size_t)sent;
    if (rest->begin == rest->end) {
        free(rest->bytes);
        *rest = (struct remainder){ 0 };
    }
    return true;
}

/* Reads until the socket is drained or the send buffer is full; then EPOLLOUT resumes reading. Returns false if the
 * connection has to be closed. */
static bool echo(int fd, uint32_t events)
{
    while (remainders[fd].bytes == NULL) {
        ssize_t received = recv(fd, buffer, sizeof(buffer), 0);
        ssize_t sent;
        if (received <= 0)
            return received < 0 && errno == EAGAIN;
        sent = raw_server_discards ? received : send_some(fd, buffer, (size_t)received);
        if (sent < 0 || (sent < received && !keep_remainder(fd, buffer + sent, (size_t)(received - sent))))
            return false;
        /* A short read means that the socket is drained, but a FIN may have arrived in the same event. */
        if (received < BUFFER_BYTES && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0)
            return true;
    }
    return true;
}

static void watch(int fd, uint32_t events, int operation)
{
    struct epoll_event event = { .events = events, .data.fd = fd };

    if (epoll_ctl(epoll_fd, operation, fd, &event) < 0)
        close_connection(fd);
}

/* One receive for each event: what is left is reported again. */
static void on_level_event(int fd, uint32_t events)
{
    bool had_remainder = remainders[fd].bytes != NULL;
    bool alive = had_remainder ? send_remainder(fd) : echo(fd, events & ~(uint32_t)EPOLLRDHUP);
    bool has_remainder = remainders[fd].bytes != NULL;

    if (!alive)
        close_connection(fd);
    else if (has_remainder != had_remainder)
        watch(fd, has_remainder ? EPOLLOUT : EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
}

static void on_event(int fd, uint32_t events)
{
    bool had_remainder = remainders[fd].bytes != NULL;

    if (level_triggered)
        on_level_event(fd, events);
    else if ((had_remainder && !send_remainder(fd)) || (((events & ~(uint32_t)EPOLLOUT) != 0 || had_remainder) &&
                                                        !echo(fd, had_remainder ? events | EPOLLRDHUP : events)))
        close_connection(fd);
}

static void accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0 || errno == ECONNABORTED) {
        uint32_t events = level_triggered ? EPOLLIN | EPOLLRDHUP : EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        struct epoll_event event = { .events = events, .data.fd = fd };
        if (fd >= 0 && (fd >= RAW_CONNECTIONS_MAX || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0))
            close(fd);
    }
}

static int serve(int listener, bool spin)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.fd = listener };

    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        return errno;
    raw_server_ready(listener);
    while (!raw_server_stopped) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, spin ? 0 : -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(listener);
            else
                on_event(events[i].data.fd, events[i].events);
        }
    }
    return 0;
}

static bool take_trigger(const char *value)
{
    level_triggered = strcmp(value, "level") == 0;
    return level_triggered || strcmp(value, "edge") == 0;
}

int main(int argc, char **argv)
{
    static const struct raw_server server = {
        .name = "raw-epoll",
        .engine = "raw",
        .help = "Echo server written directly on epoll: the baseline for jinduo's Reactor.\n\n"
                "  --trigger=HOW       edge or level: how epoll reports (default edge)\n",
        .option = { "trigger", required_argument, NULL, 't' },
        .allowed = "edge or level",
        .take_option = take_trigger,
        .serve = serve,
    };

    return raw_server_main(&server, argc, argv);
}
