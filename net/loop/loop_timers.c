/* The user's timers. Each has a slot with a generation, so that an id names one timer and never a later one. Timers
 * started in the loop's thread and timers posted by other threads are in two maps: only the second needs a lock. */
#include "base/platform/thread.h"
#include "net/loop/event_loop.h"

#include "base/log.h"
#include "base/memory.h"

#include <inttypes.h>
#include <jinduo/error.h>

enum { NS_PER_MS = 1000000 };

static const uint64_t delay_max_ms = (uint64_t)1 << 46; /* 2 000 years: the sum with any time does not overflow */
/* The bits of an id: index of the loop (8), map (1), slot (23), generation (32). */
static const jd_timer_id posted_bit = (uint64_t)1 << 55;
enum { LOOP_SHIFT = 56, SLOT_SHIFT = 32, SLOT_MASK = (1 << 23) - 1 };

struct loop_timer {
    struct slot_header slot;
    struct timer timer;
    jd_task function;
    void *arg;
    uint64_t interval_ms; /* 0: once */
};

/* A timer posted by another thread, with the task that starts it in the loop. */
struct posted_timer {
    struct loop_timer timer;
    struct task_node start;
    jd_event_loop *loop;
    uint64_t expiry_ms;
    bool arrived; /* the task has run */
};

void loop_timers_init(jd_event_loop *loop, uint32_t first_generation)
{
    slot_map_init(&loop->timers.user, sizeof(struct loop_timer), first_generation);
    slot_map_init(&loop->timers.posted, sizeof(struct posted_timer), first_generation);
    thread_mutex_init(&loop->timers.posted_lock);
}

static jd_timer_id timer_id(const jd_event_loop *loop, const struct loop_timer *timer)
{
    return (uint64_t)loop->index << LOOP_SHIFT | (uint64_t)timer->slot.slot << SLOT_SHIFT | timer->slot.generation;
}

static void *timer_find(jd_event_loop *loop, jd_timer_id id)
{
    uint32_t slot = (uint32_t)(id >> SLOT_SHIFT) & SLOT_MASK;
    struct loop_timer *timer;

    if (id >> LOOP_SHIFT != loop->index)
        return NULL;
    if (!(id & posted_bit))
        return slot_map_find(&loop->timers.user, slot, (uint32_t)id);
    thread_mutex_lock(&loop->timers.posted_lock);
    timer = slot_map_find(&loop->timers.posted, slot, (uint32_t)id);
    thread_mutex_unlock(&loop->timers.posted_lock);
    return timer;
}

static void timer_free(jd_event_loop *loop, struct loop_timer *timer)
{
    timer_cancel(&loop->timers.wheel, &timer->timer);
    if (timer->timer.kind == TIMER_USER) {
        slot_map_free(&loop->timers.user, timer);
        return;
    }
    thread_mutex_lock(&loop->timers.posted_lock);
    slot_map_free(&loop->timers.posted, timer);
    thread_mutex_unlock(&loop->timers.posted_lock);
}

/* Frees all cancelled timers that are still in the wheel, the newest first. */
static void free_cancelled(jd_event_loop *loop)
{
    struct loop_timer **place;

    while (*(place = &loop->timers.cancelled[(loop->timers.cancelled_next - 1) % CANCELLED_TIMERS]) != NULL) {
        timer_free(loop, *place);
        *place = NULL;
        loop->timers.cancelled_next--;
    }
}

/* Freeing a timer writes to its neighbours in the wheel, which are seldom in the cache. So prefetch them, and free the
 * timer CANCELLED_TIMERS cancels later. */
static void timer_free_later(jd_event_loop *loop, struct loop_timer *timer)
{
    struct loop_timer **place = &loop->timers.cancelled[loop->timers.cancelled_next++ % CANCELLED_TIMERS];
    struct loop_timer *oldest = *place;

    timer->function = NULL;
    __builtin_prefetch(timer->timer.next, 1);
    __builtin_prefetch(timer->timer.link, 1);
    *place = timer;
    if (oldest != NULL)
        timer_free(loop, oldest);
}

static void timer_cancel_in_loop(jd_event_loop *loop, struct loop_timer *timer)
{
    bool is_posted = timer->timer.kind == TIMER_USER_POSTED;

    if (is_posted && !((struct posted_timer *)timer)->arrived)
        timer->function = NULL; /* its start task is still in the queue, which frees it */
    else if (is_posted || loop->timers.wheel.due != NULL)
        timer_free(loop, timer); /* during an advance of the wheel it may be due: remove it at once */
    else
        timer_free_later(loop, timer);
}

