#include "benchmarks/histogram.h"

#include <string.h>

/* Returns the right shift that leaves HISTOGRAM_STEP_BITS bits below the value's leading one bit. */
static unsigned shift_of(uint64_t value)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);

    return bits > HISTOGRAM_STEP_BITS + 1 ? bits - HISTOGRAM_STEP_BITS - 1 : 0;
}

/* With shift 0 the index is the value. Each further shift adds HISTOGRAM_STEPS buckets: its values have the leading bit
 * set. */
static unsigned bucket_of(uint64_t value)
{
    unsigned shift = shift_of(value);

    return shift * HISTOGRAM_STEPS + (unsigned)(value >> shift);
}

static uint64_t middle_of(unsigned bucket)
{
    unsigned shift = bucket < 2 * HISTOGRAM_STEPS ? 0 : bucket / HISTOGRAM_STEPS - 1;
    uint64_t lowest = (uint64_t)(bucket - shift * HISTOGRAM_STEPS) << shift;

    return lowest + ((UINT64_C(1) << shift) >> 1);
}

void histogram_reset(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
    histogram->min = UINT64_MAX;
}

void histogram_add(struct histogram *histogram, uint64_t value, uint64_t times)
{
    if (times == 0)
        return;
    histogram->buckets[bucket_of(value)] += times;
    histogram->count += times;
    if (value < histogram->min)
        histogram->min = value;
    if (value > histogram->max)
        histogram->max = value;
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->buckets[i] += other->buckets[i];
    histogram->count += other->count;
    if (other->min < histogram->min)
        histogram->min = other->min;
    if (other->max > histogram->max)
        histogram->max = other->max;
}

static uint64_t clamp(const struct histogram *histogram, uint64_t value)
{
    if (value < histogram->min)
        return histogram->min;
    return value > histogram->max ? histogram->max : value;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    double exact = quantile * (double)histogram->count;
    uint64_t rank = (uint64_t)exact;
    uint64_t below = 0;

    rank += (double)rank < exact;
    if (histogram->count == 0)
        return 0;
    if (rank <= 1)
        return histogram->min;
    if (rank >= histogram->count)
        return histogram->max;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        below += histogram->buckets[i];
        if (below >= rank)
            return clamp(histogram, middle_of(i));
    }
    return histogram->max;
}
