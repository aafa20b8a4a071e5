#ifndef TESTS_WINDOWS_SYS_IOCTL_H
#define TESTS_WINDOWS_SYS_IOCTL_H

#include "posix.h"

/* Fails. */
int ioctl(int fd, unsigned long request, void *argument);

#endif
