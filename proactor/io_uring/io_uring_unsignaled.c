/* Sends of whose success the kernel says nothing (IOSQE_CQE_SKIP_SUCCESS in io_uring_enter(2)). One that must not wait for room
 * (MSG_DONTWAIT) and has not succeeded unless it was taken whole (MSG_WAITALL) is over when the call that hands it over returns:
 * either there is a completion then, with the bytes that were taken or an error, or it was taken whole. So no completion ends a
 * call that could go on to wait for messages; that such a send is over is told by the next wait. */
#include "proactor/io_uring/io_uring_backend.h"

#include <string.h>

/* In user_data, where requests' tokens have nothing. */
static const uint64_t unsignaled_bit = (uint64_t)1 << 63;

bool uring_is_unsignaled(uint64_t user_data)
{
    return (user_data & unsignaled_bit) != 0 && user_data < uring_timeout_token;
}

uint64_t uring_unsignaled_token(uint64_t user_data)
{
    return user_data & ~unsignaled_bit;
}

static size_t bytes_of(const struct operation_request *request)
{
    size_t bytes = 0;

    for (int i = 0; i < request->buffer_count; i++)
        bytes += request->buffers[i].length;
    return bytes;
}

/* Where the kernel's thread submits, nobody knows when it has; and the descriptor for other loops has to signal each end. */
bool uring_may_be_unsignaled(const struct io_uring_backend *uring, const struct operation_request *request)
{
    return request->unsignaled && !request->zero_copy && uring->incremental && !uring_is_polled(uring) &&
           uring->unsignaled_count < URING_SILENT_MOST && uring->pollable == SOCKET_NONE;
}

void uring_unsignaled(struct io_uring_backend *uring, struct io_uring_sqe *entry,
                      const struct operation_request *request)
{
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    entry->msg_flags |= MSG_DONTWAIT | MSG_WAITALL;
    io_uring_sqe_set_data64(entry, request->token | unsignaled_bit);
    uring->silent[uring->unsignaled_count++] =
        (struct unsignaled_send){ .token = request->token, .bytes = bytes_of(request) };
}

/* By a timeout of its own that goes on while messages come and go: one for each wait would cost as much as a call. */
int64_t uring_limit_silence(struct io_uring_backend *uring, int64_t timeout_ns)
{
    static struct __kernel_timespec limit = { .tv_nsec = URING_SILENCE_NS };
    struct io_uring_sqe *entry;

    if (uring->unsignaled_count == 0 || uring->silence_limited)
        return timeout_ns;
    entry = io_uring_get_sqe(&uring->ring);
    if (entry == NULL)
        return timeout_ns < 0 || timeout_ns > URING_SILENCE_NS ? URING_SILENCE_NS : timeout_ns;
    io_uring_prep_timeout(entry, &limit, 0, 0);
    io_uring_sqe_set_data64(entry, uring_barrier_token);
    uring->silence_limited = true;
    return timeout_ns;
}

/* Those that have a completion are told by that. They come in the order in which they were submitted. */
static void drop_failed(struct io_uring_backend *uring, unsigned ready)
{
    unsigned place = 0;

    for (unsigned i = 0; i < ready; i++) {
        uint64_t user_data = uring_completion_at(&uring->ring, i)->user_data;
        if (!uring_is_unsignaled(user_data))
            continue;
        for (unsigned tries = 0; tries < uring->unsignaled_count; tries++, place++) {
            struct unsignaled_send *silent = &uring->silent[place % uring->unsignaled_count];
            if (silent->token == uring_unsignaled_token(user_data)) {
                silent->token = 0;
                break;
            }
        }
    }
}

/* All that were submitted: none while the kernel has entries to take still, or completions for which the queue has no room. */
unsigned uring_unsignaled_over(struct io_uring_backend *uring)
{
    const struct io_uring *ring = &uring->ring;

    if (uring->parked_count > 0 || io_uring_sq_ready(ring) > 0 || uring_has_overflown(ring))
        return 0;
    proactor_unsignaled_reported(uring->backend.owner);
    return uring->unsignaled_count;
}

void uring_report_unsignaled(struct io_uring_backend *uring, unsigned over, unsigned ready)
{
    if (uring->unsignaled_count == 0)
        return;
    drop_failed(uring, ready);
    for (unsigned i = 0; i < over; i++) {
        struct completion completion = { .token = uring->silent[i].token, .result = (int64_t)uring->silent[i].bytes };
        if (completion.token != 0)
            proactor_completed(uring->backend.owner, &completion);
    }
    /* What these went on with is behind them. */
    uring->unsignaled_count -= over;
    memmove(uring->silent, uring->silent + over, uring->unsignaled_count * sizeof(*uring->silent));
}
