#ifndef TESTS_WINDOWS_NETINET_TCP_H
#define TESTS_WINDOWS_NETINET_TCP_H

#include "posix.h"

#endif
