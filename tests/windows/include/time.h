#ifndef TESTS_WINDOWS_TIME_H
#define TESTS_WINDOWS_TIME_H

#pragma GCC system_header /* as #include_next is an extension */

#include_next <time.h>

#include <pthread.h> /* clockid_t */

int posix_clock_gettime(int clock, struct timespec *now);

#define clock_gettime(clock, now) posix_clock_gettime(clock, now)

#endif
