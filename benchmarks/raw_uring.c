/* raw-uring: a minimal echo server written directly on io_uring, the baseline for jinduo's io_uring engine. One thread;
 * multishot accept and receive; bytes are sent from the provided buffers that received them; one system call per turn
 * submits all sends and waits; the ring's descriptor is registered. It has no back-pressure against a peer that does
 * not read.
 *
 * CPU per message of other variants, 64 B messages, on a small virtual machine (--variant starts two of them):
 *  - direct: a send(2) for each message instead of a batch. The same with 1 connection, 10 % more with 50, 10 to 20 %
 *    more with 500.
 *  - Wait for one completion more than there are sends, so that 1 connection costs one system call per message, not
 *    two: about 3 % less with 1 connection, up to 20 % less with 500. But it is wrong: a short write completes with
 *    bytes left to send, and that completion is not handled until another event arrives.
 *  - buffers=64, 256, 512, 1024, of 4 KiB each: no measurable difference with 1 and 50 connections. With 500
 *    connections and fewer than 1024 buffers, receives end with ENOBUFS and are re-armed (64: 20 % more,
 *    256: up to 10 % more).
 *  - Buffers of 8 KiB, or spaced so that they share fewer cache sets: no significant difference. */
#include "benchmarks/raw_server.h"

#include <errno.h>
#include <inttypes.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SUBMISSIONS = 1024,
    COMPLETIONS = 8192,
    BUFFERS_MAX = 32768,
    BUFFER_BYTES = 4096,
    BUFFER_GROUP = 0,
    NONE = -1,
};

enum kind { ACCEPTED, RECEIVED, SENT };

/* By descriptor. Received buffers are sent in FIFO order, one at a time. */
static struct connection {
    int first, last; /* list of buffers to send, or NONE */
    unsigned begin;  /* offset of the first unsent byte in first */
    bool receiving, sending, ended;
} connections[RAW_CONNECTIONS_MAX];

static struct {
    int next;
    unsigned length;
} filled[BUFFERS_MAX];

static unsigned buffer_count = 1024;
static bool direct;
static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static unsigned char *memory;
static unsigned returned; /* buffers given back in this turn */
static struct {
    uint64_t enters, completions, bytes_received;
} counters;
static int receive_waiters[RAW_CONNECTIONS_MAX], receive_waiter_count;

/* ---- operations ---- */

static struct io_uring_sqe *next_entry(void)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring);

    if (entry != NULL)
        return entry;
    io_uring_submit(&ring);
    counters.enters++;
    return io_uring_get_sqe(&ring);
}

static void set_data(struct io_uring_sqe *entry, enum kind kind, int fd)
{
    io_uring_sqe_set_data64(entry, (uint64_t)kind << 32 | (unsigned)fd);
}

static void begin_accept(int listener)
{
    struct io_uring_sqe *entry = next_entry();

    io_uring_prep_multishot_accept(entry, listener, NULL, NULL, SOCK_CLOEXEC);
    set_data(entry, ACCEPTED, listener);
}

static void begin_receive(int fd)
{
    struct io_uring_sqe *entry = next_entry();

    io_uring_prep_recv_multishot(entry, fd, NULL, 0, 0);
    set_data(entry, RECEIVED, fd);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = BUFFER_GROUP;
    connections[fd].receiving = true;
}

static unsigned char *buffer_memory(int number)
{
    return memory + (size_t)number * BUFFER_BYTES;
}

static void return_buffer(int number)
{
    io_uring_buf_ring_add(buffers, buffer_memory(number), BUFFER_BYTES, (unsigned short)number,
                          io_uring_buf_ring_mask(buffer_count), (int)returned++);
}

static bool consume_sent(struct connection *connection, unsigned bytes)
{
    int number = connection->first;

    connection->begin += bytes;
    if (connection->begin < filled[number].length)
        return false;
    connection->first = filled[number].next;
    connection->begin = 0;
    return_buffer(number);
    return true;
}

static const unsigned char *unsent(const struct connection *connection, unsigned *length)
{
    *length = filled[connection->first].length - connection->begin;
    return buffer_memory(connection->first) + connection->begin;
}

/* Returns whether all bytes were sent. */
static bool send_directly(int fd)
{
    unsigned length;
    const unsigned char *bytes = unsent(&connections[fd], &length);
    ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

    counters.enters++;
    return sent > 0 && consume_sent(&connections[fd], (unsigned)sent);
}

static void begin_send(int fd)
{
    struct io_uring_sqe *entry;
    const unsigned char *bytes;
    unsigned length;

    if (direct && send_directly(fd))
        return;
    bytes = unsent(&connections[fd], &length);
    entry = next_entry();
    io_uring_prep_send(entry, fd, bytes, length, MSG_NOSIGNAL | MSG_WAITALL);
    set_data(entry, SENT, fd);
    connections[fd].sending = true;
}

static void close_if_done(int fd)
{
    struct connection *connection = &connections[fd];

    if (connection->receiving || connection->sending || !connection->ended)
        return;
    while (connection->first != NONE)
        consume_sent(connection, filled[connection->first].length);
    close(fd);
}

/* ---- completions ---- */

static void on_accepted(int listener, const struct io_uring_cqe *entry)
{
    if ((entry->flags & IORING_CQE_F_MORE) == 0)
        begin_accept(listener);
    if (entry->res >= RAW_CONNECTIONS_MAX)
        close(entry->res);
    else if (entry->res >= 0) {
        connections[entry->res] = (struct connection){ .first = NONE };
        begin_receive(entry->res);
    }
}

static void queue_buffer(struct connection *connection, int number, unsigned length)
{
    filled[number].next = NONE;
    filled[number].length = length;
    if (connection->first == NONE)
        connection->first = number;
    else
        filled[connection->last].next = number;
    connection->last = number;
}

