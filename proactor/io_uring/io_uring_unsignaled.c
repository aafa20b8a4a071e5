/* Unsignaled sends: the kernel posts no completion for success (IOSQE_CQE_SKIP_SUCCESS in io_uring_enter(2)).
 *
 * Such a send does not wait for room (MSG_DONTWAIT) and succeeds only if all bytes are sent (MSG_WAITALL). So it has
 * finished when the call that submits it returns: either there is a completion, with the bytes of a short write or an
 * error, or all bytes were sent. No completion of a send ends a wait for messages; the next wait reports the success. */
#include "proactor/io_uring/io_uring_backend.h"

#include <string.h>

/* In user_data: set for an unsignaled send. Tokens are below 2^63. */
static const uint64_t unsignaled_bit = (uint64_t)1 << 63;

bool uring_is_unsignaled(uint64_t user_data)
{
    return (user_data & unsignaled_bit) != 0 && user_data < uring_timeout_token;
}

uint64_t uring_unsignaled_token(uint64_t user_data)
{
    return user_data & ~unsignaled_bit;
}

static size_t request_bytes(const struct operation_request *request)
{
    size_t bytes = 0;

    for (int i = 0; i < request->buffer_count; i++)
        bytes += request->buffers[i].length;
    return bytes;
}

/* Not with a pollable descriptor: it must be signaled for each completion. */
bool uring_may_be_unsignaled(const struct io_uring_backend *uring, const struct operation_request *request)
{
    return request->unsignaled && !request->zero_copy && uring->incremental &&
           uring->unsignaled_count < URING_UNSIGNALED_MAX && uring->pollable == SOCKET_NONE;
}

void uring_make_unsignaled(struct io_uring_backend *uring, struct io_uring_sqe *entry,
                           const struct operation_request *request)
{
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    entry->msg_flags |= MSG_DONTWAIT | MSG_WAITALL;
    io_uring_sqe_set_data64(entry, request->token | unsignaled_bit);
    uring->unsignaled_sends[uring->unsignaled_count++] =
        (struct unsignaled_send){ .token = request->token, .bytes = request_bytes(request) };
}

/* By a timeout operation that spans several waits: a timeout for each wait would cost as much as a system call. */
int64_t uring_arm_unsignaled_timeout(struct io_uring_backend *uring, int64_t timeout_ns)
{
    static struct __kernel_timespec limit = { .tv_nsec = URING_UNSIGNALED_REPORT_NS };
    struct io_uring_sqe *entry;

    if (uring->unsignaled_count == 0 || uring->unsignaled_timeout_armed)
        return timeout_ns;
    entry = io_uring_get_sqe(&uring->ring);
    if (entry == NULL)
        return timeout_ns < 0 || timeout_ns > URING_UNSIGNALED_REPORT_NS ? URING_UNSIGNALED_REPORT_NS : timeout_ns;
    io_uring_prep_timeout(entry, &limit, 0, 0);
    io_uring_sqe_set_data64(entry, uring_barrier_token);
    uring->unsignaled_timeout_armed = true;
    return timeout_ns;
}

/* A send that has a completion is reported by that. These completions come in the order of submission, so the search
 * continues where the last one ended. */
static void unsignaled_drop_completed(struct io_uring_backend *uring, unsigned ready)
{
    unsigned position = 0;

    for (unsigned i = 0; i < ready; i++) {
        uint64_t user_data = uring_completion_at(&uring->ring, i)->user_data;
        if (!uring_is_unsignaled(user_data))
            continue;
        for (unsigned tries = 0; tries < uring->unsignaled_count; tries++, position++) {
            struct unsignaled_send *send = &uring->unsignaled_sends[position % uring->unsignaled_count];
            if (send->token == uring_unsignaled_token(user_data)) {
                send->token = 0;
                break;
            }
        }
    }
}

/* All recorded sends have finished, unless the kernel has entries to take, or completions that do not fit into the
 * queue. */
unsigned uring_unsignaled_finished(struct io_uring_backend *uring)
{
    const struct io_uring *ring = &uring->ring;

    if (uring->parked_count > 0 || io_uring_sq_ready(ring) > 0 || uring_has_overflown(ring))
        return 0;
    proactor_unsignaled_reported(uring->backend.owner);
    return uring->unsignaled_count;
}

void uring_report_unsignaled(struct io_uring_backend *uring, unsigned finished, unsigned ready)
{
    if (uring->unsignaled_count == 0)
        return;
    unsignaled_drop_completed(uring, ready);
    for (unsigned i = 0; i < finished; i++) {
        struct completion completion = { .token = uring->unsignaled_sends[i].token,
                                         .result = (int64_t)uring->unsignaled_sends[i].bytes };
        if (completion.token != 0)
            proactor_completed(uring->backend.owner, &completion);
    }
    /* Sends that the reports have caused are recorded behind these. */
    uring->unsignaled_count -= finished;
    memmove(uring->unsignaled_sends, uring->unsignaled_sends + finished,
            uring->unsignaled_count * sizeof(*uring->unsignaled_sends));
}
