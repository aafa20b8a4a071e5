#include "benchmarks/load_connection.h"

#include "base/endpoint.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

__attribute__((format(printf, 2, 3))) static void note_error(struct load_context *context, const char *format, ...)
{
    va_list arguments;

    if (context->first_error[0] != '\0')
        return;
    va_start(arguments, format);
    vsnprintf(context->first_error, sizeof(context->first_error), format, arguments);
    va_end(arguments);
}

static uint64_t outstanding_of(const struct load_connection *connection)
{
    return connection->granted - connection->receive.sequence;
}

static void drop(struct load_context *context, struct load_connection *connection)
{
    context->outstanding -= outstanding_of(connection);
    close(connection->fd);
    connection->fd = -1;
}

static void lose(struct load_context *context, struct load_connection *connection, const char *reason)
{
    if (connection->connected) {
        context->counts.io_errors++;
        note_error(context, "connection %" PRIu64 ": lost after %" PRIu64 " replies, with %" PRIu64 " outstanding: %s",
                   connection->number, connection->receive.sequence, outstanding_of(connection), reason);
    } else {
        context->counts.connect_errors++;
        note_error(context, "connection %" PRIu64 ": cannot connect: %s", connection->number, reason);
    }
    drop(context, connection);
}

void load_connection_give_up(struct load_context *context, struct load_connection *connection, const char *reason)
{
    lose(context, connection, reason);
}

/* TCP connects without blocking. A non-blocking connect of a Unix-domain socket fails with EAGAIN when the server's
 * backlog is full (connect(2)), so this one blocks, for at most the timeout. */
static int connect_socket(const struct load_options *options, int fd)
{
    const struct sockaddr *address = endpoint_sockaddr(&options->server);
    struct timeval limit = { .tv_sec = (time_t)options->timeout_seconds };
    int on = 1;

    if (address->sa_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        return connect(fd, address, options->server.length) < 0 && errno != EINPROGRESS ? -1 : 0;
    }
    limit.tv_sec += limit.tv_sec == 0;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, address, options->server.length) < 0)
        return -1;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return 0;
}

/* Binds to one of the source addresses. The port is chosen by connect(2), as it need only differ for this server
 * (IP_BIND_ADDRESS_NO_PORT in ip(7)). */
static bool bind_source(const struct load_options *options, int fd, uint64_t number)
{
    struct sockaddr_in source = { .sin_family = AF_INET };
    int on = 1;

    if (options->sources == 0)
        return true;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(number % options->sources));
    return setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0 &&
           bind(fd, (const struct sockaddr *)&source, sizeof(source)) == 0;
}

bool load_connection_open(struct load_context *context, struct load_connection *connection, uint64_t number)
{
    /* Edge-triggered and armed once: no epoll_ctl(2) per message, and each event is reported once. */
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection };
    struct load_batch *batches = connection->batches;
    uint32_t mask = connection->batch_mask;
    int family = endpoint_sockaddr(&context->options->server)->sa_family;

    *connection = (struct load_connection){ .fd = -1, .number = number, .batches = batches, .batch_mask = mask };
    message_cursor_init(&connection->send, &context->options->format, number);
    connection->receive = connection->send;
    connection->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | (family == AF_UNIX ? 0 : SOCK_NONBLOCK), 0);
    if (connection->fd < 0) {
        context->counts.connect_errors++;
        note_error(context, "connection %" PRIu64 ": cannot create a socket: %s", number, strerror(errno));
        return false;
    }
    if (!bind_source(context->options, connection->fd, number) ||
        connect_socket(context->options, connection->fd) < 0 ||
        epoll_ctl(context->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) < 0) {
        lose(context, connection, strerror(errno));
        return false;
    }
    return true;
}

void load_connection_grant(struct load_context *context, struct load_connection *connection, uint32_t messages,
                           uint64_t due_ns)
{
    connection->granted += messages;
    context->outstanding += messages;
    if (context->options->mode == LOAD_STREAM)
        return;
    assert(connection->batch_tail - connection->batch_head <= connection->batch_mask);
    connection->batches[connection->batch_tail++ & connection->batch_mask] = (struct load_batch){ due_ns, messages };
}

