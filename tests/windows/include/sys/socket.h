#ifndef TESTS_WINDOWS_SYS_SOCKET_H
#define TESTS_WINDOWS_SYS_SOCKET_H

#include "posix.h"

#endif
