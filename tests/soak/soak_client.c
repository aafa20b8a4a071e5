/* soak-client ENDPOINT CONNECTIONS SOURCE SOURCES: the connections to one server of ./dev soak, from SOURCES addresses from
 * 127.0.0.SOURCE on. It reads commands from its standard input, and answers each with a line "done ..." or, every second
 * meanwhile, "at ...":
 *   open               open all connections, with an echo on each
 *   churn SECONDS SEED resets, reconnects, echoes and slow readers; at the end all are open again and have read everything
 *   close              close all
 * Any answer that is wrong or missing ends it with status 1. */
#include "base/endpoint.h"
#include "tests/chaos/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 2,
    CONNECTIONS_MAX = 19900, /* a process may have 20 000 descriptors */
    SOURCE_MAX = 250,
    BATCH = 64, /* connections that wait for their echo at a time; less than any backlog */
    PATIENCE_SECONDS = 60,
    ECHO_BYTES = 64, /* of the first echo */
    ECHO_MAX_BYTES = 2000,
    SLOW_AT_ONCE = 50,
    SLOW_BYTES = 4 << 20, /* more than the sockets take: the server keeps some of it */
    PAUSE_EACH = 16,      /* steps of the churn before a pause of a millisecond */
    PROGRESS_MS = 1000,
};

struct soak {
    struct sockaddr_in server;
    unsigned source, sources, count;
    int *sockets;
    uint64_t random;
    struct slow {
        unsigned index;
        size_t unread; /* bytes of the echo */
    } slow[SLOW_AT_ONCE];
    unsigned slow_count;
    uint64_t echoes, resets, closes, slow_readers;
};

