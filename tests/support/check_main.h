/* What every Check program of the suite shares: its main function, and seeds for random tests. */
#ifndef TESTS_CHECK_MAIN_H
#define TESTS_CHECK_MAIN_H

#include <check.h>
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

#endif
