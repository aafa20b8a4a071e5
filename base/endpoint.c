#include "base/endpoint.h"

#include <jinduo/error.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum {
    HOST_TEXT_BYTES =
        INET6_ADDRSTRLEN + IF_NAMESIZE + 3, /* "[", address, "%", name of the interface, "]", final zero */
    UNIX_PATH_OFFSET = offsetof(struct sockaddr_un, sun_path),
    UNIX_PATH_BYTES = sizeof(struct sockaddr_un) - UNIX_PATH_OFFSET,
};

static const char unix_prefix[] = "unix:";
static const char not_ipv4[] = "not an IPv4 address (host names are not looked up)";

/* A path may fill sun_path, with its final zero after it (unix(7)). */
_Static_assert(sizeof(struct sockaddr_un) + 1 <= sizeof((jd_endpoint){ 0 }.address), "jd_endpoint is too small");

/* All bytes after length are zero, so that equal endpoints have equal bytes. */
static void endpoint_set_address(jd_endpoint *endpoint, const void *address, size_t length, uint32_t flags)
{
    *endpoint = (jd_endpoint){ .length = (uint32_t)length, .flags = flags };
    memcpy(endpoint->address.bytes, address, length);
}

static sa_family_t endpoint_family(const jd_endpoint *endpoint)
{
    return endpoint->length > 0 ? endpoint_sockaddr(endpoint)->sa_family : AF_UNSPEC;
}

static int parse_fail(const char **reason, const char *phrase)
{
    *reason = phrase;
    return JD_EINVAL;
}

/* Parses a text of digits only: no sign, no space. Returns 0, JD_EINVAL (other text) or JD_ERANGE (above max). */
static int parse_decimal(const char *text, uint64_t max, uint64_t *value)
{
    uint64_t sum = 0;

    if (*text == '\0')
        return JD_EINVAL;
    for (; *text >= '0' && *text <= '9'; text++) {
        sum = sum * 10 + (uint64_t)(*text - '0');
        if (sum > max)
            sum = max + 1;
    }
    if (*text != '\0')
        return JD_EINVAL;
    *value = sum;
    return sum > max ? JD_ERANGE : 0;
}

static int parse_port(const char *text, in_port_t *port, const char **reason)
{
    uint64_t value;
    int error = parse_decimal(text, UINT16_MAX, &value);

    if (*text == '\0')
        return parse_fail(reason, "port is missing");
    if (error == JD_ERANGE)
        return parse_fail(reason, "port out of range (0 to 65535)");
    if (error < 0)
        return parse_fail(reason, "port is not a decimal number");
    *port = htons((uint16_t)value);
    return 0;
}

/* Tries a name first: an interface may have the name "7", and jd_endpoint_format writes names. */
static int parse_scope(const char *text, uint32_t *scope, const char **reason)
{
    uint64_t number = 0;

    *scope = if_nametoindex(text);
    if (*scope != 0)
        return 0;
    if (parse_decimal(text, UINT32_MAX, &number) < 0 || number == 0)
        return parse_fail(reason, "scope is neither an interface's name nor its number");
    *scope = (uint32_t)number;
    return 0;
}

static int parse_ipv4(jd_endpoint *endpoint, const char *host, in_port_t port, const char **reason)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = port };

    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        return parse_fail(reason, not_ipv4);
    endpoint_set_address(endpoint, &address, sizeof(address), 0);
    return 0;
}

/* host: the text without brackets; modified. */
static int parse_ipv6(jd_endpoint *endpoint, char *host, in_port_t port, const char **reason)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = port };
    char *scope = strchr(host, '%');
    uint32_t number = 0;

    if (scope != NULL) {
        *scope++ = '\0';
        if (parse_scope(scope, &number, reason) < 0)
            return JD_EINVAL;
        address.sin6_scope_id = number;
    }
    if (inet_pton(AF_INET6, host, &address.sin6_addr) != 1)
        return parse_fail(reason, "not an IPv6 address between the brackets");
    endpoint_set_address(endpoint, &address, sizeof(address), 0);
    return 0;
}

