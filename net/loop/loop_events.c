/* The loop's functions that engines and the user's operations call (net/engine/engine_events.h). */
#include "net/loop/event_loop.h"

enum { NS_PER_MS = 1000000 };

void event_loop_woke(jd_event_loop *loop)
{
    atomic_store(&loop->shared.wake->state, LOOP_AWAKE);
    loop->now = event_loop_clock(loop);
    loop->now_ms = (uint32_t)(loop->now / NS_PER_MS);
    loop->flush.age_clock = loop->now;
}

struct engine *event_loop_engine(const jd_event_loop *loop)
{
    return loop->engine;
}

const jd_event_loop_options *event_loop_options(const jd_event_loop *loop)
{
    return &loop->options;
}

jd_timestamp event_loop_clock(const jd_event_loop *loop)
{
    return loop->ops->now(loop->engine);
}

void event_loop_before_callback(jd_event_loop *loop)
{
    flush_before_callback(loop);
}

bool event_loop_is_being_destroyed(const jd_event_loop *loop)
{
    return loop->destroying;
}

bool event_loop_accepts_tasks(const jd_event_loop *loop)
{
    return !task_queue_is_closed(&loop->queue);
}

void event_loop_count_enter(jd_event_loop *loop)
{
    counter_add(&loop->counters.enters, 1);
}

void event_loop_count_receive_pause(jd_event_loop *loop)
{
    counter_add(&loop->counters.receive_pauses, 1);
}

void event_loop_count_overflow(jd_event_loop *loop)
{
    counter_add(&loop->counters.queue_overflows, 1);
}

void event_loop_delivers_more(jd_event_loop *loop, bool more)
{
    loop->delivery.more = more;
    loop->delivery.flushes = loop->ops->sends_at_once && !more;
}

struct block *event_loop_receive_block(jd_event_loop *loop)
{
    return block_pool_get(&loop->blocks.receive);
}

struct block_pool *event_loop_slice_pool(jd_event_loop *loop)
{
    return &loop->blocks.output.references;
}