/* ---- starting ---- */

/* Takes a slot that fits into an id: half of a map's slots do. */
static void *timer_allocate(struct slot_map *map)
{
    struct loop_timer *timer = slot_map_take(map);

    if (timer == NULL || timer->slot.slot <= SLOT_MASK)
        return timer;
    slot_map_free(map, timer);
    return NULL;
}

static void timer_fill(struct loop_timer *timer, enum timer_kind kind, jd_task function, void *arg,
                       uint64_t interval_ms)
{
    /* Store whole words: a store of the kind as a byte would stall the load of the word that it shares with the
     * expiry. */
    timer->timer = (struct timer){ .kind = kind };
    timer->function = function;
    timer->arg = arg;
    timer->interval_ms = interval_ms;
}

static void run_posted_start(struct task_node *task)
{
    struct posted_timer *posted = (struct posted_timer *)((char *)task - offsetof(struct posted_timer, start));

    posted->arrived = true;
    if (posted->timer.function != NULL)
        timer_start(&posted->loop->timers.wheel, &posted->timer.timer, posted->expiry_ms);
    else
        timer_free(posted->loop, &posted->timer);
}

static int timer_post(jd_event_loop *loop, uint64_t expiry_ms, uint64_t interval_ms, jd_task function, void *arg,
                      jd_timer_id *id)
{
    struct posted_timer *posted;
    jd_timer_id ignored;

    thread_mutex_lock(&loop->timers.posted_lock);
    posted = timer_allocate(&loop->timers.posted);
    thread_mutex_unlock(&loop->timers.posted_lock);
    if (posted == NULL)
        return JD_ENOMEM;
    timer_fill(&posted->timer, TIMER_USER_POSTED, function, arg, interval_ms);
    posted->loop = loop;
    posted->expiry_ms = expiry_ms;
    posted->start = (struct task_node){ .run = run_posted_start };
    posted->arrived = false;
    /* Set the id before the push: the timer may run, and its callback may use the id, before the push returns. */
    if (id == NULL)
        id = &ignored;
    *id = timer_id(loop, &posted->timer) | posted_bit;
    if (event_loop_push(loop, &posted->start))
        return 0;
    *id = 0;
    timer_free(loop, &posted->timer);
    return JD_ECANCELED;
}

static int timer_start_in_loop(jd_event_loop *loop, uint64_t expiry_ms, uint64_t interval_ms, jd_task function,
                               void *arg, jd_timer_id *id)
{
    struct loop_timer *timer;

    if (loop->destroying)
        return JD_ECANCELED;
    timer = timer_allocate(&loop->timers.user);
    if (timer == NULL)
        return JD_ENOMEM;
    timer_fill(timer, TIMER_USER, function, arg, interval_ms);
    timer_start(&loop->timers.wheel, &timer->timer, expiry_ms);
    if (id != NULL)
        *id = timer_id(loop, timer);
    return 0;
}

static int timer_start_or_post(jd_event_loop *loop, uint64_t expiry_ms, uint64_t interval_ms, jd_task function,
                               void *arg, jd_timer_id *id)
{
    bool locked;
    int result;

    __builtin_prefetch(id, 1); /* part of the user's object, which is seldom in the cache among a million timers */
    if (!event_loop_begin_work(loop, &locked))
        return timer_post(loop, expiry_ms, interval_ms, function, arg, id);
    result = timer_start_in_loop(loop, expiry_ms, interval_ms, function, arg, id);
    event_loop_end_work(loop, locked);
    return result;
}

/* Rounds up: a timer must not be early. */
static uint64_t to_ms(jd_timestamp when)
{
    return when <= 0 ? 0 : ((uint64_t)when + NS_PER_MS - 1) / NS_PER_MS;
}

static uint64_t after_ms(const jd_event_loop *loop, uint64_t delay_ms)
{
    if (delay_ms == 0)
        return 0; /* in the past: due at once */
    return to_ms(event_loop_clock(loop)) + (delay_ms < delay_max_ms ? delay_ms : delay_max_ms);
}

int jd_event_loop_run_at(jd_event_loop *loop, jd_timestamp when, jd_task function, void *arg, jd_timer_id *id)
{
    return timer_start_or_post(loop, to_ms(when), 0, function, arg, id);
}

int jd_event_loop_run_after(jd_event_loop *loop, uint64_t delay_ms, jd_task function, void *arg, jd_timer_id *id)
{
    return timer_start_or_post(loop, after_ms(loop, delay_ms), 0, function, arg, id);
}