bool load_connection_send(struct load_context *context, struct load_connection *connection)
{
    const struct message_format *format = &context->options->format;

    while (!connection->blocked && connection->send.sequence < connection->granted) {
        struct message_cursor cursor = connection->send;
        size_t length =
            message_write(&cursor, format, context->send_buffer, context->options->write_bytes, connection->granted);
        ssize_t sent = send(connection->fd, context->send_buffer, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN) {
            lose(context, connection, strerror(errno));
            return false;
        }
        connection->blocked = sent < (ssize_t)length;
        if (sent < 0)
            break;
        connection->connected = true;
        connection->bytes_sent += (uint64_t)sent;
        context->moved_bytes += (uint64_t)sent;
        if (context->measuring)
            context->counts.bytes_sent += (uint64_t)sent;
        if (sent == (ssize_t)length)
            connection->send = cursor;
        else
            message_skip(&connection->send, format, (size_t)sent);
    }
    return true;
}

/* Replies arrive in order, so they belong to the oldest batches. */
static void count_replies(struct load_context *context, struct load_connection *connection, uint64_t replies,
                          uint64_t now_ns)
{
    context->outstanding -= replies;
    if (context->measuring)
        context->counts.messages += replies;
    if (context->options->mode == LOAD_STREAM)
        return;
    while (replies > 0) {
        struct load_batch *batch = &connection->batches[connection->batch_head & connection->batch_mask];
        uint32_t part = batch->messages < replies ? batch->messages : (uint32_t)replies;
        if (context->measuring)
            histogram_add(&context->latency, waited_ns(batch->due_ns, now_ns), part);
        batch->messages -= part;
        replies -= part;
        connection->batch_head += batch->messages == 0;
    }
}

static bool check_bytes(struct load_context *context, struct load_connection *connection, size_t length)
{
    struct message_fault fault;
    uint64_t wrong;

    connection->bytes_received += length;
    context->moved_bytes += length;
    if (context->measuring)
        context->counts.bytes_received += length;
    if (connection->bytes_received > connection->bytes_sent) {
        context->counts.verify_errors++;
        note_error(context,
                   "connection %" PRIu64 ": received more bytes than were sent: %" PRIu64 " instead of %" PRIu64,
                   connection->number, connection->bytes_received, connection->bytes_sent);
        return false;
    }
    wrong = message_check(&connection->receive, &context->options->format, context->receive_buffer, length, &fault);
    context->counts.verify_errors += wrong;
    if (wrong > 0)
        note_error(context,
                   "connection %" PRIu64 ": reply %" PRIu64 " is wrong at byte %" PRIu32 ": 0x%02x instead of 0x%02x",
                   connection->number, fault.sequence, fault.offset, fault.found, fault.expected);
    return true;
}

int64_t load_connection_receive(struct load_context *context, struct load_connection *connection, uint32_t events,
                                uint64_t *now_ns)
{
    uint64_t before = connection->receive.sequence, replies;
    ssize_t received;

    do {
        received = recv(connection->fd, context->receive_buffer, LOAD_BUFFER_BYTES, 0);
        if (received > 0 && !check_bytes(context, connection, (size_t)received)) {
            drop(context, connection);
            return -1;
        }
        /* A short read means that the socket is drained, but a FIN may have arrived in the same event. */
    } while (received == LOAD_BUFFER_BYTES || (received > 0 && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) ||
             (received < 0 && errno == EINTR));

    replies = connection->receive.sequence - before;
    if (replies > 0) {
        *now_ns = clock_now_ns();
        count_replies(context, connection, replies, *now_ns);
    }
    if (received > 0 || (received < 0 && errno == EAGAIN))
        return (int64_t)replies;
    lose(context, connection, received == 0 ? "closed by the server" : strerror(errno));
    return -1;
}

void load_connection_count_waiting(struct load_context *context, const struct load_connection *connection,
                                   uint64_t now_ns)
{
    for (uint32_t i = connection->batch_head; i != connection->batch_tail; i++) {
        const struct load_batch *batch = &connection->batches[i & connection->batch_mask];
        histogram_add(&context->latency, waited_ns(batch->due_ns, now_ns), batch->messages);
    }
}

void load_connection_close(struct load_context *context, struct load_connection *connection, bool with_reset)
{
    static const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    unsigned char surplus;

    if (!with_reset && outstanding_of(connection) == 0 && recv(connection->fd, &surplus, 1, 0) > 0) {
        context->counts.verify_errors++;
        note_error(context, "connection %" PRIu64 ": received bytes after the last reply", connection->number);
    }
    if (with_reset)
        setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    drop(context, connection);
}
