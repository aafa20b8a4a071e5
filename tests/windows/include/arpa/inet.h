#ifndef TESTS_WINDOWS_ARPA_INET_H
#define TESTS_WINDOWS_ARPA_INET_H

#include "posix.h"

#endif
