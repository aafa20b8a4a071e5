/* The engine's loop side: life, wait, and the dispatch of completions. */
#include "proactor/engine/proactor_engine.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/platform/clock.h"

#include <assert.h>
#include <jinduo/error.h>

int proactor_create(struct engine **engine, jd_event_loop *loop, const struct engine_ops *ops,
                    const struct backend_ops *backend, const struct proactor_channel_ops *channels)
{
    struct proactor_engine *proactor = memory_allocate_zeroed(sizeof(*proactor));
    int result;

    if (proactor == NULL)
        return JD_ENOMEM;
    proactor->engine.ops = ops;
    proactor->engine.loop = loop;
    proactor->channel_ops = channels;
    proactor_receive_init(proactor);
    proactor_budget_init(proactor);
    result = backend->create(&proactor->backend, proactor, event_loop_options(loop));
    if (result < 0) {
        memory_release(proactor, sizeof(*proactor));
        return result;
    }
    operations_init(&proactor->operations, proactor->backend);
    proactor->engine.operations = &proactor->operations;
    *engine = &proactor->engine;
    return 0;
}

void proactor_destroy(struct engine *engine)
{
    struct proactor_engine *proactor = proactor_of(engine);

    assert(!proactor_receive_waits(proactor) && proactor->receiving.ended.first == NULL);
    assert(!proactor_has_deferred(proactor) && !proactor_accept_waits(proactor));
    proactor->backend->ops->destroy(proactor->backend);
    if (proactor->channels != NULL)
        proactor->channel_ops->close(proactor->channels);
    memory_release(proactor, sizeof(*proactor));
}

void proactor_wake(struct engine *engine)
{
    struct backend *backend = proactor_of(engine)->backend;

    backend->ops->wake(backend);
}

void proactor_push(struct engine *engine)
{
    struct backend *backend = proactor_of(engine)->backend;

    backend->ops->push(backend);
}

jd_timestamp proactor_now(const struct engine *engine)
{
    return clock_now();
}

static int64_t shorter_timeout(int64_t timeout_ns, int64_t other_ns)
{
    return timeout_ns < 0 || other_ns < timeout_ns ? other_ns : timeout_ns;
}

static int64_t engine_time_to_wait(const struct proactor_engine *proactor, int64_t timeout_ns)
{
    const struct backend *backend = proactor->backend;

    if (timeout_ns == 0 || proactor_has_deferred(proactor) ||
        (proactor->awaits_sends && backend->ops->has_unsignaled(backend)))
        return 0;
    if (proactor_receive_waits(proactor))
        timeout_ns = shorter_timeout(timeout_ns, proactor_receive_patience(proactor));
    if (proactor_accept_waits(proactor))
        timeout_ns = shorter_timeout(timeout_ns, proactor_accept_patience(proactor));
    return timeout_ns;
}

/* Submits the work that waited for this wait. Returns how long the wait may sleep. */
static int64_t engine_prepare_wait(struct proactor_engine *proactor, int64_t timeout_ns)
{
    proactor->error = proactor->channels != NULL ? proactor->channel_ops->poll(proactor->channels) : 0;
    proactor_continue_streams(proactor);
    if (operations_before_wait(&proactor->operations) || proactor->error < 0)
        return 0;
    return engine_time_to_wait(proactor, timeout_ns);
}

int proactor_pollable(struct engine *engine)
{
    struct backend *backend = proactor_of(engine)->backend;

    return backend->ops->pollable_fd(backend);
}

int64_t proactor_prepare_wait(struct engine *engine, int64_t timeout_ns)
{
    struct proactor_engine *proactor = proactor_of(engine);

    timeout_ns = engine_prepare_wait(proactor, timeout_ns);
    return proactor->backend->ops->prepare_poll(proactor->backend) ? 0 : timeout_ns;
}

int proactor_wait(struct engine *engine, int64_t timeout_ns)
{
    struct proactor_engine *proactor = proactor_of(engine);
    int count, finished;

    timeout_ns = engine_prepare_wait(proactor, timeout_ns);
    count = proactor->backend->ops->wait(proactor->backend, timeout_ns);
    if (proactor_accept_waits(proactor))
        proactor->reported += proactor_retry_accepting(proactor);
    /* Operations that finish without a completion of this wait are events, too: a wait that polls busily ends by them. */
    finished = (int)operations_report_finished(&proactor->operations);
    if (count == 0)
        count = finished;
    proactor_receive_waited(proactor);
    if (count < 0 || proactor->error < 0)
        return count < 0 ? count : proactor->error;
    return count + (int)proactor->reported;
}

