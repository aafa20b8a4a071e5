/* A server written directly on epoll that sends a file on each connection, then closes it, in one of four ways:
 *  - sendfile: sendfile(2) until the send buffer is full, the rest after EPOLLOUT; so do the others;
 *  - read: pread(2) into a buffer and send(2), the form without help of the kernel;
 *  - mmap: send(2) from a mapping of the file;
 *  - splice: splice(2) from the file into a pipe and from there into the socket. */
#include "benchmarks/peers/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 64, CONNECTIONS_MAX = 65536, EXIT_USAGE = 2, BUFFER_BYTES = 262144 };

static off_t offsets[CONNECTIONS_MAX]; /* by descriptor */
static off_t file_bytes;
static int file;
static const unsigned char *mapped;
static unsigned char buffer[BUFFER_BYTES];

/* Each way sends some bytes of the file from offsets[fd] on, and advances it. Returns the bytes sent, 0 at the end of the
 * file, or -1. */
static ssize_t send_by_sendfile(int fd)
{
    return sendfile(fd, file, &offsets[fd], (size_t)(file_bytes - offsets[fd]));
}

static ssize_t send_bytes(int fd, const unsigned char *bytes, size_t length)
{
    ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);

    if (sent > 0)
        offsets[fd] += sent;
    return sent;
}

static ssize_t send_by_read(int fd)
{
    ssize_t length = pread(file, buffer, sizeof(buffer), offsets[fd]);

    return length > 0 ? send_bytes(fd, buffer, (size_t)length) : length;
}

static ssize_t send_by_mmap(int fd)
{
    size_t length = (size_t)(file_bytes - offsets[fd]);

    return send_bytes(fd, mapped + offsets[fd], length < BUFFER_BYTES ? length : BUFFER_BYTES);
}

/* A pipe for each connection that has bytes in it: what the socket did not take stays there. */
static struct pipe_of {
    int in, out;
    size_t filled;
} pipes[CONNECTIONS_MAX];

static bool fill_pipe(struct pipe_of *one, off_t offset)
{
    int ends[2];
    ssize_t length;

    if (one->in == 0) {
        if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
            return false;
        fcntl(ends[1], F_SETPIPE_SZ, BUFFER_BYTES);
        one->out = ends[0];
        one->in = ends[1];
    }
    length = splice(file, &(off64_t){ offset }, one->in, NULL, BUFFER_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    one->filled = length > 0 ? (size_t)length : 0;
    return length > 0;
}

static ssize_t send_by_splice(int fd)
{
    struct pipe_of *one = &pipes[fd];
    ssize_t sent;

    if (one->filled == 0 && !fill_pipe(one, offsets[fd]))
        return -1;
    sent = splice(one->out, NULL, fd, NULL, one->filled, SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE);
    if (sent > 0) {
        one->filled -= (size_t)sent;
        offsets[fd] += sent;
    }
    return sent;
}

static ssize_t (*send_part)(int fd);

static void close_connection(int fd)
{
    if (pipes[fd].in > 0) {
        close(pipes[fd].in);
        close(pipes[fd].out);
        pipes[fd] = (struct pipe_of){ 0 };
    }
    close(fd);
}

static void send_some(int fd)
{
    ssize_t sent = 1;

    while (sent > 0 && offsets[fd] < file_bytes)
        sent = send_part(fd);
    if (offsets[fd] == file_bytes || sent == 0 || (sent < 0 && errno != EAGAIN))
        close_connection(fd);
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

/* word: WAY:PATH. Returns false if there is no such way, or the file cannot be opened. */
static bool open_file(const char *word)
{
    static const struct {
        const char *name;
        ssize_t (*send_part)(int fd);
    } ways[] = { { "sendfile:", send_by_sendfile },
                 { "read:", send_by_read },
                 { "mmap:", send_by_mmap },
                 { "splice:", send_by_splice } };
    struct stat status;

    for (size_t i = 0; word != NULL && i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (strncmp(word, ways[i].name, strlen(ways[i].name)) != 0)
            continue;
        send_part = ways[i].send_part;
        file = open(word + strlen(ways[i].name), O_RDONLY | O_CLOEXEC);
        if (file < 0 || fstat(file, &status) < 0)
            return false;
        file_bytes = status.st_size;
        if (send_part != send_by_mmap)
            return true;
        mapped = mmap(NULL, (size_t)file_bytes, PROT_READ, MAP_SHARED, file, 0);
        return mapped != MAP_FAILED;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    struct epoll_event event = { .events = EPOLLIN };
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    const char *word;
    int listener = server_listen(argc, argv, &word);

    signal(SIGPIPE, SIG_IGN);
    event.data.fd = listener;
    if (!open_file(word) || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0) {
        fprintf(stderr, "file-raw: WAY:PATH is missing (sendfile, read, mmap, splice), or the file cannot be opened\n");
        return EXIT_USAGE;
    }
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll_fd, listener);
            else
                send_some(events[i].data.fd);
        }
    }
}
