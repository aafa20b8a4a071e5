#include "base/platform/name_lookup.h"

#include "base/windows/error_code.h"
#include "base/windows/socket_options.h"

#include <jinduo/error.h>

static int lookup_fail(const char **reason, int error, const char *text)
{
    *reason = text;
    return error;
}

/* Converts a result of getaddrinfo, which is a code of WSAGetLastError. */
static int lookup_error(const char **reason, int result)
{
    int error;

    switch (result) {
    case EAI_MEMORY:
        return lookup_fail(reason, JD_ENOMEM, jd_strerror(JD_ENOMEM));
    case EAI_AGAIN:
        return lookup_fail(reason, JD_EAGAIN, "the name cannot be looked up now (temporary failure)");
    case EAI_NONAME:
    case WSANO_DATA:
    case EAI_SERVICE:
        return lookup_fail(reason, JD_ENOENT, "no address is known for the name");
    case EAI_FAIL:
        return lookup_fail(reason, JD_EPROTO, "the name service failed");
    default:
        error = error_from_code((unsigned long)result);
        return lookup_fail(reason, error, jd_strerror(error));
    }
}

static unsigned keep_addresses(jd_endpoint *addresses, unsigned max, const struct addrinfo *found)
{
    unsigned count = 0;

    for (; found != NULL && count < max; found = found->ai_next) {
        endpoint_from_sockaddr(&addresses[count], found->ai_addr, (socklen_t)found->ai_addrlen);
        count += addresses[count].length > 0;
    }
    return count;
}

int name_lookup(const struct host_port *name, jd_endpoint *addresses, unsigned max, unsigned *count,
                const char **reason)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    int result = socket_library_start();

    *count = 0;
    if (result < 0)
        return lookup_fail(reason, result, jd_strerror(result));
    result = getaddrinfo(name->host, name->port, &hints, &found);
    if (result == 0) {
        *count = keep_addresses(addresses, max, found);
        freeaddrinfo(found);
        result = *count > 0 ? 0 : EAI_NONAME;
    }
    return result == 0 ? 0 : lookup_error(reason, result);
}
