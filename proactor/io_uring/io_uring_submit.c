/* Beginning operations: entries of the submission queue, which enter the kernel together with the next wait. */
#include "base/memory.h"
#include "base/posix/system_calls.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <jinduo/error.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

enum { BUFFER_GROUP = 0, PARKED_FIRST = 64, CANCEL_RETRY_MS = 1 };

/* ---- room in the queue ---- */

/* Shows the kernel what is in the queue, as io_uring_submit(3) does. */
static unsigned publish_entries(struct io_uring *ring)
{
    struct io_uring_sq *queue = &ring->sq;

    for (; queue->sqe_head != queue->sqe_tail; queue->sqe_head++)
        queue->array[queue->sqe_head & queue->ring_mask] = queue->sqe_head & queue->ring_mask;
    __atomic_store_n(queue->ktail, queue->sqe_tail, __ATOMIC_SEQ_CST);
    return io_uring_sq_ready(ring);
}

/* After entries were published: the kernel's thread says that it sleeps before it looks at the queue for the last time
 * (io_uring_setup(2), IORING_SETUP_SQPOLL), so either it has seen them or this sees that. */
static bool thread_sleeps(const struct io_uring *ring)
{
    return (__atomic_load_n(ring->sq.kflags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP) != 0;
}

/* All calls of io_uring_enter(2) but those in which wait_for_thread waits. */
static int call_kernel(struct io_uring_backend *uring, unsigned submissions, unsigned completions, unsigned flags,
                       const struct io_uring_getevents_arg *argument)
{
    if (uring->fd_registered)
        flags |= IORING_ENTER_REGISTERED_RING;
    if (argument != NULL)
        flags |= IORING_ENTER_EXT_ARG;
    return system_calls.io_uring_enter(&uring->ring, submissions, completions, flags, argument,
                                       argument != NULL ? sizeof(*argument) : 0);
}

/* io_uring_submit(3) would have the kernel make completions as well: in the middle of the telling of others, whose blocks
 * are not back yet, so that receives find none. */
static void submit_now(struct io_uring_backend *uring)
{
    unsigned flags = 0, count;

    if (!uring->enabled || io_uring_sq_ready(&uring->ring) == 0)
        return;
    count = publish_entries(&uring->ring);
    if (uring_is_polled(uring)) {
        if (!thread_sleeps(&uring->ring))
            return;
        flags |= IORING_ENTER_SQ_WAKEUP;
    }
    call_kernel(uring, count, 0, flags, NULL);
    uring->quiet_sends = 0; /* have completed by now */
    proactor_entered(uring->backend.owner);
}

/* io_uring_enter(2), IORING_ENTER_EXT_ARG. Without end is a day here, as a minimum without a maximum ends with the minimum
 * (io_cqring_min_timer_wakeup in io_uring/io_uring.c). */
int uring_enter(struct io_uring_backend *uring, unsigned count, unsigned at_least_us, int64_t timeout_ns)
{
    enum { NS_PER_S = 1000000000, DAY_S = 24 * 3600 };
    unsigned flags = IORING_ENTER_GETEVENTS;
    unsigned submissions = publish_entries(&uring->ring);
    struct __kernel_timespec timeout = { .tv_sec = timeout_ns / NS_PER_S, .tv_nsec = timeout_ns % NS_PER_S };
    struct io_uring_getevents_arg argument = { .sigmask_sz = _NSIG / CHAR_BIT, .pad = at_least_us };

    if (uring_is_polled(uring) && thread_sleeps(&uring->ring))
        flags |= IORING_ENTER_SQ_WAKEUP;
    if (timeout_ns < 0)
        timeout = (struct __kernel_timespec){ .tv_sec = DAY_S };
    if (timeout_ns >= 0 || at_least_us > 0)
        argument.ts = (uintptr_t)&timeout;
    uring->quiet_sends = 0;
    return call_kernel(uring, submissions, count, flags, &argument);
}

/* As io_uring_submit_and_get_events(3). */
int uring_submit_and_get_events(struct io_uring_backend *uring)
{
    unsigned flags = IORING_ENTER_GETEVENTS;
    unsigned submissions = publish_entries(&uring->ring);

    if (uring_is_polled(uring) && thread_sleeps(&uring->ring))
        flags |= IORING_ENTER_SQ_WAKEUP;
    return call_kernel(uring, submissions, 0, flags, NULL);
}

int uring_get_events(struct io_uring_backend *uring)
{
    return call_kernel(uring, 0, 0, IORING_ENTER_GETEVENTS, NULL);
}

/* Room for so many parked ones in all. */
static bool make_parking(struct io_uring_backend *uring, unsigned least)
{
    unsigned room = uring->parked_room > 0 ? uring->parked_room : PARKED_FIRST;
    struct io_uring_sqe *parked;

    if (least <= uring->parked_room)
        return true;
    while (room < least)
        room *= 2;
    parked = memory_allocate(room * sizeof(*parked));
    if (parked == NULL)
        return false;
    if (uring->parked != NULL) {
        memcpy(parked, uring->parked, uring->parked_count * sizeof(*parked));
        memory_release(uring->parked, uring->parked_room * sizeof(*parked));
    }
    uring->parked = parked;
    uring->parked_room = room;
    return true;
}

static struct io_uring_sqe *park(struct io_uring_backend *uring)
{
    return make_parking(uring, uring->parked_count + 1) ? &uring->parked[uring->parked_count++] : NULL;
}

/* A cancel must not fail, not even without memory. Before the ring is enabled nothing leaves the queue, so the room for an
 * operation's cancel is kept from its beginning on; later the kernel takes what is in the queue. */
static bool keep_room_for_cancel(struct io_uring_backend *uring)
{
    unsigned entries = io_uring_sq_ready(&uring->ring) + uring->parked_count + 1;

    return uring->enabled || 2 * entries <= URING_SUBMISSIONS || make_parking(uring, 2 * entries - URING_SUBMISSIONS);
}

/* The kernel's thread is at the queue, which is full: soon it is not. */
static void wait_for_thread(struct io_uring_backend *uring)
{
    while (io_uring_sq_space_left(&uring->ring) == 0) {
        proactor_entered(uring->backend.owner);
        if (io_uring_sqring_wait(&uring->ring) < 0)
            return;
    }
}

static struct io_uring_sqe *queue_entry(struct io_uring_backend *uring)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);

    if (entry != NULL)
        return entry;
    proactor_overflowed(uring->backend.owner);
    submit_now(uring);
    if (uring_is_polled(uring) && uring->enabled)
        wait_for_thread(uring);
    return io_uring_get_sqe(&uring->ring);
}

