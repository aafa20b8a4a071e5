/* The header of the PROXY protocol, versions 1 and 2, with which a proxy tells a server its client's address: "The PROXY
 * protocol", W. Tarreau, HAProxy Technologies (doc/proxy-protocol.txt of haproxy). From any thread. */
#ifndef NET_FILTER_PROXY_HEADER_H
#define NET_FILTER_PROXY_HEADER_H

#include "base/endpoint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROXY_V1_MAX_BYTES = 107,        /* a line of version 1 with its CR LF (2.1) */
    PROXY_V2_FIXED_BYTES = 16,       /* what version 2 begins with (2.2) */
    PROXY_V2_LEAST_LIMIT = 16 + 216, /* with the longest addresses, those of Unix-domain sockets */
    PROXY_V2_MAX_BYTES = 16 + 0xffff,
};

struct proxy_header {
    size_t bytes;             /* its length */
    bool has_peer;            /* false: LOCAL, UNKNOWN or UNSPEC, so that the socket's own peer counts */
    struct peer_address peer; /* the client's address; of a Unix-domain client only the family */
};

/* Parses the header at the beginning of the length bytes at data. A header of version 2 may have at most v2_limit bytes.
 * Returns 1 and the header; 0 if more bytes are needed; or JD_EPROTO (malformed), JD_EMSGSIZE (longer than allowed): then
 * *reason is a static string. A malformed header is refused as soon as the bytes show it, but a line of version 1 and an
 * address of version 2 only when they are complete. */
int proxy_header_parse(struct proxy_header *header, const uint8_t *data, size_t length, size_t v2_limit,
                       const char **reason);

#endif
