/* The PROXY protocol as a filter: the connection comes up behind the header, with the client's address as its peer. And what
 * a server is told about it: the sources that are trusted, and the limits. */
#ifndef NET_FILTER_PROXY_FILTER_H
#define NET_FILTER_PROXY_FILTER_H

#include "net/filter/filter.h"

#include <stdbool.h>

enum { PROXY_SOURCES_MAX = 64 };

/* The addresses whose first bits are those of bytes. An IPv4 address counts as ::ffff:a.b.c.d. */
struct proxy_source {
    uint8_t bytes[16];
    unsigned bits;
};

struct proxy_settings {
    size_t header_limit; /* bytes of a header of version 2 */
    uint32_t timeout_ms; /* for the whole header */
    unsigned sources_count;
    bool trusts_unix; /* peers without an address: Unix-domain sockets */
    struct proxy_source sources[PROXY_SOURCES_MAX];
};

/* Parses a list as described at jd_tcp_server_options.proxy_sources. Returns 0; or logs, with the server's name, and returns
 * JD_EINVAL. From any thread. */
int proxy_sources_parse(struct proxy_settings *settings, const char *server_name, const char *text);

/* Whether the peer of a socket is one of the sources. From any thread. */
bool proxy_trusts(const struct proxy_settings *settings, const struct peer_address *peer);

/* Creates the filter of one connection. Returns NULL without memory. */
struct filter *proxy_filter_create(const struct proxy_settings *settings);

#endif
