/* The members of an event loop, for the folders above it (connection, server, client). Engines use net/engine/ only.
 *
 * A turn is one pass of the loop, what libuv calls an iteration and muduo a pass of EventLoop::loop(). Its steps, in
 * order:
 *   1. wait for events, unless work is pending; the engine reports them: user callbacks run
 *   2. run the timers that are due
 *   3. run the callbacks of signals, then the tasks that were queued when this step began
 *   4. settle: flush connections with unsent output, then do the work deferred to the end of the turn (callbacks of
 *      watermarks and write completion, deferred input, closing, the connection callback down)
 *   5. invoke the release functions of referenced memory and files
 *   6. free connections and channels that have ended
 * Work that is deferred after its step, and tasks that are queued during step 3 or later, wait for the next turn.
 *
 * Thread rule: in the loop's thread only, except struct loop_shared and the functions that say so. The loop's thread is
 * the one that runs it; before the first run, the one that created it. */
#ifndef NET_LOOP_EVENT_LOOP_H
#define NET_LOOP_EVENT_LOOP_H

#include "base/platform/thread.h"
#include "base/ring_buffer.h"
#include "base/slot_map.h"
#include "base/task_queue.h"
#include "net/engine/engine_events.h"
#include "net/engine/output_queue.h"
#include "net/loop/loop_log.h"
#include "net/loop/loop_measure.h"
#include "net/loop/loop_queue.h"
#include "net/loop/loop_services.h"
#include "net/loop/loop_statistics.h"
#include "net/loop/loop_timers.h"

#include <jinduo/event_loop.h>

/* Output is flushed before the end of the turn when one of these limits is reached (jd_event_loop_options.flush_*). */
struct flush_policy {
    uint32_t bytes;       /* unsent on one connection */
    uint32_t connections; /* with unsent output */
    int64_t age_ns;       /* of the oldest unsent output */
};

/* The connections with work to do at the end of the turn (net/connection/flush.c). */
struct loop_flush {
    jd_tcp_connection *touched_first, **touched_link; /* list of these connections */
    uint32_t unflushed;         /* of them, with unsent output; UNFLUSHED_BIAS more on a loop that measures */
    jd_timestamp oldest_output; /* not later than the oldest unsent output was queued; reset by an early flush */
    jd_timestamp age_clock;     /* last reading of the clock */
    uint32_t age_step;          /* callbacks between two readings */
    uint32_t age_check;         /* callbacks until the next reading */
    struct flush_policy policy;
};

/* The input that is being delivered to a callback (net/connection/). */
struct loop_delivery {
    jd_buffer view;  /* the message callback's view of a borrowed receive block */
    bool view_taken; /* the output queue has taken the block over */
    bool more;       /* more input of the same connection follows at once: flush behind it */
    bool flushes;    /* output is flushed behind the input that it answers: the engine sends at once, and not more */
    /* The connection whose input is being processed, and the length of that input: a response is often as long. */
    jd_tcp_connection *answering;
    size_t arrived_bytes;

    /* The connection whose input is being delivered once more: at the turn's end, or because a callback has changed what gets
     * the rest of it. */
    jd_tcp_connection *redelivering;

    /* The connection whose small files have been read last, and the number of them that are open until the release functions
     * run, which sets it to NULL (connection_send_reference.c). */
    const jd_tcp_connection *read_files;
    unsigned files_read;
    bool rest; /* there is a rest */
    /* When a callback that was delivering changed its connection's codec or message callback: the counter of received bytes at
     * that time, or 0. */
    uint64_t switched_at;
};

/* Used by net/connection/. */
struct loop_connections {
    struct slot_map map;
    uint32_t open;           /* connections that are not down yet */
    jd_tcp_connection *dead; /* to be freed at the end of the turn */
};

/* Used by channel.c. */
struct loop_channels {
    jd_channel *first, *dead;
    uint32_t watched; /* channels that the engine has not released yet */
};

struct loop_blocks {
    struct block_pool receive;
    struct output_pools output;
};

/* Used by loop_turn.c. */
struct loop_busy_poll {
    int64_t span_ns; /* jd_event_loop_options.busy_poll_us; 0: off */
    uint32_t misses; /* busy polls in a row without an event */
};

/* Members that other threads use. They are on cache lines of their own by padding, because allocated memory is aligned
 * to 16 bytes only. */
struct loop_shared {
    char padding_before[CACHE_LINE_BYTES];
    struct loop_wake *wake;
    _Atomic bool quit;
    _Atomic uint64_t pending_signals; /* one bit for each signal number */
    _Atomic uint64_t wakeups_sent;
    _Atomic uint32_t committed;   /* io loop of a server: its connections, and those on their way to it */
    _Atomic uint32_t memory_refs; /* event_loop_ref_memory */
    char padding_after[CACHE_LINE_BYTES];
};

