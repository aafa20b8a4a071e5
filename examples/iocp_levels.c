/* jd-iocp-levels: an echo server on a completion port, as one begins to write it (level 1), with packets taken in batches (level 2),
 * and with operations from a pool and posted ahead (level 3). Clients in a thread of this program send it messages and verify the
 * answers; at the end it prints what a message cost. Plain Win32, not jinduo. docs/iocp.md ("Three levels of a server") compares
 * the levels, and says how jinduo does it. */
#include "examples/iocp_clients.h"
#include "examples/program.h"

#include <mswsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

enum {
    BATCH_MAX = 64,
    ADDRESS_BYTES = sizeof(struct sockaddr_storage) + 16, /* AcceptEx: 16 bytes more than an address */
    MESSAGES_MAX = 10000,
    WARM_UP_MESSAGES = 2, /* of each connection, before the counting begins */
    LEVELS = 3,
    OPTION_LEVEL = 1,
    OPTION_CONNECTIONS,
    OPTION_MESSAGES,
    OPTION_SIZE
};

#define STATUS_OF_FAILED_START                                                                                         \
    ((ULONG_PTR)0xC0000001) /* STATUS_UNSUCCESSFUL: negative as an NTSTATUS, as each error is */

static const struct program program = { .name = "jd-iocp-levels", .short_options = ":h" };

static unsigned connections = 20, messages = 50, message_bytes = 64;

/* What the levels differ in. */
static const struct level {
    const char *text;
    unsigned accepts; /* posted at a time */
    unsigned batch;   /* packets that a call takes, at most */
    bool pools;       /* an operation that has ended is used again; else each receive allocates one */
    bool ahead; /* the next receive is posted before the answer is sent, and what completes at once has no packet */
} levels[LEVELS] = {
    { "one accept at a time, one packet a call", 1, 1, false, false },
    { "batched: up to 64 packets a call", 1, BATCH_MAX, false, false },
    { "pooled and pre-posted", 32, BATCH_MAX, true, true },
};

enum kind { ACCEPT, RECEIVE, SEND };

struct connection {
    SOCKET socket;
    unsigned in_flight; /* operations whose end has not been handled: the connection must stay */
    bool ended;         /* by the client: nothing more is received */
};

/* An overlapped operation. From the call that starts it until its packet has come, the system may write to it and its buffer. */
struct operation {
    OVERLAPPED overlapped; /* the first member: a packet has its address */
    enum kind kind;
    struct connection *connection;
    struct operation *next; /* in the pool or among the completed */
    char buffer[IOCP_MESSAGE_MAX_BYTES];
};

struct counts {
    unsigned long long calls, completions, allocations, bytes;
};

static struct server {
    const struct level *level;
    HANDLE port;
    SOCKET listener;
    unsigned accepts; /* in flight */
    unsigned served;  /* connections that have come and gone */
    struct operation *pool, *completed, **completed_end;
    struct counts counts, warm, all; /* now; behind the warm-up; with the last message */
} server;

/* ---- operations ---- */

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes);

    if (memory == NULL)
        iocp_fail("malloc", ERROR_NOT_ENOUGH_MEMORY);
    server.counts.allocations++;
    return memory;
}

static struct operation *operation_create(struct connection *connection)
{
    struct operation *operation = server.pool;

    if (operation != NULL)
        server.pool = operation->next;
    else
        operation = allocate(sizeof(*operation));
    operation->connection = connection;
    return operation;
}

static void operation_release(struct operation *operation)
{
    if (!server.level->pools) {
        free(operation);
        return;
    }
    operation->next = server.pool;
    server.pool = operation;
}

/* Call before the system call that starts it. */
static void operation_begin(struct operation *operation, enum kind kind)
{
    operation->kind = kind;
    memset(&operation->overlapped, 0, sizeof(operation->overlapped));
    operation->connection->in_flight++;
    server.counts.calls++;
}

static void operation_completed(struct operation *operation)
{
    operation->next = NULL;
    *server.completed_end = operation;
    server.completed_end = &operation->next;
}

