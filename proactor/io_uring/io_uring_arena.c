/* What requests point to, and the kernel reads when it takes their entries: copied into an arena, as a request and its array of
 * pieces need not outlive submit. */
#include "proactor/io_uring/io_uring_backend.h"

#include <limits.h>
#include <string.h>

/* The kernel has taken what it needs of the arena when it has taken all entries (its thread moves the head of the queue when
 * it has begun what was there). */
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

unsigned uring_pieces_of(const struct operation_request *request)
{
    return (unsigned)(request->buffer_count < IOV_MAX ? request->buffer_count : IOV_MAX);
}

static const jd_iovec *copy_pieces(struct io_uring_backend *uring, const struct operation_request *request)
{
    jd_iovec *pieces = uring_arena_take(uring, uring_pieces_of(request) * sizeof(*pieces));

    if (pieces != NULL)
        memcpy(pieces, request->buffers, uring_pieces_of(request) * sizeof(*pieces));
    return pieces;
}

struct message {
    struct msghdr header;
    jd_iovec buffers[];
};

static const struct msghdr *copy_message(struct io_uring_backend *uring, const struct operation_request *request)
{
    unsigned count = uring_pieces_of(request);
    struct message *message = uring_arena_take(uring, sizeof(*message) + count * sizeof(*message->buffers));

    if (message == NULL)
        return NULL;
    memcpy(message->buffers, request->buffers, count * sizeof(*message->buffers));
    message->header = (struct msghdr){ .msg_iov = socket_iovec(message->buffers), .msg_iovlen = count };
    return &message->header;
}

const void *uring_copy_pieces(struct io_uring_backend *uring, const struct operation_request *request)
{
    if (request->buffer_count <= 1)
        return NULL;
    if (request->opcode == OPCODE_RECEIVE || request->opcode == OPCODE_SEND)
        return copy_message(uring, request);
    return copy_pieces(uring, request);
}
