#include "base/platform/name_lookup.h"

#include "base/posix/system_calls.h"

#include <errno.h>
#include <jinduo/error.h>
#include <sys/eventfd.h>

static int lookup_fail(const char **reason, int error, const char *text)
{
    *reason = text;
    return error;
}

/* Converts a result of getaddrinfo(3). */
static int lookup_error(const char **reason, int result, int system_error)
{
    switch (result) {
    case EAI_SYSTEM:
        system_error = system_error != 0 ? system_error : EIO;
        return lookup_fail(reason, -system_error, jd_strerror(system_error));
    case EAI_MEMORY:
        return lookup_fail(reason, JD_ENOMEM, jd_strerror(JD_ENOMEM));
    case EAI_AGAIN:
        return lookup_fail(reason, JD_EAGAIN, "the name cannot be looked up now (temporary failure)");
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
    case EAI_SERVICE:
        return lookup_fail(reason, JD_ENOENT, "no address is known for the name");
    default:
        return lookup_fail(reason, JD_EPROTO, "the name service failed");
    }
}

/* Without a descriptor, getaddrinfo reads neither files nor sockets and reports that there is no such name, or no answer.
 * Returns JD_EMFILE, JD_ENFILE, or 0: there are descriptors. */
static int descriptor_shortage(void)
{
    int probe = system_calls.eventfd(0, EFD_CLOEXEC);

    if (probe < 0)
        return errno == EMFILE || errno == ENFILE ? -errno : 0;
    system_calls.close(probe);
    return 0;
}

static unsigned keep_addresses(jd_endpoint *addresses, unsigned max, const struct addrinfo *found)
{
    unsigned count = 0;

    for (; found != NULL && count < max; found = found->ai_next) {
        endpoint_from_sockaddr(&addresses[count], found->ai_addr, found->ai_addrlen);
        count += addresses[count].length > 0;
    }
    return count;
}

int name_lookup(const struct host_port *name, jd_endpoint *addresses, unsigned max, unsigned *count,
                const char **reason)
{
    /* Without AI_ADDRCONFIG: it hides addresses if only the loopback interface is up. An address without a route fails
     * at once. */
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    int result = system_calls.getaddrinfo(name->host, name->port, &hints, &found);
    int system_error = errno;
    int shortage;

    *count = 0;
    if (result == 0) {
        *count = keep_addresses(addresses, max, found);
        system_calls.freeaddrinfo(found);
        result = *count > 0 ? 0 : EAI_NODATA;
    }
    if (result == 0)
        return 0;
    shortage = result != EAI_SYSTEM && result != EAI_MEMORY ? descriptor_shortage() : 0;
    if (shortage < 0)
        return lookup_fail(reason, shortage, jd_strerror(shortage));
    return lookup_error(reason, result, system_error);
}