struct jd_event_loop {
    const struct engine_ops *ops;
    struct engine *engine;
    _Atomic(const void *) owner; /* address of the owner thread's event_loop_thread_token; NULL: destroyed */
    uint8_t index;               /* unique in the process; part of connection ids and timer ids */
    _Atomic bool has_run;
    bool running, runs_until_quit, destroying;
    unsigned forks;   /* in the ancestry of the process that created the loop (event_loop.c) */
    jd_timestamp now; /* when the turn's wait ended */
    uint32_t now_ms;  /* the same in milliseconds, for the timeouts of connections; wraps around */

    struct loop_flush flush;
    struct loop_connections connections;
    struct loop_channels channels;
    struct loop_blocks blocks;
    struct loop_delivery delivery;
    struct loop_timers timers;
    thread_mutex handoff_lock; /* protects the change of owner at the first run (event_loop_begin_work) */
    struct loop_log log;
    jd_tcp_server *servers;
    jd_tcp_client *clients;
    struct loop_counters counters;
    _Atomic int64_t cpu_clock; /* of the loop's thread (thread_cpu_clock); 0: not known */
    struct loop_busy_poll busy_poll;
    jd_event_loop_options options;
    struct task_queue queue;
    struct loop_measure measure;
    struct loop_shared shared;
};

/* ---- event_loop.c ---- */

/* jd_event_loop_create with the given engine, which need not be compiled in: tests pass one of their own. From any
 * thread. */
int event_loop_create_on(jd_event_loop **loop, const jd_event_loop_options *options, const struct engine_ops *ops);

/* Whether the process is a child, by fork(2), of the one that created the loop. From any thread. */
bool event_loop_is_the_parents(const jd_event_loop *loop);

/* Whether the calling thread is the loop's thread. From any thread, as long as the loop's memory exists. */
static inline bool event_loop_is_in_loop_thread(const jd_event_loop *loop)
{
    extern _Thread_local char event_loop_thread_token __attribute__((tls_model("initial-exec")));
    return atomic_load_explicit(&loop->owner, memory_order_relaxed) == &event_loop_thread_token;
}

/* event_loop_begin_work returns whether the calling thread may use the loop as its own thread; if true,
 * event_loop_end_work must follow, with the same `locked`. Before the first run the loop belongs to the thread that
 * created it, but another thread may run it at any moment (event_loop.c, loop_enter): handoff_lock keeps the change of
 * owner out of the work. From any thread. May be nested. event_loop_begin_work_locked is its part for a loop that has
 * not run yet. */
bool event_loop_begin_work_locked(jd_event_loop *loop, bool *locked);

static inline bool event_loop_begin_work(jd_event_loop *loop, bool *locked)
{
    *locked = false;
    if (!event_loop_is_in_loop_thread(loop))
        return false;
    /* Another thread may have become the owner since the first check. After the first run the owner does not change. */
    return atomic_load(&loop->has_run) ? event_loop_is_in_loop_thread(loop)
                                       : event_loop_begin_work_locked(loop, locked);
}

static inline void event_loop_end_work(jd_event_loop *loop, bool locked)
{
    if (locked)
        thread_mutex_unlock(&loop->handoff_lock);
}

/* ---- loop_turn.c ---- */

/* Runs one turn. Returns the number of events and tasks, or the negative error of the engine's wait; the other steps of
 * the turn run in either case. */
int event_loop_turn(jd_event_loop *loop, int64_t timeout_ns);

/* Runs turns until condition(loop) is true. Returns 0, or the engine's error after 1000 failed waits in a row, a
 * millisecond apart. */
int event_loop_turn_until(jd_event_loop *loop, bool (*condition)(const jd_event_loop *loop));

/* Marks the loop as asleep: from now on a thread that queues a task, a signal or quit wakes it. Returns false, and the
 * loop stays awake, if work is pending already. */
bool event_loop_prepare_sleep(jd_event_loop *loop);

/* The time until the next timer, at most timeout_ns (negative: without limit), in nanoseconds; negative: without
 * limit. */
int64_t event_loop_time_to_wait(jd_event_loop *loop, int64_t timeout_ns);

/* Runs the tasks that were queued when it began; tasks queued meanwhile wait for the next turn. After 5 ms the rest
 * waits for the next turn, too. Returns the number of tasks run. */
unsigned event_loop_run_tasks(jd_event_loop *loop);

/* Must be called before each user callback: flushes output when the flush policy requires it. Invokes no callback
 * itself. */
static inline void flush_before_callback(jd_event_loop *loop)
{
    if (loop->flush.unflushed == 0)
        return;
    if (loop->flush.unflushed < loop->flush.policy.connections && --loop->flush.age_check > 0)
        return;
    loop_services[SERVICE_CONNECTIONS]->flush_early(loop);
}

/* Invokes the release functions of the references (memory and files) whose bytes were sent or dropped. Returns their
 * number. */
unsigned event_loop_release_references(jd_event_loop *loop);

static inline unsigned event_loop_release_output(jd_event_loop *loop)
{
    return loop->blocks.output.released.first != NULL ? event_loop_release_references(loop) : 0;
}

#endif