/* Call behind the system call. A call that succeeds at once has a packet as well, unless the handle says otherwise
 * (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS); one that could not start has none. */
static void operation_started(struct operation *operation, bool succeeded)
{
    if (succeeded) {
        if (server.level->ahead && operation->kind != ACCEPT)
            operation_completed(operation);
    } else if (WSAGetLastError() != WSA_IO_PENDING) {
        operation->overlapped.Internal = STATUS_OF_FAILED_START;
        operation_completed(operation);
    }
}

/* The status is that of the OVERLAPPED, an NTSTATUS: errors are negative. */
static bool operation_failed(const struct operation *operation)
{
    return (LONG)operation->overlapped.Internal < 0;
}

/* ---- connections ---- */

static void close_socket(struct connection *connection)
{
    if (connection->socket == INVALID_SOCKET)
        return;
    server.counts.calls++;
    closesocket(connection->socket);
    connection->socket = INVALID_SOCKET;
}

/* An error: what is in flight ends soon, each operation by its packet. */
static void connection_break(struct connection *connection)
{
    connection->ended = true;
    close_socket(connection);
}

/* Call when the end of an operation has been handled. The last one out closes: a send in flight arrives. */
static void connection_put(struct connection *connection)
{
    if (--connection->in_flight > 0 || !connection->ended)
        return;
    close_socket(connection);
    free(connection);
    server.served++;
}

static void post_receive(struct connection *connection)
{
    struct operation *operation = operation_create(connection);
    WSABUF buffer = { .len = sizeof(operation->buffer), .buf = operation->buffer };
    DWORD flags = 0;

    operation_begin(operation, RECEIVE);
    operation_started(operation,
                      WSARecv(connection->socket, &buffer, 1, NULL, &flags, &operation->overlapped, NULL) == 0);
}

/* Completes when the system has taken all bytes: there is no short send. */
static void post_send(struct operation *operation, ULONG bytes)
{
    WSABUF buffer = { .len = bytes, .buf = operation->buffer };

    operation_begin(operation, SEND);
    operation_started(operation,
                      WSASend(operation->connection->socket, &buffer, 1, NULL, 0, &operation->overlapped, NULL) == 0);
}

static void on_received(struct operation *operation)
{
    struct connection *connection = operation->connection;
    ULONG bytes = (ULONG)operation->overlapped.InternalHigh;

    if (operation_failed(operation) || bytes == 0) {
        connection->ended = true;
        if (operation_failed(operation))
            connection_break(connection);
        operation_release(operation);
        return;
    }
    server.counts.bytes += bytes;
    if (server.level->ahead)
        post_receive(connection);
    post_send(operation, bytes);
}

static void on_sent(struct operation *operation)
{
    struct connection *connection = operation->connection;

    if (operation_failed(operation))
        connection_break(connection);
    operation_release(operation);
    if (!server.level->ahead && !connection->ended)
        post_receive(connection);
}

/* ---- accepting ---- */

/* AcceptEx needs the connection's socket beforehand. */
static void post_accept(void)
{
    struct connection *connection = allocate(sizeof(*connection));
    struct operation *operation = operation_create(connection);
    DWORD received;

    *connection = (struct connection){ .socket = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED) };
    server.counts.calls++;
    if (connection->socket == INVALID_SOCKET)
        iocp_fail("WSASocket", (unsigned long)WSAGetLastError());
    server.accepts++;
    operation_begin(operation, ACCEPT);
    operation_started(operation, AcceptEx(server.listener, connection->socket, operation->buffer, 0, ADDRESS_BYTES,
                                          ADDRESS_BYTES, &received, &operation->overlapped));
}

/* A handle is bound to a port once, for all its operations. */
static void bind_to_port(SOCKET socket)
{
    server.counts.calls++;
    if (CreateIoCompletionPort((HANDLE)socket, server.port, 0, 0) == NULL)
        iocp_fail("CreateIoCompletionPort", GetLastError());
}

