/* file-load: receives a file from a server again and again, each time over a new connection. The first transfer is
 * compared with the file byte by byte. In the others the kernel discards the bytes (MSG_TRUNC, tcp(7)), so that the
 * server, not the load, is the limit; their number is compared. Each transfer counts as a message.
 * With --http it asks for the file first. */
#include "benchmarks/peers/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20, HEAD_BYTES_MAX = 4096 };

static struct small_load load = { .name = "file-load", .connections = 1, .depth = 1 };
static unsigned char buffer[BUFFER_BYTES];

static void ask_by_http(int fd)
{
    char request[512];
    int length = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                          load.http_path);

    if (length >= (int)sizeof(request) || send(fd, request, (size_t)length, MSG_NOSIGNAL) != length)
        small_load_fail(&load, "cannot ask for the file");
}

/* Receives the head of the answer. Returns the bytes behind it, which are at the beginning of the buffer. */
static size_t receive_head(int fd)
{
    size_t received = 0;
    const unsigned char *end = NULL;

    while (end == NULL && received < HEAD_BYTES_MAX) {
        ssize_t length = recv(fd, buffer + received, HEAD_BYTES_MAX - received, 0);
        if (length <= 0)
            small_load_fail(&load, "the answer has no head");
        received += (size_t)length;
        end = memmem(buffer, received, "\r\n\r\n", 4);
    }
    if (end == NULL || memcmp(buffer, "HTTP/1.1 200", 12) != 0) {
        errno = 0;
        small_load_fail(&load, "received other bytes than a status of 200");
    }
    received -= (size_t)(end + 4 - buffer);
    memmove(buffer, end + 4, received);
    return received;
}

/* Receives one transfer and compares it with expected; NULL: only its length. */
static void receive_file(const unsigned char *expected, size_t file_bytes)
{
    int fd = small_load_connect(&load);
    size_t received = 0;
    ssize_t length = 0;

    if (load.http_path != NULL) {
        ask_by_http(fd);
        length = (ssize_t)receive_head(fd);
    }
    do {
        if (received + (size_t)length > file_bytes ||
            (expected != NULL && memcmp(expected + received, buffer, (size_t)length) != 0))
            break;
        received += (size_t)length;
    } while ((length = recv(fd, buffer, sizeof(buffer), expected == NULL ? MSG_TRUNC : 0)) > 0);
    if (length != 0 || received != file_bytes)
        small_load_fail(&load, "received other bytes than the file has");
    close(fd);
}

/* Has effect only on pages that have been written to the disk, and that nobody maps (posix_fadvise(2)). */
static void drop_pages(int fd)
{
    if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        small_load_fail(&load, "cannot drop the file's pages");
}

int main(int argc, char **argv)
{
    struct stat status;
    const unsigned char *expected;
    int fd;

    small_load_parse(&load, argc, argv);
    fd = load.file != NULL ? open(load.file, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &status) < 0)
        small_load_fail(&load, "cannot open --file");
    expected = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (expected == MAP_FAILED)
        small_load_fail(&load, "cannot map --file");
    receive_file(expected, (size_t)status.st_size);
    munmap((void *)(uintptr_t)expected, (size_t)status.st_size);
    while (!small_load_count(&load, 1)) {
        if (load.cold)
            drop_pages(fd);
        receive_file(NULL, (size_t)status.st_size);
    }
    return EXIT_SUCCESS;
}
