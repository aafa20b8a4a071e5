/* Submitting and cancelling operations: each becomes an entry of the submission queue, which is submitted with the
 * next wait. */
#include "proactor/io_uring/io_uring_backend.h"

#include <jinduo/error.h>
#include <limits.h>
#include <poll.h>

enum { CANCEL_RETRY_MS = 1 };

/* ---- entries by opcode ---- */

static void entry_prepare_receive_multishot(struct io_uring_sqe *entry, int fd)
{
    io_uring_prep_recv_multishot(entry, fd, NULL, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = URING_BUFFER_GROUP;
}

static int request_send_flags(const struct operation_request *request)
{
    return request->more_follows ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
}

/* An entry's length has 32 bits: 4 GiB would become 0. No system call moves more bytes than CALL_MAX_BYTES (read(2),
 * NOTES). */
static unsigned buffer_length(const jd_iovec *buffer)
{
    enum { CALL_MAX_BYTES = 0x7ffff000 };

    return buffer->length < CALL_MAX_BYTES ? (unsigned)buffer->length : CALL_MAX_BYTES;
}

/* data: the copied buffers (uring_copy_buffers); NULL: the entry uses the first buffer only. */
static void entry_prepare(struct io_uring_sqe *entry, const struct operation_request *request, const void *data)
{
    const jd_iovec *first = request->buffers;
    bool single = data == NULL;

    switch (request->opcode) {
    case OPCODE_ACCEPT:
        io_uring_prep_accept(entry, request->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case OPCODE_ACCEPT_MULTISHOT:
        io_uring_prep_multishot_accept(entry, request->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case OPCODE_CONNECT:
        io_uring_prep_connect(entry, request->fd, request->address, request->address_length);
        break;
    case OPCODE_RECEIVE:
        if (single)
            io_uring_prep_recv(entry, request->fd, first->data, buffer_length(first), 0);
        else
            io_uring_prep_recvmsg(entry, request->fd, (struct msghdr *)(uintptr_t)data, 0);
        break;
    case OPCODE_RECEIVE_MULTISHOT:
        entry_prepare_receive_multishot(entry, request->fd);
        break;
    case OPCODE_SEND:
        if (single)
            io_uring_prep_send(entry, request->fd, first->data, buffer_length(first), request_send_flags(request));
        else
            io_uring_prep_sendmsg(entry, request->fd, data, (unsigned)request_send_flags(request));
        if (request->zero_copy)
            entry->opcode = single ? IORING_OP_SEND_ZC : IORING_OP_SENDMSG_ZC;
        break;
    case OPCODE_READ:
        if (single)
            io_uring_prep_read(entry, request->fd, first->data, buffer_length(first), request->offset);
        else
            io_uring_prep_readv(entry, request->fd, data, uring_buffer_count_of(request), request->offset);
        break;
    case OPCODE_WRITE:
        if (single)
            io_uring_prep_write(entry, request->fd, first->data, buffer_length(first), request->offset);
        else
            io_uring_prep_writev(entry, request->fd, data, uring_buffer_count_of(request), request->offset);
        break;
    case OPCODE_POLL:
        io_uring_prep_poll_add(entry, request->fd, request->poll_events);
        break;
    case OPCODE_POLL_MULTISHOT:
        io_uring_prep_poll_multishot(entry, request->fd, request->poll_events);
        break;
    case OPCODE_SEND_FILE: /* not submitted: see enum backend_files */
        break;
    }
    io_uring_sqe_set_data64(entry, request->token);
}

/* ---- with a timeout ---- */

/* The timeout entry must directly follow the entry that it limits (io_uring_prep_link_timeout(3)). When the time is
 * up, that one completes with JD_ECANCELED; the completion of the timeout itself is not reported. */
static void entry_link_timeout(struct io_uring_backend *uring, struct io_uring_sqe *entry,
                               struct __kernel_timespec *limit, uint32_t timeout_ms)
{
    enum { MS_PER_S = 1000, NS_PER_MS = 1000000 };
    struct io_uring_sqe *timeout = io_uring_get_sqe(&uring->ring);

    *limit =
        (struct __kernel_timespec){ .tv_sec = timeout_ms / MS_PER_S, .tv_nsec = timeout_ms % MS_PER_S * NS_PER_MS };
    entry->flags |= IOSQE_IO_LINK;
    io_uring_prep_link_timeout(timeout, limit, 0);
    io_uring_sqe_set_data64(timeout, uring_timeout_token);
}

static int uring_submit_with_timeout(struct io_uring_backend *uring, const struct operation_request *request)
{
    struct __kernel_timespec *limit = request->buffer_count == 1 ? uring_arena_take(uring, sizeof(*limit)) : NULL;
    struct io_uring_sqe *entry;

    if (limit == NULL || !uring_has_room_for_two(uring))
        return JD_ENOTSUP;
    entry = io_uring_get_sqe(&uring->ring);
    entry_prepare(entry, request, NULL);
    entry_link_timeout(uring, entry, limit, request->timeout_ms);
    return 0;
}

/* ---- the backend's functions ---- */

int uring_submit(struct backend *backend, const struct operation_request *request)
{
    struct io_uring_backend *uring = uring_of(backend);
    const void *data;
    struct io_uring_sqe *entry;
    bool covers_all;

    if (request->timeout_ms > 0)
        return uring_submit_with_timeout(uring, request);
    data = uring_copy_buffers(uring, request);
    covers_all = data != NULL ? request->buffer_count <= IOV_MAX : request->buffer_count == 1;
    entry = uring_keep_room_for_cancel(uring) ? uring_next_entry(uring) : NULL;
    if (entry == NULL)
        return JD_ENOMEM;
    entry_prepare(entry, request, data);
    if (covers_all && uring_may_be_unsignaled(uring, request))
        uring_make_unsignaled(uring, entry, request);
    else
        uring->optional_sends += request->completion_optional;
    return 0;
}

void uring_cancel(struct backend *backend, int fd, uint64_t token)
{
    struct io_uring_backend *uring = uring_of(backend);
    struct io_uring_sqe *entry = uring_next_entry(uring);

    /* There is no memory to park the entry, and the kernel has none to take the queue (EAGAIN in io_uring_enter(2)).
     * Without the cancel a close would wait for ever, so this blocks the loop until the kernel has memory again. */
    for (; entry == NULL; entry = uring_next_entry(uring)) {
        poll(NULL, 0, CANCEL_RETRY_MS);
        uring_get_events(uring);
        uring_unpark(uring);
    }
    io_uring_prep_cancel64(entry, token, 0);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(entry, uring_ignored_token);
}

void uring_poll_wakeup(struct io_uring_backend *uring)
{
    struct io_uring_sqe *entry = uring->wakeup_polled ? NULL : uring_next_entry(uring);

    if (entry == NULL)
        return;
    io_uring_prep_poll_multishot(entry, uring->wakeup, POLLIN);
    io_uring_sqe_set_data64(entry, uring_wakeup_token);
    uring->wakeup_polled = true;
}
