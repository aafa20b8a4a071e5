/* raw-uring: a minimal echo server written directly on io_uring, the baseline for jinduo's io_uring engine. One thread; the ring's
 * descriptor is registered. It has no back-pressure against a peer that does not read.
 *
 *  - Accept and receive are multishot. Since Linux 6.12 the kernel consumes a buffer incrementally (IOU_PBUF_RING_INC): a few buffers of
 *    64 KiB serve many small messages, and a large message needs few completions. When they run out, there are more. Before, each
 *    completion uses a buffer of 4 KiB.
 *  - When all completions of a turn are dealt with, each connection that has received gets one send of all that it has: from the
 *    buffers themselves. One system call submits all sends and waits for what comes next.
 *  - A send that the socket takes whole at once posts no completion (IOSQE_CQE_SKIP_SUCCESS): when the system call has returned, it is
 *    over. One that the socket does not take posts one, and is continued by a send that waits.
 *
 * Variants (--variant): direct, a send(2) for each message instead of a batch: on a small virtual machine the CPU of a message of 64 B is
 * the same with 1 connection, 10 % more with 50, 10 to 20 % more with 500. small, as before Linux 6.12. */
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
    RING_BUFFERS = 1024,
    LARGE_BUFFERS = 8, /* to begin with, consumed incrementally; so many more when they run out */
    LARGE_BYTES = 64 * 1024,
    SMALL_BYTES = 4096,
    SLICES_MAX = 1 << 18,
    SEND_PARTS = 16,
    BUFFER_GROUP = 0,
    INCREMENTAL = 2, /* IOU_PBUF_RING_INC (linux/io_uring.h, Linux 6.12); liburing 2.3 does not define it */
    NONE = -1,
};

enum kind { ACCEPTED, RECEIVED, SENT };

/* By descriptor. Received bytes are sent in FIFO order, by one send at a time. */
static struct connection {
    int first, last; /* list of slices to send, or NONE */
    unsigned bytes;  /* of the send that is with the kernel */
    bool receiving;  /* or waiting for a buffer */
    bool sending, waits, touched;
    bool ended;  /* the peer has */
    bool failed; /* what is not sent is dropped */
} connections[RAW_CONNECTIONS_MAX];

/* Received bytes: a part of a buffer. */
static struct slice {
    int next;
    int buffer;
    unsigned begin, end;
} slices[SLICES_MAX];

static int free_slices = NONE, slices_used; /* those that were used, and how many */

static struct {
    unsigned used;   /* bytes that the kernel has filled */
    unsigned slices; /* that are not sent */
} filled[RING_BUFFERS];

/* What a send takes. The kernel copies it when the operation is submitted. */
static struct {
    struct msghdr header;
    struct iovec parts[SEND_PARTS];
} messages[SUBMISSIONS];
static unsigned message_count; /* of this submission */

/* Descriptors: with a send of which no completion comes if it succeeds; with bytes received in this turn, or a send that has ended;
 * without a buffer to receive into. */
static int unsignaled[RAW_CONNECTIONS_MAX], touched[RAW_CONNECTIONS_MAX], receive_waiters[RAW_CONNECTIONS_MAX];
static int unsignaled_count, touched_count, receive_waiter_count;

static bool incremental;
static unsigned buffer_count, buffer_bytes;
static bool direct, small;
static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static unsigned char *memory;
static unsigned returned; /* buffers given back in this turn */
static struct {
    uint64_t enters, completions, bytes_received;
} counters;

/* ---- operations ---- */

static struct io_uring_sqe *next_entry(void)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring);

    if (entry != NULL)
        return entry;
    io_uring_submit(&ring);
    counters.enters++;
    message_count = 0;
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
    return memory + (size_t)number * buffer_bytes;
}

static void return_buffer(int number)
{
    filled[number].used = 0;
    io_uring_buf_ring_add(buffers, buffer_memory(number), buffer_bytes, (unsigned short)number,
                          io_uring_buf_ring_mask(RING_BUFFERS), (int)returned++);
}

static void return_if_sent(int number)
{
    if (filled[number].slices == 0 && filled[number].used == buffer_bytes)
        return_buffer(number);
}

/* ---- slices ---- */

static int slice_take(void)
{
    int number = free_slices;

    if (number != NONE)
        free_slices = slices[number].next;
    else if (slices_used < SLICES_MAX)
        number = slices_used++;
    return number;
}

/* Returns false if there are no slices left. */
static bool slice_append(struct connection *connection, int buffer, unsigned begin, unsigned length)
{
    struct slice *last = connection->first != NONE ? &slices[connection->last] : NULL;
    int number;

    if (last != NULL && last->buffer == buffer && last->end == begin) {
        last->end += length;
        return true;
    }
    number = slice_take();
    if (number == NONE)
        return false;
    slices[number] = (struct slice){ .next = NONE, .buffer = buffer, .begin = begin, .end = begin + length };
    filled[buffer].slices++;
    if (last == NULL)
        connection->first = number;
    else
        last->next = number;
    connection->last = number;
    return true;
}

