/* The io_uring backend: one ring per loop, one system call per turn, which submits, waits and collects completions. */
#include "base/memory.h"
#include "base/platform/clock.h"
#include "base/posix/system_calls.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <errno.h>
#include <jinduo/error.h>
#include <sys/eventfd.h>

enum { NS_PER_S = 1000000000 };

/* ---- creation ---- */

static int uring_create(struct backend **backend, struct proactor_engine *owner, const jd_event_loop_options *options)
{
    const struct ring_size size = {
        .submissions = URING_SUBMISSIONS,
        .completions = URING_COMPLETIONS,
    };
    struct io_uring_backend *uring = memory_allocate_zeroed(sizeof(*uring));
    const char *reason;
    int result;

    if (uring == NULL)
        return JD_ENOMEM;
    uring->backend = (struct backend){ .ops = &io_uring_backend, .owner = owner };
    uring->pollable = SOCKET_NONE;
    uring->arena = memory_allocate(URING_ARENA_BYTES);
    if (uring->arena == NULL) {
        result = JD_ENOMEM;
        goto free_backend;
    }
    uring->wakeup = system_calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (uring->wakeup < 0) {
        result = -errno;
        goto free_arena;
    }
    result = uring_setup(&uring->ring, &size, &reason);
    if (result < 0) {
        proactor_log_refusal(owner, reason);
        goto close_wakeup;
    }
    result = uring_buffers_create(uring);
    if (result < 0)
        goto close_ring;
    *backend = &uring->backend;
    return 0;

close_ring:
    io_uring_queue_exit(&uring->ring);
close_wakeup:
    system_calls.close(uring->wakeup);
free_arena:
    memory_release(uring->arena, URING_ARENA_BYTES);
free_backend:
    memory_release(uring, sizeof(*uring));
    return result;
}

static void uring_destroy(struct backend *backend)
{
    struct io_uring_backend *uring = uring_of(backend);

    uring_buffers_destroy(uring);
    io_uring_queue_exit(&uring->ring);
    system_calls.close(uring->wakeup);
    if (uring->pollable != SOCKET_NONE)
        system_calls.close(uring->pollable);
    if (uring->parked != NULL)
        memory_release(uring->parked, uring->parked_room * sizeof(*uring->parked));
    memory_release(uring->arena, URING_ARENA_BYTES);
    memory_release(uring, sizeof(*uring));
}

/* Writes to the pollable eventfd too: the ring would signal it, but the kernel defers that, as a write to one eventfd
 * must not signal another from inside (io_eventfd_signal in Linux, io_uring/eventfd.c). */
static void uring_wake(struct backend *backend)
{
    struct io_uring_backend *uring = uring_of(backend);
    int pollable = uring->pollable;

    /* The eventfd is never read: each write completes the multishot poll. The only error, EAGAIN for a full counter,
     * would mean that a wake-up is already pending. */
    eventfd_write(uring->wakeup, 1);
    if (pollable != SOCKET_NONE)
        eventfd_write(pollable, 1);
}

/* ---- waiting ---- */

static bool uring_may_sleep(const struct io_uring_backend *uring)
{
    return io_uring_cq_ready(&uring->ring) == 0 && uring->parked_count == 0;
}

/* How many completions to wait for besides those of optional sends; 0: one of any kind ends the wait.
 *
 * A send whose socket has room completes when it is submitted. If its completion is optional, it would end the wait
 * for nothing, and the messages that follow would need another system call. So, with many active connections, the
 * wait gathers a few messages more, but not for long (a minimum timeout, Linux 6.12): a send may find its socket
 * full, and messages may be rare. With few active connections all of them would wait for each other. */
static unsigned uring_completions_to_gather(struct io_uring_backend *uring)
{
    unsigned more, sends = uring->optional_sends + uring->unsignaled_count;

    if (sends == 0 || !(uring->ring.features & IORING_FEAT_MIN_TIMEOUT))
        return 0;
    more = proactor_worth_gathering(uring->backend.owner);
    if (more > URING_GATHER_MAX)
        more = URING_GATHER_MAX;
    if (more > 2 * sends)
        more = 2 * sends;
    if (more == 1 && uring->optional_sends == 0)
        return 0; /* a wait is for one anyway */
    if (more == 0 || uring->gathering_skips == 0)
        return more;
    uring->gathering_skips--;
    return 0;
}

/* pays: at least half of the messages came in time. Each gathering that did not pay doubles the number of waits that
 * do not gather. */
static void uring_note_gathering(struct io_uring_backend *uring, bool pays)
{
    enum { PAUSE_MAX = 64 };

    if (pays)
        uring->gathering_pause = 0;
    else if (uring->gathering_pause < PAUSE_MAX)
        uring->gathering_pause = uring->gathering_pause * 2 + 1;
    uring->gathering_skips = uring->gathering_pause;
}

static int uring_sleep_once(struct io_uring_backend *uring, int64_t timeout_ns)
{
    unsigned optional = uring->optional_sends, more = uring_completions_to_gather(uring);
    int result = uring_enter(uring, more > 0 ? optional + more : 1,
                             more > 0 ? URING_GATHER_US + more * URING_GATHER_EACH_US : 0, timeout_ns);

    if (more > 0)
        uring_note_gathering(uring, io_uring_cq_ready(&uring->ring) >= optional + (more + 1) / 2);
    return result;
}

#if !defined(__has_feature)
#define __has_feature(feature) 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
/* ThreadSanitizer runs a signal handler only when the thread calls, or sleeps in, a function that it intercepts. It
 * does not intercept io_uring_enter: a signal that arrives just before would wait until the ring wakes up for another
 * reason. So sleep in steps. */
