#ifndef TESTS_WINDOWS_NETINET_IN_H
#define TESTS_WINDOWS_NETINET_IN_H

#include "posix.h"

#endif
