/* Zero-copy sends: the kernel reads the output queue's blocks themselves. Such a send completes twice:
 *
 *   - when the kernel has taken bytes: the next send may begin;
 *   - when the peer has acknowledged them: the kernel no longer reads their memory.
 *
 * In between the blocks are owned by the send's record, neither by the queue nor by the pool. stream_closed is not
 * reported before the last of them has been returned. */
#include "base/memory.h"
#include "net/engine/stream_socket.h"
#include "proactor/engine/proactor_engine.h"

#include <jinduo/error.h>

/* If the peer of a closed socket acknowledges nothing for so long, the kernel drops the connection and releases the
 * memory (TCP_USER_TIMEOUT in tcp(7)). */
enum { UNACKNOWLEDGED_AFTER_CLOSE_MS = 5000 };

struct zero_copy_send {
    struct zero_copy_send *next, **link;
    uint64_t stream; /* its token */
    struct block_chain blocks;
    bool taken; /* the first completion has come */
};

uint64_t proactor_zero_copy_token(const struct zero_copy_send *send)
{
    return proactor_token(COMPLETES_ZERO_COPY, (uint64_t)(uintptr_t)send);
}

struct zero_copy_send *proactor_begin_zero_copy(struct proactor_engine *proactor, const struct stream *stream,
                                                size_t bytes)
{
    uint32_t least = event_loop_options(proactor->engine.loop)->zero_copy_send_bytes;
    struct zero_copy_send *send;

    if (least == 0 || bytes < least || !proactor->backend->ops->zero_copy || has_flag(stream, STREAM_LOCAL))
        return NULL;
    send = memory_allocate_zeroed(sizeof(*send));
    if (send == NULL)
        return NULL;
    send->stream = stream_token(stream);
    send->next = proactor->zero_copy_sends;
    send->link = &proactor->zero_copy_sends;
    if (send->next != NULL)
        send->next->link = &send->next;
    proactor->zero_copy_sends = send;
    return send;
}

void proactor_end_zero_copy(struct proactor_engine *proactor, struct zero_copy_send *send)
{
    stream_zero_copy_done(proactor->engine.loop, &send->blocks);
    *send->link = send->next;
    if (send->next != NULL)
        send->next->link = send->link;
    memory_release(send, sizeof(*send));
}

/* The stream's newest record, or NULL. New records are inserted in front, so a send in flight is found before those
 * that only wait for acknowledgement. The common case is an empty list: zero-copy sends are off by default. */
static struct zero_copy_send *zero_copy_find(const struct proactor_engine *proactor, const struct stream *stream)
{
    struct zero_copy_send *send = proactor->zero_copy_sends;
    uint64_t token = send != NULL ? stream_token(stream) : 0;

    while (send != NULL && send->stream != token)
        send = send->next;
    return send;
}

const struct zero_copy_send *proactor_zero_copy_in_flight(const struct proactor_engine *proactor,
                                                          const struct stream *stream)
{
    const struct zero_copy_send *send = zero_copy_find(proactor, stream);

    return send != NULL && !send->taken ? send : NULL;
}

bool proactor_has_zero_copy(const struct proactor_engine *proactor, const struct stream *stream)
{
    return zero_copy_find(proactor, stream) != NULL;
}

void proactor_limit_zero_copy(const struct proactor_engine *proactor, const struct stream *stream)
{
    if (proactor_has_zero_copy(proactor, stream))
        socket_limit_unacknowledged(stream->socket, UNACKNOWLEDGED_AFTER_CLOSE_MS);
}

void proactor_zero_copy_completed(struct proactor_engine *proactor, struct zero_copy_send *send,
                                  const struct completion *completion)
{
    struct stream *stream = stream_by_token(proactor->engine.loop, send->stream);
    bool is_first = !send->taken;

    send->taken = true;
    if (is_first && completion->more) {
        proactor_sent(proactor, stream, completion, &send->blocks);
        return;
    }
    /* A refused send has no blocks in its record. */
    if (is_first)
        proactor_sent(proactor, stream, completion, &send->blocks);
    proactor_end_zero_copy(proactor, send);
    if (stream->socket == SOCKET_NONE && !proactor_has_zero_copy(proactor, stream))
        stream_closed(stream);
}