/* An entry behind all others, or NULL. */
static struct io_uring_sqe *next_entry(struct io_uring_backend *uring)
{
    struct io_uring_sqe *entry = uring->parked_count == 0 ? queue_entry(uring) : NULL;

    return entry != NULL ? entry : park(uring);
}

void uring_unpark(struct io_uring_backend *uring)
{
    unsigned count = 0;

    for (; count < uring->parked_count; count++) {
        struct io_uring_sqe *entry = queue_entry(uring);
        if (entry == NULL)
            break;
        *entry = uring->parked[count];
    }
    uring->parked_count -= count;
    if (count > 0)
        memmove(uring->parked, uring->parked + count, uring->parked_count * sizeof(*uring->parked));
}

/* ---- what a request points to ---- */

/* The kernel has taken what it needs of the arena when it has taken all entries (its thread moves the head of the queue when
 * it has begun what was there). Before an entry is taken, as it may be necessary to submit those before it. NULL: there is
 * no room just now. */
static void *arena_take(struct io_uring_backend *uring, size_t bytes)
{
    enum { ALIGNMENT = 16 };
    unsigned char *memory;

    bytes = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (uring->arena_used + bytes > URING_ARENA_BYTES)
        submit_now(uring);
    if (io_uring_sq_ready(&uring->ring) == 0 && uring->parked_count == 0)
        uring->arena_used = 0;
    if (uring->arena_used + bytes > URING_ARENA_BYTES)
        return NULL;
    memory = uring->arena + uring->arena_used;
    uring->arena_used += bytes;
    return memory;
}

