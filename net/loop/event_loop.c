/* The life of a loop: creation, running, destruction. A turn is in loop_turn.c. */
#include "net/loop/event_loop.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/platform/thread.h"
#include "base/timeout.h"
#include "net/engine/channel.h"
#include "net/loop/signal_watch.h"

#include <inttypes.h>
#include <jinduo/error.h>

enum {
    RECEIVE_BLOCK_BYTES = 64 * 1024, /* without its header */
    RECEIVE_REGION_BYTES =
        3 * RECEIVE_BLOCK_BYTES + 2 * BLOCK_PAGE_BYTES, /* three blocks, their headers, the alignment */
    SMALL_RECEIVE_REGION_BYTES = 256 * 1024,            /* event_loop_set_receive_blocks */
    RECEIVE_POOL_BYTES = 1024 * 1024,
    OUTPUT_SMALL_REGION_BYTES = 64 * 1024,
    OUTPUT_SMALL_POOL_BYTES = 8 * 1024 * 1024,
    OUTPUT_LARGE_REGION_BYTES = 256 * 1024, /* 15 blocks */
    OUTPUT_LARGE_POOL_BYTES = 16 * 1024 * 1024,
    OUTPUT_REFERENCE_REGION_BYTES = 16 * 1024,
    OUTPUT_REFERENCE_POOL_BYTES = 8 * 1024 * 1024,
    FLUSH_BYTES = 64 * 1024,
    FLUSH_CONNECTIONS = 32,
    FLUSH_AGE_US = 50,
    BUSY_POLL_MAX_US = 1000 * 1000,
    ACCEPTS_AHEAD_MAX = 1024,
    QUEUE_CELLS = 4096, /* 24 bytes each */
};

enum { NS_PER_US = 1000, NS_PER_MS = 1000000 };

/* Identifies a thread by its address, which differs in each thread. initial-exec: one instruction on the path of every
 * send. A library that is loaded by dlopen may use it as well: its few bytes fit into the static TLS surplus of
 * glibc. */
_Thread_local char event_loop_thread_token __attribute__((tls_model("initial-exec")));
static _Thread_local jd_event_loop *current_loop __attribute__((tls_model("initial-exec")));

jd_event_loop *event_loop_current(void)
{
    return current_loop;
}

/* ---- fork ---- */

/* A child of fork(2) shares the kernel's objects of the loop with its parent: a run would take the parent's events. */
static _Atomic unsigned forks_so_far;

static void count_fork_in_child(void)
{
    atomic_fetch_add(&forks_so_far, 1);
}

static void register_fork_handler(void)
{
    thread_at_fork(NULL, NULL, count_fork_in_child);
}

bool event_loop_is_the_parents(const jd_event_loop *loop)
{
    return loop->forks != atomic_load_explicit(&forks_so_far, memory_order_relaxed);
}

/* ---- creation ---- */

static int options_check(const jd_event_loop_options *options)
{
    if (options->busy_poll_us > BUSY_POLL_MAX_US)
        return log_invalid("event loop: busy_poll_us %" PRIu32 ": must be at most %d (1 s)", options->busy_poll_us,
                           BUSY_POLL_MAX_US);
    if (options->accepts_ahead > ACCEPTS_AHEAD_MAX)
        return log_invalid("event loop: accepts_ahead %" PRIu32 ": must be at most %d", options->accepts_ahead,
                           ACCEPTS_AHEAD_MAX);
    return 0;
}

static uint32_t or_default(uint32_t value, uint32_t default_value)
{
    return value != 0 ? value : default_value;
}

