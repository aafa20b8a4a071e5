/* The event loop's inside, for the rooms that live on it. Engines use net/engine/ only. */
#ifndef NET_LOOP_EVENT_LOOP_H
#define NET_LOOP_EVENT_LOOP_H

#include "base/platform/thread.h"
#include "base/ring_buffer.h"
#include "base/slot_map.h"
#include "base/task_queue.h"
#include "net/engine/engine_events.h"
#include "net/engine/output_queue.h"
#include "net/loop/loop_log.h"
#include "net/loop/loop_queue.h"
#include "net/loop/loop_services.h"
#include "net/loop/loop_statistics.h"
#include "net/loop/loop_timers.h"

#include <jinduo/event_loop.h>

/* When connections' output is flushed before the turn's end. */
struct flush_policy {
    uint32_t bytes;
    uint32_t connections;
    int64_t age_ns;
};

/* Connections with something to do at the turn's end (net/connection/flush.c). */
struct loop_flush {
    jd_tcp_connection *touched_first, **touched_link;
    uint32_t unflushed;           /* how many of them wait for a flush */
    jd_timestamp oldest_output;   /* not later than the first of that output, or when some was spared (flush_early) */
    jd_timestamp age_clock;       /* the clock's last reading */
    uint32_t age_step, age_check; /* callbacks between, and until the next, reading of the clock */
    struct flush_policy policy;
};

/* The input that is being delivered (net/connection/). */
struct loop_delivery {
    jd_buffer view; /* what a message callback sees of a borrowed block */
    bool view_taken;
    /* The connection whose input is being dealt with, and how much that is: answers are often as long. */
    jd_tcp_connection *answering;
    size_t arrived_bytes;
};

/* net/connection/ */
struct loop_connections {
    struct slot_map map;
    uint32_t open; /* not down yet */
    jd_tcp_connection *dead;
};

/* channel.c */
struct loop_channels {
    jd_channel *first, *dead;
    uint32_t watched; /* the engine has not let go of */
};

struct loop_blocks {
    struct block_pool receive;
    struct output_pools output;
};

/* loop_turn.c */
struct loop_busy_poll {
    int64_t span_ns;
    uint32_t misses;
};

/* What other threads read and write: on cache lines of their own, by distance, as allocated memory is aligned to 16 only. */
struct loop_shared {
    char distance_before[CACHE_LINE_BYTES];
    struct loop_wake *wake;
    _Atomic bool quit;
    _Atomic uint64_t pending_signals;
    _Atomic uint64_t wakeups_sent;
    _Atomic uint32_t committed;   /* on an io loop of a server: connections on it and on their way to it */
    _Atomic uint32_t memory_refs; /* event_loop_ref_memory */
    char distance_behind[CACHE_LINE_BYTES];
};

struct jd_event_loop {
    const struct engine_ops *ops;
    struct engine *engine;
    _Atomic(const void *) owner; /* the owning thread's token */
    uint8_t index;               /* in the process: part of connection ids */
    _Atomic bool has_run;
    bool running, runs_until_quit, destroying;
    jd_timestamp now;
    uint32_t now_ms; /* the same for connections' timeouts; wraps around */

    struct loop_flush flush;
    struct loop_connections connections;
    struct loop_channels channels;
    struct loop_blocks blocks;
    struct loop_delivery delivery;
    struct loop_timers timers;
    thread_mutex handoff_lock; /* taken when a thread runs the loop for the first time */
    struct loop_log log;
    jd_tcp_server *servers;
    jd_tcp_client *clients;
    struct loop_counters counters;
    struct loop_busy_poll busy_poll;
    jd_event_loop_options options;
    struct task_queue queue;
    struct loop_shared shared;
};

/* ---- event_loop.c ---- */

/* jd_event_loop_create on an engine that need not be compiled in: tests have one of their own. */
int event_loop_create_on(jd_event_loop **loop, const jd_event_loop_options *options, const struct engine_ops *ops);

static inline bool event_loop_is_mine(const jd_event_loop *loop)
{
    extern _Thread_local char event_loop_thread_token __attribute__((tls_model("initial-exec")));
    return atomic_load_explicit(&loop->owner, memory_order_relaxed) == &event_loop_thread_token;
}

/* Whether the calling thread may work on the loop; if so, end_work must follow. Until a thread has run the loop it is the
 * maker's, but may be another's any moment (event_loop.c, enter): then the two exclude each other by a lock. May be
 * nested. */
bool event_loop_begin_early_work(jd_event_loop *loop, bool *locked);

static inline bool event_loop_begin_work(jd_event_loop *loop, bool *locked)
{
    *locked = false;
    if (!event_loop_is_mine(loop))
        return false;
    /* Another thread may have taken it over between the two loads; once it has run, its owner is the last. */
    return atomic_load(&loop->has_run) ? event_loop_is_mine(loop) : event_loop_begin_early_work(loop, locked);
}

static inline void event_loop_end_work(jd_event_loop *loop, bool locked)
{
    if (locked)
        thread_mutex_unlock(&loop->handoff_lock);
}

/* ---- loop_turn.c ---- */

/* Runs one turn. Returns the number of events and tasks, or a negative error if the engine could not wait; everything
 * else in the turn is done all the same. */
int event_loop_turn(jd_event_loop *loop, int64_t timeout_ns);

/* Runs turns until condition(loop). Gives up with the error when waiting has failed many times in a row. */
int event_loop_turn_until(jd_event_loop *loop, bool (*condition)(const jd_event_loop *loop));

/* From here on, whoever queues something wakes the loop. False if something is queued already. */
bool event_loop_fall_asleep(jd_event_loop *loop);

/* Until the next timer, at most timeout_ns. */
int64_t event_loop_time_to_wait(jd_event_loop *loop, int64_t timeout_ns);

/* Runs what was queued when it began; what tasks queue waits for the next turn. Returns how many. */
unsigned event_loop_run_tasks(jd_event_loop *loop);

/* Sends early what the flush policy says cannot wait for the turn's end. Before each callback; it calls none itself. */
static inline void flush_before_callback(jd_event_loop *loop)
{
    if (loop->flush.unflushed == 0)
        return;
    if (loop->flush.unflushed < loop->flush.policy.connections && --loop->flush.age_check > 0)
        return;
    loop_services[SERVICE_CONNECTIONS]->flush_early(loop);
}

/* Gives back memory and files that were lent and whose bytes were sent or dropped. Returns how many. */
unsigned event_loop_release_references(jd_event_loop *loop);

static inline unsigned event_loop_release_output(jd_event_loop *loop)
{
    return loop->blocks.output.released.first != NULL ? event_loop_release_references(loop) : 0;
}

#endif
