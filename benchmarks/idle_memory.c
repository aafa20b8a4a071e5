/* idle-memory: measures the memory of an idle connection, by the library's counter (jd_memory_in_use) and by the
 * resident memory of the process. It
 *  1. opens N connections to a server in this process and exchanges a message on each,
 *  2. lets them be idle and reads the memory,
 *  3. does the same with N more connections.
 * The growth divided by N is printed, as a JSON object. */
#include "benchmarks/process_usage.h"
#include "net/connection/tcp_connection.h"

#include <errno.h>
#include <jinduo/jinduo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 2,
    CONNECTIONS_DEFAULT = 4096, /* complete regions of the slot map, 1024 connections each */
    CONNECTIONS_MAX = 1 << 20,
    SPARE_DESCRIPTORS = 64,
    BATCH = 64, /* connects pending at a time; less than any backlog */
    MESSAGE_BYTES = 64,
    WAIT_MS = 100,
    SETTLE_MS = 300,
    NS_PER_MS = 1000000,
};

#define BATCH_TIMEOUT_NS (10000LL * NS_PER_MS) /* for the echoes of a batch */

struct idle {
    jd_event_loop *loop;
    jd_tcp_server *server;
    jd_endpoint endpoint;
    int *peers; /* the clients' sockets, peer_count of them */
    size_t peer_count;
};

struct memory {
    uint64_t in_use, resident;
};

