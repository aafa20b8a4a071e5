#include "tests/chaos/hostile.h"

#include "base/endpoint.h"
#include "tests/chaos/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    STEPS_MAX = 120,
    DRAIN_READS = 64,
    LARGE_AT_ONCE = 6, /* connections that send ten megabytes; they are the server's memory */
    LARGE_BYTES = 10 * 1024 * 1024,
    WAIT_MS = 300, /* with ten megabytes at the server */
    LARGE_ANNOUNCED_BYTES = 16 * 1024 * 1024 - 16,
    FLOOD_MESSAGES = 12,
    SMALL_BUFFER_BYTES = 2048,
    SMALL_SEGMENT_BYTES = 536,
};

enum step {
    SEND_BYTES, /* a few bytes of a message */
    SEND_ALL,   /* a message, as much as the socket takes */
    READ_SOME,
    READ_ALL,
    PAUSE,
    URGENT,
    URGENT_RESET, /* an urgent byte, and at once the end */
    ANNOUNCE,
    ANNOUNCE_MUCH,
    HALF_CLOSE,
    STOP_READING, /* shutdown(2) of the other half */
    RESET,
    CLOSE,
    STEPS
};

/* How often each character takes each step. */
static const uint8_t characters[][STEPS] = {
    /* in pieces */ { 60, 10, 10, 20, 10, 1, 0, 1, 0, 1, 0, 1, 1 },
    /* floods and never reads */ { 5, 80, 0, 0, 5, 1, 0, 0, 0, 1, 0, 1, 1 },
    /* floods and reads late */ { 5, 50, 15, 5, 10, 1, 0, 1, 0, 2, 0, 1, 1 },
    /* urgent */ { 15, 10, 5, 10, 5, 40, 10, 0, 0, 2, 0, 2, 2 },
    /* comes and goes */ { 10, 5, 5, 5, 5, 1, 5, 1, 0, 10, 5, 25, 25 },
    /* announces */ { 10, 5, 2, 5, 10, 1, 0, 40, 10, 5, 1, 5, 5 },
    /* sleeps */ { 3, 1, 1, 1, 90, 1, 0, 1, 0, 1, 1, 1, 1 },
};

static bool floods(const struct hostile *hostile)
{
    return characters[hostile->character][SEND_ALL] >= 50;
}

/* A source address for each of many connections: an address has only some 28 000 ports, and a closed connection keeps its
 * port for a minute (TIME_WAIT). */
static void bind_own_address(const struct arena *arena, int fd, uint64_t *random)
{
    struct sockaddr_in source = { .sin_family = AF_INET };
    const struct sockaddr *server = endpoint_sockaddr(&arena->server);
    int on = 1;

    if (server->sa_family != AF_INET)
        return;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)chaos_below(random, 250));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    bind(fd, (const struct sockaddr *)&source, sizeof(source));
}