__attribute__((noreturn)) static void fail(const char *what, const char *why)
{
    fprintf(stderr, "soak-client: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static void require(const char *what, bool succeeded)
{
    if (!succeeded)
        fail(what, errno == EAGAIN ? "no answer for a minute" : strerror(errno));
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- one connection ---- */

static void open_one(struct soak *soak, unsigned index)
{
    struct sockaddr_in source = { .sin_family = AF_INET };
    struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    require("socket", fd >= 0);
    source.sin_addr.s_addr = htonl((INADDR_LOOPBACK & ~UINT32_C(0xff)) | (soak->source + index % soak->sources));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    require("bind", bind(fd, (const struct sockaddr *)&source, sizeof(source)) == 0);
    require("connect", connect(fd, (const struct sockaddr *)&soak->server, sizeof(soak->server)) == 0);
    soak->sockets[index] = fd;
}

static void close_one(struct soak *soak, unsigned index, bool with_reset)
{
    const struct linger reset = { .l_onoff = 1 };

    if (with_reset)
        setsockopt(soak->sockets[index], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(soak->sockets[index]);
    soak->sockets[index] = -1;
}

/* All bytes that are sent on a connection are its index, so that bytes of another one are noticed. */
static void send_echo(const struct soak *soak, unsigned index, size_t length)
{
    uint8_t bytes[ECHO_MAX_BYTES];
    ssize_t sent;

    memset(bytes, (int)(index & 0xff), length);
    sent = send(soak->sockets[index], bytes, length, MSG_NOSIGNAL);
    require("send", sent == (ssize_t)length);
}

static void receive_echo(const struct soak *soak, unsigned index, size_t length)
{
    static uint8_t bytes[65536];

    while (length > 0) {
        ssize_t received = recv(soak->sockets[index], bytes, length < sizeof(bytes) ? length : sizeof(bytes), 0);

        if (received == 0)
            fail("echo", "the server closed a connection");
        require("echo", received > 0);
        for (ssize_t i = 0; i < received; i++)
            if (bytes[i] != (uint8_t)index)
                fail("echo", "a wrong byte");
        length -= (size_t)received;
    }
}

static void echo_one(struct soak *soak, unsigned index, size_t length)
{
    send_echo(soak, index, length);
    receive_echo(soak, index, length);
    soak->echoes++;
}

/* ---- the commands ---- */

static void report_progress(uint64_t *next_ms, const char *what, uint64_t count)
{
    uint64_t now = now_ms();

    if (now < *next_ms)
        return;
    *next_ms = now + PROGRESS_MS;
    printf("at %" PRIu64 " %s\n", count, what);
    fflush(stdout);
}

static void open_all(struct soak *soak)
{
    uint64_t next_ms = now_ms() + PROGRESS_MS;

    for (unsigned begin = 0; begin < soak->count; begin += BATCH) {
        unsigned end = begin + BATCH < soak->count ? begin + BATCH : soak->count;

        for (unsigned i = begin; i < end; i++) {
            open_one(soak, i);
            send_echo(soak, i, ECHO_BYTES);
        }
        for (unsigned i = begin; i < end; i++)
            receive_echo(soak, i, ECHO_BYTES);
        soak->echoes += end - begin;
        report_progress(&next_ms, "connections", end);
    }
    printf("done %" PRIu64 " echoes\n", soak->echoes);
}

static struct slow *find_slow(struct soak *soak, unsigned index)
{
    for (unsigned i = 0; i < soak->slow_count; i++)
        if (soak->slow[i].index == index)
            return &soak->slow[i];
    return NULL;
}

/* Sends until the server, whose answers are not read, takes no more. */
static void become_slow(struct soak *soak, unsigned index)
{
    static uint8_t bytes[SLOW_BYTES];
    struct slow *slow = &soak->slow[soak->slow_count];
    ssize_t sent;

    if (soak->slow_count == SLOW_AT_ONCE)
        return;
    memset(bytes, (int)(index & 0xff), sizeof(bytes));
    sent = send(soak->sockets[index], bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
    require("send", sent > 0);
    *slow = (struct slow){ index, (size_t)sent };
    soak->slow_count++;
    soak->slow_readers++;
}

/* A slow reader reads all, or gives up. */
static void end_slow(struct soak *soak, struct slow *slow, bool reads)
{
    unsigned index = slow->index;

    if (reads) {
        receive_echo(soak, index, slow->unread);
    } else {
        close_one(soak, index, true);
        soak->resets++;
        open_one(soak, index);
    }
    *slow = soak->slow[--soak->slow_count];
}

static void step(struct soak *soak)
{
    enum { RESET = 20, CLOSE = 25, SLOW = 30, OF = 100 };
    unsigned index = (unsigned)chaos_below(&soak->random, soak->count),
             choice = (unsigned)chaos_below(&soak->random, OF);
    struct slow *slow = find_slow(soak, index);

    if (slow != NULL || soak->slow_count == SLOW_AT_ONCE) {
        if (slow == NULL)
            slow = &soak->slow[chaos_below(&soak->random, soak->slow_count)];
        end_slow(soak, slow, chaos_below(&soak->random, 2) == 0);
        return;
    }
    if (choice < CLOSE) {
        close_one(soak, index, choice < RESET);
        soak->resets += choice < RESET;
        soak->closes += choice >= RESET;
        open_one(soak, index);
    } else if (choice < SLOW) {
        become_slow(soak, index);
    } else {
        echo_one(soak, index, 1 + (size_t)chaos_below(&soak->random, ECHO_MAX_BYTES));
    }
}

static void churn(struct soak *soak, uint64_t seconds, uint64_t seed)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    uint64_t end = now_ms() + seconds * 1000, next_ms = now_ms() + PROGRESS_MS, steps = 0;

    soak->random = seed;
    soak->echoes = soak->resets = soak->closes = soak->slow_readers = 0;
    while (now_ms() < end) {
        for (unsigned i = 0; i < PAUSE_EACH; i++, steps++)
            step(soak);
        nanosleep(&pause, NULL);
        report_progress(&next_ms, "steps", steps);
    }
    while (soak->slow_count > 0)
        end_slow(soak, &soak->slow[0], true);
    for (unsigned i = 0; i < soak->count; i++) {
        echo_one(soak, i, 1);
        report_progress(&next_ms, "connections echoed again", i);
    }
    printf("done %" PRIu64 " echoes %" PRIu64 " resets %" PRIu64 " closes %" PRIu64 " slow readers\n", soak->echoes,
           soak->resets, soak->closes, soak->slow_readers);
}

static void close_all(struct soak *soak)
{
    for (unsigned i = 0; i < soak->count; i++)
        close_one(soak, i, true); /* a port is free at once after a reset */
    printf("done %u connections\n", soak->count);
}

static unsigned number(const char *text, unsigned most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text >= '0' && *text <= '9' && *end == '\0' && value >= 1 && value <= most)
        return (unsigned)value;
    fprintf(stderr, "soak-client: '%s': must be a whole number from 1 to %u\n", text, most);
    exit(EXIT_USAGE);
}

static void read_arguments(struct soak *soak, int argc, char **argv)
{
    jd_endpoint endpoint;

    if (argc != 5 || jd_endpoint_parse(&endpoint, argv[1], NULL) < 0 ||
        endpoint_sockaddr(&endpoint)->sa_family != AF_INET) {
        fprintf(stderr, "Usage: soak-client IPV4:PORT CONNECTIONS SOURCE SOURCES\n");
        exit(EXIT_USAGE);
    }
    memcpy(&soak->server, endpoint_sockaddr(&endpoint), sizeof(soak->server));
    soak->count = number(argv[2], CONNECTIONS_MAX);
    soak->source = number(argv[3], SOURCE_MAX);
    soak->sources = number(argv[4], SOURCE_MAX + 1 - soak->source);
    soak->sockets = calloc(soak->count, sizeof(*soak->sockets));
    require("memory", soak->sockets != NULL);
}

int main(int argc, char **argv)
{
    static struct soak soak;
    uint64_t seconds, seed;
    char command[128];

    read_arguments(&soak, argc, argv);
    while (fgets(command, sizeof(command), stdin) != NULL) {
        if (strcmp(command, "open\n") == 0)
            open_all(&soak);
        else if (sscanf(command, "churn %" SCNu64 " %" SCNu64, &seconds, &seed) == 2)
            churn(&soak, seconds, seed);
        else if (strcmp(command, "close\n") == 0)
            close_all(&soak);
        else
            fail("unknown command", command);
        fflush(stdout);
    }
    free(soak.sockets);
    return EXIT_SUCCESS;
}