static void endpoint_set_all_addresses(jd_endpoint *endpoint, in_port_t port)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = port };

    endpoint_set_address(endpoint, &address, sizeof(address), ENDPOINT_ALL);
}

/* Splits text at the colon before the port: host is the text before it, *port the text after it. */
static int split_host(const char *text, char host[HOST_TEXT_BYTES], const char **port, const char **reason)
{
    const char *bracket = strchr(text, ']');
    const char *colon = strchr(text, ':');

    if (*text == '[' && bracket == NULL)
        return parse_fail(reason, "the bracket is not closed");
    if (*text == '[')
        colon = bracket + 1;
    else if (colon != NULL && strchr(colon + 1, ':') != NULL)
        return parse_fail(reason, "an IPv6 address needs brackets, as in [::1]:80");
    if (colon == NULL || *colon == '\0')
        return parse_fail(reason, "port is missing");
    if (*colon != ':')
        return parse_fail(reason, "no colon between the bracket and the port");
    if (colon == text)
        return parse_fail(reason, "address is missing (\"*\" stands for all)");
    if (colon - text >= HOST_TEXT_BYTES)
        return parse_fail(reason, "address is too long");
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    *port = colon + 1;
    return 0;
}

static int parse_ip(jd_endpoint *endpoint, const char *text, const char **reason)
{
    char host[HOST_TEXT_BYTES];
    const char *port_text;
    in_port_t port;

    if (split_host(text, host, &port_text, reason) < 0 || parse_port(port_text, &port, reason) < 0)
        return JD_EINVAL;
    if (host[0] == '[') {
        host[strlen(host) - 1] = '\0';
        return parse_ipv6(endpoint, host + 1, port, reason);
    }
    if (strcmp(host, "*") != 0)
        return parse_ipv4(endpoint, host, port, reason);
    endpoint_set_all_addresses(endpoint, port);
    return 0;
}

/* An abstract name begins with a zero byte, written "@" here, and has no final zero (unix(7)). */
static int parse_unix(jd_endpoint *endpoint, const char *path, const char **reason)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    bool abstract = *path == '@';
    size_t length = strlen(path);

    if (length == 0)
        return parse_fail(reason, "path is empty");
    if (abstract && length == 1)
        return parse_fail(reason, "abstract name is empty");
    if (length > UNIX_PATH_BYTES - (abstract ? 0u : 1u))
        return parse_fail(reason, abstract ? "abstract name is too long (at most 107 bytes)"
                                           : "path is too long (at most 107 bytes)");
    memcpy(address.sun_path, path, length);
    if (abstract)
        address.sun_path[0] = '\0';
    endpoint_set_address(endpoint, &address, UNIX_PATH_OFFSET + length + (abstract ? 0 : 1), 0);
    return 0;
}

int jd_endpoint_parse(jd_endpoint *endpoint, const char *text, const char **reason)
{
    const char *ignored;

    if (reason == NULL)
        reason = &ignored;
    if (text == NULL || *text == '\0')
        return parse_fail(reason, "endpoint is empty");
    if (strncmp(text, unix_prefix, strlen(unix_prefix)) == 0)
        return parse_unix(endpoint, text + strlen(unix_prefix), reason);
    return parse_ip(endpoint, text, reason);
}

/* A name that ends in a number is an IPv4 address with a mistake (RFC 1123, 2.1: the last part of a name is
 * alphabetic). */
static bool is_host_name(const char *host, size_t length)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
    size_t digits = 0, end = length > 0 && host[length - 1] == '.' ? length - 1 : length;

    if (end == 0 || length >= HOST_NAME_BYTES || strspn(host, allowed) != length)
        return false;
    while (digits < end && host[end - digits - 1] >= '0' && host[end - digits - 1] <= '9')
        digits++;
    return digits == 0 || (digits < end && host[end - digits - 1] != '.');
}

int host_port_parse(struct host_port *parsed, const char *text)
{
    const char *colon = strchr(text, ':'), *ignored;
    size_t length = colon != NULL ? (size_t)(colon - text) : 0;
    in_port_t port;

    if (colon == NULL || !is_host_name(text, length) || parse_port(colon + 1, &port, &ignored) < 0)
        return JD_EINVAL;
    memcpy(parsed->host, text, length);
    parsed->host[length] = '\0';
    host_port_set_port(parsed, ntohs(port));
    return 0;
}