static unsigned pieces_of(const struct operation_request *request)
{
    return (unsigned)(request->piece_count < IOV_MAX ? request->piece_count : IOV_MAX);
}

static const struct iovec *copy_pieces(struct io_uring_backend *uring, const struct operation_request *request)
{
    struct iovec *pieces = arena_take(uring, pieces_of(request) * sizeof(*pieces));

    if (pieces != NULL)
        memcpy(pieces, request->pieces, pieces_of(request) * sizeof(*pieces));
    return pieces;
}

struct message {
    struct msghdr header;
    struct iovec pieces[];
};

static const struct msghdr *copy_message(struct io_uring_backend *uring, const struct operation_request *request)
{
    unsigned count = pieces_of(request);
    struct message *message = arena_take(uring, sizeof(*message) + count * sizeof(*message->pieces));

    if (message == NULL)
        return NULL;
    memcpy(message->pieces, request->pieces, count * sizeof(*message->pieces));
    message->header = (struct msghdr){ .msg_iov = message->pieces, .msg_iovlen = count };
    return &message->header;
}

/* ---- the kinds of operations ---- */

static void prepare_receive_many(struct io_uring_sqe *entry, int fd)
{
    io_uring_prep_recv_multishot(entry, fd, NULL, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = BUFFER_GROUP;
}

static int send_flags(const struct operation_request *request)
{
    return request->more_follows ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
}

/* An entry's length has 32 bits, so that 4 GiB would be none; no call of the kernel's moves more than this (read(2), NOTES). */
static unsigned length_of(const struct iovec *piece)
{
    enum { CALL_MAX_BYTES = 0x7ffff000 };

    return piece->iov_len < CALL_MAX_BYTES ? (unsigned)piece->iov_len : CALL_MAX_BYTES;
}

/* data: the request's pieces, copied; NULL: only the first one counts. */
static void prepare(struct io_uring_sqe *entry, const struct operation_request *request, const void *data)
{
    const struct iovec *piece = request->pieces;
    bool single = data == NULL;

    switch (request->kind) {
    case OPERATION_ACCEPT:
        io_uring_prep_accept(entry, request->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case OPERATION_ACCEPT_MANY:
        io_uring_prep_multishot_accept(entry, request->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case OPERATION_CONNECT:
        io_uring_prep_connect(entry, request->fd, request->address, request->address_length);
        break;
    case OPERATION_RECEIVE:
        if (single)
            io_uring_prep_recv(entry, request->fd, piece->iov_base, length_of(piece), 0);
        else
            io_uring_prep_recvmsg(entry, request->fd, (struct msghdr *)(uintptr_t)data, 0);
        break;
    case OPERATION_RECEIVE_MANY:
        prepare_receive_many(entry, request->fd);
        break;
    case OPERATION_SEND:
        if (single)
            io_uring_prep_send(entry, request->fd, piece->iov_base, length_of(piece), send_flags(request));
        else
            io_uring_prep_sendmsg(entry, request->fd, data, (unsigned)send_flags(request));
        if (request->lends)
            entry->opcode = single ? IORING_OP_SEND_ZC : IORING_OP_SENDMSG_ZC;
        break;
    case OPERATION_READ:
        if (single)
            io_uring_prep_read(entry, request->fd, piece->iov_base, length_of(piece), request->offset);
        else
            io_uring_prep_readv(entry, request->fd, data, pieces_of(request), request->offset);
        break;
    case OPERATION_WRITE:
        if (single)
            io_uring_prep_write(entry, request->fd, piece->iov_base, length_of(piece), request->offset);
        else
            io_uring_prep_writev(entry, request->fd, data, pieces_of(request), request->offset);
        break;
    case OPERATION_POLL:
        io_uring_prep_poll_add(entry, request->fd, request->poll_events);
        break;
    case OPERATION_POLL_MANY:
        io_uring_prep_poll_multishot(entry, request->fd, request->poll_events);
        break;
    }
    io_uring_sqe_set_data64(entry, request->token);
}

/* Copies several pieces, which must outlive the call. NULL: there is but one, or no room; as fewer bytes may be moved than
 * are asked for, the first is enough then. */
static const void *copy_data(struct io_uring_backend *uring, const struct operation_request *request)
{
    if (request->piece_count <= 1)
        return NULL;
    if (request->kind == OPERATION_RECEIVE || request->kind == OPERATION_SEND)
        return copy_message(uring, request);
    return copy_pieces(uring, request);
}

/* Right behind the entry that it is to end (io_uring_prep_link_timeout(3)), whose completion says all: JD_ECANCELED. */
static void link_timeout(struct io_uring_backend *uring, struct io_uring_sqe *entry, struct __kernel_timespec *limit,
                         uint32_t timeout_ms)
{
    enum { MS_PER_S = 1000, NS_PER_MS = 1000000 };
    struct io_uring_sqe *timeout = io_uring_get_sqe(&uring->ring);

    *limit =
        (struct __kernel_timespec){ .tv_sec = timeout_ms / MS_PER_S, .tv_nsec = timeout_ms % MS_PER_S * NS_PER_MS };
    entry->flags |= IOSQE_IO_LINK;
    io_uring_prep_link_timeout(timeout, limit, 0);
    io_uring_sqe_set_data64(timeout, uring_timeout_token);
}

/* Both have to lie in the queue side by side, so not where entries wait until the ring is enabled, or are parked. */
static bool has_room_for_two(struct io_uring_backend *uring)
{
    if (!uring->enabled || uring->parked_count > 0)
        return false;
    if (io_uring_sq_space_left(&uring->ring) < 2)
        submit_now(uring);
    return io_uring_sq_space_left(&uring->ring) >= 2;
}

static int submit_timed(struct io_uring_backend *uring, const struct operation_request *request)
{
    struct __kernel_timespec *limit = request->piece_count == 1 ? arena_take(uring, sizeof(*limit)) : NULL;
    struct io_uring_sqe *entry;

    if (limit == NULL || !has_room_for_two(uring))
        return JD_ENOTSUP;
    entry = io_uring_get_sqe(&uring->ring);
    prepare(entry, request, NULL);
    link_timeout(uring, entry, limit, request->timeout_ms);
    return 0;
}

/* ---- the backend's functions ---- */

int uring_submit(struct backend *backend, const struct operation_request *request)
{
    struct io_uring_backend *uring = uring_of(backend);
    const void *data;
    struct io_uring_sqe *entry;
    bool of_all;

    if (request->timeout_ms > 0)
        return submit_timed(uring, request);
    data = copy_data(uring, request);
    of_all = data != NULL ? request->piece_count <= IOV_MAX : request->piece_count == 1;
    entry = keep_room_for_cancel(uring) ? next_entry(uring) : NULL;
    if (entry == NULL)
        return JD_ENOMEM;
    prepare(entry, request, data);
    if (of_all && uring_may_be_silent(uring, request))
        uring_silence(uring, entry, request);
    else
        uring->quiet_sends += request->quiet;
    return 0;
}

void uring_cancel(struct backend *backend, int fd, uint64_t token)
{
    struct io_uring_backend *uring = uring_of(backend);
    struct io_uring_sqe *entry = next_entry(uring);

    /* No memory to park it, and the kernel has none to take what is in the queue (EAGAIN in io_uring_enter(2)). Left out, it
     * would keep a close waiting for ever: so the loop stands until the kernel has some again. */
    for (; entry == NULL; entry = next_entry(uring)) {
        poll(NULL, 0, CANCEL_RETRY_MS);
        uring_get_events(uring);
        uring_unpark(uring);
    }
    io_uring_prep_cancel64(entry, token, 0);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(entry, uring_ignored_token);
}

void uring_push(struct backend *backend)
{
    submit_now(uring_of(backend));
}

void uring_poll_wakeup(struct io_uring_backend *uring)
{
    struct io_uring_sqe *entry = uring->wakeup_polled ? NULL : next_entry(uring);

    if (entry == NULL)
        return;
    io_uring_prep_poll_multishot(entry, uring->wakeup, POLLIN);
    io_uring_sqe_set_data64(entry, uring_wakeup_token);
    uring->wakeup_polled = true;
}
