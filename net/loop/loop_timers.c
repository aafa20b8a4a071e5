/* The user's timers: each a slot with a generation, so that an id names one timer and never a later one. Those started in
 * the loop's thread and those posted from others lie in two maps: only the second needs a lock. */
#include "base/platform/thread.h"
#include "net/loop/event_loop.h"

#include "base/memory.h"

#include <jinduo/error.h>

enum { NS_PER_MS = 1000000 };

static const uint64_t delay_max_ms = (uint64_t)1 << 46; /* 2 000 years: the sum with any time does not overflow */
/* An id: the loop's index (8 bits), which map (1), slot (23), generation (32). */
static const jd_timer_id posted_bit = (uint64_t)1 << 55;
enum { LOOP_SHIFT = 56, SLOT_SHIFT = 32, SLOT_MASK = (1 << 23) - 1 };

struct loop_timer {
    struct slot_header slot;
    struct timer timer;
    jd_task function;
    void *arg;
    uint64_t interval_ms; /* 0: once */
};

/* A posted one carries what it is asked for to the loop. */
struct posted_timer {
    struct loop_timer timer;
    struct task_node start;
    jd_event_loop *loop;
    uint64_t expiry_ms;
    bool arrived;
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

static void *find_timer(jd_event_loop *loop, jd_timer_id id)
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

static void free_timer(jd_event_loop *loop, struct loop_timer *timer)
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

/* Takes all that were cancelled from the wheel, the latest first. */
static void settle(jd_event_loop *loop)
{
    struct loop_timer **place;

    while (*(place = &loop->timers.late[(loop->timers.late_place - 1) % LATE_TIMERS]) != NULL) {
        free_timer(loop, *place);
        *place = NULL;
        loop->timers.late_place--;
    }
}

/* Its neighbours in the wheel are seldom in the cache. They are fetched, and written to some cancels later. */
static void free_late(jd_event_loop *loop, struct loop_timer *timer)
{
    struct loop_timer **place = &loop->timers.late[loop->timers.late_place++ % LATE_TIMERS];
    struct loop_timer *oldest = *place;

    timer->function = NULL;
    __builtin_prefetch(timer->timer.next, 1);
    __builtin_prefetch(timer->timer.link, 1);
    *place = timer;
    if (oldest != NULL)
        free_timer(loop, oldest);
}

static void cancel(jd_event_loop *loop, struct loop_timer *timer)
{
    bool is_posted = timer->timer.kind == TIMER_USER_POSTED;

    if (is_posted && !((struct posted_timer *)timer)->arrived)
        timer->function = NULL; /* on its way from another thread, in the queue still: freed when it arrives */
    else if (is_posted || loop->timers.wheel.due != NULL)
        free_timer(loop, timer); /* in an advance it may be due: it must not be met any more */
    else
        free_late(loop, timer);
}

/* ---- starting ---- */

/* An id has room for half of a map's slots. */
static void *allocate_timer(struct slot_map *map)
{
    struct loop_timer *timer = slot_map_take(map);

    if (timer == NULL || timer->slot.slot <= SLOT_MASK)
        return timer;
    slot_map_free(map, timer);
    return NULL;
}

static void fill(struct loop_timer *timer, enum timer_kind kind, jd_task function, void *arg, uint64_t interval_ms)
{
    /* Whole words: a kind stored as a byte would stall the load of the word that it shares with the expiry. */
    timer->timer = (struct timer){ .kind = kind };
    timer->function = function;
    timer->arg = arg;
    timer->interval_ms = interval_ms;
}

static void start_posted(struct task_node *task)
{
    struct posted_timer *posted = (struct posted_timer *)((char *)task - offsetof(struct posted_timer, start));

    posted->arrived = true;
    if (posted->timer.function != NULL)
        timer_start(&posted->loop->timers.wheel, &posted->timer.timer, posted->expiry_ms);
    else
        free_timer(posted->loop, &posted->timer);
}

static int post_timer(jd_event_loop *loop, uint64_t expiry_ms, uint64_t interval_ms, jd_task function, void *arg,
                      jd_timer_id *id)
{
    struct posted_timer *posted;
    jd_timer_id unwanted;

    thread_mutex_lock(&loop->timers.posted_lock);
    posted = allocate_timer(&loop->timers.posted);
    thread_mutex_unlock(&loop->timers.posted_lock);
    if (posted == NULL)
        return JD_ENOMEM;
    fill(&posted->timer, TIMER_USER_POSTED, function, arg, interval_ms);
    posted->loop = loop;
    posted->expiry_ms = expiry_ms;
    posted->start = (struct task_node){ .run = start_posted };
    posted->arrived = false;
    /* Once pushed it may run, and ask for its id. */
    if (id == NULL)
        id = &unwanted;
    *id = timer_id(loop, &posted->timer) | posted_bit;
    if (event_loop_push(loop, &posted->start))
        return 0;
    *id = 0;
    free_timer(loop, &posted->timer);
    return JD_ECANCELED;
}

static int start_here(jd_event_loop *loop, uint64_t expiry_ms, uint64_t interval_ms, jd_task function, void *arg,
                      jd_timer_id *id)
{
    struct loop_timer *timer;

    if (loop->destroying)
        return JD_ECANCELED;
    timer = allocate_timer(&loop->timers.user);
    if (timer == NULL)
        return JD_ENOMEM;
    fill(timer, TIMER_USER, function, arg, interval_ms);
    timer_start(&loop->timers.wheel, &timer->timer, expiry_ms);
    if (id != NULL)
        *id = timer_id(loop, timer);
    return 0;
}

static int start_timer(jd_event_loop *loop, uint64_t expiry_ms, uint64_t interval_ms, jd_task function, void *arg,
                       jd_timer_id *id)
{
    bool locked;
    int result;

    __builtin_prefetch(id, 1); /* part of the user's own object, seldom in the cache among a million */
    if (!event_loop_begin_work(loop, &locked))
        return post_timer(loop, expiry_ms, interval_ms, function, arg, id);
    result = start_here(loop, expiry_ms, interval_ms, function, arg, id);
    event_loop_end_work(loop, locked);
    return result;
}

/* Rounded up: a timer is never early. */
static uint64_t to_ms(jd_timestamp when)
{
    return when <= 0 ? 0 : ((uint64_t)when + NS_PER_MS - 1) / NS_PER_MS;
}

static uint64_t after_ms(const jd_event_loop *loop, uint64_t delay_ms)
{
    if (delay_ms == 0)
        return 0; /* past: due in the next turn */
    return to_ms(event_loop_clock(loop)) + (delay_ms < delay_max_ms ? delay_ms : delay_max_ms);
}

int jd_event_loop_run_at(jd_event_loop *loop, jd_timestamp when, jd_task function, void *arg, jd_timer_id *id)
{
    return start_timer(loop, to_ms(when), 0, function, arg, id);
}

int jd_event_loop_run_after(jd_event_loop *loop, uint64_t delay_ms, jd_task function, void *arg, jd_timer_id *id)
{
    return start_timer(loop, after_ms(loop, delay_ms), 0, function, arg, id);
}

int jd_event_loop_run_every(jd_event_loop *loop, uint64_t interval_ms, jd_task function, void *arg, jd_timer_id *id)
{
    if (interval_ms == 0 || interval_ms > delay_max_ms)
        return JD_EINVAL;
    return start_timer(loop, after_ms(loop, interval_ms), interval_ms, function, arg, id);
}

/* ---- cancelling ---- */

struct cancel_task {
    struct task_node task;
    jd_event_loop *loop;
    jd_timer_id id;
};

static void run_cancel(struct task_node *task)
{
    struct cancel_task asked = *(struct cancel_task *)task;

    memory_release(task, sizeof(asked));
    jd_event_loop_cancel_timer(asked.loop, asked.id);
}

static int post_cancel(jd_event_loop *loop, jd_timer_id id)
{
    struct cancel_task *asked = memory_allocate(sizeof(*asked));

    if (asked == NULL)
        return JD_ENOMEM;
    *asked = (struct cancel_task){ .task.run = run_cancel, .loop = loop, .id = id };
    if (event_loop_push(loop, &asked->task))
        return 0;
    memory_release(asked, sizeof(*asked));
    return JD_ENOENT;
}

int jd_event_loop_cancel_timer(jd_event_loop *loop, jd_timer_id id)
{
    struct loop_timer *timer;
    bool found, locked;

    if (!event_loop_begin_work(loop, &locked))
        return post_cancel(loop, id);
    timer = find_timer(loop, id);
    found = timer != NULL && timer->function != NULL;
    if (found)
        cancel(loop, timer);
    event_loop_end_work(loop, locked);
    return found ? 0 : JD_ENOENT;
}

/* ---- running ---- */

static void run_user_timer(jd_event_loop *loop, struct loop_timer *timer)
{
    jd_task function = timer->function;
    void *arg = timer->arg;
    uint64_t next_ms = timer->timer.expiry_ms + timer->interval_ms;
    uint64_t now_ms = loop->timers.wheel.now_ms;

    /* Rounds that were missed are not made up for. */
    if (timer->interval_ms > 0)
        timer_start(&loop->timers.wheel, &timer->timer, next_ms > now_ms ? next_ms : now_ms + timer->interval_ms);
    else
        free_timer(loop, timer);
    flush_before_callback(loop);
    function(arg);
}

static void run_expired(struct timer *expired, void *arg)
{
    jd_event_loop *loop = arg;

    if (expired->kind >= TIMER_OF_SERVICE)
        loop_services[expired->kind - TIMER_OF_SERVICE]->timer_expired(expired);
    else
        run_user_timer(loop, (struct loop_timer *)((char *)expired - offsetof(struct loop_timer, timer)));
}

uint64_t loop_timers_next_ms(jd_event_loop *loop)
{
    settle(loop);
    return timer_wheel_next_ms(&loop->timers.wheel);
}

void loop_timers_run(jd_event_loop *loop)
{
    settle(loop);
    if (loop->timers.wheel.count > 0)
        counter_add(&loop->counters.timers,
                    timer_wheel_advance(&loop->timers.wheel, (uint64_t)(loop->now / NS_PER_MS), run_expired, loop));
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

    settle(loop);
    while ((timer = slot_map_next(&loop->timers.user, 0)) != NULL)
        free_timer(loop, timer);
    for (uint32_t slot = 0; (timer = next_posted(loop, slot)) != NULL;) {
        slot = timer->slot.slot + 1;
        cancel(loop, timer);
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
