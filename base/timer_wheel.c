#include "base/timer_wheel.h"

#include <assert.h>

/* Write the times in digits to the base TIMER_SLOTS. A timer is in the level of the highest digit in which its expiry
 * differs from now, in the slot with the value of that digit. So all timers of a level are due before those of the
 * levels above. The place of a timer does not change until now reaches its slot: then it moves to a lower level, or is
 * due. So the place can be computed at any time. */

static const uint64_t latest_ms = (UINT64_C(1) << 56) - 1;

_Static_assert(sizeof(struct timer) == 24, "part of every idle connection");
_Static_assert(TIMER_LEVELS *TIMER_LEVEL_BITS >= 56, "every expiry has a level");

struct place {
    unsigned level, slot;
};

static struct place place_of(const struct timer_wheel *wheel, uint64_t expiry_ms)
{
    /* An expiry in the past has the place of now: the next advance takes that slot first. */
    uint64_t time_ms = expiry_ms > wheel->now_ms ? expiry_ms : wheel->now_ms;
    uint64_t difference = time_ms ^ wheel->now_ms;
    unsigned level = difference == 0 ? 0 : (63u - (unsigned)__builtin_clzll(difference)) / TIMER_LEVEL_BITS;

    return (struct place){ level, (unsigned)(time_ms >> (level * TIMER_LEVEL_BITS)) % TIMER_SLOTS };
}

static void link_timer(struct timer **link, struct timer *timer)
{
    timer->link = link;
    timer->next = *link;
    if (timer->next != NULL)
        timer->next->link = &timer->next;
    *link = timer;
}

static void unlink_timer(struct timer *timer)
{
    *timer->link = timer->next;
    if (timer->next != NULL)
        timer->next->link = timer->link;
    timer->link = NULL;
}

static void link_in_slot(struct timer_wheel *wheel, struct timer *timer, uint64_t expiry_ms)
{
    struct place place = place_of(wheel, expiry_ms);

    link_timer(&wheel->slots[place.level][place.slot], timer);
    wheel->occupied[place.level] |= UINT64_C(1) << place.slot;
}

/* Empties a slot and returns its timers. The slot has the last started timer first; the returned chain has it last. */
static struct timer *take_slot(struct timer_wheel *wheel, struct place place)
{
    struct timer *timer = wheel->slots[place.level][place.slot];
    struct timer *reversed = NULL;

    while (timer != NULL) {
        struct timer *next = timer->next;
        timer->next = reversed;
        reversed = timer;
        timer = next;
    }
    wheel->slots[place.level][place.slot] = NULL;
    wheel->occupied[place.level] &= ~(UINT64_C(1) << place.slot);
    return reversed;
}

/* Finds the first slot that has timers, and the time at which it begins. False: no slot has. */
static bool find_first_slot(const struct timer_wheel *wheel, struct place *place, uint64_t *begin_ms)
{
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        unsigned shift = level * TIMER_LEVEL_BITS;
        unsigned shift_above = shift + TIMER_LEVEL_BITS;
        uint64_t level_begin_ms = wheel->now_ms >> shift_above << shift_above;

        if (wheel->occupied[level] == 0)
            continue;
        *place = (struct place){ level, (unsigned)__builtin_ctzll(wheel->occupied[level]) };
        *begin_ms = level_begin_ms | (uint64_t)place->slot << shift;
        return true;
    }
    return false;
}

/* Advances now to now_ms, and moves the timers that are due by then to wheel->due, in order. */
static void collect_due(struct timer_wheel *wheel, uint64_t now_ms)
{
    struct timer **end = &wheel->due;
    struct place place;
    uint64_t begin_ms;

    while (find_first_slot(wheel, &place, &begin_ms) && begin_ms <= now_ms) {
        struct timer *timer = take_slot(wheel, place);

        wheel->now_ms = begin_ms;
        while (timer != NULL) {
            struct timer *next = timer->next;
            if (place.level > 0) {
                link_in_slot(wheel, timer, timer->expiry_ms);
            } else {
                link_timer(end, timer);
                end = &timer->next;
            }
            timer = next;
        }
    }
    wheel->now_ms = now_ms;
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct timer_wheel){ .now_ms = now_ms < latest_ms ? now_ms : latest_ms };
}

void timer_start(struct timer_wheel *wheel, struct timer *timer, uint64_t expiry_ms)
{
    timer_cancel(wheel, timer);
    if (expiry_ms > latest_ms)
        expiry_ms = latest_ms;
    timer->expiry_ms = expiry_ms;
    link_in_slot(wheel, timer, expiry_ms);
    wheel->count++;
}

void timer_cancel(struct timer_wheel *wheel, struct timer *timer)
{
    struct place place;

    if (!timer_is_started(timer))
        return;
    unlink_timer(timer);
    wheel->count--;
    if (timer->next != NULL)
        return; /* its slot is not empty */
    /* A timer in wheel->due is in no slot: then the slot found here, and its bit, agree already. */
    place = place_of(wheel, timer->expiry_ms);
    if (wheel->slots[place.level][place.slot] == NULL)
        wheel->occupied[place.level] &= ~(UINT64_C(1) << place.slot);
}

uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel)
{
    struct place place;
    uint64_t begin_ms;

    return find_first_slot(wheel, &place, &begin_ms) ? begin_ms : UINT64_MAX;
}

size_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms, timer_expired expired, void *arg)
{
    size_t ran = 0;

    assert(wheel->due == NULL);
    if (now_ms > latest_ms)
        now_ms = latest_ms;
    if (now_ms < wheel->now_ms)
        now_ms = wheel->now_ms;
    collect_due(wheel, now_ms);
    while (wheel->due != NULL) {
        struct timer *timer = wheel->due;

        unlink_timer(timer);
        wheel->count--;
        ran++;
        expired(timer, arg);
    }
    return ran;
}
