/* The event loop's inside, for the parts of the core. Engines use net/engine/engine.h only. */
#ifndef NET_LOOP_EVENT_LOOP_H
#define NET_LOOP_EVENT_LOOP_H

#include "base/platform/thread.h"
#include "base/ring_buffer.h"
#include "base/slot_map.h"
#include "base/task_queue.h"
#include "base/timer_wheel.h"
#include "net/engine/engine_events.h"
#include "net/engine/output_queue.h"

#include <jinduo/event_loop.h>

/* AWAKE: it will look at its queue before it sleeps. SLEEPING: whoever pushes first must wake it. SIGNALLED: one has. */
enum { LOOP_AWAKE, LOOP_SLEEPING, LOOP_SIGNALLED };

enum { LATE_TIMERS = 16 };

/* What a timer of the wheel is part of. */
enum timer_kind { TIMER_USER, TIMER_USER_POSTED, TIMER_CONNECTION, TIMER_CLIENT };

/* Counters are written by one thread and read by any: relaxed loads and stores, no read-modify-write. */
typedef _Atomic uint64_t loop_counter;

static inline void counter_add(loop_counter *counter, uint64_t count)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + count, memory_order_relaxed);
}

/* Why a connection that the user has seen was closed. */
enum close_reason {
    CLOSED_BY_PEER,
    CLOSED_HERE,
    CLOSED_BY_RESET,
    CLOSED_FIRST_MESSAGE,
    CLOSED_IDLE,
    CLOSED_READ,
    CLOSED_WRITE,
    CLOSED_FRAME,
    CLOSED_OVERDUE, /* at the end of a drain */
    CLOSED_INPUT_LIMIT,
    CLOSED_NO_MEMORY,
    CLOSED_OTHERWISE,
    CLOSE_REASONS,
};

struct loop_counters {
    loop_counter turns, idle_turns, sleeps, enters, events, tasks, timers, flushes;
    loop_counter tasks_from_inside; /* queued in the loop's own callbacks */
    loop_counter bytes_received, bytes_sent, bytes_dropped;
    loop_counter bytes_queued; /* for sending, ever */
    loop_counter connections_opened, connections_closed, connections_failed;
    loop_counter accept_pauses, receive_pauses, queue_overflows;
    loop_counter connections_accepted, connections_refused;
    loop_counter connects_failed;
    loop_counter closed[CLOSE_REASONS];
};

/* Log lines that peers cause: some a second, as a peer must not be able to fill the log. */
struct log_allowance {
    uint32_t second; /* of the loop's clock */
    uint32_t lines;  /* in it */
    uint64_t suppressed;
};

/* When connections' output is flushed before the turn's end. */
struct flush_policy {
    uint32_t bytes;
    uint32_t connections;
    int64_t age_ns;
};

enum { CACHE_LINE_BYTES = 64 };

/* What a loop is woken by. It is there for ever: who has queued something comes to it when the loop may have run that, and
 * ended. The next loop of the same index uses it on. */
struct loop_wake {
    _Alignas(2 * CACHE_LINE_BYTES) _Atomic int state;
    _Atomic uint32_t wakers; /* threads that may be about to call the engine's wake */
    jd_event_loop *loop;     /* whose it is, or was last: to be read by a waker that has found it SLEEPING only */
};

struct jd_event_loop {
    const struct engine_ops *ops;
    struct engine *engine;
    _Atomic(const void *) owner; /* the owning thread's token */
    uint8_t index;               /* in the process: part of connection ids */
    _Atomic bool has_run;
    bool running, runs_until_quit, destroying;
    uint32_t open_connections; /* not down yet */
    jd_timestamp now;
    uint32_t now_ms; /* the same for connections' timeouts; wraps around */

    /* Connections with something to do at the turn's end. */
    jd_tcp_connection *touched_first, **touched_link;
    uint32_t unflushed;           /* how many of them wait for a flush */
    jd_timestamp oldest_output;   /* not later than the first of that output, or when some was spared (flush_early) */
    jd_timestamp age_clock;       /* the clock's last reading */
    uint32_t age_step, age_check; /* callbacks between, and until the next, reading of the clock */
    struct flush_policy flush_policy;

    jd_tcp_connection *dead_connections;
    jd_channel *dead_channels;
    jd_channel *channels;
    uint32_t watched_channels; /* the engine has not let go of */

    struct slot_map connections;
    struct block_pool receive_blocks;
    struct output_pools output_pools;
    jd_buffer view; /* what a message callback sees of a block on loan */
    bool view_taken;
    /* The connection whose input is being dealt with, and how much that is: answers are often as long. */
    jd_tcp_connection *answering;
    size_t arrived_bytes;

    struct timer_wheel wheel;
    struct slot_map user_timers;
    struct loop_timer *late_timers[LATE_TIMERS]; /* cancelled, in the wheel still: the latest ones before late_place */
    uint32_t late_place;
    struct slot_map posted_timers; /* started by other threads; under the lock */
    thread_mutex posted_timers_lock;
    thread_mutex handoff_lock; /* taken when a thread runs the loop for the first time */

