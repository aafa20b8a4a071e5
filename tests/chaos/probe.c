#include "tests/chaos/probe.h"

#include "base/endpoint.h"
#include "tests/chaos/random.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PATIENCE_SECONDS = 60, /* for one call: a server under a storm is slow, and connects are retried after 1, 3, 7 s */
    PAUSE_MS = 3,
    CONTENT_MAX_BYTES = 20000, /* less than the sockets hold, so that sending all before reading cannot block */
    HEADER_MAX_BYTES = 16,
    LINE_BYTES = 2048,
};

struct line_reader {
    char bytes[65536];
    size_t begin, end;
};

/* One connection of a probe. */
struct session {
    struct probe *probe;
    int fd;
    uint64_t random;
    struct line_reader reader;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct probe *probe, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(probe->error, sizeof(probe->error), format, arguments);
    va_end(arguments);
    atomic_store(&probe->failed, true);
    return false;
}

static bool connect_session(struct session *session)
{
    struct probe *probe = session->probe;
    const struct sockaddr *server = endpoint_sockaddr(&probe->server);
    struct timeval limit = { .tv_sec = PATIENCE_SECONDS };
    int on = 1;

    session->fd = socket(server->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (session->fd < 0)
        return fail(probe, "socket: %s", strerror(errno));
    setsockopt(session->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(session->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (server->sa_family != AF_UNIX)
        setsockopt(session->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(session->fd, server, probe->server.length) < 0)
        return fail(probe, "cannot connect: %s", strerror(errno));
    probe->connections++;
    return true;
}

static bool send_all(struct session *session, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(session->fd, bytes, length, MSG_NOSIGNAL);

        if (sent < 0)
            return fail(session->probe, "cannot send after %" PRIu64 " exchanges: %s", session->probe->exchanges,
                        strerror(errno));
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

/* Receives at least one byte; errors are failures. */
static ssize_t receive_some(struct session *session, void *bytes, size_t room)
{
    ssize_t received = recv(session->fd, bytes, room, 0);

    if (received <= 0)
        fail(session->probe, "no answer after %" PRIu64 " exchanges: %s", session->probe->exchanges,
             received == 0 ? "the server closed the connection" : strerror(errno));
    return received;
}

/* Reads through the reader, which may hold bytes behind a line. */
static ssize_t read_some(struct session *session, void *bytes, size_t room)
{
    struct line_reader *reader = &session->reader;
    size_t held = reader->end - reader->begin;

    if (held == 0)
        return receive_some(session, bytes, room);
    if (held > room)
        held = room;
    memcpy(bytes, reader->bytes + reader->begin, held);
    reader->begin += held;
    return (ssize_t)held;
}

static bool expect_bytes(struct session *session, const uint8_t *expected, size_t length)
{
    uint8_t received[4096];
    size_t offset = 0;

    while (offset < length) {
        size_t room = length - offset < sizeof(received) ? length - offset : sizeof(received);
        ssize_t count = read_some(session, received, room);

        if (count <= 0)
            return false;
        for (size_t i = 0; i < (size_t)count; i++)
            if (received[i] != expected[offset + i])
                return fail(session->probe, "byte %zu of answer %" PRIu64 " is 0x%02x instead of 0x%02x", offset + i,
                            session->probe->exchanges + 1, received[i], expected[offset + i]);
        offset += (size_t)count;
    }
    return true;
}

/* Reads a line; *line is valid until the next call. */
static bool read_line(struct session *session, char **line)
{
    struct line_reader *reader = &session->reader;

    for (;;) {
        char *begin = reader->bytes + reader->begin;
        char *end = memchr(begin, '\n', reader->end - reader->begin);
        ssize_t received;

        if (end != NULL) {
            *end = '\0';
            *line = begin;
            reader->begin = (size_t)(end - reader->bytes) + 1;
            return true;
        }
        memmove(reader->bytes, begin, reader->end - reader->begin);
        reader->end -= reader->begin;
        reader->begin = 0;
        if (reader->end == sizeof(reader->bytes))
            return fail(session->probe, "received a line of more than %zu bytes", reader->end);
        received = receive_some(session, reader->bytes + reader->end, sizeof(reader->bytes) - reader->end);
        if (received <= 0)
            return false;
        reader->end += (size_t)received;
    }
}

/* ---- one exchange of each protocol ---- */

static bool exchange_bytes(struct session *session)
{
    enum protocol protocol = session->probe->protocol;
    uint8_t message[HEADER_MAX_BYTES + CONTENT_MAX_BYTES];
    size_t length =
        (size_t)chaos_below(&session->random, chaos_below(&session->random, 4) == 0 ? CONTENT_MAX_BYTES : 200);
    bool frames = protocol == PROTOCOL_FRAMES || protocol == PROTOCOL_VARINT;
    size_t header = frames ? traffic_header(protocol, (uint32_t)length, message) : 0;
    char surplus;

    for (size_t i = 0; i < length; i++)
        message[header + i] = (uint8_t)chaos_random(&session->random);
    if (!send_all(session, message, header + length))
        return false;
    if (protocol != PROTOCOL_DISCARD)
        return expect_bytes(session, message, header + length);
    if (recv(session->fd, &surplus, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN)
        return fail(session->probe, "a server that answers nothing answered, or closed the connection");
    return true;
}

/* The line comes back to its sender too, among the lines of others. */
static bool exchange_line(struct session *session)
{
    char text[64], *line;
    size_t length = (size_t)snprintf(text, sizeof(text), ": probe %016" PRIx64, chaos_random(&session->random));

    text[length] = '\n';
    if (!send_all(session, (const uint8_t *)text + 2, length - 1))
        return false;
    text[length] = '\0';
    do {
        if (!read_line(session, &line))
            return false;
    } while (strlen(line) < length || strcmp(line + strlen(line) - length, text) != 0);
    return true;
}

static bool exchange_file(struct session *session)
{
    unsigned number = (unsigned)chaos_below(&session->random, FILES);
    char request[16], expected[32], *line;
    uint8_t content[4096];
    size_t piece;

    snprintf(request, sizeof(request), "%u\n", number);
    snprintf(expected, sizeof(expected), "%" PRIu64, file_bytes[number]);
    if (!send_all(session, (const uint8_t *)request, strlen(request)) || !read_line(session, &line))
        return false;
    if (strcmp(line, expected) != 0)
        return fail(session->probe, "the answer to file %u begins with '%.40s' instead of '%s'", number, line,
                    expected);
    for (uint64_t offset = 0; offset < file_bytes[number]; offset += piece) {
        piece = file_bytes[number] - offset < sizeof(content) ? (size_t)(file_bytes[number] - offset) : sizeof(content);
        for (size_t i = 0; i < piece; i++)
            content[i] = file_byte(number, offset + i);
        if (!expect_bytes(session, content, piece))
            return false;
    }
    return true;
}

/* Reads the head of an answer, which must be 200 with length bytes. */
static bool expect_head(struct session *session, uint64_t length)
{
    char expected[32], *line;
    bool has_length = false;

    snprintf(expected, sizeof(expected), "Content-Length: %" PRIu64 "\r", length);
    if (!read_line(session, &line))
        return false;
    if (strcmp(line, "HTTP/1.1 200 OK\r") != 0)
        return fail(session->probe, "the answer begins with '%.40s'", line);
    do {
        if (!read_line(session, &line))
            return false;
        has_length = has_length || strcmp(line, expected) == 0;
    } while (strcmp(line, "\r") != 0);
    return has_length || fail(session->probe, "an answer has not '%s'", expected);
}

/* A body comes back, or a file comes. */
static bool exchange_http(struct session *session)
{
    unsigned number = (unsigned)chaos_below(&session->random, FILES);
    size_t length = (size_t)chaos_below(&session->random, CONTENT_MAX_BYTES);
    uint8_t content[CONTENT_MAX_BYTES];
    char head[128];
    size_t piece;

    if (chaos_below(&session->random, 4) > 0) {
        for (size_t i = 0; i < length; i++)
            content[i] = (uint8_t)chaos_random(&session->random);
        snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", length);
        return send_all(session, (const uint8_t *)head, strlen(head)) && send_all(session, content, length) &&
               expect_head(session, length) && expect_bytes(session, content, length);
    }
    snprintf(head, sizeof(head), "GET /%u HTTP/1.1\r\nHost: x\r\n\r\n", number);
    if (!send_all(session, (const uint8_t *)head, strlen(head)) || !expect_head(session, file_bytes[number]))
        return false;
    for (uint64_t offset = 0; offset < file_bytes[number]; offset += piece) {
        piece = file_bytes[number] - offset < sizeof(content) ? (size_t)(file_bytes[number] - offset) : sizeof(content);
        for (size_t i = 0; i < piece; i++)
            content[i] = file_byte(number, offset + i);
        if (!expect_bytes(session, content, piece))
            return false;
    }
    return true;
}

/* A value is set and comes back. Each probe has a key of its own. */
static bool exchange_redis(struct session *session)
{
    static const char set[] = "*3\r\n$3\r\nSET\r\n$22\r\nprobe-%016" PRIx64 "\r\n$%zu\r\n";
    static const char get[] = "\r\n*2\r\n$3\r\nGET\r\n$22\r\nprobe-%016" PRIx64 "\r\n";
    size_t length = (size_t)chaos_below(&session->random, CONTENT_MAX_BYTES);
    uint64_t key = session->probe->seed;
    uint8_t value[CONTENT_MAX_BYTES];
    char head[128], tail[128], answer[32];

    for (size_t i = 0; i < length; i++)
        value[i] = (uint8_t)chaos_random(&session->random);
    snprintf(head, sizeof(head), set, key, length);
    snprintf(tail, sizeof(tail), get, key);
    snprintf(answer, sizeof(answer), "+OK\r\n$%zu\r\n", length);
    return send_all(session, (const uint8_t *)head, strlen(head)) && send_all(session, value, length) &&
           send_all(session, (const uint8_t *)tail, strlen(tail)) &&
           expect_bytes(session, (const uint8_t *)answer, strlen(answer)) && expect_bytes(session, value, length) &&
           expect_bytes(session, (const uint8_t *)"\r\n", 2);
}

static bool exchange(struct session *session)
{
    switch (session->probe->protocol) {
    case PROTOCOL_LINES:
        return exchange_line(session);
    case PROTOCOL_FILES:
        return exchange_file(session);
    case PROTOCOL_HTTP:
        return exchange_http(session);
    case PROTOCOL_REDIS:
        return exchange_redis(session);
    default:
        return exchange_bytes(session);
    }
}

/* ---- the thread ---- */

static bool is_over(const struct probe *probe)
{
    return atomic_load(&probe->stops) || atomic_load(&probe->failed);
}

static void serve_session(struct session *session)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    struct probe *probe = session->probe;

    session->reader.begin = session->reader.end = 0;
    if (connect_session(session))
        for (unsigned i = 0; !is_over(probe) && (probe->exchanges_each == 0 || i < probe->exchanges_each); i++) {
            if (!exchange(session))
                break;
            probe->exchanges++;
            nanosleep(&pause, NULL);
        }
    if (session->fd >= 0)
        close(session->fd);
}

static void *run(void *arg)
{
    struct probe *probe = arg;
    struct session *session = calloc(1, sizeof(*session));

    if (session == NULL) {
        fail(probe, "no memory");
        return NULL;
    }
    session->probe = probe;
    session->random = probe->seed;
    do
        serve_session(session);
    while (!is_over(probe));
    free(session);
    return NULL;
}

void probe_begin(struct probe *probe)
{
    int error;

    atomic_init(&probe->stops, false);
    atomic_init(&probe->failed, false);
    probe->exchanges = probe->connections = 0;
    error = pthread_create(&probe->thread, NULL, run, probe);
    if (error != 0) {
        fprintf(stderr, "chaos: cannot start a thread: %s\n", strerror(error));
        exit(EXIT_FAILURE);
    }
}

void probe_end(struct probe *probe)
{
    atomic_store(&probe->stops, true);
    pthread_join(probe->thread, NULL);
    if (!atomic_load(&probe->failed) && probe->exchanges == 0)
        fail(probe, "no exchange took place");
}