/* Without the update the system does not know the socket's addresses, and shutdown(2) fails. */
static void prepare_socket(SOCKET socket)
{
    BOOL on = TRUE;

    setsockopt(socket, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, (const char *)&server.listener, sizeof(server.listener));
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, (const char *)&on, sizeof(on));
    server.counts.calls += 2;
    bind_to_port(socket);
    if (!server.level->ahead)
        return;
    server.counts.calls++;
    if (!SetFileCompletionNotificationModes((HANDLE)socket, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS))
        iocp_fail("SetFileCompletionNotificationModes", GetLastError());
}

/* A client that has gone before it was accepted is an error of this one accept only. */
static void on_accepted(struct operation *operation)
{
    struct connection *connection = operation->connection;
    bool failed = operation_failed(operation);

    server.accepts--;
    operation_release(operation);
    if (server.listener != INVALID_SOCKET)
        post_accept();
    if (failed) {
        close_socket(connection);
        free(connection);
        return;
    }
    prepare_socket(connection->socket);
    post_receive(connection);
    connection_put(connection);
}

/* ---- the loop ---- */

static void handle(struct operation *operation)
{
    struct connection *connection = operation->connection;

    switch (operation->kind) {
    case ACCEPT:
        on_accepted(operation);
        return;
    case RECEIVE:
        on_received(operation);
        break;
    case SEND:
        on_sent(operation);
        break;
    }
    connection_put(connection);
}

static void take_packet(void)
{
    OVERLAPPED *overlapped = NULL;
    ULONG_PTR key;
    DWORD bytes;

    /* FALSE with an OVERLAPPED: a packet of an operation that failed. */
    if (!GetQueuedCompletionStatus(server.port, &bytes, &key, &overlapped, INFINITE) && overlapped == NULL)
        iocp_fail("GetQueuedCompletionStatus", GetLastError());
    server.counts.completions++;
    operation_completed((struct operation *)overlapped);
}

static void take_packets(void)
{
    OVERLAPPED_ENTRY entries[BATCH_MAX];
    ULONG count;

    if (!GetQueuedCompletionStatusEx(server.port, entries, server.level->batch, &count, INFINITE, FALSE))
        iocp_fail("GetQueuedCompletionStatusEx", GetLastError());
    server.counts.completions += count;
    for (ULONG i = 0; i < count; i++)
        operation_completed((struct operation *)entries[i].lpOverlapped);
}

static void handle_completed(void)
{
    struct operation *operation;

    while ((operation = server.completed) != NULL) {
        server.completed = operation->next;
        if (server.completed == NULL)
            server.completed_end = &server.completed;
        handle(operation);
    }
}

/* The counting leaves out how connections begin and end. */
static void note_counts(void)
{
    unsigned long long each = (unsigned long long)connections * message_bytes;

    if (server.warm.bytes == 0 && server.counts.bytes >= WARM_UP_MESSAGES * each)
        server.warm = server.counts;
    if (server.all.bytes == 0 && server.counts.bytes == (WARM_UP_MESSAGES + messages) * each)
        server.all = server.counts;
}

/* Until all connections have come and gone; then the accepts are cancelled, and the packet of each has come. */
static void serve(void)
{
    while (server.served < connections || server.accepts > 0) {
        if (server.served == connections && server.listener != INVALID_SOCKET) {
            closesocket(server.listener);
            server.listener = INVALID_SOCKET;
        }
        server.counts.calls++;
        if (server.level->batch == 1)
            take_packet();
        else
            take_packets();
        handle_completed();
        note_counts();
    }
}

/* ---- a level ---- */

static void listen_on_loopback(struct sockaddr_in *address)
{
    int length = sizeof(*address);

    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    server.listener = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED);
    if (server.listener == INVALID_SOCKET || bind(server.listener, (struct sockaddr *)address, length) != 0 ||
        listen(server.listener, SOMAXCONN) != 0 ||
        getsockname(server.listener, (struct sockaddr *)address, &length) != 0)
        iocp_fail("listen", (unsigned long)WSAGetLastError());
    bind_to_port(server.listener);
}

