/* Histogram of latencies: log-linear, so that a fixed table covers nanoseconds to centuries with one relative error. */
#ifndef BENCHMARKS_HISTOGRAM_H
#define BENCHMARKS_HISTOGRAM_H

#include <stdint.h>

/* Each power of two is cut into 2^7 equal buckets, a bucket is reported by its middle: a value is at most half a
 * bucket, 1/256 of itself (0.4 %), away from what is reported. Below 2^8 every value has its own bucket. */
enum {
    HISTOGRAM_STEP_BITS = 7,
    HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS,
    HISTOGRAM_ERROR_PARTS = 2 * HISTOGRAM_STEPS, /* the error is at most value / HISTOGRAM_ERROR_PARTS */
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS,
};

struct histogram {
    uint64_t count;
    uint64_t min, max; /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_reset(struct histogram *histogram);

/* Adds the value so many times. */
void histogram_add(struct histogram *histogram, uint64_t value, uint64_t times);

/* Adds all values of other. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* The value at rank ceil(quantile * count), counted from 1 in ascending order; quantile from 0 to 1. Rank 0 is taken as
 * rank 1. The first and the last rank are exact. 0 for an empty histogram. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

#endif
