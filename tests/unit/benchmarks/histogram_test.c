/* The load generator's histogram, against a sorted array of the same values. */
#include "benchmarks/histogram.h"
#include "tests/support/check_main.h"

#include <stdlib.h>

const char *const suite_name = "histogram";

enum { VALUES = 20000 };

static const double quantiles[] = { 0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1 };
enum { QUANTILES = sizeof(quantiles) / sizeof(quantiles[0]) };

static struct histogram histogram, other;

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

static uint64_t model_quantile(const uint64_t *sorted, uint64_t count, double quantile)
{
    double exact = quantile * (double)count;
    uint64_t rank = (uint64_t)exact;

    rank += (double)rank < exact;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static void assert_near(uint64_t found, uint64_t expected)
{
    uint64_t difference = found > expected ? found - expected : expected - found;

    ck_assert_msg(difference <= expected / HISTOGRAM_ERROR_PARTS, "%llu reported for %llu", (unsigned long long)found,
                  (unsigned long long)expected);
}

static void assert_like_model(uint64_t *values, uint64_t count)
{
    qsort(values, count, sizeof(*values), compare);
    ck_assert_uint_eq(histogram.count, count);
    ck_assert_uint_eq(histogram.min, values[0]);
    ck_assert_uint_eq(histogram.max, values[count - 1]);
    for (unsigned i = 0; i < QUANTILES; i++)
        assert_near(histogram_quantile(&histogram, quantiles[i]), model_quantile(values, count, quantiles[i]));
}

START_TEST(an_empty_histogram_reports_zero)
{
    histogram_reset(&histogram);

    ck_assert_uint_eq(histogram.count, 0);
    ck_assert_uint_eq(histogram_quantile(&histogram, 0.5), 0);
    ck_assert_uint_eq(histogram_quantile(&histogram, 1), 0);
}
END_TEST

START_TEST(a_single_value_is_every_quantile)
{
    histogram_reset(&histogram);
    histogram_add(&histogram, 1234567, 1);

    for (unsigned i = 0; i < QUANTILES; i++)
        ck_assert_uint_eq(histogram_quantile(&histogram, quantiles[i]), 1234567);
}
END_TEST

START_TEST(values_below_two_steps_are_exact)
{
    histogram_reset(&histogram);
    for (uint64_t value = 0; value < 2 * HISTOGRAM_STEPS; value++)
        histogram_add(&histogram, value, 1);

    for (uint64_t value = 0; value < 2 * HISTOGRAM_STEPS; value++)
        ck_assert_uint_eq(histogram_quantile(&histogram, (double)(value + 1) / (2 * HISTOGRAM_STEPS)), value);
}
END_TEST

START_TEST(values_around_every_power_of_two_stay_within_the_error)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t power = UINT64_C(1) << bit;
        uint64_t values[] = { power - 1, power, power + 1, power | power >> 1, power + (power - 1) };

        histogram_reset(&histogram);
        for (unsigned i = 0; i < 5; i++)
            histogram_add(&histogram, values[i], 1);

        assert_like_model(values, 5);
    }
}
END_TEST

START_TEST(random_values_of_all_magnitudes_stay_within_the_error)
{
    static uint64_t values[VALUES];
    uint64_t random = test_seed();

    histogram_reset(&histogram);
    for (unsigned i = 0; i < VALUES; i++) {
        values[i] = random_next(&random) >> random_below(&random, 64);
        histogram_add(&histogram, values[i], 1);
    }

    assert_like_model(values, VALUES);
}
END_TEST

START_TEST(a_value_added_many_times_counts_so_often)
{
    static uint64_t values[VALUES];
    uint64_t random = test_seed();
    unsigned count = 0;

    histogram_reset(&histogram);
    while (count < VALUES) {
        uint64_t value = random_below(&random, 1000000), times = random_below(&random, 100);
        if (times > VALUES - count)
            times = VALUES - count;
        histogram_add(&histogram, value, times);
        while (times-- > 0)
            values[count++] = value;
    }

    assert_like_model(values, VALUES);
}
END_TEST

START_TEST(a_value_added_no_times_leaves_no_trace)
{
    histogram_reset(&histogram);
    histogram_add(&histogram, 5, 1);
    histogram_add(&histogram, 1, 0);
    histogram_add(&histogram, 9, 0);

    ck_assert_uint_eq(histogram.min, 5);
    ck_assert_uint_eq(histogram.max, 5);
}
END_TEST

START_TEST(merging_is_like_adding_to_one)
{
    static uint64_t values[VALUES];
    uint64_t random = test_seed();

    histogram_reset(&histogram);
    histogram_reset(&other);
    for (unsigned i = 0; i < VALUES; i++) {
        values[i] = random_next(&random) >> random_below(&random, 64);
        histogram_add(i % 3 == 0 ? &histogram : &other, values[i], 1);
    }
    histogram_merge(&histogram, &other);

    assert_like_model(values, VALUES);
}
END_TEST

START_TEST(merging_an_empty_one_changes_nothing)
{
    histogram_reset(&histogram);
    histogram_reset(&other);
    histogram_add(&histogram, 42, 3);
    histogram_merge(&histogram, &other);

    ck_assert_uint_eq(histogram.count, 3);
    ck_assert_uint_eq(histogram.min, 42);
    ck_assert_uint_eq(histogram.max, 42);
}
END_TEST

START_TEST(mean_and_deviation_are_those_of_the_values)
{
    histogram_reset(&histogram);
    ck_assert_double_eq(histogram_mean(&histogram), 0);
    ck_assert_double_eq(histogram_deviation(&histogram), 0);
    histogram_add(&histogram, 10, 3);
    histogram_add(&histogram, 20, 1);

    ck_assert_double_eq_tol(histogram_mean(&histogram), 12.5, 1e-9);
    ck_assert_double_eq_tol(histogram_deviation(&histogram), 4.330127, 1e-6);
}
END_TEST

START_TEST(the_text_form_has_a_line_for_each_value_with_what_is_below_it)
{
    static const char expected[] = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n"
                                   "       0.010 0.750000000000          3           4.00\n"
                                   "       0.020 1.000000000000          4\n"
                                   "#[Mean    =        0.013, StdDeviation   =        0.004]\n"
                                   "#[Max     =        0.020, Total count    =            4]\n"
                                   "#[Buckets =           58, SubBuckets     =          128]\n";
    char text[1024] = { 0 };
    FILE *file = fmemopen(text, sizeof(text) - 1, "w");

    histogram_reset(&histogram);
    histogram_add(&histogram, 10, 3);
    histogram_add(&histogram, 20, 1);
    ck_assert(histogram_write(&histogram, file, 1000));
    fclose(file);

    ck_assert_str_eq(text, expected);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("histogram");

    tcase_add_test(tests, an_empty_histogram_reports_zero);
    tcase_add_test(tests, a_single_value_is_every_quantile);
    tcase_add_test(tests, values_below_two_steps_are_exact);
    tcase_add_test(tests, values_around_every_power_of_two_stay_within_the_error);
    tcase_add_test(tests, random_values_of_all_magnitudes_stay_within_the_error);
    tcase_add_test(tests, a_value_added_many_times_counts_so_often);
    tcase_add_test(tests, a_value_added_no_times_leaves_no_trace);
    tcase_add_test(tests, merging_is_like_adding_to_one);
    tcase_add_test(tests, merging_an_empty_one_changes_nothing);
    tcase_add_test(tests, mean_and_deviation_are_those_of_the_values);
    tcase_add_test(tests, the_text_form_has_a_line_for_each_value_with_what_is_below_it);
    suite_add_tcase(suite, tests);
}
