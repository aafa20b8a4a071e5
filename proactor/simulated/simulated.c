/* The simulated backend: life and wait. */
#include "base/memory.h"
#include "base/posix/system_calls.h"
#include "proactor/simulated/simulated_backend.h"

#include <errno.h>
#include <jinduo/error.h>
#include <sys/eventfd.h>

/* No descriptor has this token: its number would be (int)UINT32_MAX, which is negative. */
static const uint64_t token_wakeup = UINT64_MAX;

/* ---- life ---- */

static int simulated_available(const char **reason)
{
    return 0;
}

static int simulated_create(struct backend **backend, struct proactor_engine *owner,
                            const jd_event_loop_options *options)
{
    struct simulated *simulated = memory_allocate_zeroed(sizeof(*simulated));
    int result;

    if (simulated == NULL)
        return JD_ENOMEM;
    simulated->backend.ops = &simulated_backend;
    simulated->backend.owner = owner;
    list_init(&simulated->unused);
    list_init(&simulated->completed);
    list_init(&simulated->block_waiters);
    result = simulated_descriptors_open(&simulated->descriptors);
    if (result < 0)
        goto free_simulated;
    simulated->wakeup = system_calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (simulated->wakeup < 0) {
        result = -errno;
        goto close_descriptors;
    }
    /* Edge-triggered: each write is an edge, so the eventfd is never read. Its counter cannot fill up in a lifetime
     * (its limit is 2^64 - 2, eventfd(2)). */
    result = poller_add(&simulated->descriptors.poller, simulated->wakeup, EPOLLIN | EPOLLET, token_wakeup);
    if (result < 0)
        goto close_wakeup;
    simulated_workers_init(&simulated->workers, simulated->wakeup);
    *backend = &simulated->backend;
    return 0;

close_wakeup:
    system_calls.close(simulated->wakeup);
close_descriptors:
    simulated_descriptors_close(&simulated->descriptors);
free_simulated:
    memory_release(simulated, sizeof(*simulated));
    return result;
}

static void simulated_destroy(struct backend *backend)
{
    struct simulated *simulated = simulated_of(backend);

    simulated_workers_stop(&simulated->workers);
    if (simulated->spare != NULL)
        block_release(simulated->spare);
    system_calls.close(simulated->wakeup);
    simulated_descriptors_close(&simulated->descriptors);
    simulated_free_unused(simulated);
    memory_release(simulated, sizeof(*simulated));
}

void simulated_wake(struct backend *backend)
{
    /* The only error, EAGAIN for a full counter, would mean that a wake-up is already pending. */
    eventfd_write(simulated_of(backend)->wakeup, 1);
}

/* ---- waiting ---- */

static int simulated_wait(struct backend *backend, int64_t timeout_ns)
{
    struct simulated *simulated = simulated_of(backend);
    bool has_completed = !list_is_empty(&simulated->completed);
    int events = poller_wait(&simulated->descriptors.poller, has_completed ? 0 : timeout_ns);
    int completions;

    proactor_count_enter(backend->owner);
    proactor_woke(backend->owner);
    simulated_check_memory(simulated);
    simulated_dispatch(simulated, events);
    simulated_collect(simulated);
    simulated_serve_block_waiters(simulated);
    completions = simulated_report_completions(simulated);
    return events < 0 ? events : completions;
}

static unsigned simulated_receive_room(const struct backend *backend)
{
    const struct simulated *simulated = simulated_of(backend);

    return simulated->out_of_memory ? 0 : SIMULATED_BLOCKS_MAX - simulated->blocks_used;
}

/* 0 for both counters, so that every operation counts as tried: one that finds no block waits for it in this
 * backend's own queue. */
static unsigned simulated_tried(const struct backend *backend)
{
    return 0;
}

static bool simulated_has_unsignaled(const struct backend *backend)
{
    return false;
}

static int simulated_pollable_fd(struct backend *backend)
{
    return simulated_of(backend)->descriptors.poller.epoll;
}

static bool simulated_prepare_poll(struct backend *backend)
{
    simulated_push(backend);
    return !list_is_empty(&simulated_of(backend)->completed);
}

/* ---- the backend's functions ---- */

const struct backend_ops simulated_backend = {
    .id = JD_ENGINE_SIMULATED,
    .name = "simulated",
    .available = simulated_available,
    .create = simulated_create,
    .destroy = simulated_destroy,
    .wait = simulated_wait,
    .wake = simulated_wake,
    .submit = simulated_submit,
    .cancel = simulated_cancel,
    .push = simulated_push,
    .receive_room = simulated_receive_room,
    .submitted = simulated_tried,
    .tried = simulated_tried,
    .has_unsignaled = simulated_has_unsignaled,
    .pollable_fd = simulated_pollable_fd,
    .prepare_poll = simulated_prepare_poll,
};
