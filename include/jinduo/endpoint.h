/* Endpoint: the address of one end of a connection, and its text form. */
#ifndef JINDUO_ENDPOINT_H
#define JINDUO_ENDPOINT_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Room for every endpoint's text with its final zero: "unix:" and a path of 108 bytes is the longest. */
#define JD_ENDPOINT_TEXT_BYTES 128

/* A value: copy it freely. Its members are the library's own. */
typedef struct jd_endpoint {
    uint32_t length; /* of the socket address in bytes; 0: no endpoint */
    uint32_t flags;
    union {
        uint64_t alignment;
        unsigned char bytes[112]; /* a struct sockaddr_in, sockaddr_in6 or sockaddr_un */
    } address;
} jd_endpoint;

/* Reads an endpoint from text:
 *
 *   1.2.3.4:80        IPv4
 *   [::1]:80          IPv6; [fe80::1%eth0]:80 with a scope (interface name or number)
 *   *:80              every address of the host, IPv6 and IPv4 on one socket (ipv6(7), IPV6_V6ONLY off)
 *   unix:/path        Unix-domain socket, relative or absolute path, at most 107 bytes (unix(7))
 *   unix:@name        abstract Unix-domain socket (Linux), a name of at most 107 bytes
 *
 * The port is a decimal number from 0 to 65535; 0 lets the system pick one when listening. Names of hosts are not
 * looked up here. Returns 0, or JD_EINVAL with *endpoint untouched and, if reason is not NULL, *reason set to a static
 * phrase such as "port out of range (0 to 65535)". From any thread. */
JD_API int jd_endpoint_parse(jd_endpoint *endpoint, const char *text, const char **reason);

/* Writes the endpoint's text, the form jd_endpoint_parse reads ("none" for an empty one, "unix:" for a Unix-domain one
 * without a name, as clients have), into text of size bytes, always ending it with a zero. Returns the length of the
 * whole text, as snprintf(3) does. From any thread. */
JD_API size_t jd_endpoint_format(const jd_endpoint *endpoint, char *text, size_t size);

/* The port in host order; 0 for a Unix-domain endpoint. From any thread. */
JD_API uint16_t jd_endpoint_port(const jd_endpoint *endpoint);

/* Whether both name the same address (same family, port, scope or path). From any thread. */
JD_API bool jd_endpoint_equal(const jd_endpoint *a, const jd_endpoint *b);

JD_END_DECLS
#endif