void host_port_set_port(struct host_port *name, uint16_t port)
{
    snprintf(name->port, sizeof(name->port), "%u", port);
}

int endpoint_or_name_parse(jd_endpoint *endpoint, struct host_port *name, const char *text, const char **reason)
{
    if (jd_endpoint_parse(endpoint, text, reason) == 0)
        return 0;
    endpoint->length = 0;
    if (text != NULL && host_port_parse(name, text) == 0)
        return 0;
    if (*reason == not_ipv4)
        *reason = "neither an IPv4 address nor a host name";
    return JD_EINVAL;
}

_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
               "the port of an IP address is not at one place");

void endpoint_set_port(jd_endpoint *endpoint, uint16_t port)
{
    in_port_t ordered = htons(port);

    memcpy(endpoint->address.bytes + offsetof(struct sockaddr_in, sin_port), &ordered, sizeof(ordered));
}

static void format_ipv4(const jd_endpoint *endpoint, char text[JD_ENDPOINT_TEXT_BYTES])
{
    char host[INET_ADDRSTRLEN];
    struct sockaddr_in address;

    memcpy(&address, endpoint->address.bytes, sizeof(address));
    inet_ntop(AF_INET, &address.sin_addr, host, sizeof(host));
    snprintf(text, JD_ENDPOINT_TEXT_BYTES, "%s:%u", host, ntohs(address.sin_port));
}

static void format_ipv6(const jd_endpoint *endpoint, char text[JD_ENDPOINT_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN], scope[IF_NAMESIZE] = "";
    struct sockaddr_in6 address;

    memcpy(&address, endpoint->address.bytes, sizeof(address));
    inet_ntop(AF_INET6, &address.sin6_addr, host, sizeof(host));
    if (address.sin6_scope_id != 0 && if_indextoname(address.sin6_scope_id, scope) == NULL)
        snprintf(scope, sizeof(scope), "%u", (unsigned)address.sin6_scope_id);
    snprintf(text, JD_ENDPOINT_TEXT_BYTES, "[%s%s%s]:%u", host, scope[0] != '\0' ? "%" : "", scope,
             ntohs(address.sin6_port));
}

/* Writes the zero bytes of an abstract name as "@", like ss(8). */
static void format_unix(const jd_endpoint *endpoint, char text[JD_ENDPOINT_TEXT_BYTES])
{
    const unsigned char *path = endpoint->address.bytes + UNIX_PATH_OFFSET;
    size_t length = endpoint->length - UNIX_PATH_OFFSET;
    size_t prefix = strlen(unix_prefix);

    memcpy(text, unix_prefix, prefix);
    if (length > 0 && path[0] != '\0')
        length--;
    for (size_t i = 0; i < length; i++)
        text[prefix + i] = path[i] != '\0' ? (char)path[i] : '@';
    text[prefix + length] = '\0';
}

size_t jd_endpoint_format(const jd_endpoint *endpoint, char *text, size_t size)
{
    char formatted[JD_ENDPOINT_TEXT_BYTES] = "none";

    if (endpoint->flags & ENDPOINT_ALL)
        snprintf(formatted, sizeof(formatted), "*:%u", jd_endpoint_port(endpoint));
    else if (endpoint_family(endpoint) == AF_INET)
        format_ipv4(endpoint, formatted);
    else if (endpoint_family(endpoint) == AF_INET6)
        format_ipv6(endpoint, formatted);
    else if (endpoint_family(endpoint) == AF_UNIX)
        format_unix(endpoint, formatted);
    return (size_t)snprintf(text, size, "%s", formatted);
}

uint16_t jd_endpoint_port(const jd_endpoint *endpoint)
{
    struct peer_address peer;

    peer_address_from_sockaddr(&peer, endpoint_sockaddr(endpoint), endpoint->length);
    return peer.port;
}

