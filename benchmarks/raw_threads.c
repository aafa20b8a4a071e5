/* raw-threads: a minimal echo server with a thread for each connection, which blocks in each call: the model before
 * Reactors. */
#include "benchmarks/raw_server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 65536, STACK_BYTES = 2 * BUFFER_BYTES };

static bool send_all(int fd, const unsigned char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

static void *serve_connection(void *arg)
{
    int fd = (int)(intptr_t)arg;
    unsigned char buffer[BUFFER_BYTES];
    ssize_t received;

    do {
        received = recv(fd, buffer, sizeof(buffer), 0);
    } while (received > 0 && (raw_server_discards || send_all(fd, buffer, (size_t)received)));
    close(fd);
    return NULL;
}

static void start_thread(const pthread_attr_t *attributes, int fd)
{
    pthread_t thread;

    if (fd >= 0 && pthread_create(&thread, attributes, serve_connection, (void *)(intptr_t)fd) != 0)
        close(fd);
}

/* The signals that end the server have to interrupt this thread: the others, which inherit the mask, block them. */
static void accept_all(int listener, const pthread_attr_t *attributes)
{
    sigset_t stopping, before;

    sigemptyset(&stopping);
    sigaddset(&stopping, SIGINT);
    sigaddset(&stopping, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stopping, &before);
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 || errno == ECONNABORTED;)
        start_thread(attributes, fd);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int serve(int listener, bool spin)
{
    struct pollfd ready = { .fd = listener, .events = POLLIN };
    pthread_attr_t attributes;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    raw_server_ready(listener);
    while (!raw_server_stopped) {
        if (poll(&ready, 1, spin ? 0 : -1) > 0)
            accept_all(listener, &attributes);
    }
    pthread_attr_destroy(&attributes);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct raw_server server = {
        .name = "raw-threads",
        .engine = "raw-threads",
        .help = "Echo server with a thread for each connection.\n\n",
        .serve = serve,
    };

    return raw_server_main(&server, argc, argv);
}
