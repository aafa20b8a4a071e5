/* Listening sockets: opening, binding, closing; and the start of the socket library. */
#include "base/platform/socket.h"

#include "base/log.h"
#include "base/platform/thread.h"
#include "base/windows/error_code.h"
#include "base/windows/socket_options.h"

#include <jinduo/error.h>

static int start_result;

static void start_library(void)
{
    WSADATA data;
    int code = WSAStartup(MAKEWORD(2, 2), &data);

    start_result = code != 0 ? error_from_code((unsigned long)code) : 0;
}

int socket_library_start(void)
{
    static thread_once_flag once = THREAD_ONCE_INITIALIZER;

    thread_once(&once, start_library);
    return start_result;
}

/* SO_REUSEADDR would let another process take the port over while it is in use; SO_EXCLUSIVEADDRUSE forbids that.
 * Connections in TIME-WAIT do not hinder either. */
static int set_listener_options(socket_handle handle, const jd_endpoint *endpoint, const struct socket_options *options)
{
    int family = endpoint_sockaddr(endpoint)->sa_family;
    int error = options->reuse_port ? log_unsupported("reuse_port: not available on Windows")
                                    : socket_set_option(handle, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1);

    if (error == 0 && family == AF_INET6)
        error = socket_set_option(handle, IPPROTO_IPV6, IPV6_V6ONLY, !(endpoint->flags & ENDPOINT_ALL));
    return error == 0 ? socket_set_stream_options(handle, family, options) : error;
}

/* The system takes a plain backlog above 200 for 200, a hint as it is (listen). */
static int listen_backlog(unsigned backlog)
{
    enum { PLAIN_MAX = 200, HINT_MAX = 65535 };

    if (backlog == 0)
        return SOMAXCONN;
    if (backlog <= PLAIN_MAX)
        return (int)backlog;
    return backlog < HINT_MAX ? -(int)backlog : -HINT_MAX; /* SOMAXCONN_HINT */
}

static int bind_and_listen(socket_handle handle, const jd_endpoint *endpoint, const struct socket_options *options)
{
    int error = socket_call_hook(handle, JD_SOCKET_BEFORE_BIND, endpoint, options);

    if (error == 0 && bind((SOCKET)handle, endpoint_sockaddr(endpoint), (int)endpoint->length) != 0)
        error = error_from_code((unsigned long)WSAGetLastError());
    if (error == 0)
        error = socket_call_hook(handle, JD_SOCKET_BEFORE_LISTEN, endpoint, options);
    if (error == 0 && listen((SOCKET)handle, listen_backlog(options->backlog)) != 0)
        error = error_from_code((unsigned long)WSAGetLastError());
    return error;
}

static int listen_exactly(socket_handle *listener, const jd_endpoint *endpoint, const struct socket_options *options,
                          jd_endpoint *bound)
{
    socket_handle handle;
    int error = socket_open(endpoint_sockaddr(endpoint)->sa_family, &handle);

    if (error < 0)
        return error;
    error = set_listener_options(handle, endpoint, options);
    if (error == 0)
        error = bind_and_listen(handle, endpoint, options);
    if (error == 0 && bound != NULL)
        error = socket_local_endpoint(handle, bound);
    if (error < 0) {
        socket_close(handle);
        return error;
    }
    if (bound != NULL)
        bound->flags = endpoint->flags;
    *listener = handle;
    return 0;
}

int socket_listen(socket_handle *listener, const jd_endpoint *endpoint, const struct socket_options *options,
                  jd_endpoint *bound, struct socket_path *path)
{
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(jd_endpoint_port(endpoint)) };
    jd_endpoint ipv4;
    int error;

    if (endpoint->length == 0)
        return log_invalid("listen: the endpoint is empty");
    if (path != NULL)
        *path = (struct socket_path){ 0 };
    error = listen_exactly(listener, endpoint, options, bound);
    if (!(endpoint->flags & ENDPOINT_ALL) || (error != -EAFNOSUPPORT && error != JD_EADDRNOTAVAIL))
        return error;
    endpoint_from_sockaddr(&ipv4, (const struct sockaddr *)&any, sizeof(any));
    return listen_exactly(listener, &ipv4, options, bound);
}

void socket_close_listener(socket_handle listener, const jd_endpoint *bound, const struct socket_path *path)
{
    socket_close(listener);
}

/* Only a close ends listening: it comes when the operations in flight have been cancelled. */
void socket_end_listening(socket_handle listener, const jd_endpoint *bound, const struct socket_path *path)
{
}