static void slice_free_first(struct connection *connection)
{
    int number = connection->first;
    struct slice *slice = &slices[number];

    connection->first = slice->next;
    filled[slice->buffer].slices--;
    return_if_sent(slice->buffer);
    slice->next = free_slices;
    free_slices = number;
}

static void consume_sent(struct connection *connection, unsigned bytes)
{
    while (bytes > 0) {
        struct slice *slice = &slices[connection->first];
        unsigned length = slice->end - slice->begin;
        if (bytes < length) {
            slice->begin += bytes;
            return;
        }
        bytes -= length;
        slice_free_first(connection);
    }
}

static unsigned char *slice_memory(const struct slice *slice)
{
    return buffer_memory(slice->buffer) + slice->begin;
}

/* ---- sending ---- */

/* Returns whether all bytes were sent. */
static bool send_directly(int fd)
{
    const struct slice *slice = &slices[connections[fd].first];
    ssize_t sent = send(fd, slice_memory(slice), slice->end - slice->begin, MSG_NOSIGNAL | MSG_DONTWAIT);

    counters.enters++;
    if (sent > 0)
        consume_sent(&connections[fd], (unsigned)sent);
    return connections[fd].first == NONE;
}

static void prepare_message(struct io_uring_sqe *entry, int fd)
{
    struct msghdr *header = &messages[message_count].header;
    struct iovec *parts = messages[message_count++].parts;
    unsigned bytes = 0;
    size_t count = 0;

    for (int i = connections[fd].first; i != NONE && count < SEND_PARTS; i = slices[i].next) {
        parts[count] =
            (struct iovec){ .iov_base = slice_memory(&slices[i]), .iov_len = slices[i].end - slices[i].begin };
        bytes += (unsigned)parts[count++].iov_len;
    }
    connections[fd].bytes = bytes;
    *header = (struct msghdr){ .msg_iov = parts, .msg_iovlen = count };
    io_uring_prep_sendmsg(entry, fd, header, 0);
}

static void prepare_send(struct io_uring_sqe *entry, int fd)
{
    const struct slice *first = &slices[connections[fd].first];

    connections[fd].bytes = first->end - first->begin;
    if (first->next == NONE)
        io_uring_prep_send(entry, fd, slice_memory(first), connections[fd].bytes, 0);
    else
        prepare_message(entry, fd);
}

static void begin_send(int fd)
{
    struct connection *connection = &connections[fd];
    struct io_uring_sqe *entry;

    if (direct && send_directly(fd))
        return;
    entry = next_entry();
    prepare_send(entry, fd);
    entry->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
    if (!connection->waits) {
        entry->msg_flags |= MSG_DONTWAIT;
        entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
        unsignaled[unsignaled_count++] = fd;
    }
    set_data(entry, SENT, fd);
    connection->sending = true;
}

static void touch(int fd)
{
    if (!connections[fd].touched)
        touched[touched_count++] = fd;
    connections[fd].touched = true;
}

