#ifndef TESTS_WINDOWS_LINUX_TCP_H
#define TESTS_WINDOWS_LINUX_TCP_H

#include "netinet/tcp.h"

#endif
