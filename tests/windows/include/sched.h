#ifndef TESTS_WINDOWS_SCHED_H
#define TESTS_WINDOWS_SCHED_H

#pragma GCC system_header /* as #include_next is an extension */

#include_next <sched.h>

enum { CLONE_NEWNET = 0x40000000, CLONE_NEWUSER = 0x10000000 };

/* Fails. */
int unshare(int flags);

typedef struct {
    unsigned count;
} cpu_set_t;

/* All that the system has. */
int posix_sched_getaffinity(int process, size_t size, cpu_set_t *usable);

#define sched_getaffinity(process, size, usable) posix_sched_getaffinity(process, size, usable)
#define CPU_COUNT(usable)                        ((usable)->count)

#endif
