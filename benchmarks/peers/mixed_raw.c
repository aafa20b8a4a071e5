/* A server written directly on epoll with two endpoints: on the first it echoes, on the second it sends a file by
 * sendfile(2) on each connection, then closes it. To see what a file that is not in memory does to the echo. */
#include "benchmarks/peers/server.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 64, CONNECTIONS_MAX = 65536, EXIT_USAGE = 2, BUFFER_BYTES = 65536, PART_BYTES = 1 << 20 };

static struct connection {
    bool sends_file;
    off_t offset;
} connections[CONNECTIONS_MAX];

static int epoll_fd, file = -1, listeners[2];
static off_t file_bytes;

static void accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        bool sends_file = listener == listeners[1];
        struct epoll_event event = { .events = sends_file ? EPOLLOUT : EPOLLIN | EPOLLRDHUP, .data.fd = fd };
        if (fd >= CONNECTIONS_MAX || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            close(fd);
        else
            connections[fd] = (struct connection){ .sends_file = sends_file };
    }
}

/* One part for each event, level-triggered: the others are not kept waiting for the whole file. */
static bool send_part(int fd)
{
    struct connection *connection = &connections[fd];
    off_t rest = file_bytes - connection->offset;
    ssize_t sent = sendfile(fd, file, &connection->offset, rest < PART_BYTES ? (size_t)rest : PART_BYTES);

    return connection->offset < file_bytes && (sent > 0 || (sent < 0 && errno == EAGAIN));
}

static bool echo(int fd)
{
    static unsigned char buffer[BUFFER_BYTES];
    ssize_t received = recv(fd, buffer, sizeof(buffer), 0);

    if (received < 0)
        return errno == EAGAIN;
    return received > 0 && send(fd, buffer, (size_t)received, MSG_NOSIGNAL) == received;
}

static void on_event(int fd)
{
    if (fd == listeners[0] || fd == listeners[1])
        accept_all(fd);
    else if (!(connections[fd].sends_file ? send_part(fd) : echo(fd)))
        close(fd);
}

static int listen_on(char *program, char *endpoint)
{
    char option[] = "--listen";
    char *words[] = { program, option, endpoint, NULL };
    struct epoll_event event = { .events = EPOLLIN };

    optind = 1;
    event.data.fd = server_listen(3, words, NULL);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
    return event.data.fd;
}

/* Returns whether there are two endpoints and a file. */
static bool read_options(int argc, char **argv, char **endpoints)
{
    static const struct option options[] = { { "listen", required_argument, NULL, 'l' },
                                             { "file", required_argument, NULL, 'f' },
                                             { NULL, 0, NULL, 0 } };
    struct stat status;
    int option, count = 0;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'l' && count < 2)
            endpoints[count++] = optarg;
        if (option == 'f')
            file = open(optarg, O_RDONLY | O_CLOEXEC);
    }
    if (count != 2 || file < 0 || fstat(file, &status) < 0)
        return false;
    file_bytes = status.st_size;
    return true;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    char *endpoints[2];

    signal(SIGPIPE, SIG_IGN);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!read_options(argc, argv, endpoints)) {
        fprintf(stderr, "Usage: %s --listen ENDPOINT --listen ENDPOINT --file PATH\n", argv[0]);
        return EXIT_USAGE;
    }
    for (int i = 0; i < 2; i++)
        listeners[i] = listen_on(argv[0], endpoints[i]);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
        for (int i = 0; i < count; i++)
            on_event(events[i].data.fd);
    }
}