static void loop_init(jd_event_loop *loop, const jd_event_loop_options *options, const struct engine_ops *ops,
                      uint32_t first_generation)
{
    loop->ops = ops;
    loop->options = *options;
    loop->delivery.flushes = ops->sends_at_once;
    loop->busy_poll.span_ns = (int64_t)options->busy_poll_us * NS_PER_US;
    loop->flush.policy = (struct flush_policy){
        .bytes = or_default(options->flush_bytes, FLUSH_BYTES),
        .connections = or_default(options->flush_connections, or_default(ops->flush_connections, FLUSH_CONNECTIONS)),
        .age_ns = (int64_t)or_default(options->flush_age_us, FLUSH_AGE_US) * NS_PER_US,
    };
    loop->flush.age_step = 1;
    loop->flush.age_check = 1;
    atomic_init(&loop->owner, &event_loop_thread_token);
    loop_timers_init(loop, first_generation);
    for (int i = 0; i < LOOP_SERVICES; i++)
        if (loop_services[i]->init != NULL)
            loop_services[i]->init(loop, first_generation);
    thread_mutex_init_recursive(&loop->handoff_lock); /* event_loop_begin_work may be nested */
    atomic_init(&loop->shared.memory_refs, 1);
    block_pool_init_pages(&loop->blocks.receive, RECEIVE_BLOCK_BYTES, RECEIVE_REGION_BYTES, RECEIVE_POOL_BYTES);
    block_pool_init(&loop->blocks.output.small, OUTPUT_SMALL_BYTES, OUTPUT_SMALL_REGION_BYTES, OUTPUT_SMALL_POOL_BYTES);
    block_pool_init_pages(&loop->blocks.output.large, OUTPUT_LARGE_BYTES, OUTPUT_LARGE_REGION_BYTES,
                          OUTPUT_LARGE_POOL_BYTES);
    block_pool_init(&loop->blocks.output.references, OUTPUT_REFERENCE_BYTES, OUTPUT_REFERENCE_REGION_BYTES,
                    OUTPUT_REFERENCE_POOL_BYTES);
}

int event_loop_create_on(jd_event_loop **out, const jd_event_loop_options *options, const struct engine_ops *ops)
{
    static const jd_event_loop_options defaults;
    static thread_once_flag once = THREAD_ONCE_INITIALIZER;
    jd_event_loop *loop;
    uint32_t first_generation;
    int result;

    if (options == NULL)
        options = &defaults;
    result = options_check(options);
    if (result < 0)
        return result;
    loop = memory_allocate_zeroed(sizeof(*loop));
    if (loop == NULL)
        return JD_ENOMEM;
    thread_once(&once, register_fork_handler);
    loop->forks = atomic_load(&forks_so_far);
    result = loop_registry_allocate_index(loop, &first_generation);
    if (result < 0)
        goto free_loop;
    result = task_queue_init(&loop->queue, QUEUE_CELLS);
    if (result < 0)
        goto free_index;
    loop_init(loop, options, ops, first_generation);
    result = block_pool_prefault(&loop->blocks.receive);
    if (result < 0)
        goto destroy_queue;
    result = ops->create(&loop->engine, loop);
    if (result < 0)
        goto destroy_queue;
    loop->now = event_loop_clock(loop);
    timer_wheel_init(&loop->timers.wheel, (uint64_t)(loop->now / NS_PER_MS));
    if (options->measure)
        loop_measure_begin(loop);
    loop_registry_publish(loop);
    *out = loop;
    return 0;

destroy_queue:
    block_pool_destroy(&loop->blocks.receive);
    task_queue_destroy(&loop->queue);
free_index:
    loop_registry_free_index(loop->index, first_generation);
free_loop:
    memory_release(loop, sizeof(*loop));
    return result;
}

int event_loop_set_receive_blocks(jd_event_loop *loop, uint32_t block_bytes)
{
    block_pool_destroy(&loop->blocks.receive);
    block_pool_init(&loop->blocks.receive, block_bytes, SMALL_RECEIVE_REGION_BYTES, RECEIVE_POOL_BYTES);
    return block_pool_prefault(&loop->blocks.receive);
}

/* ---- running ---- */

/* Begins to run the loop. In the first run the calling thread becomes the owner, under handoff_lock: another thread may
 * try the same, and the thread that created the loop may be using it (event_loop_begin_work). Returns 0, JD_EPERM
 * (another thread is the owner) or JD_EBUSY (the loop is running). */
