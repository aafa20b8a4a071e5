/* Sends of whose success the kernel says nothing (IOSQE_CQE_SKIP_SUCCESS in io_uring_enter(2)). One that must not wait for room
 * (MSG_DONTWAIT) and has not succeeded unless it was taken whole (MSG_WAITALL) is over when the call that hands it over returns:
 * either there is a completion then, with the bytes that were taken or an error, or it was taken whole. So no completion ends a
 * call that could go on to wait for messages; that such a send is over is told by the next wait. */
#include "proactor/io_uring_backend.h"

#include <string.h>

/* In user_data, where requests' tokens have nothing. */
static const uint64_t silent_bit = (uint64_t)1 << 63;

bool uring_is_silent(uint64_t user_data)
{
    return (user_data & silent_bit) != 0 && user_data < uring_silence_token;
}

uint64_t uring_silent_token(uint64_t user_data)
{
    return user_data & ~silent_bit;
}

static size_t bytes_of(const struct operation_request *request)
{
    size_t bytes = 0;

    for (int i = 0; i < request->piece_count; i++)
        bytes += request->pieces[i].iov_len;
    return bytes;
}

/* Where the kernel's thread submits, nobody knows when it has; and the descriptor for other loops has to signal each end. */
bool uring_may_be_silent(const struct io_uring_backend *uring, const struct operation_request *request)
{
    return request->unheard && !request->lends && uring->incremental && !uring_is_polled(uring) &&
           uring->silent_count < URING_SILENT_MOST && uring->pollable == SOCKET_NONE;
}

void uring_silence(struct io_uring_backend *uring, struct io_uring_sqe *entry, const struct operation_request *request)
{
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    entry->msg_flags |= MSG_DONTWAIT | MSG_WAITALL;
    io_uring_sqe_set_data64(entry, request->token | silent_bit);
    uring->silent[uring->silent_count++] = (struct silent_send){ .token = request->token, .bytes = bytes_of(request) };
}

/* By a timeout of its own that goes on while messages come and go: one for each wait would cost as much as a call. */
void uring_limit_silence(struct io_uring_backend *uring)
{
    static struct __kernel_timespec limit = { .tv_nsec = URING_SILENCE_NS };
    struct io_uring_sqe *entry;

    if (uring->silent_count == 0 || uring->silence_limited)
        return;
    entry = uring_next_entry(uring);
    if (entry == NULL)
        return;
    io_uring_prep_timeout(entry, &limit, 0, 0);
    io_uring_sqe_set_data64(entry, uring_silence_token);
    uring->silence_limited = true;
}

/* Those that have a completion are told by that. They come in the order in which they were submitted. */
static void drop_failed(struct io_uring_backend *uring, unsigned ready)
{
    unsigned place = 0;

    for (unsigned i = 0; i < ready; i++) {
        uint64_t user_data = uring_completion_at(&uring->ring, i)->user_data;
        if (!uring_is_silent(user_data))
            continue;
        for (unsigned tries = 0; tries < uring->silent_count; tries++, place++) {
            struct silent_send *silent = &uring->silent[place % uring->silent_count];
            if (silent->token == uring_silent_token(user_data)) {
                silent->token = 0;
                break;
            }
        }
    }
}

/* A completion may not be in the queue, for want of room. */
static bool has_overflown(const struct io_uring *ring)
{
    return (IO_URING_READ_ONCE(*ring->sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
}

void uring_tell_silent(struct io_uring_backend *uring, unsigned ready)
{
    unsigned count = uring->silent_count;

    if (count == 0)
        return;
    drop_failed(uring, ready);
    if (!uring_has_tried_all(&uring->backend) || has_overflown(&uring->ring))
        return;
    for (unsigned i = 0; i < count; i++) {
        struct completion completion = { .token = uring->silent[i].token, .result = (int64_t)uring->silent[i].bytes };
        if (completion.token != 0)
            proactor_completed(uring->backend.owner, &completion);
    }
    /* What these went on with is behind them. */
    uring->silent_count -= count;
    memmove(uring->silent, uring->silent + count, uring->silent_count * sizeof(*uring->silent));
}
