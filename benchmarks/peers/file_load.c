/* file-load: receives a file from a server again and again, each time over a new connection. The first transfer is
 * compared with the file byte by byte. In the others the kernel discards the bytes (MSG_TRUNC, tcp(7)), so that the
 * server, not the load, is the limit; their number is compared. Each transfer counts as a message. */
#include "benchmarks/peers/load.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20 };

static struct small_load load = { .name = "file-load", .connections = 1, .depth = 1 };
static unsigned char buffer[BUFFER_BYTES];

/* Receives one transfer and compares it with expected; NULL: only its length. */
static void receive_file(const unsigned char *expected, size_t file_bytes)
{
    int fd = small_load_connect(&load);
    size_t received = 0;
    ssize_t length;

    while ((length = recv(fd, buffer, sizeof(buffer), expected == NULL ? MSG_TRUNC : 0)) > 0) {
        if (received + (size_t)length > file_bytes ||
            (expected != NULL && memcmp(expected + received, buffer, (size_t)length) != 0))
            break;
        received += (size_t)length;
    }
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
