#ifndef TESTS_WINDOWS_IFADDRS_H
#define TESTS_WINDOWS_IFADDRS_H

#include "posix.h"

struct ifaddrs {
    struct ifaddrs *ifa_next;
    struct sockaddr *ifa_addr;
    const char *ifa_name;
};

/* Fails. */
int getifaddrs(struct ifaddrs **all);
void freeifaddrs(struct ifaddrs *all);

#endif
