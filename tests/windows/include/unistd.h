#ifndef TESTS_WINDOWS_UNISTD_H
#define TESTS_WINDOWS_UNISTD_H

#include_next <unistd.h>

#include "posix.h"

#endif
