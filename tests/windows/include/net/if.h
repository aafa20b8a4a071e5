#ifndef TESTS_WINDOWS_NET_IF_H
#define TESTS_WINDOWS_NET_IF_H

#include "posix.h"

#endif
