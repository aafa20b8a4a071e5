/* Endpoints as socket addresses, and the short form in which a connection stores its peer's address. From any
 * thread. */
#ifndef BASE_ENDPOINT_H
#define BASE_ENDPOINT_H

#include "base/platform/socket_address.h"

#include <jinduo/endpoint.h>

enum {
    ENDPOINT_ALL = 1, /* jd_endpoint.flags: "*:port", IPv6 with IPv4 on the same socket */
};

/* 24 bytes instead of the 120 of jd_endpoint, to keep an idle connection small. Of a Unix-domain peer only the family
 * is kept. */
struct peer_address {
    uint16_t family; /* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC: unknown */
    uint16_t port;   /* in host byte order */
    uint32_t scope;  /* IPv6 scope id; 0: none */
    uint8_t bytes[16];
};

/* Room for a host name: 253 characters at most (RFC 1035, 2.3.4, without the final dot and length of the root). */
enum { HOST_NAME_BYTES = 256 };

/* A host name, to be looked up, and a port. */
struct host_port {
    char host[HOST_NAME_BYTES];
    char port[6]; /* decimal */
};

/* Parses "example.org:80": a name of letters, digits, "-", "." and "_", whose last part is no number, and a port. Returns
 * 0 or JD_EINVAL. */
int host_port_parse(struct host_port *parsed, const char *text);

void host_port_set_port(struct host_port *name, uint16_t port);

/* Parses an endpoint as jd_endpoint_parse, else a name: then endpoint->length is 0. Returns 0; or JD_EINVAL and
 * *reason. */
int endpoint_or_name_parse(jd_endpoint *endpoint, struct host_port *name, const char *text, const char **reason);

/* Sets the port, in host byte order, of an IP endpoint. */
void endpoint_set_port(jd_endpoint *endpoint, uint16_t port);

static inline const struct sockaddr *endpoint_sockaddr(const jd_endpoint *endpoint)
{
    return (const struct sockaddr *)endpoint->address.bytes;
}

/* Sets *endpoint to a socket address of family AF_INET, AF_INET6 or AF_UNIX. Another family, or length 0, gives an
 * empty endpoint. */
void endpoint_from_sockaddr(jd_endpoint *endpoint, const struct sockaddr *address, socklen_t length);

/* Sets *peer in the same way; another family gives AF_UNSPEC. */
void peer_address_from_sockaddr(struct peer_address *peer, const struct sockaddr *address, socklen_t length);

/* Sets *endpoint to the peer's address. An IPv4 address on an IPv6 socket (::ffff:a.b.c.d) becomes an IPv4 endpoint. */
void peer_address_to_endpoint(const struct peer_address *peer, jd_endpoint *endpoint);

#endif