static int uring_sleep(struct io_uring_backend *uring, int64_t timeout_ns)
{
    enum { STEP_NS = 20 * 1000000 };
    int64_t left_ns = timeout_ns, deadline = clock_now() + timeout_ns;
    int result;

    do {
        result = uring_sleep_once(uring, left_ns < 0 || left_ns > STEP_NS ? STEP_NS : left_ns);
        left_ns = timeout_ns < 0 ? -1 : deadline - clock_now();
    } while (io_uring_cq_ready(&uring->ring) == 0 && (result >= 0 || result == -ETIME) &&
             (timeout_ns < 0 || left_ns > 0));
    return result;
}
#else
static int uring_sleep(struct io_uring_backend *uring, int64_t timeout_ns)
{
    return uring_sleep_once(uring, timeout_ns);
}
#endif

static int uring_enter_or_sleep(struct io_uring_backend *uring, int64_t timeout_ns)
{
    struct io_uring *ring = &uring->ring;

    if (timeout_ns != 0 && uring_may_sleep(uring)) {
        proactor_count_enter(uring->backend.owner);
        return uring_sleep(uring, uring_arm_unsignaled_timeout(uring, timeout_ns));
    }
    if (!uring_has_unsubmitted(uring) && !uring_kernel_has_more(ring))
        return 0;
    proactor_count_enter(uring->backend.owner);
    uring->optional_sends = 0; /* the call completes them */
    return uring_submit_and_get_events(uring);
}

/* One pass creates a limited number of completions (about 20 since Linux 6.13). Further passes follow until
 *
 *   - three quarters of the room to receive into are taken: a receive that finds no room ends, and submitting it
 *     again costs more than leaving it for the next turn;
 *   - there are RECEIVES_MAX receives: each message may need memory for its response;
 *   - half the completion queue is full;
 *   - a pass creates none: the kernel may have endless work without completions, such as a send that it retries. */
static int uring_collect_more(struct io_uring_backend *uring)
{
    enum { RECEIVES_MAX = 160 };
    const struct io_uring *ring = &uring->ring;
    size_t taken = 0;
    unsigned seen = 0, receives = 0;
    int result;

    for (bool is_first = true; uring_kernel_has_more(ring); is_first = false) {
        unsigned ready = io_uring_cq_ready(ring);
        unsigned before = seen;
        for (; seen < ready; seen++) {
            const struct io_uring_cqe *entry = uring_completion_at(ring, seen);
            taken += uring_buffer_taken(uring, entry);
            receives += (entry->flags & IORING_CQE_F_BUFFER) != 0;
        }
        if ((!is_first && seen == before) || taken > uring->room / 4 * 3 || receives > RECEIVES_MAX ||
            ready > URING_COMPLETIONS / 2)
            return 0;
        proactor_count_enter(uring->backend.owner);
        result = uring_get_events(uring);
        if (result < 0)
            return result;
    }
    return 0;
}

/* Not errors of a wait: a signal, the timeout, and a kernel that cannot take submissions now. */
static bool uring_is_error(int result)
{
    return result < 0 && result != -EINTR && result != -ETIME && result != -EBUSY && result != -EAGAIN;
}

static int uring_submit_and_wait(struct io_uring_backend *uring, int64_t timeout_ns)
{
    int result, more_result;

    if (!uring->enabled) {
        result = uring_enable(uring);
        if (result < 0)
            return result;
    }
    uring_pollable_drain(uring);
    uring_unpark(uring);
    uring_poll_wakeup(uring);
    uring_buffers_refill(uring);
    if (uring_has_overflown(&uring->ring))
        proactor_count_overflow(uring->backend.owner);
    result = uring_enter_or_sleep(uring, timeout_ns);
    more_result = uring_collect_more(uring);
    return uring_is_error(result) ? result : more_result;
}

static int uring_wait(struct backend *backend, int64_t timeout_ns)
{
    struct io_uring_backend *uring = uring_of(backend);
    int result = uring_submit_and_wait(uring, timeout_ns);
    unsigned count, finished = uring_unsignaled_finished(uring);

    proactor_woke(backend->owner);
    count = uring_dispatch_all(uring, finished);
    return uring_is_error(result) ? result : (int)count;
}

static unsigned uring_receive_room(const struct backend *backend)
{
    const struct io_uring_backend *uring = uring_of(backend);

    return (unsigned)((uring->room + uring->typical_bytes - 1) / uring->typical_bytes); /* rounded up */
}

static unsigned uring_submitted(const struct backend *backend)
{
    const struct io_uring_backend *uring = uring_of(backend);

    return uring->ring.sq.sqe_tail + uring->parked_count;
}

/* The kernel tries an operation when it takes its entry. */
static unsigned uring_tried(const struct backend *backend)
{
    const struct io_uring_backend *uring = uring_of(backend);

    return uring->ring.sq.sqe_tail - io_uring_sq_ready(&uring->ring);
}

static bool uring_has_unsignaled(const struct backend *backend)
{
    return uring_of(backend)->unsignaled_count > 0;
}

const struct backend_ops io_uring_backend = {
    .id = JD_ENGINE_IO_URING,
    .name = "io_uring",
    .zero_copy = true,
    .available = uring_available,
    .create = uring_create,
    .destroy = uring_destroy,
    .wait = uring_wait,
    .wake = uring_wake,
    .submit = uring_submit,
    .cancel = uring_cancel,
    .push = uring_push,
    .receive_room = uring_receive_room,
    .submitted = uring_submitted,
    .tried = uring_tried,
    .has_unsignaled = uring_has_unsignaled,
    .pollable_fd = uring_pollable_fd,
    .prepare_poll = uring_prepare_poll,
};