    struct log_allowance log_allowance;
    jd_tcp_server *servers;
    jd_tcp_client *clients;
    struct loop_counters counters;

    int64_t busy_poll_ns;
    uint32_t busy_poll_misses;
    jd_event_loop_options options;

    struct task_queue queue;

    /* Other threads': on cache lines of their own, by distance, as allocated memory is aligned to 16 only. */
    char distance_before[CACHE_LINE_BYTES];
    struct loop_wake *wake;
    _Atomic bool quit;
    _Atomic uint64_t pending_signals;
    _Atomic uint64_t wakeups_sent;
    _Atomic uint32_t committed; /* on an io loop of a server: connections on it and on their way to it */
    /* What keeps this memory: the loop itself, each connection (the user's references may outlive the loop), and a
     * thread that is giving back its last reference to one. */
    _Atomic uint32_t shell_references;
    char distance_behind[CACHE_LINE_BYTES];
};

/* The engines compiled in, ending with NULL (proactor/engines_compiled_in.c). */
extern const struct engine_ops *const engines_compiled_in[];

/* jd_event_loop_create on an engine that need not be compiled in: tests have one of their own. */
int event_loop_create_on(jd_event_loop **loop, const jd_event_loop_options *options, const struct engine_ops *ops);

static inline bool event_loop_is_mine(const jd_event_loop *loop)
{
    extern _Thread_local char event_loop_thread_token __attribute__((tls_model("initial-exec")));
    return atomic_load_explicit(&loop->owner, memory_order_relaxed) == &event_loop_thread_token;
}

/* ---- loop_queue.c ---- */

/* Gives the loop its index and its wake. Returns 0 or JD_EMFILE. From publish to withdraw the loop can be found by its index. */
int loop_registry_take(jd_event_loop *loop, uint32_t *first_generation);
void loop_registry_publish(jd_event_loop *loop);
void loop_registry_withdraw(jd_event_loop *loop);
void loop_registry_give_back(uint8_t index, uint32_t generation);

/* At the loop's end: from now on nobody wakes it. Returns when no thread is in the engine's wake any more. */
void event_loop_wait_for_wakers(jd_event_loop *loop);

/* As event_loop_push, for one who knows the loop to exist when the call begins only: it may be ended by something else than task, too. */
bool event_loop_push_last(jd_event_loop *loop, struct task_node *task);

/* Queues task on the loop with this index, if there is one: JD_ENOENT otherwise. From any thread. */
int event_loop_push_by_index(uint8_t index, struct task_node *task);

/* From any thread and from signal handlers. The loop that wake belonged to may have ended. */
void event_loop_wake(struct loop_wake *wake);

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

/* Runs turns until condition(loop). Gives up with the error when waiting has failed many times in a row. */
int event_loop_turn_until(jd_event_loop *loop, bool (*condition)(const jd_event_loop *loop));

/* Runs one turn. Returns the number of events and tasks, or a negative error if the engine could not wait; everything
 * else in the turn is done all the same. */
int event_loop_turn(jd_event_loop *loop, int64_t timeout_ns);

/* One of shell_references. */
void event_loop_release_shell(jd_event_loop *loop);

/* ---- flush.c: output waiting for the turn's end ---- */

/* Sends early what the flush policy says cannot wait for the turn's end. Before each callback; it calls none itself. */
void flush_early(jd_event_loop *loop);
static inline void flush_before_callback(jd_event_loop *loop)
{
    if (loop->unflushed == 0)
        return;
    if (loop->unflushed < loop->flush_policy.connections && --loop->age_check > 0)
        return;
    flush_early(loop);
}

/* Does what touched connections have to do: flush, close, deferred callbacks. What they touch meanwhile stays for the
 * next turn. Returns how many there were. */
unsigned settle_connections(jd_event_loop *loop);

/* ---- loop_log.c ---- */

/* Whether a line that a peer has caused may be logged now; counts it. Says before how many have been suppressed. */
bool loop_may_log(jd_event_loop *loop);

/* Says how many lines have been suppressed, if any. */
void loop_log_suppressed(jd_event_loop *loop);

/* Gives back memory and files that were lent and whose bytes were sent or dropped. Returns how many. */
unsigned release_lent(jd_event_loop *loop);
static inline unsigned release_output(jd_event_loop *loop)
{
    return loop->output_pools.released.first != NULL ? release_lent(loop) : 0;
}

/* ---- loop_timers.c ---- */
void loop_timers_init(jd_event_loop *loop, uint32_t first_generation);
void loop_timers_run(jd_event_loop *loop);
uint64_t loop_timers_next_ms(jd_event_loop *loop); /* UINT64_MAX: none */
void loop_timers_cancel_all(jd_event_loop *loop);
uint32_t loop_timers_destroy(jd_event_loop *loop); /* where the next loop's timers go on counting */

/* ---- signal_watch.c ---- */
unsigned loop_signals_run(jd_event_loop *loop);
void loop_signals_forget(jd_event_loop *loop);

#endif
