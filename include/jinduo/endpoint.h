/* Endpoint: the address of one end of a connection, and its text form. */
#ifndef JINDUO_ENDPOINT_H
#define JINDUO_ENDPOINT_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Room for the text of any endpoint and its final zero. The longest is "unix:" with a path of 108 bytes. */
#define JD_ENDPOINT_TEXT_BYTES 128

/* A value: copy it freely. Its members are private. All zero: no endpoint. */
typedef struct jd_endpoint {
    uint32_t length; /* bytes of the socket address; 0: no endpoint */
    uint32_t flags;
    union {
        uint64_t alignment;
        unsigned char bytes[112]; /* a struct sockaddr_in, sockaddr_in6 or sockaddr_un */
    } address;
} jd_endpoint;

/* Parses the text of an endpoint:
 *
 *   1.2.3.4:80        IPv4
 *   [::1]:80          IPv6; [fe80::1%eth0]:80 with a scope (interface name or number)
 *   *:80              every address of the host, IPv6 and IPv4 on one socket (ipv6(7), IPV6_V6ONLY off)
 *   unix:/path        Unix-domain socket, relative or absolute path, at most 107 bytes (unix(7))
 *   unix:@name        abstract Unix-domain socket (Linux), a name of at most 107 bytes
 *
 * The port is a decimal number from 0 to 65535; when listening, 0 lets the system choose one. Host names are not looked
 * up here: see jd_tcp_server_listen_text and jd_tcp_client_options.
 *
 * Returns 0, or JD_EINVAL: *endpoint is then unchanged, and *reason (reason may be NULL) is a static string such as "port out
 * of range (0 to 65535)". May be called from any thread. */
JD_API int jd_endpoint_parse(jd_endpoint *endpoint, const char *text, const char **reason);

/* Writes the endpoint's text, in the form that jd_endpoint_parse accepts, to text: at most size bytes, always ended by a
 * zero if size > 0. "none" is the text of no endpoint; "unix:" that of a Unix-domain socket without a name, such as a
 * client's. Returns the length of the complete text, as snprintf(3) does. May be called from any thread. */
JD_API size_t jd_endpoint_format(const jd_endpoint *endpoint, char *text, size_t size);

/* Returns the port in host byte order; 0 for a Unix-domain endpoint or none. May be called from any thread. */
JD_API uint16_t jd_endpoint_port(const jd_endpoint *endpoint);

/* Returns whether a and b are the same address: the same family, address, port and scope, or path. May be called from
 * any thread. */
JD_API bool jd_endpoint_equal(const jd_endpoint *a, const jd_endpoint *b);

JD_END_DECLS
#endif
