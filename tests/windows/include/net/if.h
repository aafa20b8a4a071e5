#ifndef TESTS_WINDOWS_NET_IF_H
#define TESTS_WINDOWS_NET_IF_H

#include "posix.h"

struct ifreq {
    char ifr_name[16];
    short ifr_flags;
};

enum { IFF_RUNNING = 0x40, SIOCSIFFLAGS = 0x8914 };

#endif
