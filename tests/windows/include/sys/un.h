#ifndef TESTS_WINDOWS_SYS_UN_H
#define TESTS_WINDOWS_SYS_UN_H

#include "posix.h"

#endif