__attribute__((noreturn)) static void fail(const char *what, const char *why)
{
    fprintf(stderr, "idle-memory: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static void require(const char *what, int result)
{
    if (result < 0)
        fail(what, jd_strerror(result));
}

static void require_system(const char *what, bool succeeded)
{
    if (!succeeded)
        fail(what, strerror(errno));
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    require("send", jd_tcp_connection_send_buffer(connection, input));
}

static void serve(struct idle *idle, jd_engine engine)
{
    const jd_event_loop_options loop_options = { .engine = engine };
    jd_endpoint any;

    require("loop", jd_event_loop_create(&idle->loop, &loop_options));
    require("server", jd_tcp_server_create(&idle->server, idle->loop, NULL));
    jd_tcp_server_set_message_callback(idle->server, on_message, NULL);
    require("endpoint", jd_endpoint_parse(&any, "127.0.0.1:0", NULL));
    require("listen", jd_tcp_server_listen(idle->server, &any, NULL));
    require("start", jd_tcp_server_start(idle->server, NULL));
    require("endpoint", jd_tcp_server_endpoint(idle->server, 0, &idle->endpoint));
}

/* Returns a connected socket on which the message has been sent. Its close(2) resets the connection, so its port is
 * free at once. */
static int open_peer(const struct idle *idle)
{
    static const char message[MESSAGE_BYTES];
    const struct linger reset = { .l_onoff = 1 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    require_system("socket", fd >= 0);
    require_system("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
    require_system("connect",
                   connect(fd, (const struct sockaddr *)&idle->endpoint.address, idle->endpoint.length) == 0);
    require_system("send", send(fd, message, sizeof(message), MSG_NOSIGNAL) == (ssize_t)sizeof(message));
    return fd;
}

/* Runs the loop until the echo has arrived. */
static void await_echo(const struct idle *idle, int fd, jd_timestamp deadline)
{
    char echo[MESSAGE_BYTES];
    size_t length = 0;

    while (length < sizeof(echo)) {
        ssize_t received = recv(fd, echo + length, sizeof(echo) - length, MSG_DONTWAIT);

        if (received > 0) {
            length += (size_t)received;
            continue;
        }
        if (received == 0)
            fail("echo", "the server closed a connection");
        require_system("recv", errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
        require("run", jd_event_loop_run_once(idle->loop, WAIT_MS));
        if (jd_event_loop_now(idle->loop) > deadline)
            fail("echo", "not received within 10 s");
    }
}

static void open_peers(struct idle *idle, size_t count)
{
    while (count > 0) {
        size_t batch = count < BATCH ? count : BATCH;
        jd_timestamp deadline = jd_event_loop_now(idle->loop) + BATCH_TIMEOUT_NS;

        for (size_t i = 0; i < batch; i++)
            idle->peers[idle->peer_count + i] = open_peer(idle);
        for (size_t i = 0; i < batch; i++)
            await_echo(idle, idle->peers[idle->peer_count + i], deadline);
        idle->peer_count += batch;
        count -= batch;
    }
}

static struct memory settle(const struct idle *idle)
{
    jd_timestamp end = jd_event_loop_now(idle->loop) + (jd_timestamp)SETTLE_MS * NS_PER_MS;
    struct memory memory;

    while (jd_event_loop_now(idle->loop) < end)
        require("run", jd_event_loop_run_once(idle->loop, WAIT_MS));
    if (jd_tcp_server_connection_count(idle->server) != idle->peer_count)
        fail("server", "some connections are missing");
    require_system("memory", process_anonymous_bytes(getpid(), &memory.resident));
    memory.in_use = jd_memory_in_use();
    return memory;
}

static void allow_descriptors(size_t count)
{
    struct rlimit limit;

    require_system("getrlimit", getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    require_system("setrlimit", setrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur < count)
        fail("descriptors", "this system allows too few; use fewer CONNECTIONS");
}

static size_t connections_of(const char *text)
{
    char *end;
    unsigned long count = strtoul(text, &end, 10);

    if (*end != '\0' || count < 1 || count > CONNECTIONS_MAX) {
        fprintf(stderr, "idle-memory: CONNECTIONS '%s': must be a whole number from 1 to %d\n", text, CONNECTIONS_MAX);
        exit(EXIT_USAGE);
    }
    return count;
}

static double growth(uint64_t before, uint64_t after, size_t connections)
{
    return ((double)after - (double)before) / (double)connections;
}

int main(int argc, char **argv)
{
    size_t connections = argc > 2 ? connections_of(argv[2]) : CONNECTIONS_DEFAULT;
    struct idle idle = { 0 };
    struct memory first, second;
    const char *reason;
    jd_engine engine;

    if (argc < 2 || argc > 3 || jd_engine_parse(&engine, argv[1]) < 0) {
        fprintf(stderr,
                "Usage: idle-memory ENGINE [CONNECTIONS]\n"
                "ENGINE: auto, reactor, proactor, io_uring, simulated or iocp; CONNECTIONS: default %d\n",
                CONNECTIONS_DEFAULT);
        return EXIT_USAGE;
    }
    printf("{\"engine\": \"%s\", \"connection_bytes\": %zu", jd_engine_name(engine), sizeof(jd_tcp_connection));
    if (jd_engine_available(engine, &reason) < 0) {
        printf(", \"unavailable\": true}\n");
        fprintf(stderr, "idle-memory: engine %s is not available: %s\n", argv[1], reason);
        return EXIT_SUCCESS;
    }
    allow_descriptors(4 * connections + SPARE_DESCRIPTORS);
    idle.peers = calloc(2 * connections, sizeof(*idle.peers));
    require_system("memory", idle.peers != NULL);
    memset(idle.peers, -1, 2 * connections * sizeof(*idle.peers)); /* makes the array resident before the measurement */
    serve(&idle, engine);
    open_peers(&idle, connections);
    first = settle(&idle);
    open_peers(&idle, connections);
    second = settle(&idle);
    printf(", \"connections\": %zu, \"held_bytes\": %.3f, \"resident_bytes\": %.1f}\n", connections,
           growth(first.in_use, second.in_use, connections), growth(first.resident, second.resident, connections));
    for (size_t i = 0; i < idle.peer_count; i++)
        close(idle.peers[i]);
    free(idle.peers);
    require("destroy", jd_event_loop_destroy(idle.loop));
    return EXIT_SUCCESS;
}
