#ifndef TESTS_WINDOWS_UNISTD_H
#define TESTS_WINDOWS_UNISTD_H

#pragma GCC system_header /* as #include_next is an extension */

#include_next <unistd.h>

#include "posix.h"

#endif
