/* Sends without a copy: the kernel reads the output queue's blocks themselves, and says twice that it is done: how many bytes
 * it has taken, so that the next send may begin; and, when the peer has acknowledged them, that it reads their memory no more.
 * In between the blocks are neither the queue's nor the pool's, but lent. A closed stream waits for them. */
#include "base/memory.h"
#include "net/engine/stream_socket.h"
#include "proactor/engine/proactor_engine.h"

#include <jinduo/error.h>

/* For a closed socket whose peer acknowledges nothing: then the kernel gives up, and with it the memory (TCP_USER_TIMEOUT in
 * tcp(7)). */
enum { LENT_AFTER_CLOSE_MS = 5000 };

struct zero_copy_send {
    struct zero_copy_send *next, **link;
    uint64_t stream; /* its token */
    struct block_chain blocks;
    bool taken; /* the first completion has come */
};

uint64_t proactor_zero_copy_token(const struct zero_copy_send *lent)
{
    return proactor_token(COMPLETES_ZERO_COPY, (uint64_t)(uintptr_t)lent);
}

struct zero_copy_send *proactor_begin_zero_copy(struct proactor_engine *proactor, const struct stream *stream,
                                                size_t bytes)
{
    uint32_t least = event_loop_options(proactor->engine.loop)->zero_copy_send_bytes;
    struct zero_copy_send *lent;

    if (least == 0 || bytes < least || !proactor->backend->ops->zero_copy || stream->is_local)
        return NULL;
    lent = memory_allocate_zeroed(sizeof(*lent));
    if (lent == NULL)
        return NULL;
    lent->stream = stream_token(stream);
    lent->next = proactor->lent;
    lent->link = &proactor->lent;
    if (lent->next != NULL)
        lent->next->link = &lent->next;
    proactor->lent = lent;
    return lent;
}

void proactor_end_zero_copy(struct proactor_engine *proactor, struct zero_copy_send *lent)
{
    stream_blocks_returned(proactor->engine.loop, &lent->blocks);
    *lent->link = lent->next;
    if (lent->next != NULL)
        lent->next->link = lent->link;
    memory_release(lent, sizeof(*lent));
}

/* The newest are first, so what is under way comes before what has been taken; nothing is lent where that is not asked for. */
static struct zero_copy_send *find(const struct proactor_engine *proactor, const struct stream *stream)
{
    struct zero_copy_send *lent = proactor->lent;
    uint64_t token = lent != NULL ? stream_token(stream) : 0;

    while (lent != NULL && lent->stream != token)
        lent = lent->next;
    return lent;
}

const struct zero_copy_send *proactor_send_zero_copy(const struct proactor_engine *proactor,
                                                     const struct stream *stream)
{
    const struct zero_copy_send *lent = find(proactor, stream);

    return lent != NULL && !lent->taken ? lent : NULL;
}

bool proactor_has_zero_copy(const struct proactor_engine *proactor, const struct stream *stream)
{
    return find(proactor, stream) != NULL;
}

void proactor_limit_zero_copy(const struct proactor_engine *proactor, const struct stream *stream)
{
    if (proactor_has_zero_copy(proactor, stream))
        socket_limit_unacknowledged(stream->socket, LENT_AFTER_CLOSE_MS);
}

void proactor_zero_copy_completed(struct proactor_engine *proactor, struct zero_copy_send *lent,
                                  const struct completion *completion)
{
    struct stream *stream = stream_by_token(proactor->engine.loop, lent->stream);
    bool is_first = !lent->taken;

    lent->taken = true;
    if (is_first && completion->more) {
        proactor_sent(proactor, stream, completion, &lent->blocks);
        return;
    }
    /* Refused, it has been lent nothing. */
    if (is_first)
        proactor_sent(proactor, stream, completion, &lent->blocks);
    proactor_end_zero_copy(proactor, lent);
    if (stream->socket == SOCKET_NONE && !proactor_has_zero_copy(proactor, stream))
        stream_closed(stream);
}
