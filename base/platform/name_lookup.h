/* The addresses of a host's name, as the system finds them: it may take its time. */
#ifndef BASE_PLATFORM_NAME_LOOKUP_H
#define BASE_PLATFORM_NAME_LOOKUP_H

#include "base/endpoint.h"

/* Finds at most max addresses of name, in the system's order, and *count of them (1 at least). Returns 0, or a negative error
 * and *reason, a static string: JD_ENOENT if there is none, JD_EAGAIN if it cannot be found out now, JD_ENOMEM, JD_EPROTO or
 * the system's error. From any thread. */
int name_lookup(const struct host_port *name, jd_endpoint *addresses, unsigned max, unsigned *count,
                const char **reason);

#endif
