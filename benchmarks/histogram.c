#include "benchmarks/histogram.h"

#include <inttypes.h>
#include <math.h>
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

double histogram_mean(const struct histogram *histogram)
{
    double sum = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->buckets[i] > 0)
            sum += (double)histogram->buckets[i] * (double)clamp(histogram, middle_of(i));
    }
    return histogram->count > 0 ? sum / (double)histogram->count : 0;
}

double histogram_deviation(const struct histogram *histogram)
{
    double mean = histogram_mean(histogram), sum = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->buckets[i] > 0) {
            double off = (double)clamp(histogram, middle_of(i)) - mean;
            sum += (double)histogram->buckets[i] * off * off;
        }
    }
    return histogram->count > 0 ? sqrt(sum / (double)histogram->count) : 0;
}

static void write_line(FILE *file, double value, uint64_t below, uint64_t count)
{
    double part = (double)below / (double)count;

    fprintf(file, "%12.3f %2.12f %10" PRIu64, value, part, below);
    if (below < count)
        fprintf(file, " %14.2f", 1 / (1 - part));
    fputc('\n', file);
}

bool histogram_write(const struct histogram *histogram, FILE *file, double unit)
{
    uint64_t below = 0;

    fprintf(file, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->buckets[i] == 0)
            continue;
        below += histogram->buckets[i];
        write_line(file, (double)clamp(histogram, middle_of(i)) / unit, below, histogram->count);
    }
    fprintf(file, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", histogram_mean(histogram) / unit,
            histogram_deviation(histogram) / unit);
    fprintf(file, "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n", (double)histogram->max / unit,
            histogram->count);
    fprintf(file, "#[Buckets = %12d, SubBuckets     = %12d]\n", 64 - HISTOGRAM_STEP_BITS + 1, HISTOGRAM_STEPS);
    return fflush(file) == 0 && ferror(file) == 0;
}
