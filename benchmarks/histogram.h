/* Log-linear histogram of latencies: a table of fixed size covers nanoseconds to centuries with the same relative
 * error. */
#ifndef BENCHMARKS_HISTOGRAM_H
#define BENCHMARKS_HISTOGRAM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Each power of two is divided into 2^7 equal buckets, and a bucket is reported as its middle. So the reported value is
 * at most half a bucket, 1/256 of the value (0.4 %), off. Below 2^8 each value has its own bucket. */
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

/* Adds the value, times times. */
void histogram_add(struct histogram *histogram, uint64_t value, uint64_t times);

/* Adds all values of other. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* Returns the value at rank ceil(quantile * count), counted from 1 in ascending order; quantile is 0 to 1. Rank 0
 * counts as rank 1. The first and the last rank are exact. Returns 0 for an empty histogram. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

/* Mean and standard deviation, from the middles of the buckets; 0 for an empty histogram. */
double histogram_mean(const struct histogram *histogram);
double histogram_deviation(const struct histogram *histogram);

/* Writes the text form of HdrHistogram's percentile output (.hgrm), with one line for each bucket that is not empty, so
 * that files can be merged. Values are divided by unit. Returns false on a write error. */
bool histogram_write(const struct histogram *histogram, FILE *file, double unit);

#endif