bool jd_endpoint_equal(const jd_endpoint *a, const jd_endpoint *b)
{
    return a->length == b->length && a->flags == b->flags && memcmp(a->address.bytes, b->address.bytes, a->length) == 0;
}

/* The kernel returns a path with or without a final zero, depending on the call that bound it (unix(7)). */
static void endpoint_set_unix_address(jd_endpoint *endpoint, const struct sockaddr *address, size_t length)
{
    const char *path = (const char *)address + UNIX_PATH_OFFSET;
    size_t path_bytes = length - UNIX_PATH_OFFSET;

    if (path_bytes > UNIX_PATH_BYTES)
        path_bytes = UNIX_PATH_BYTES;
    if (path_bytes > 0 && path[0] != '\0')
        path_bytes = strnlen(path, path_bytes);
    endpoint_set_address(endpoint, address, UNIX_PATH_OFFSET + path_bytes, 0);
    if (path_bytes > 0 && path[0] != '\0')
        endpoint->length++;
}

/* Builds a new address, so that padding and flow labels do not make equal addresses differ. */
static void endpoint_set_ip_address(jd_endpoint *endpoint, const struct peer_address *peer)
{
    struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = htons(peer->port) };
    struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6,
                                 .sin6_port = htons(peer->port),
                                 .sin6_scope_id = peer->scope };

    memcpy(&ipv4.sin_addr, peer->bytes, sizeof(ipv4.sin_addr));
    memcpy(&ipv6.sin6_addr, peer->bytes, sizeof(ipv6.sin6_addr));
    if (peer->family == AF_INET)
        endpoint_set_address(endpoint, &ipv4, sizeof(ipv4), 0);
    else
        endpoint_set_address(endpoint, &ipv6, sizeof(ipv6), 0);
}

void endpoint_from_sockaddr(jd_endpoint *endpoint, const struct sockaddr *address, socklen_t length)
{
    struct peer_address peer;

    *endpoint = (jd_endpoint){ 0 };
    peer_address_from_sockaddr(&peer, address, length);
    if (peer.family == AF_UNIX)
        endpoint_set_unix_address(endpoint, address, length);
    else if (peer.family != AF_UNSPEC)
        endpoint_set_ip_address(endpoint, &peer);
}

void peer_address_from_sockaddr(struct peer_address *peer, const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;

    *peer = (struct peer_address){ .family = AF_UNSPEC };
    if ((size_t)length >= sizeof(ipv4) && address->sa_family == AF_INET) {
        memcpy(&ipv4, address, sizeof(ipv4));
        *peer = (struct peer_address){ .family = AF_INET, .port = ntohs(ipv4.sin_port) };
        memcpy(peer->bytes, &ipv4.sin_addr, sizeof(ipv4.sin_addr));
    } else if ((size_t)length >= sizeof(ipv6) && address->sa_family == AF_INET6) {
        memcpy(&ipv6, address, sizeof(ipv6));
        *peer = (struct peer_address){ .family = AF_INET6, .port = ntohs(ipv6.sin6_port), .scope = ipv6.sin6_scope_id };
        memcpy(peer->bytes, &ipv6.sin6_addr, sizeof(ipv6.sin6_addr));
    } else if ((size_t)length >= UNIX_PATH_OFFSET && address->sa_family == AF_UNIX) {
        peer->family = AF_UNIX;
    }
}

void peer_address_to_endpoint(const struct peer_address *peer, jd_endpoint *endpoint)
{
    static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };
    const struct sockaddr_un no_path = { .sun_family = AF_UNIX };
    struct peer_address plain = { .family = AF_INET, .port = peer->port };

    *endpoint = (jd_endpoint){ 0 };
    if (peer->family == AF_UNIX) {
        endpoint_set_address(endpoint, &no_path, UNIX_PATH_OFFSET, 0);
        return;
    }
    if (peer->family == AF_INET6 && memcmp(peer->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        memcpy(plain.bytes, peer->bytes + sizeof(mapped_prefix), sizeof(struct in_addr));
        peer = &plain;
    }
    if (peer->family != AF_UNSPEC)
        endpoint_set_ip_address(endpoint, peer);
}
