/* One turn of the loop. Its steps are listed in event_loop.h. */
#include "base/platform/thread.h"
#include "net/engine/channel.h"
#include "net/loop/event_loop.h"
#include "net/loop/signal_watch.h"

enum {
    BUSY_POLL_MAX_MISSES = 8,     /* after so many in a row the loop sleeps without a busy poll */
    BUSY_POLL_RETRY_EVERY = 16,   /* sleeps without a busy poll; then it tries one again */
    TASK_BUDGET_NS = 5 * 1000000, /* for queued tasks in one turn */
    TASKS_PER_CLOCK = 32,         /* tasks between two readings of the clock */
    WAIT_FAILURES_MAX = 1000,     /* failed waits in a row, a millisecond apart, while a loop is being destroyed */
};

enum { NS_PER_MS = 1000000 };

static bool has_pending_work(const jd_event_loop *loop)
{
    return loop->flush.touched_first != NULL || loop->blocks.output.released.first != NULL ||
           !task_queue_is_empty(&loop->queue) || (loop->runs_until_quit && atomic_load(&loop->shared.quit)) ||
           atomic_load(&loop->shared.pending_signals) != 0;
}

int64_t event_loop_time_to_wait(jd_event_loop *loop, int64_t timeout_ns)
{
    uint64_t next_ms = loop_timers_next_ms(loop);
    int64_t until_ns;

    if (next_ms == UINT64_MAX)
        return timeout_ns;
    if (next_ms >= INT64_MAX / NS_PER_MS)
        return timeout_ns;
    until_ns = (int64_t)next_ms * NS_PER_MS - event_loop_clock(loop);
    if (until_ns < 0)
        until_ns = 0;
    return timeout_ns < 0 || until_ns < timeout_ns ? until_ns : timeout_ns;
}

/* Whether to busy-poll before sleeping. After many busy polls without an event, the loop tries one only now and then: a
 * loop that is idle, or whose events are further apart than busy_poll_us, must not use up its core. */
static bool may_busy_poll(jd_event_loop *loop)
{
    if (loop->busy_poll.span_ns == 0)
        return false;
    if (loop->busy_poll.misses < BUSY_POLL_MAX_MISSES)
        return true;
    return ++loop->busy_poll.misses % BUSY_POLL_RETRY_EVERY == 0;
}

/* Polls for events without sleeping. Returns their number or a negative error; 0 when the time is over or work is
 * pending. */
static int busy_poll(jd_event_loop *loop, int64_t timeout_ns)
{
    int64_t span_ns = timeout_ns >= 0 && timeout_ns < loop->busy_poll.span_ns ? timeout_ns : loop->busy_poll.span_ns;
    jd_timestamp deadline = event_loop_clock(loop) + span_ns;

    do {
        int events = loop->ops->wait(loop->engine, 0);
        if (events != 0 || has_pending_work(loop)) {
            loop->busy_poll.misses = 0;
            return events;
        }
    } while (loop->now < deadline);
    if (loop->busy_poll.misses < BUSY_POLL_MAX_MISSES)
        loop->busy_poll.misses++;
    return 0;
}

bool event_loop_prepare_sleep(jd_event_loop *loop)
{
    atomic_store(&loop->shared.wake->state, LOOP_SLEEPING);
    if (!has_pending_work(loop))
        return true;
    atomic_store(&loop->shared.wake->state, LOOP_AWAKE);
    return false;
}

static int wait_for_events(jd_event_loop *loop, int64_t timeout_ns)
{
    int events;

    timeout_ns = has_pending_work(loop) ? 0 : event_loop_time_to_wait(loop, timeout_ns);
    if (timeout_ns == 0)
        return loop->ops->wait(loop->engine, 0);
    if (may_busy_poll(loop)) {
        events = busy_poll(loop, timeout_ns);
        if (events != 0 || has_pending_work(loop))
            return events;
        timeout_ns = event_loop_time_to_wait(loop, timeout_ns);
    }
    if (!event_loop_prepare_sleep(loop))
        timeout_ns = 0;
    counter_add(&loop->counters.sleeps, timeout_ns != 0);
    return loop->ops->wait(loop->engine, timeout_ns);
}

unsigned event_loop_run_tasks(jd_event_loop *loop)
{
    struct task task;
    jd_timestamp deadline;
    unsigned count = 0;

    if (task_queue_is_empty(&loop->queue))
        return 0;
    task_queue_begin(&loop->queue);
    deadline = event_loop_clock(loop) + TASK_BUDGET_NS;
    while (task_queue_take(&loop->queue, &task)) {
        flush_before_callback(loop);
        task_run(&task);
        if (++count % TASKS_PER_CLOCK == 0 && event_loop_clock(loop) >= deadline)
            break;
    }
    counter_add(&loop->counters.tasks, count);
    return count;
}

/* References that are released during these callbacks wait for the next call. */
unsigned event_loop_release_references(jd_event_loop *loop)
{
    struct block *released = output_pools_take_released(&loop->blocks.output);
    struct output_reference reference;
    unsigned count = 0;

    loop->delivery.read_files = NULL;
    for (; output_next_released(&released, &reference); count++) {
        flush_before_callback(loop);
        reference.release(reference.arg);
    }
    return count;
}

/* Connections first: the destructors of their contexts may destroy channels. */
static void free_dead(jd_event_loop *loop)
{
    loop_services[SERVICE_CONNECTIONS]->free_dead(loop);
    channels_free_dead(loop);
}

int event_loop_turn(jd_event_loop *loop, int64_t timeout_ns)
{
    int result = wait_for_events(loop, timeout_ns);
    int events = result > 0 ? result : 0;
    uint64_t timers_before = atomic_load_explicit(&loop->counters.timers, memory_order_relaxed);
    unsigned tasks, settled;

    loop_timers_run(loop);
    tasks = loop_signals_run(loop) + event_loop_run_tasks(loop);
    settled = loop_services[SERVICE_CONNECTIONS]->settle(loop);
    settled += event_loop_release_output(loop);
    free_dead(loop);
    counter_add(&loop->counters.turns, 1);
    counter_add(&loop->counters.events, (uint64_t)events);
    if (events == 0 && tasks == 0 && settled == 0 &&
        timers_before == atomic_load_explicit(&loop->counters.timers, memory_order_relaxed))
        counter_add(&loop->counters.idle_turns, 1);
    return result < 0 ? result : events + (int)tasks;
}

int event_loop_turn_until(jd_event_loop *loop, bool (*condition)(const jd_event_loop *loop))
{
    unsigned failures = 0;

    while (!condition(loop)) {
        int result = event_loop_turn(loop, -1);
        if (result >= 0) {
            failures = 0;
            continue;
        }
        if (++failures == WAIT_FAILURES_MAX)
            return result;
        thread_sleep_ns(NS_PER_MS);
    }
    return 0;
}
