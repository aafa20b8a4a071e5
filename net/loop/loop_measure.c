/* Measures callbacks, turns and timers of a loop (loop_measure.h). */
#include "net/loop/event_loop.h"

enum { NS_PER_MS = 1000000 };

static void counter_raise(loop_counter *counter, uint64_t value)
{
    if (value > atomic_load_explicit(counter, memory_order_relaxed))
        atomic_store_explicit(counter, value, memory_order_relaxed);
}

static void end_callback(jd_event_loop *loop, jd_timestamp now)
{
    struct loop_measure *measure = &loop->measure;

    if (measure->callback_begun != 0 && now > measure->callback_begun)
        counter_raise(&measure->longest_callback_ns, (uint64_t)(now - measure->callback_begun));
    measure->callback_begun = 0;
}

jd_timestamp loop_measure_callback(jd_event_loop *loop)
{
    jd_timestamp now = event_loop_clock(loop);

    end_callback(loop, now);
    loop->measure.callback_begun = now;
    return now;
}

void loop_measure_timer(jd_event_loop *loop, uint64_t due_ms)
{
    int64_t late_ns = loop->now - (int64_t)(due_ms * NS_PER_MS);

    if (late_ns <= 0)
        return;
    counter_add(&loop->measure.timers_late_ns, (uint64_t)late_ns);
    counter_raise(&loop->measure.latest_timer_ns, (uint64_t)late_ns);
}

/* The engine's wait, in front of which the turn ends. */
static int measured_wait(struct engine *engine, int64_t timeout_ns)
{
    jd_event_loop *loop = engine->loop;
    jd_timestamp now = event_loop_clock(loop);

    end_callback(loop, now);
    if (now > loop->now && atomic_load_explicit(&loop->counters.turns, memory_order_relaxed) > 0)
        counter_add(&loop->measure.busy_ns, (uint64_t)(now - loop->now));
    return engine->ops->wait(engine, timeout_ns);
}

void loop_measure_begin(jd_event_loop *loop)
{
    loop->measure.on = true;
    loop->measure.ops = *loop->engine->ops;
    loop->measure.ops.wait = measured_wait;
    loop->ops = &loop->measure.ops;
    loop->flush.unflushed = UNFLUSHED_BIAS;
}
