#ifndef TESTS_WINDOWS_SYS_WAIT_H
#define TESTS_WINDOWS_SYS_WAIT_H

#include "posix.h"

/* It fails. */
int waitpid(int process, int *status, int options);

#define WIFEXITED(status)   ((status) == 0)
#define WEXITSTATUS(status) (status)

#endif
