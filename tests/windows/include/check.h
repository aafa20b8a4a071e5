/* Check on a system without fork: each test runs in a process of its own nevertheless (check_run.c). */
#ifndef TESTS_WINDOWS_CHECK_H
#define TESTS_WINDOWS_CHECK_H

#pragma GCC system_header /* as #include_next is an extension */

#include_next <check.h>

/* As _tcase_add_test, by which the macros of Check add a test: adds it only if this process is to run it. */
void check_add_test(TCase *tests, const TTest *test, int signal, int exit_value, int start, int end);

#define _tcase_add_test(tests, test, signal, exit_value, start, end)                                                   \
    check_add_test(tests, test, signal, exit_value, start, end)

#endif
