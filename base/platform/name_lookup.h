/* Looks up the addresses of a host name by the system's resolver. Blocks, possibly for seconds. */
#ifndef BASE_PLATFORM_NAME_LOOKUP_H
#define BASE_PLATFORM_NAME_LOOKUP_H

#include "base/endpoint.h"

/* Sets at most max addresses, in the system's order (getaddrinfo(3)), and *count, their number. Returns 0 (*count is at
 * least 1), or a negative error and *reason, a static text: JD_ENOENT (no address), JD_EAGAIN (no answer now),
 * JD_ENOMEM, JD_EPROTO (the name service failed) or the system's error. From any thread. */
int name_lookup(const struct host_port *name, jd_endpoint *addresses, unsigned max, unsigned *count,
                const char **reason);

#endif
