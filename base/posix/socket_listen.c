/* Listening sockets: opening, binding, closing. */
#include "base/platform/socket.h"

#include "base/log.h"
#include "base/posix/socket_options.h"
#include "base/posix/socket_path.h"
#include "base/posix/system_calls.h"

#include <errno.h>
#include <jinduo/error.h>
#include <limits.h>
#include <unistd.h>

static int set_listener_options(socket_handle handle, int family, bool all_addresses,
                                const struct socket_options *options)
{
    int error = socket_set_option(handle, SOL_SOCKET, SO_REUSEADDR, 1);

    if (error == 0 && family == AF_INET6)
        error = socket_set_option(handle, IPPROTO_IPV6, IPV6_V6ONLY, !all_addresses);
    if (error == 0 && options->reuse_port)
        error = socket_set_option(handle, SOL_SOCKET, SO_REUSEPORT, 1);
    return error;
}

/* lock: the lock on the directory of the path (socket_path.h); SOCKET_NONE: a stale path is not taken over. */
static int bind_endpoint(socket_handle handle, const jd_endpoint *endpoint, int lock)
{
    const struct sockaddr *address = endpoint_sockaddr(endpoint);

    if (system_calls.bind(handle, address, endpoint->length) == 0)
        return 0;
    if (errno != EADDRINUSE || lock == SOCKET_NONE)
        return -errno;
    if (!socket_path_is_stale(endpoint) || unlink(socket_path_of(endpoint)) < 0)
        return JD_EADDRINUSE;
    return system_calls.bind(handle, address, endpoint->length) < 0 ? -errno : 0;
}

static int open_bound(socket_handle *handle, const jd_endpoint *endpoint, const struct socket_options *options,
                      int lock)
{
    int family = endpoint_sockaddr(endpoint)->sa_family;
    int error = socket_open(family, handle);

    if (error < 0)
        return error;
    if (family != AF_UNIX)
        error = set_listener_options(*handle, family, (endpoint->flags & ENDPOINT_ALL) != 0, options);
    if (error == 0)
        error = socket_set_stream_options(*handle, family, options);
    if (error == 0)
        error = socket_call_hook(*handle, JD_SOCKET_BEFORE_BIND, endpoint, options);
    if (error == 0 && socket_path_of(endpoint) != NULL)
        error = socket_path_limit_mode(*handle, options);
    if (error == 0)
        error = bind_endpoint(*handle, endpoint, lock);
    if (error < 0)
        socket_close(*handle);
    return error;
}

static int start_listening(socket_handle handle, unsigned backlog, jd_endpoint *bound)
{
    /* The kernel limits the backlog to net.core.somaxconn (listen(2)). */
    if (system_calls.listen(handle, backlog == 0 || backlog > INT_MAX ? INT_MAX : (int)backlog) < 0)
        return -errno;
    return bound != NULL ? socket_local_endpoint(handle, bound) : 0;
}

static int listen_locked(socket_handle *listener, const jd_endpoint *endpoint, const struct socket_options *options,
                         jd_endpoint *bound, struct socket_path *path, int lock)
{
    const char *name = socket_path_of(endpoint);
    struct socket_path identity = { 0 };
    socket_handle handle;
    int error = open_bound(&handle, endpoint, options, lock);

    if (error < 0)
        return error;
    if (name != NULL) {
        identity = socket_path_identity(name);
        error = socket_path_set_access(name, options);
    }
    if (error == 0)
        error = socket_call_hook(handle, JD_SOCKET_BEFORE_LISTEN, endpoint, options);
    if (error == 0)
        error = start_listening(handle, options->backlog, bound);
    if (error < 0) {
        if (name != NULL)
            socket_path_remove(name, &identity);
        socket_close(handle);
        return error;
    }
    if (bound != NULL)
        bound->flags = endpoint->flags;
    if (path != NULL)
        *path = identity;
    *listener = handle;
    return 0;
}

static int listen_exactly(socket_handle *listener, const jd_endpoint *endpoint, const struct socket_options *options,
                          jd_endpoint *bound, struct socket_path *path)
{
    const char *name = socket_path_of(endpoint);
    int lock = name != NULL ? socket_path_lock(name) : SOCKET_NONE;
    int error = listen_locked(listener, endpoint, options, bound, path, lock);

    socket_path_unlock(lock);
    return error;
}

int socket_listen(socket_handle *listener, const jd_endpoint *endpoint, const struct socket_options *options,
                  jd_endpoint *bound, struct socket_path *path)
{
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(jd_endpoint_port(endpoint)) };
    jd_endpoint ipv4;
    int error;

    if (endpoint->length == 0)
        return log_invalid("listen: the endpoint is empty");
    error = listen_exactly(listener, endpoint, options, bound, path);
    if (!(endpoint->flags & ENDPOINT_ALL) || (error != -EAFNOSUPPORT && error != JD_EADDRNOTAVAIL))
        return error;
    endpoint_from_sockaddr(&ipv4, (const struct sockaddr *)&any, sizeof(any));
    return listen_exactly(listener, &ipv4, options, bound, path);
}

static void remove_path(const jd_endpoint *bound, const struct socket_path *path)
{
    const char *name = path->inode != 0 ? socket_path_of(bound) : NULL;
    int lock;

    if (name == NULL)
        return;
    lock = socket_path_lock(name);
    socket_path_remove(name, path);
    socket_path_unlock(lock);
}

void socket_close_listener(socket_handle listener, const jd_endpoint *bound, const struct socket_path *path)
{
    remove_path(bound, path);
    socket_close(listener);
}

void socket_end_listening(socket_handle listener, const jd_endpoint *bound, const struct socket_path *path)
{
    remove_path(bound, path);
    /* A TCP socket leaves the state LISTEN (Linux, net/ipv4/af_inet.c, inet_shutdown). */
    system_calls.shutdown(listener, SHUT_RD);
}
