#ifndef TESTS_WINDOWS_FCNTL_H
#define TESTS_WINDOWS_FCNTL_H

#pragma GCC system_header /* as #include_next is an extension */

#include_next <fcntl.h>

#include "posix.h"

#endif
