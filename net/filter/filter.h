/* A filter stands between a stream and its connection: it sees the received bytes first. While it is there, the connection is
 * not up. It is allocated for one connection and lives until it has finished or the connection ends
 * (net/connection/connection_filter.c).
 *
 * Thread rule: in the thread of the connection's loop. */
#ifndef NET_FILTER_FILTER_H
#define NET_FILTER_FILTER_H

#include "base/endpoint.h"

#include <stddef.h>
#include <stdint.h>

struct filter {
    /* Looks at all bytes that have been received so far. Returns
     *   - 0: more bytes are needed;
     *   - a positive number: the filter has finished. So many bytes at the beginning were for it, the others are the
     *     connection's. *peer may have been changed;
     *   - a negative error: the connection must be closed. *reason is a static string for the log. */
    ptrdiff_t (*input)(struct filter *filter, const uint8_t *data, size_t length, struct peer_address *peer,
                       const char **reason);

    /* Frees the filter. */
    void (*end)(struct filter *filter);
};

#endif
