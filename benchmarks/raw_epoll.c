/* raw-epoll: the echo server that one would write by hand on epoll, and no more: what a framework is compared with. One
 * thread, edge-triggered, armed once; one buffer for all; what was read is sent at once. */
#include "base/endpoint.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BUFFER_BYTES = 65536, CONNECTIONS_MAX = 65536, EVENTS_PER_WAIT = 512, EXIT_USAGE = 2 };

static const char help[] = "Usage: raw-epoll [OPTION]...\n"
                           "Sends back all it receives: a hand-written epoll loop to compare with.\n"
                           "  --listen=ENDPOINT  where to listen (default 127.0.0.1:8000; port 0: any free one)\n"
                           "  --spin             never sleep while waiting for events\n"
                           "  --help             this text\n"
                           "Ends on SIGINT and SIGTERM. Exit status: 0, 1 on failure, 2 for wrong usage.\n";

/* By descriptor: what the peer has not taken yet. Pages of it that are not used cost nothing. */
static struct remainder {
    unsigned char *bytes;
    size_t begin, end;
} remainders[CONNECTIONS_MAX];

static unsigned char buffer[BUFFER_BYTES];
static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    stopped = 1;
}

static void close_connection(int fd)
{
    free(remainders[fd].bytes);
    remainders[fd] = (struct remainder){ 0 };
    close(fd);
}

/* Returns the bytes taken, or -1 if the connection is broken. */
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

/* Returns whether the connection lives on. */
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

/* Reads until drained, or until the peer takes no more: reading goes on when it does. */
static bool echo(int fd, uint32_t events)
{
    while (remainders[fd].bytes == NULL) {
        ssize_t received = recv(fd, buffer, sizeof(buffer), 0);
        ssize_t sent;
        if (received <= 0)
            return received < 0 && errno == EAGAIN;
        sent = send_some(fd, buffer, (size_t)received);
        if (sent < 0 || (sent < received && !keep_remainder(fd, buffer + sent, (size_t)(received - sent))))
            return false;
        /* A short read means drained, but behind it a FIN may have come in the same event. */
        if (received < BUFFER_BYTES && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0)
            return true;
    }
    return true;
}

static void on_event(int fd, uint32_t events)
{
    bool had_remainder = remainders[fd].bytes != NULL;

    if ((had_remainder && !send_remainder(fd)) || (((events & ~(uint32_t)EPOLLOUT) != 0 || had_remainder) &&
                                                   !echo(fd, had_remainder ? events | EPOLLRDHUP : events)))
        close_connection(fd);
}

static void accept_all(int epoll_fd, int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0 || errno == ECONNABORTED) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd };
        if (fd >= 0 && (fd >= CONNECTIONS_MAX || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0))
            close(fd);
    }
}

static int listen_on(const jd_endpoint *endpoint)
{
    const struct sockaddr *address = endpoint_sockaddr(endpoint);
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* accepted sockets inherit it */
    if (fd < 0 || bind(fd, address, endpoint->length) < 0 || listen(fd, SOMAXCONN) < 0)
        return -1;
    return fd;
}

static void say_ready(int listener)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof(bound);
    jd_endpoint endpoint;
    char text[JD_ENDPOINT_TEXT_BYTES];

    getsockname(listener, (struct sockaddr *)&bound, &length);
    endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&bound, length);
    jd_endpoint_format(&endpoint, text, sizeof(text));
    printf("listening on %s engine=raw threads=0\n", text);
    fflush(stdout);
}

static int serve(int listener, bool spin)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.fd = listener };
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        return EXIT_FAILURE;
    say_ready(listener);
    while (!stopped) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, spin ? 0 : -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll_fd, listener);
            else
                on_event(events[i].data.fd, events[i].events);
        }
    }
    return EXIT_SUCCESS;
}

/* Returns -1 to go on, or the status to exit with. */
static int read_options(int argc, char **argv, jd_endpoint *endpoint, bool *spin)
{
    static const struct option options[] = { { "listen", required_argument, NULL, 'l' },
                                             { "spin", no_argument, NULL, 's' },
                                             { "help", no_argument, NULL, 'h' },
                                             { NULL, 0, NULL, 0 } };
    const char *listen = "127.0.0.1:8000", *reason = "not an endpoint";
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        }
        if (option == '?')
            return EXIT_USAGE;
        if (option == 'l')
            listen = optarg;
        *spin |= option == 's';
    }
    if (jd_endpoint_parse(endpoint, listen, &reason) == 0)
        return -1;
    fprintf(stderr, "raw-epoll: --listen %s: %s\n", listen, reason);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = on_signal };
    struct rlimit limit;
    jd_endpoint endpoint;
    bool spin = false;
    int status = read_options(argc, argv, &endpoint, &spin);
    char text[JD_ENDPOINT_TEXT_BYTES];
    int listener, error;

    if (status >= 0)
        return status;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    listener = listen_on(&endpoint);
    if (listener >= 0)
        return serve(listener, spin);
    error = errno;
    jd_endpoint_format(&endpoint, text, sizeof(text));
    fprintf(stderr, "raw-epoll: cannot listen on %s: %s\n", text, strerror(error));
    return EXIT_FAILURE;
}
