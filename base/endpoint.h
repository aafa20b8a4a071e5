/* Endpoints as socket addresses, and the short form in which a connection remembers its peer. */
#ifndef BASE_ENDPOINT_H
#define BASE_ENDPOINT_H

#include "base/platform/socket_address.h"

#include <jinduo/endpoint.h>

enum {
    ENDPOINT_ALL = 1, /* jd_endpoint.flags: "*:port", IPv6 with IPv4 on the same socket */
};

/* 24 bytes instead of jd_endpoint's 120: an idle connection must stay small. A Unix-domain peer is only its family. */
struct peer_address {
    uint16_t family; /* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC: unknown */
    uint16_t port;   /* host order */
    uint32_t scope;
    uint8_t bytes[16];
};

/* A name of a host, to be looked up, with a port. */
enum {
    HOST_NAME_BYTES = 256
}; /* of 253 characters at most (RFC 1035, 2.3.4, without the root's final dot and length) */
struct host_port {
    char host[HOST_NAME_BYTES];
    char port[6]; /* decimal */
};

/* Reads "example.org:80": letters, digits, "-", "." and "_", and a port from 1 to 65535. Returns 0 or JD_EINVAL. */
int host_port_parse(struct host_port *parsed, const char *text);

static inline const struct sockaddr *endpoint_sockaddr(const jd_endpoint *endpoint)
{
    return (const struct sockaddr *)endpoint->address.bytes;
}

/* Fills endpoint from a socket address of the three families; of another family, or a length of 0, an empty one. */
void endpoint_from_sockaddr(jd_endpoint *endpoint, const struct sockaddr *address, socklen_t length);

void peer_address_from_sockaddr(struct peer_address *peer, const struct sockaddr *address, socklen_t length);

/* An IPv4 address that came over an IPv6 socket (::ffff:a.b.c.d) becomes the IPv4 endpoint it is. */
void peer_address_to_endpoint(const struct peer_address *peer, jd_endpoint *endpoint);

#endif
