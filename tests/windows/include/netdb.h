#ifndef TESTS_WINDOWS_NETDB_H
#define TESTS_WINDOWS_NETDB_H

#include "posix.h"

/* The system's, also where a test has replaced what the library calls (base/posix/system_calls.h). */
int posix_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **addresses);

#define getaddrinfo(node, service, hints, addresses) posix_getaddrinfo(node, service, hints, addresses)

#endif