/* ---- the user's operations ---- */

bool proactor_end_operations(struct engine *engine)
{
    return operations_end(&proactor_of(engine)->operations);
}

/* ---- the user's descriptors ---- */

int proactor_watch(struct engine *engine, jd_channel *channel)
{
    struct proactor_engine *proactor = proactor_of(engine);
    const struct proactor_channel_ops *ops = proactor->channel_ops;
    int result = 0;

    if (ops == NULL)
        return JD_ENOTSUP;
    if (proactor->channels == NULL)
        result = ops->open(&proactor->channels, proactor->backend);
    return result < 0 ? result : ops->watch(proactor->channels, channel);
}

void proactor_unwatch(struct engine *engine, jd_channel *channel)
{
    struct proactor_engine *proactor = proactor_of(engine);

    proactor->channel_ops->unwatch(proactor->channels, channel);
}

static void engine_channels_ready(struct proactor_engine *proactor)
{
    int result = proactor->channel_ops->ready(proactor->channels);

    if (result < 0)
        proactor->error = result;
}

/* ---- what a backend calls (proactor/backend.h) ---- */

void proactor_woke(struct proactor_engine *owner)
{
    event_loop_woke(owner->engine.loop);
    owner->turn++;
    proactor_receive_woke(owner);
    owner->reported = proactor_continue_deferred(owner);
}

void proactor_unsignaled_reported(struct proactor_engine *owner)
{
    owner->awaits_sends = false;
}

void proactor_timeout_lost(struct proactor_engine *owner)
{
    operations_start_timers(&owner->operations);
}

void proactor_count_overflow(struct proactor_engine *owner)
{
    event_loop_count_overflow(owner->engine.loop);
}

void proactor_count_enter(struct proactor_engine *owner)
{
    event_loop_count_enter(owner->engine.loop);
}

void proactor_log_refusal(struct proactor_engine *owner, const char *reason)
{
    log_message(JD_LOG_ERROR, "%s: not available: %s", owner->engine.ops->name, reason);
}

struct block *proactor_receive_block(struct proactor_engine *owner)
{
    return event_loop_receive_block(owner->engine.loop);
}

int proactor_set_receive_blocks(struct proactor_engine *owner, uint32_t block_bytes)
{
    return event_loop_set_receive_blocks(owner->engine.loop, block_bytes);
}

struct block_pool *proactor_slices(struct proactor_engine *owner)
{
    return event_loop_slice_pool(owner->engine.loop);
}

void proactor_completed(struct proactor_engine *owner, struct completion *completion)
{
    enum completion_kind kind = proactor_token_kind(completion->token);
    struct stream *stream = NULL;

    /* A stream exists until the last of its operations has completed, so the look-up succeeds. */
    if (kind <= COMPLETES_FILE)
        stream = stream_by_token(owner->engine.loop, proactor_token_value(completion->token));
    assert(kind > COMPLETES_FILE || stream != NULL);
    switch (kind) {
    case COMPLETES_RECEIVE:
        proactor_received(owner, stream, completion);
        break;
    case COMPLETES_SEND:
        proactor_sent(owner, stream, completion, NULL);
        break;
    case COMPLETES_WATCH:
        proactor_watched(owner, stream, completion);
        break;
    case COMPLETES_FILE:
        proactor_file_read(owner, stream, completion);
        break;
    case COMPLETES_ACCEPT:
        proactor_accepted(owner, completion);
        break;
    case COMPLETES_CONNECT:
        proactor_connected(owner, completion);
        break;
    case COMPLETES_CHANNELS:
        engine_channels_ready(owner);
        break;
    case COMPLETES_ZERO_COPY:
        proactor_zero_copy_completed(owner, (struct zero_copy_send *)(uintptr_t)proactor_token_value(completion->token),
                                     completion);
        break;
    case COMPLETES_USER:
        operation_completed(operation_by_token(completion->token), completion);
        break;
    }
}