/* What the connections can need: a send and a receive each, and the accepts. */
static void fill_pool(void)
{
    for (unsigned i = 0; i < 2 * connections + server.level->accepts; i++)
        operation_release(allocate(sizeof(struct operation)));
}

static void free_pool(void)
{
    struct operation *operation;

    while ((operation = server.pool) != NULL) {
        server.pool = operation->next;
        free(operation);
    }
}

static void print_counts(void)
{
    const struct counts *all = &server.all, *warm = &server.warm;
    double count = (double)(all->bytes - warm->bytes) / message_bytes;

    printf("level %d: %s\n", (int)(server.level - levels) + 1, server.level->text);
    printf("  a message: calls %.2f, completions %.2f, allocations %.2f\n", (double)(all->calls - warm->calls) / count,
           (double)(all->completions - warm->completions) / count,
           (double)(all->allocations - warm->allocations) / count);
    fflush(stdout);
}

static void run_level(const struct level *level)
{
    struct iocp_clients clients = { .connections = connections,
                                    .messages = WARM_UP_MESSAGES + messages,
                                    .message_bytes = message_bytes };

    server = (struct server){ .level = level, .completed_end = &server.completed };
    server.port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    if (server.port == NULL)
        iocp_fail("CreateIoCompletionPort", GetLastError());
    listen_on_loopback(&clients.address);
    if (level->pools)
        fill_pool();
    for (unsigned i = 0; i < level->accepts; i++)
        post_accept();
    iocp_clients_start(&clients);
    serve();
    iocp_clients_join(&clients);
    CloseHandle(server.port);
    free_pool();
    print_counts();
}

static void print_help(void)
{
    printf(
        "Usage: jd-iocp-levels [OPTION]...\n"
        "An echo server on a completion port in three levels, with clients in the same program. Prints for each level "
        "the\n"
        "server's calls into the system, completion packets and allocations for each message.\n\n"
        "      --level N             1: one accept at a time, one packet a call; 2: batched; 3: pooled and pre-posted\n"
        "                            (default: one after the other)\n"
        "      --connections N       1 to 1000 (default 20)\n"
        "      --messages N          of each connection, 1 to 10000 (default 50)\n"
        "      --size BYTES          of a message, 1 to 4096 (default 64)\n"
        "  -h, --help                print this text and exit\n");
}

/* Returns the level, or 0 for all. */
static unsigned read_options(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' },
                                             { "level", required_argument, NULL, OPTION_LEVEL },
                                             { "connections", required_argument, NULL, OPTION_CONNECTIONS },
                                             { "messages", required_argument, NULL, OPTION_MESSAGES },
                                             { "size", required_argument, NULL, OPTION_SIZE },
                                             { 0 } };
    unsigned level = 0;
    int option;

    while ((option = program_next_option(&program, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help();
            exit(0);
        }
        if (option == OPTION_LEVEL)
            level = (unsigned)program_number(&program, "--level", optarg, 1, LEVELS);
        else if (option == OPTION_CONNECTIONS)
            connections = (unsigned)program_number(&program, "--connections", optarg, 1, IOCP_CONNECTIONS_MAX);
        else if (option == OPTION_MESSAGES)
            messages = (unsigned)program_number(&program, "--messages", optarg, 1, MESSAGES_MAX);
        else if (option == OPTION_SIZE)
            message_bytes = (unsigned)program_number(&program, "--size", optarg, 1, IOCP_MESSAGE_MAX_BYTES);
    }
    return level;
}

int main(int argc, char **argv)
{
    unsigned only = read_options(argc, argv);
    WSADATA data;
    int error = WSAStartup(MAKEWORD(2, 2), &data);

    if (error != 0)
        iocp_fail("WSAStartup", (unsigned long)error);
    for (unsigned level = 1; level <= LEVELS; level++)
        if (only == 0 || only == level)
            run_level(&levels[level - 1]);
    WSACleanup();
    return 0;
}
