/* The arena: copies of the memory that the kernel reads when it takes an entry, because a request and its array of
 * buffers need not outlive submit. */
#include "proactor/io_uring/io_uring_backend.h"

#include <limits.h>
#include <string.h>

/* The arena is empty when the kernel has taken all entries: it has read what it needs by then. What the kernel writes to
 * when an operation completes does not lie here. */
void *uring_arena_take(struct io_uring_backend *uring, size_t bytes)
{
    enum { ALIGNMENT = 16 };
    unsigned char *memory;

    bytes = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (uring->arena_used + bytes > URING_ARENA_BYTES)
        uring_submit_now(uring);
    if (io_uring_sq_ready(&uring->ring) == 0 && uring->parked_count == 0)
        uring->arena_used = 0;
    if (uring->arena_used + bytes > URING_ARENA_BYTES)
        return NULL;
    memory = uring->arena + uring->arena_used;
    uring->arena_used += bytes;
    return memory;
}

unsigned uring_buffer_count_of(const struct operation_request *request)
{
    return (unsigned)(request->buffer_count < IOV_MAX ? request->buffer_count : IOV_MAX);
}

static const jd_iovec *arena_copy_buffers(struct io_uring_backend *uring, const struct operation_request *request)
{
    jd_iovec *buffers = uring_arena_take(uring, uring_buffer_count_of(request) * sizeof(*buffers));

    if (buffers != NULL)
        memcpy(buffers, request->buffers, uring_buffer_count_of(request) * sizeof(*buffers));
    return buffers;
}

struct message {
    struct msghdr header;
    jd_iovec buffers[];
};

static const struct msghdr *arena_copy_message(struct io_uring_backend *uring, const struct operation_request *request)
{
    unsigned count = uring_buffer_count_of(request);
    struct message *message = uring_arena_take(uring, sizeof(*message) + count * sizeof(*message->buffers));

    if (message == NULL)
        return NULL;
    memcpy(message->buffers, request->buffers, count * sizeof(*message->buffers));
    message->header = (struct msghdr){ .msg_iov = socket_iovec(message->buffers), .msg_iovlen = count };
    return &message->header;
}

_Static_assert(sizeof(struct msghdr) <= BACKEND_MEMORY_BYTES, "a message's header must fit");

/* When the receive completes, the kernel writes msg_flags and msg_controllen to the header (____sys_recvmsg in Linux,
 * net/socket.c): at any time, so that the header must not lie in the arena. */
static const struct msghdr *arena_prepare_receive(struct io_uring_backend *uring,
                                                  const struct operation_request *request)
{
    struct msghdr *header = request->memory;
    const jd_iovec *buffers = header != NULL ? arena_copy_buffers(uring, request) : NULL;

    if (buffers == NULL)
        return NULL;
    *header = (struct msghdr){ .msg_iov = socket_iovec(buffers), .msg_iovlen = uring_buffer_count_of(request) };
    return header;
}

const void *uring_copy_buffers(struct io_uring_backend *uring, const struct operation_request *request)
{
    if (request->buffer_count <= 1)
        return NULL;
    if (request->opcode == OPCODE_RECEIVE)
        return arena_prepare_receive(uring, request);
    if (request->opcode == OPCODE_SEND)
        return arena_copy_message(uring, request);
    return arena_copy_buffers(uring, request);
}
