/* Reporting completions: each entry of the completion queue is reported to the owner, or handled here. */
#include "proactor/io_uring/io_uring_backend.h"

#include <errno.h>

/* Whether the next entry has bytes of the same receive. */
static bool uring_bytes_follow(const struct io_uring_cqe *entry, const struct io_uring_cqe *next)
{
    return next != NULL && next->user_data == entry->user_data && next->flags & IORING_CQE_F_BUFFER && next->res > 0;
}

/* next: the entry behind it; NULL: none. */
static unsigned uring_dispatch(struct io_uring_backend *uring, const struct io_uring_cqe *entry,
                               const struct io_uring_cqe *next)
{
    struct completion completion = {
        .token = uring_is_unsignaled(entry->user_data) ? uring_unsignaled_token(entry->user_data) : entry->user_data,
        .result = entry->res,
        .more = (entry->flags & IORING_CQE_F_MORE) != 0,
    };
    bool has_buffer = (entry->flags & IORING_CQE_F_BUFFER) != 0;

    if (entry->user_data == uring_ignored_token)
        return 0;
    if (entry->user_data == uring_barrier_token) {
        uring->unsignaled_timeout_armed = false;
        return 0;
    }
    if (entry->user_data == uring_timeout_token) {
        if (entry->res == -EINVAL) /* taken without the receive in front of it: no memory for both at once */
            proactor_timeout_lost(uring->backend.owner);
        return 0;
    }
    if (entry->user_data == uring_wakeup_token) {
        uring->wakeup_polled = completion.more;
        return 1;
    }
    if (has_buffer) {
        completion.block = uring_buffer_filled(uring, entry);
        completion.bytes_follow = uring_bytes_follow(entry, next);
    }
    proactor_completed(uring->backend.owner, &completion);
    if (has_buffer)
        uring_buffer_return(uring, entry);
    return 1;
}

unsigned uring_dispatch_all(struct io_uring_backend *uring, unsigned finished)
{
    unsigned ready = io_uring_cq_ready(&uring->ring);
    unsigned count = 0;

    uring_report_unsignaled(uring, finished, ready);
    for (unsigned i = 0; i < ready; i++) {
        const struct io_uring_cqe entry = *uring_completion_at(&uring->ring, i);
        count += uring_dispatch(uring, &entry, i + 1 < ready ? uring_completion_at(&uring->ring, i + 1) : NULL);
    }
    io_uring_cq_advance(&uring->ring, ready);
    return count;
}