static int loop_enter(jd_event_loop *loop)
{
    bool is_first = !atomic_load(&loop->has_run);
    int result = 0;

    if (is_first)
        thread_mutex_lock(&loop->handoff_lock);
    if (atomic_load(&loop->has_run) && !event_loop_is_in_loop_thread(loop))
        result = JD_EPERM;
    else if (loop->running)
        result = JD_EBUSY;
    else
        loop->running = true;
    if (is_first && result == 0) {
        atomic_store_explicit(&loop->owner, &event_loop_thread_token, memory_order_relaxed);
        atomic_store_explicit(&loop->cpu_clock, thread_cpu_clock(), memory_order_relaxed);
        atomic_store(&loop->has_run, true);
    }
    if (is_first)
        thread_mutex_unlock(&loop->handoff_lock);
    return result;
}

bool event_loop_begin_work_locked(jd_event_loop *loop, bool *locked)
{
    thread_mutex_lock(&loop->handoff_lock);
    *locked = !atomic_load(&loop->has_run);
    if (*locked)
        return true;
    thread_mutex_unlock(&loop->handoff_lock);
    return event_loop_is_in_loop_thread(loop);
}

static int run_turns(jd_event_loop *loop, int64_t timeout_ns, bool until_quit)
{
    jd_event_loop *outer = current_loop;
    int result = event_loop_is_the_parents(loop) ? JD_EFORKED : loop_enter(loop);

    if (result < 0)
        return result;
    current_loop = loop;
    loop->runs_until_quit = until_quit;
    do {
        result = event_loop_turn(loop, timeout_ns);
    } while (until_quit && result >= 0 && !atomic_load(&loop->shared.quit));
    if (until_quit && result >= 0)
        atomic_store(&loop->shared.quit, false);
    loop->runs_until_quit = false;
    current_loop = outer;
    loop->running = false;
    return result;
}

int jd_event_loop_run(jd_event_loop *loop)
{
    int result = run_turns(loop, -1, true);

    return result < 0 ? result : 0;
}

int jd_event_loop_run_once(jd_event_loop *loop, int timeout_ms)
{
    return run_turns(loop, timeout_ms < 0 ? -1 : (int64_t)timeout_ms * NS_PER_MS, false);
}

int jd_event_loop_pollable_fd(jd_event_loop *loop)
{
    return loop->ops->pollable != NULL ? loop->ops->pollable(loop->engine) : JD_ENOTSUP;
}

int jd_event_loop_next_timeout_ms(jd_event_loop *loop)
{
    if (!atomic_load(&loop->has_run) || !event_loop_is_in_loop_thread(loop) || loop->running ||
        loop->ops->prepare_wait == NULL)
        return 0;
    /* The loop counts as asleep from here to its next turn (event_loop_woke): a thread that queues a task wakes it,
     * which makes the descriptor readable and ends the other event loop's wait. */
    if (!event_loop_prepare_sleep(loop))
        return 0;
    return timeout_to_ms(loop->ops->prepare_wait(loop->engine, event_loop_time_to_wait(loop, -1)));
}

void jd_event_loop_quit(jd_event_loop *loop)
{
    struct loop_wake *wake = loop->shared.wake;

    atomic_store(&loop->shared.quit, true); /* the loop may be destroyed from here on: use only wake */
    event_loop_wake(wake);
}

/* ---- destruction ---- */

/* Runs the queued tasks and closes the queue. Tasks that run before it is closed may queue others, which run as
 * well. */
static void finish_tasks(jd_event_loop *loop)
{
    struct task task;

    while (event_loop_run_tasks(loop) > 0 && task_queue_is_in_batch(&loop->queue))
        continue;
    task_queue_close(&loop->queue);
    while (task_queue_take_last(&loop->queue, &task))
        task_run(&task);
}