/* One that floods has a small receive buffer, mostly: so the server has to keep what it does not read. */
static void set_options(const struct hostile *hostile, int fd, uint64_t *random)
{
    int small = SMALL_BUFFER_BYTES, segment = SMALL_SEGMENT_BYTES, on = 1;

    if (chaos_below(random, 8) < (floods(hostile) ? 6 : 1))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    if (chaos_below(random, 8) == 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    if (chaos_below(random, 8) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
    if (chaos_below(random, 2) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

bool hostile_open(struct arena *arena, struct hostile *hostile, uint64_t seed, uint64_t now_ms)
{
    const struct sockaddr *server = endpoint_sockaddr(&arena->server);

    *hostile = (struct hostile){ .fd = -1, .random = seed, .sends = true, .reads = true };
    hostile->character = (uint8_t)chaos_below(&hostile->random, sizeof(characters) / sizeof(characters[0]));
    hostile->steps = 1 + (unsigned)chaos_below(&hostile->random, STEPS_MAX);
    hostile->next_ms = now_ms;
    hostile->fd = socket(server->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (hostile->fd >= 0) {
        if (server->sa_family != AF_UNIX) {
            bind_own_address(arena, hostile->fd, &hostile->random);
            set_options(hostile, hostile->fd, &hostile->random);
        }
        /* EAGAIN: the backlog of a Unix-domain socket is full. */
        if (connect(hostile->fd, server, arena->server.length) == 0 || errno == EINPROGRESS) {
            arena->counts.opened++;
            return true;
        }
        close(hostile->fd);
        hostile->fd = -1;
    }
    arena->counts.not_opened++;
    return false;
}

void hostile_end(struct arena *arena, struct hostile *hostile, bool with_reset)
{
    static const struct linger reset = { .l_onoff = 1 };

    if (hostile->fd < 0)
        return;
    if (with_reset)
        setsockopt(hostile->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    arena->counts.resets += with_reset;
    arena->counts.closes += !with_reset;
    arena->large_frames -= hostile->announces_much;
    hostile->announces_much = false;
    close(hostile->fd);
    hostile->fd = -1;
}

/* The server has ended the connection, or refused it. */
static void lose(struct arena *arena, struct hostile *hostile)
{
    arena->counts.lost++;
    arena->counts.closes--;
    hostile_end(arena, hostile, false);
}

/* Sends bytes. Returns the number that the socket took; -1: it is over. */
static ssize_t send_bytes(struct arena *arena, struct hostile *hostile, const uint8_t *bytes, size_t length, int flags)
{
    ssize_t sent = send(hostile->fd, bytes, length, MSG_NOSIGNAL | flags);

    if (sent >= 0) {
        arena->counts.pieces++;
        arena->counts.sent_bytes += (uint64_t)sent;
        return sent;
    }
    /* ENOTCONN, EINPROGRESS: still connecting. */
    if (errno == EAGAIN || errno == EINTR || errno == ENOTCONN || errno == EINPROGRESS)
        return 0;
    lose(arena, hostile);
    return -1;
}

/* Sends up to max bytes of the current message. */
static void send_message(struct arena *arena, struct hostile *hostile, size_t max)
{
    uint64_t random;
    ssize_t sent;
    size_t piece;

    if (hostile->offset == hostile->length) {
        hostile->message_seed = chaos_random(&hostile->random);
        hostile->offset = 0;
    }
    random = hostile->message_seed;
    hostile->length = traffic_message(arena->protocol, &random, arena->message);
    piece = hostile->length - hostile->offset < max ? hostile->length - hostile->offset : max;
    if (arena->protocol == PROTOCOL_LINES && (arena->line_bytes -= (int64_t)piece) < 0)
        return;
    sent = send_bytes(arena, hostile, arena->message + hostile->offset, piece, 0);
    if (sent > 0)
        hostile->offset += (size_t)sent;
}

/* Those that flood send many at once. */
static void send_messages(struct arena *arena, struct hostile *hostile)
{
    unsigned messages = floods(hostile) ? FLOOD_MESSAGES : 1;

    while (messages-- > 0 && hostile->fd >= 0)
        send_message(arena, hostile, MESSAGE_MAX_BYTES);
}

static void read_bytes(struct arena *arena, struct hostile *hostile, unsigned reads)
{
    while (reads-- > 0) {
        ssize_t received = recv(hostile->fd, arena->trash, 1 + chaos_below(&hostile->random, sizeof(arena->trash)), 0);

        if (received <= 0) {
            if (received == 0 || (errno != EAGAIN && errno != EINTR && errno != ENOTCONN))
                lose(arena, hostile);
            return;
        }
        arena->counts.received_bytes += (uint64_t)received;
    }
}

static void send_urgent(struct arena *arena, struct hostile *hostile)
{
    if (send_bytes(arena, hostile, (const uint8_t *)"!", 1, MSG_OOB) > 0)
        arena->counts.urgent++;
}

static void send_urgent_and_end(struct arena *arena, struct hostile *hostile)
{
    send_urgent(arena, hostile);
    if (hostile->fd >= 0 && chaos_below(&hostile->random, 2) == 0)
        send_message(arena, hostile, MESSAGE_MAX_BYTES);
    arena->counts.urgent_resets++;
    hostile_end(arena, hostile, chaos_below(&hostile->random, 4) != 0);
}

static void announce(struct arena *arena, struct hostile *hostile)
{
    size_t length = traffic_announcement(arena->protocol, &hostile->random, arena->message);

    if (hostile->offset != hostile->length) /* inside a message it would be no announcement */
        return;
    send_bytes(arena, hostile, arena->message, length, 0);
    arena->counts.announcements++;
}

static bool has_header(enum protocol protocol)
{
    return protocol == PROTOCOL_FRAMES || protocol == PROTOCOL_VARINT || protocol == PROTOCOL_REDIS;
}

/* Sixteen megabytes; then ten follow. */
static void announce_much(struct arena *arena, struct hostile *hostile)
{
    uint8_t header[TRAFFIC_HEADER_MAX_BYTES];
    size_t length;

    if (!has_header(arena->protocol) || arena->large_frames == LARGE_AT_ONCE || hostile->announces_much ||
        hostile->offset != hostile->length)
        return;
    length = traffic_header(arena->protocol, LARGE_ANNOUNCED_BYTES, header);
    if (send_bytes(arena, hostile, header, length, 0) != (ssize_t)length)
        return;
    arena->counts.large_announcements++;
    arena->large_frames++;
    hostile->announces_much = true;
    hostile->large_left = LARGE_BYTES;
    hostile->steps += STEPS_MAX;
}

static void send_much(struct arena *arena, struct hostile *hostile)
{
    size_t piece = hostile->large_left < sizeof(arena->message) ? (size_t)hostile->large_left : sizeof(arena->message);
    ssize_t sent = send_bytes(arena, hostile, arena->message, piece, 0);

    if (sent > 0)
        hostile->large_left -= (uint64_t)sent;
    if (hostile->fd >= 0 && hostile->large_left == 0) {
        hostile->sends = false; /* the rest never comes */
        hostile->next_ms += WAIT_MS;
    }
}

static enum step choose(struct hostile *hostile)
{
    const uint8_t *weights = characters[hostile->character];
    unsigned sum = 0, chosen;
    enum step step = 0;

    for (unsigned i = 0; i < STEPS; i++)
        sum += weights[i];
    for (chosen = (unsigned)chaos_below(&hostile->random, sum); chosen >= weights[step]; step++)
        chosen -= weights[step];
    return step;
}

static void half_close(struct arena *arena, struct hostile *hostile)
{
    shutdown(hostile->fd, SHUT_WR);
    hostile->sends = false;
    arena->counts.half_closes++;
}

static void take_step(struct arena *arena, struct hostile *hostile, enum step step, uint64_t now_ms)
{
    enum { FEW = 16, PAUSE_MAX_MS = 400 };

    switch (step) {
    case SEND_BYTES:
        send_message(arena, hostile, 1 + (size_t)chaos_below(&hostile->random, FEW));
        break;
    case SEND_ALL:
        send_messages(arena, hostile);
        break;
    case READ_SOME:
        read_bytes(arena, hostile, 1);
        break;
    case READ_ALL:
        read_bytes(arena, hostile, DRAIN_READS);
        break;
    case PAUSE:
        hostile->next_ms = now_ms + chaos_below(&hostile->random, PAUSE_MAX_MS);
        arena->counts.pauses++;
        break;
    case URGENT:
        send_urgent(arena, hostile);
        break;
    case URGENT_RESET:
        send_urgent_and_end(arena, hostile);
        break;
    case ANNOUNCE:
        announce(arena, hostile);
        break;
    case ANNOUNCE_MUCH:
        announce_much(arena, hostile);
        break;
    case HALF_CLOSE:
        half_close(arena, hostile);
        break;
    case STOP_READING:
        shutdown(hostile->fd, SHUT_RD);
        hostile->reads = false;
        break;
    case RESET:
    case CLOSE:
    case STEPS:
        hostile_end(arena, hostile, step == RESET);
        break;
    }
}

void hostile_act(struct arena *arena, struct hostile *hostile, uint64_t now_ms)
{
    enum { GAP_MAX_MS = 16 };
    enum step step;
    bool is_send, is_read;

    if (hostile->large_left > 0) { /* the ten megabytes come first */
        hostile->next_ms = now_ms + 1;
        send_much(arena, hostile);
        return;
    }
    step = choose(hostile);
    is_send = step == SEND_BYTES || step == SEND_ALL || step == URGENT || step == URGENT_RESET || step == ANNOUNCE ||
              step == ANNOUNCE_MUCH || step == HALF_CLOSE;
    is_read = step == READ_SOME || step == READ_ALL || step == STOP_READING;
    hostile->next_ms = now_ms + chaos_below(&hostile->random, GAP_MAX_MS);
    if ((hostile->sends || !is_send) && (hostile->reads || !is_read))
        take_step(arena, hostile, step, now_ms);
    if (hostile->fd >= 0 && --hostile->steps == 0)
        hostile_end(arena, hostile, chaos_below(&hostile->random, 2) == 0);
}
