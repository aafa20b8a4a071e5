/* A random number generator (splitmix64; Steele, Lea and Flood 2014) that gives the same sequence for a seed everywhere. */
#ifndef TESTS_CHAOS_RANDOM_H
#define TESTS_CHAOS_RANDOM_H

#include <stdint.h>

static inline uint64_t chaos_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Returns a number below bound (> 0). */
static inline uint64_t chaos_below(uint64_t *state, uint64_t bound)
{
    return chaos_random(state) % bound;
}

#endif
