#include "net/client/client_schedule.h"

uint32_t client_schedule_longest_ms(const struct client_schedule *schedule)
{
    uint32_t wait_ms = schedule->initial_ms;

    for (unsigned i = 1; i < schedule->attempt && wait_ms < schedule->max_ms; i++)
        wait_ms = wait_ms <= schedule->max_ms / 2 ? wait_ms * 2 : schedule->max_ms;
    return wait_ms;
}

/* Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014: SplitMix64. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

uint32_t client_schedule_wait_ms(struct client_schedule *schedule)
{
    uint32_t longest_ms = client_schedule_longest_ms(schedule);

    return longest_ms - (uint32_t)(next_random(&schedule->random) % (longest_ms / 2 + 1));
}
