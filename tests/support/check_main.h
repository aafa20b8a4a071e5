/* What every Check program of the suite shares: its main function, seeds for random tests, and patience. */
#ifndef TESTS_CHECK_MAIN_H
#define TESTS_CHECK_MAIN_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

/* Each program defines it: adds its tests to the case. check_main.c runs them, each in a process of its own, and reports
 * by TAP on standard output. */
extern const char *const suite_name;
void suite_add_tests(Suite *suite);

/* The seed of a random test: JD_TEST_SEED from the environment, else one from the clock. Printed (as a TAP comment), so
 * that a failure can be run again. */
uint64_t test_seed(void);

/* A small generator (splitmix64, Steele, Lea and Flood 2014), so that a seed gives the same test everywhere. */
uint64_t random_next(uint64_t *state);

/* 0 to bound - 1. */
uint64_t random_below(uint64_t *state, uint64_t bound);

/* How long a test steps a loop in vain before it fails. Of a step that took long a part counts only: a process that gets no
 * turn on a busy machine has not waited. */
struct patience {
    int64_t left_ns, looked_ns;
};

struct patience patience_begin(unsigned ms);
bool patience_is_over(struct patience *patience); /* after each step */

#endif