static void on_received(int fd, const struct io_uring_cqe *entry)
{
    struct connection *connection = &connections[fd];

    if (entry->res > 0) {
        counters.bytes_received += (uint64_t)entry->res;
        if (raw_server_discards)
            return_buffer((int)(entry->flags >> IORING_CQE_BUFFER_SHIFT));
        else
            queue_buffer(connection, (int)(entry->flags >> IORING_CQE_BUFFER_SHIFT), (unsigned)entry->res);
        if (connection->first != NONE && !connection->sending)
            begin_send(fd);
    } else if (entry->flags & IORING_CQE_F_BUFFER)
        return_buffer((int)(entry->flags >> IORING_CQE_BUFFER_SHIFT));
    if (entry->flags & IORING_CQE_F_MORE)
        return;
    connection->receiving = false;
    if (entry->res == -ENOBUFS)
        receive_waiters[receive_waiter_count++] = fd;
    else if (entry->res > 0 && !connection->ended)
        begin_receive(fd);
    else {
        connection->ended = true;
        close_if_done(fd);
    }
}

static void on_sent(int fd, int result)
{
    struct connection *connection = &connections[fd];

    connection->sending = false;
    if (result < 0) {
        connection->ended = true;
        shutdown(fd, SHUT_RDWR);
    } else {
        consume_sent(connection, (unsigned)result);
        if (connection->first != NONE)
            begin_send(fd);
    }
    close_if_done(fd);
}

static void dispatch(const struct io_uring_cqe *entry)
{
    int fd = (int)(uint32_t)entry->user_data;
    enum kind kind = (enum kind)(entry->user_data >> 32);

    if (kind == ACCEPTED)
        on_accepted(fd, entry);
    else if (kind == RECEIVED)
        on_received(fd, entry);
    else
        on_sent(fd, entry->res);
}

static void dispatch_all(void)
{
    struct io_uring_cqe *entry;
    unsigned head, count = 0;

    io_uring_for_each_cqe(&ring, head, entry)
    {
        dispatch(entry);
        count++;
    }
    if (returned > 0)
        io_uring_buf_ring_advance(buffers, (int)returned);
    returned = 0;
    io_uring_cq_advance(&ring, count);
    counters.completions += count;
    while (receive_waiter_count > 0 && count > 0)
        begin_receive(receive_waiters[--receive_waiter_count]);
}

/* ---- the loop ---- */

static bool kernel_has_work(void)
{
    return (IO_URING_READ_ONCE(*ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static void submit_and_wait(bool spin)
{
    if (spin && io_uring_sq_ready(&ring) == 0 && !kernel_has_work())
        return;
    counters.enters++;
    if (spin)
        io_uring_submit_and_get_events(&ring);
    else
        io_uring_submit_and_wait(&ring, 1);
}

static int create_ring(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE | IORING_SETUP_TASKRUN_FLAG,
        .cq_entries = COMPLETIONS,
    };
    int result = io_uring_queue_init_params(SUBMISSIONS, &ring, &params);

    if (result == 0)
        io_uring_register_ring_fd(&ring);
    return result;
}

static void *map(size_t bytes)
{
    void *result = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    return result != MAP_FAILED ? result : NULL;
}

static int create_buffers(void)
{
    struct io_uring_buf_reg registration = { .ring_entries = buffer_count, .bgid = BUFFER_GROUP };

    buffers = map(buffer_count * sizeof(struct io_uring_buf));
    memory = map((size_t)buffer_count * BUFFER_BYTES);
    if (buffers == NULL || memory == NULL)
        return -ENOMEM;
    io_uring_buf_ring_init(buffers);
    registration.ring_addr = (uintptr_t)buffers;
    for (unsigned number = 0; number < buffer_count; number++)
        return_buffer((int)number);
    io_uring_buf_ring_advance(buffers, (int)returned);
    returned = 0;
    return io_uring_register_buf_ring(&ring, &registration, 0);
}

static int serve(int listener, bool spin)
{
    int result = create_ring();

    if (result == 0)
        result = create_buffers();
    if (result < 0)
        return -result;
    begin_accept(listener);
    raw_server_ready(listener);
    while (!raw_server_stopped) {
        submit_and_wait(spin);
        dispatch_all();
    }
    printf("enters=%" PRIu64 " completions=%" PRIu64 " bytes_received=%" PRIu64 "\n", counters.enters,
           counters.completions, counters.bytes_received);
    return 0;
}

static bool take_variant(const char *value)
{
    static const char count[] = "buffers=";

    direct |= strcmp(value, "direct") == 0;
    if (strncmp(value, count, strlen(count)) != 0)
        return direct;
    buffer_count = (unsigned)strtoul(value + strlen(count), NULL, 10);
    return buffer_count > 0 && buffer_count <= BUFFERS_MAX && (buffer_count & (buffer_count - 1)) == 0;
}

int main(int argc, char **argv)
{
    static const struct raw_server server = {
        .name = "raw-uring",
        .engine = "raw-uring",
        .help =
            "Echo server written directly on io_uring: the baseline for jinduo's io_uring engine. At exit it prints\n"
            "how often it called the kernel.\n\n"
            "  --variant=NAME      direct: a send(2) for each message; buffers=N: N receive buffers of 4 KiB, a "
            "power of\n"
            "                      two up to 32768 (default 1024)\n",
        .option = { "variant", required_argument, NULL, 'v' },
        .allowed = "direct, or buffers=N with N a power of two from 1 to 32768",
        .take_option = take_variant,
        .serve = serve,
    };

    return raw_server_main(&server, argc, argv);
}
