/* Shared by all Check programs: the main function, seeds for random tests, and time limits for tests that step a
 * loop. */
#ifndef TESTS_CHECK_MAIN_H
#define TESTS_CHECK_MAIN_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

/* Defined by each program: the suite's name, and a function that adds its test cases. check_run.c runs each test in
 * a process of its own and reports in TAP format on standard output. */
extern const char *const suite_name;
void suite_add_tests(Suite *suite);

/* The seed of a random test: JD_TEST_SEED from the environment, otherwise taken from the clock. It is printed as a
 * TAP comment, so that a failed test can be repeated. */
uint64_t test_seed(void);

/* A random number generator (splitmix64; Steele, Lea and Flood 2014) that gives the same sequence for a seed
 * everywhere. */
uint64_t random_next(uint64_t *state);

/* From 0 to bound - 1. */
uint64_t random_below(uint64_t *state, uint64_t bound);

/* How long a test steps a loop without success before it fails. A single step counts for at most 20 ms: on a busy
 * machine a step is long because the process does not run. */
struct patience {
    int64_t left_ns, looked_ns;
};

struct patience patience_begin(unsigned ms);
bool patience_is_over(struct patience *patience); /* called after each step */

#endif
