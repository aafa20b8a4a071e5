/* A server written directly on epoll that sends a file on each connection, then closes it: sendfile(2) until the send
 * buffer is full, the rest after EPOLLOUT. */
#include "benchmarks/peers/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 64, CONNECTIONS_MAX = 65536, EXIT_USAGE = 2 };

static off_t offsets[CONNECTIONS_MAX]; /* by descriptor */
static off_t file_bytes;

static void send_some(int file, int fd)
{
    ssize_t sent = 1;

    while (sent > 0 && offsets[fd] < file_bytes)
        sent = sendfile(fd, file, &offsets[fd], (size_t)(file_bytes - offsets[fd]));
    if (offsets[fd] == file_bytes || sent == 0 || (sent < 0 && errno != EAGAIN))
        close(fd);
}

static void accept_all(int epoll_fd, int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = { .events = EPOLLOUT | EPOLLET, .data.fd = fd };
        if (fd >= CONNECTIONS_MAX || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            close(fd);
        else
            offsets[fd] = 0;
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    struct epoll_event event = { .events = EPOLLIN };
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    const char *path;
    struct stat status;
    int listener = server_listen(argc, argv, &path);
    int file = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    signal(SIGPIPE, SIG_IGN);
    event.data.fd = listener;
    if (file < 0 || fstat(file, &status) < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0) {
        fprintf(stderr, "file-raw: the path of a file to send is missing, or the file cannot be opened\n");
        return EXIT_USAGE;
    }
    file_bytes = status.st_size;
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll_fd, listener);
            else
                send_some(file, events[i].data.fd);
        }
    }
}
