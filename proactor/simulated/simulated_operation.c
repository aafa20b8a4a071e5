#include "proactor/simulated/simulated_operation.h"

#include "base/memory.h"
#include "base/posix/system_calls.h"

#include <errno.h>
#include <jinduo/error.h>
#include <limits.h>
#include <string.h>

enum { POLL_EVENTS = 0xffff }; /* the flags of epoll(7), such as EPOLLET, are higher bits (linux/eventpoll.h) */

/* ---- the request ---- */

static void operation_copy_buffers(struct simulated_operation *operation, const jd_iovec *buffers, int count)
{
    operation->buffers = operation->inline_buffers;
    operation->buffer_count = count < IOV_MAX ? count : IOV_MAX;
    if (operation->buffer_count > OPERATION_INLINE_BUFFERS) {
        operation->buffers = memory_allocate((size_t)operation->buffer_count * sizeof(*buffers));
        if (operation->buffers == NULL) {
            operation->buffers = operation->inline_buffers;
            operation->buffer_count = OPERATION_INLINE_BUFFERS;
        }
    }
    memcpy(operation->buffers, buffers, (size_t)operation->buffer_count * sizeof(*buffers));
}

/* EPOLLERR and EPOLLHUP are always reported. */
static uint32_t request_interest(const struct operation_request *request)
{
    switch (request->opcode) {
    case OPCODE_ACCEPT:
    case OPCODE_ACCEPT_MULTISHOT:
    case OPCODE_RECEIVE:
    case OPCODE_RECEIVE_MULTISHOT:
        return EPOLLIN | EPOLLRDHUP;
    case OPCODE_CONNECT:
    case OPCODE_SEND:
        return EPOLLOUT;
    case OPCODE_POLL:
    case OPCODE_POLL_MULTISHOT:
        return (request->poll_events & POLL_EVENTS) | EPOLLERR | EPOLLHUP;
    default:
        return 0;
    }
}

int simulated_operation_init(struct simulated_operation *operation, const struct operation_request *request)
{
    operation->token = request->token;
    operation->fd = request->fd;
    operation->opcode = request->opcode;
    operation->offset = request->offset;
    operation->more_follows = request->more_follows;
    operation->interest = request_interest(request);
    switch (request->opcode) {
    case OPCODE_RECEIVE:
    case OPCODE_SEND:
    case OPCODE_READ:
    case OPCODE_WRITE:
        if (request->buffer_count < 1)
            return JD_EINVAL;
        operation_copy_buffers(operation, request->buffers, request->buffer_count);
        return 0;
    case OPCODE_CONNECT:
        if (request->address == NULL || request->address_length > sizeof(operation->address))
            return JD_EINVAL;
        memcpy(&operation->address, request->address, request->address_length);
        operation->address_length = request->address_length;
        return 0;
    default:
        return 0;
    }
}

void simulated_operation_release(struct simulated_operation *operation)
{
    if (operation->buffers != NULL && operation->buffers != operation->inline_buffers)
        memory_release(operation->buffers, (size_t)operation->buffer_count * sizeof(*operation->buffers));
}

/* ---- performing ---- */

static int64_t perform_accept(struct simulated_operation *operation)
{
    struct peer_address peer;
    socket_handle accepted;
    int result = socket_accept(operation->fd, &accepted, &peer);

    return result < 0 ? result : accepted;
}

static int64_t perform_receive(struct simulated_operation *operation)
{
    if (operation->buffer_count == 1)
        return socket_receive(operation->fd, operation->buffers->data, operation->buffers->length);
    return socket_receive_pieces(operation->fd, operation->buffers, operation->buffer_count);
}

static int64_t perform_send(struct simulated_operation *operation)
{
    return operation->more_follows ? socket_send_more(operation->fd, operation->buffers, operation->buffer_count)
                                   : socket_send(operation->fd, operation->buffers, operation->buffer_count);
}

static int64_t perform_receive_multishot(struct simulated_operation *operation)
{
    struct block *block = operation->block;
    ssize_t received = socket_receive(operation->fd, block->data, block->capacity);

    block->begin = 0;
    block->end = received > 0 ? (uint32_t)received : 0;
    return received;
}

/* The first call begins to connect. When the socket is writable, the attempt has ended, and SO_ERROR is its result
 * (connect(2), EINPROGRESS). EINTR: the attempt continues in the same way. EAGAIN: a Unix-domain listener's queue is
 * full; no readiness would follow, so it is an error. */
static int64_t perform_connect(struct simulated_operation *operation, bool *would_block)
{
    if (operation->connecting)
        return socket_error(operation->fd);
    operation->connecting = true;
    if (system_calls.connect(operation->fd, (const struct sockaddr *)&operation->address, operation->address_length) ==
        0)
        return 0;
    *would_block = errno == EINPROGRESS || errno == EINTR;
    return -errno;
}

static int64_t perform_read(struct simulated_operation *operation)
{
    ssize_t count;

    do
        count = system_calls.preadv(operation->fd, socket_iovec(operation->buffers), operation->buffer_count,
                                    (off_t)operation->offset);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

static int64_t perform_write(struct simulated_operation *operation)
{
    ssize_t count;

    do
        count = system_calls.pwritev(operation->fd, socket_iovec(operation->buffers), operation->buffer_count,
                                     (off_t)operation->offset);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

void simulated_operation_perform(struct simulated_operation *operation)
{
    bool would_block = false;

    switch (operation->opcode) {
    case OPCODE_ACCEPT:
    case OPCODE_ACCEPT_MULTISHOT:
        operation->result = perform_accept(operation);
        would_block = operation->result == JD_EAGAIN;
        break;
    case OPCODE_CONNECT:
        operation->result = perform_connect(operation, &would_block);
        break;
    case OPCODE_RECEIVE:
        operation->result = perform_receive(operation);
        would_block = operation->result == JD_EAGAIN;
        break;
    case OPCODE_RECEIVE_MULTISHOT:
        operation->result = perform_receive_multishot(operation);
        would_block = operation->result == JD_EAGAIN;
        break;
    case OPCODE_SEND:
        operation->result = perform_send(operation);
        would_block = operation->result == JD_EAGAIN;
        break;
    case OPCODE_READ:
        operation->result = perform_read(operation);
        break;
    case OPCODE_WRITE:
        operation->result = perform_write(operation);
        break;
    case OPCODE_POLL:
    case OPCODE_POLL_MULTISHOT: /* never given to a worker */
    case OPCODE_SEND_FILE:      /* not submitted: see enum backend_files */
        break;
    }
    operation->finished = !would_block;
}
