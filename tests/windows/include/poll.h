#ifndef TESTS_WINDOWS_POLL_H
#define TESTS_WINDOWS_POLL_H

#include "posix.h"

#endif