int jd_event_loop_run_every(jd_event_loop *loop, uint64_t interval_ms, jd_task function, void *arg, jd_timer_id *id)
{
    if (interval_ms == 0 || interval_ms > delay_max_ms)
        return log_invalid("run_every: interval_ms %" PRIu64 ": must be from 1 to %" PRIu64, interval_ms, delay_max_ms);
    return timer_start_or_post(loop, after_ms(loop, interval_ms), interval_ms, function, arg, id);
}

/* ---- cancelling ---- */

struct cancel_task {
    struct task_node task;
    jd_event_loop *loop;
    jd_timer_id id;
};

static void run_posted_cancel(struct task_node *task)
{
    struct cancel_task posted = *(struct cancel_task *)task;

    memory_release(task, sizeof(posted));
    jd_event_loop_cancel_timer(posted.loop, posted.id);
}

static int timer_post_cancel(jd_event_loop *loop, jd_timer_id id)
{
    struct cancel_task *posted = memory_allocate(sizeof(*posted));

    if (posted == NULL)
        return JD_ENOMEM;
    *posted = (struct cancel_task){ .task.run = run_posted_cancel, .loop = loop, .id = id };
    if (event_loop_push(loop, &posted->task))
        return 0;
    memory_release(posted, sizeof(*posted));
    return JD_ENOENT;
}

int jd_event_loop_cancel_timer(jd_event_loop *loop, jd_timer_id id)
{
    struct loop_timer *timer;
    bool found, locked;

    if (!event_loop_begin_work(loop, &locked))
        return timer_post_cancel(loop, id);
    timer = timer_find(loop, id);
    found = timer != NULL && timer->function != NULL;
    if (found)
        timer_cancel_in_loop(loop, timer);
    event_loop_end_work(loop, locked);
    return found ? 0 : JD_ENOENT;
}

/* ---- running ---- */

static void timer_run(jd_event_loop *loop, struct loop_timer *timer)
{
    jd_task function = timer->function;
    void *arg = timer->arg;
    uint64_t due_ms = timer->timer.expiry_ms, next_ms = due_ms + timer->interval_ms;
    uint64_t now_ms = loop->timers.wheel.now_ms;

    /* Missed rounds are skipped. */
    if (timer->interval_ms > 0)
        timer_start(&loop->timers.wheel, &timer->timer, next_ms > now_ms ? next_ms : now_ms + timer->interval_ms);
    else
        timer_free(loop, timer);
    flush_before_callback(loop);
    if (loop->measure.on)
        loop_measure_timer(loop, due_ms);
    function(arg);
}

static void dispatch_expired(struct timer *expired, void *arg)
{
    jd_event_loop *loop = arg;

    if (expired->kind >= TIMER_OF_SERVICE)
        loop_services[expired->kind - TIMER_OF_SERVICE]->timer_expired(expired);
    else
        timer_run(loop, (struct loop_timer *)((char *)expired - offsetof(struct loop_timer, timer)));
}

uint64_t loop_timers_next_ms(jd_event_loop *loop)
{
    free_cancelled(loop);
    return timer_wheel_next_ms(&loop->timers.wheel);
}

void loop_timers_run(jd_event_loop *loop)
{
    free_cancelled(loop);
    if (loop->timers.wheel.count > 0)
        counter_add(&loop->counters.timers, timer_wheel_advance(&loop->timers.wheel, (uint64_t)(loop->now / NS_PER_MS),
                                                                dispatch_expired, loop));
}

static struct loop_timer *next_posted(jd_event_loop *loop, uint32_t slot)
{
    struct loop_timer *timer;

    thread_mutex_lock(&loop->timers.posted_lock);
    timer = slot_map_next(&loop->timers.posted, slot);
    thread_mutex_unlock(&loop->timers.posted_lock);
    return timer;
}

void loop_timers_cancel_all(jd_event_loop *loop)
{
    struct loop_timer *timer;

    free_cancelled(loop);
    while ((timer = slot_map_next(&loop->timers.user, 0)) != NULL)
        timer_free(loop, timer);
    for (uint32_t slot = 0; (timer = next_posted(loop, slot)) != NULL;) {
        slot = timer->slot.slot + 1;
        timer_cancel_in_loop(loop, timer);
    }
}

uint32_t loop_timers_destroy(jd_event_loop *loop)
{
    uint32_t user, posted;

    loop_timers_cancel_all(loop);
    user = slot_map_destroy(&loop->timers.user);
    posted = slot_map_destroy(&loop->timers.posted);
    thread_mutex_destroy(&loop->timers.posted_lock);
    return (int32_t)(user - posted) > 0 ? user : posted;
}