static void close_if_done(int fd)
{
    struct connection *connection = &connections[fd];

    if (connection->receiving || connection->sending || !connection->ended ||
        (connection->first != NONE && !connection->failed))
        return;
    while (connection->first != NONE)
        slice_free_first(connection);
    connection->ended = false; /* closed */
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

/* Ends a connection: for want of slices, or as nothing can be sent. */
static void give_up(int fd)
{
    connections[fd].ended = connections[fd].failed = true;
    shutdown(fd, SHUT_RDWR);
}

/* A buffer is used up when it is full, or, if it is not consumed incrementally, by one completion. */
static void take_bytes(int fd, const struct io_uring_cqe *entry)
{
    int number = (int)(entry->flags >> IORING_CQE_BUFFER_SHIFT);
    unsigned begin = filled[number].used, length = entry->res > 0 ? (unsigned)entry->res : 0;

    filled[number].used = incremental ? begin + length : buffer_bytes;
    counters.bytes_received += length;
    if (length > 0 && !raw_server_discards && !slice_append(&connections[fd], number, begin, length))
        give_up(fd);
    return_if_sent(number);
}

static void on_received(int fd, const struct io_uring_cqe *entry)
{
    struct connection *connection = &connections[fd];

    if (entry->flags & IORING_CQE_F_BUFFER)
        take_bytes(fd, entry);
    touch(fd);
    if (entry->flags & IORING_CQE_F_MORE)
        return;
    if (entry->res == -ENOBUFS) {
        receive_waiters[receive_waiter_count++] = fd;
        return;
    }
    connection->receiving = false;
    if (entry->res > 0 && !connection->ended)
        begin_receive(fd);
    else
        connection->ended = true;
    if (entry->res < 0)
        connection->failed = true;
}

/* A send that has not taken all, or that waited. */
static void on_sent(int fd, int result)
{
    struct connection *connection = &connections[fd];

    connection->sending = false;
    if (result > 0)
        consume_sent(connection, (unsigned)result);
    else if (result < 0 && result != -EAGAIN)
        give_up(fd);
    connection->waits = result == -EAGAIN || (unsigned)result < connection->bytes;
    touch(fd);
}

/* Those of which no completion has come have sent everything. */
static void end_unsignaled_sends(void)
{
    for (int i = 0; i < unsignaled_count; i++) {
        struct connection *connection = &connections[unsignaled[i]];
        if (!connection->sending)
            continue;
        connection->sending = false;
        consume_sent(connection, connection->bytes);
        touch(unsignaled[i]);
    }
    unsignaled_count = 0;
}

static void send_what_is_there(void)
{
    for (int i = 0; i < touched_count; i++) {
        struct connection *connection = &connections[touched[i]];
        connection->touched = false;
        if (connection->first != NONE && !connection->sending && !connection->failed)
            begin_send(touched[i]);
        close_if_done(touched[i]);
    }
    touched_count = 0;
}

static void add_buffers(unsigned count)
{
    for (; count > 0 && buffer_count < RING_BUFFERS; count--)
        return_buffer((int)buffer_count++);
}

static void serve_receive_waiters(void)
{
    int count = receive_waiter_count;

    if (count == 0)
        return;
    if (incremental)
        add_buffers(LARGE_BUFFERS);
    receive_waiter_count = 0;
    for (int i = 0; i < count; i++) {
        int fd = receive_waiters[i];
        if (!connections[fd].ended) {
            begin_receive(fd);
            continue;
        }
        connections[fd].receiving = false;
        touch(fd);
    }
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

    message_count = 0; /* those of the last turn are submitted */
    io_uring_for_each_cqe(&ring, head, entry)
    {
        dispatch(entry);
        count++;
    }
    io_uring_cq_advance(&ring, count);
    counters.completions += count;
    end_unsignaled_sends();
    serve_receive_waiters();
    send_what_is_there();
    if (returned > 0)
        io_uring_buf_ring_advance(buffers, (int)returned);
    returned = 0;
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
    while (io_uring_sq_ready(&ring) > 0) /* the kernel refused some for a moment */
        io_uring_submit(&ring);
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
    void *result = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return result != MAP_FAILED ? result : NULL;
}

static int register_buffers(uint16_t flags)
{
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)buffers,
        .ring_entries = RING_BUFFERS,
        .bgid = BUFFER_GROUP,
    };

    incremental = flags != 0;
    buffer_bytes = incremental ? LARGE_BYTES : SMALL_BYTES;
    memcpy(&registration.bgid + 1, &flags, sizeof(flags)); /* the field flags, which liburing 2.3 names pad */
    return io_uring_register_buf_ring(&ring, &registration, 0);
}

static int create_buffers(void)
{
    int result;

    buffers = map(RING_BUFFERS * sizeof(struct io_uring_buf));
    if (buffers == NULL)
        return -ENOMEM;
    io_uring_buf_ring_init(buffers);
    result = small ? register_buffers(0) : register_buffers(INCREMENTAL);
    if (result == -EINVAL && incremental)
        result = register_buffers(0);
    if (result < 0)
        return result;
    memory = map((size_t)RING_BUFFERS * buffer_bytes);
    if (memory == NULL)
        return -ENOMEM;
    add_buffers(incremental ? LARGE_BUFFERS : RING_BUFFERS);
    io_uring_buf_ring_advance(buffers, (int)returned);
    returned = 0;
    return 0;
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
    direct = direct || strcmp(value, "direct") == 0;
    small = small || strcmp(value, "small") == 0;
    return strcmp(value, "direct") == 0 || strcmp(value, "small") == 0;
}

int main(int argc, char **argv)
{
    static const struct raw_server server = {
        .name = "raw-uring",
        .engine = "raw-uring",
        .help =
            "Echo server written directly on io_uring: the baseline for jinduo's io_uring engine. At exit it prints\n"
            "how often it called the kernel.\n\n"
            "  --variant=NAME      direct: a send(2) for each message; small: receive buffers of 4 KiB, one for each\n"
            "                      completion and send\n",
        .option = { "variant", required_argument, NULL, 'v' },
        .allowed = "direct or small",
        .take_option = take_variant,
        .serve = serve,
    };

    return raw_server_main(&server, argc, argv);
}
