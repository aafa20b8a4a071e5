#include "tests/support/check_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

uint64_t test_seed(void)
{
    const char *text = getenv("JD_TEST_SEED");
    struct timespec now;
    uint64_t seed;

    clock_gettime(CLOCK_MONOTONIC, &now);
    seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)now.tv_nsec * 1000003u + (uint64_t)getpid();
    printf("# JD_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t random_below(uint64_t *state, uint64_t bound)
{
    return random_next(state) % bound;
}

static int64_t clock_ns(void)
{
    enum { NS_PER_S = 1000000000 };
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

enum { NS_PER_MS = 1000000, STEP_COUNTS_MS = 20 };

struct patience patience_begin(unsigned ms)
{
    return (struct patience){ .left_ns = (int64_t)ms * NS_PER_MS, .looked_ns = clock_ns() };
}

bool patience_is_over(struct patience *patience)
{
    int64_t now_ns = clock_ns(), step_ns = now_ns - patience->looked_ns;

    patience->looked_ns = now_ns;
    patience->left_ns -= step_ns < STEP_COUNTS_MS * NS_PER_MS ? step_ns : STEP_COUNTS_MS * NS_PER_MS;
    return patience->left_ns < 0;
}