void event_loop_ref_memory(jd_event_loop *loop)
{
    atomic_fetch_add_explicit(&loop->shared.memory_refs, 1, memory_order_relaxed);
}

void event_loop_unref_memory(jd_event_loop *loop)
{
    if (atomic_fetch_sub(&loop->shared.memory_refs, 1) > 1)
        return;
    /* A connection whose last reference was dropped after the loop was destroyed still has its slot. */
    loop->connections.map.count = 0;
    slot_map_destroy(&loop->connections.map);
    task_queue_destroy(&loop->queue);
    memory_release(loop, sizeof(*loop));
}

static void free_loop(jd_event_loop *loop)
{
    uint32_t timers, connections;

    /* The loop has no owner any more: a later call on one of its connections takes the path of another thread. */
    atomic_store_explicit(&loop->owner, NULL, memory_order_relaxed);
    event_loop_wait_for_wakers(loop);
    loop->ops->destroy(loop->engine);
    block_pool_destroy(&loop->blocks.receive);
    block_pool_destroy(&loop->blocks.output.small);
    block_pool_destroy(&loop->blocks.output.large);
    block_pool_destroy(&loop->blocks.output.references);
    timers = loop_timers_destroy(loop);
    connections = slot_map_next_generation(&loop->connections.map);
    loop_registry_free_index(loop->index, (int32_t)(timers - connections) > 0 ? timers : connections);
    thread_mutex_destroy(&loop->handoff_lock);
    event_loop_unref_memory(loop);
}

/* Whether the engine has released all channels, and the user's operations have ended. */
static bool engine_is_idle(const jd_event_loop *loop)
{
    bool operations_are_left = loop->ops->end_operations != NULL && loop->ops->end_operations(loop->engine);

    return !operations_are_left && loop->channels.watched == 0;
}

/* Ends everything that is on the loop, in an order that lets callbacks still use what ends later. After an error it may
 * be called again. */
static int end_all(jd_event_loop *loop)
{
    int result;

    loop_signals_unwatch_all(loop);
    for (int i = 0; i < LOOP_SERVICES; i++) {
        result = loop_services[i]->end_all(loop);
        if (result < 0)
            return result;
    }
    /* Withdraw before the queue is closed: jd_tcp_connection_post finds either an open queue or no loop. */
    loop_registry_withdraw(loop);
    finish_tasks(loop);
    result = loop_services[SERVICE_CONNECTIONS]->end_all(loop); /* connections opened by the tasks */
    if (result < 0)
        return result;
    /* Before channels and timers: the destructors of the contexts may destroy channels and cancel timers. */
    loop_services[SERVICE_CONNECTIONS]->free_dead(loop);
    channels_destroy_all(loop);
    result = event_loop_turn_until(loop, engine_is_idle);
    if (result < 0)
        return result;
    channels_free_dead(loop);
    loop_timers_cancel_all(loop);
    loop_log_suppressed(loop);
    return 0;
}

int jd_event_loop_destroy(jd_event_loop *loop)
{
    jd_event_loop *outer = current_loop;
    int result;

    if (loop == NULL)
        return 0;
    if (event_loop_is_the_parents(loop))
        return JD_EFORKED;
    if (!event_loop_is_in_loop_thread(loop))
        return JD_EPERM;
    if (loop->running)
        return JD_EBUSY;
    loop->running = true;
    loop->destroying = true; /* no new objects can be created on the loop from here on */
    current_loop = loop;
    result = end_all(loop);
    if (result == 0)
        free_loop(loop);
    else
        loop->running = false;
    current_loop = outer;
    return result;
}

/* ---- queries ---- */

bool jd_event_loop_is_in_loop_thread(const jd_event_loop *loop)
{
    return event_loop_is_in_loop_thread(loop);
}

jd_timestamp jd_event_loop_now(const jd_event_loop *loop)
{
    return loop->now;
}

jd_engine jd_event_loop_engine(const jd_event_loop *loop)
{
    return loop->ops->id;
}
