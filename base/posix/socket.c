/* The sockets of connections: opening, accepting, receiving, sending, closing. */
#include "base/platform/socket.h"

#include "base/posix/pipe_signal.h"
#include "base/posix/socket_options.h"
#include "base/posix/system_calls.h"

#include <errno.h>
#include <jinduo/error.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* An EPERM of a firewall removes a connection from the queue, so accepting may continue. But a security module that
 * forbids accept4 returns EPERM in each call: after this many errors in a row, report the error. */
enum { ACCEPT_SKIPS = 128 };

int socket_open(int family, socket_handle *handle)
{
    *handle = system_calls.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return *handle < 0 ? -errno : 0;
}

int socket_set_option(socket_handle handle, int level, int name, int value)
{
    return system_calls.setsockopt(handle, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int set_keepalive(socket_handle handle, const struct socket_options *options)
{
    int error = socket_set_option(handle, SOL_SOCKET, SO_KEEPALIVE, 1);

    if (error == 0 && options->keepalive_idle_s > 0)
        error = socket_set_option(handle, IPPROTO_TCP, TCP_KEEPIDLE, (int)options->keepalive_idle_s);
    if (error == 0 && options->keepalive_interval_s > 0)
        error = socket_set_option(handle, IPPROTO_TCP, TCP_KEEPINTVL, (int)options->keepalive_interval_s);
    if (error == 0 && options->keepalive_count > 0)
        error = socket_set_option(handle, IPPROTO_TCP, TCP_KEEPCNT, (int)options->keepalive_count);
    return error;
}

int socket_set_stream_options(socket_handle handle, int family, const struct socket_options *options)
{
    int error = 0;

    if (family != AF_UNIX && !options->nagle)
        error = socket_set_option(handle, IPPROTO_TCP, TCP_NODELAY, 1);
    if (error == 0 && family != AF_UNIX && options->keepalive)
        error = set_keepalive(handle, options);
    if (error == 0 && family != AF_UNIX && options->user_timeout_ms > 0)
        error = socket_limit_unacknowledged(handle, options->user_timeout_ms);
    if (error == 0 && options->send_buffer_bytes > 0)
        error = socket_set_option(handle, SOL_SOCKET, SO_SNDBUF, options->send_buffer_bytes);
    if (error == 0 && options->receive_buffer_bytes > 0)
        error = socket_set_option(handle, SOL_SOCKET, SO_RCVBUF, options->receive_buffer_bytes);
    return error;
}

/* A fixed local port may still be in use by its last connection in TIME_WAIT: SO_REUSEADDR. A port of the system's
 * choice is better chosen at connect: then it need only differ from the ports of connections to the same peer (ip(7),
 * IP_BIND_ADDRESS_NO_PORT). */
static int bind_to_connect(socket_handle handle, const jd_endpoint *local)
{
    int error = jd_endpoint_port(local) != 0 ? socket_set_option(handle, SOL_SOCKET, SO_REUSEADDR, 1)
                                             : socket_set_option(handle, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);

    if (error < 0)
        return error;
    return system_calls.bind(handle, endpoint_sockaddr(local), local->length) < 0 ? -errno : 0;
}

int socket_open_to_connect(socket_handle *handle, const jd_endpoint *endpoint, const jd_endpoint *local,
                           const struct socket_options *options)
{
    int family = endpoint_sockaddr(endpoint)->sa_family;
    int error = socket_open(family, handle);

    if (error < 0)
        return error;
    error = socket_set_stream_options(*handle, family, options);
    if (error == 0 && local->length > 0 && family != AF_UNIX) {
        error = socket_call_hook(*handle, JD_SOCKET_BEFORE_BIND, endpoint, options);
        error = error == 0 ? bind_to_connect(*handle, local) : error;
    }
    if (error == 0)
        error = socket_call_hook(*handle, JD_SOCKET_BEFORE_CONNECT, endpoint, options);
    if (error < 0) {
        socket_close(*handle);
        *handle = SOCKET_NONE;
    }
    return error;
}

int socket_connect(socket_handle handle, const jd_endpoint *endpoint)
{
    if (system_calls.connect(handle, endpoint_sockaddr(endpoint), endpoint->length) == 0)
        return 0;
    /* After EINTR connecting continues in the kernel (connect(2)). */
    return errno == EINPROGRESS || errno == EINTR ? 0 : -errno;
}

/* SO_PEERNAME returns the address that accept4 returns, but fails if the given length is larger than the address
 * (Linux, net/core/sock.c). */
static bool address_of_reset_peer(socket_handle handle, struct sockaddr_storage *address, socklen_t *length)
{
    static const socklen_t lengths[] = { sizeof(struct sockaddr_in6), sizeof(struct sockaddr_in) };

    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        *length = lengths[i];
        if (system_calls.getsockopt(handle, SOL_SOCKET, SO_PEERNAME, address, length) == 0)
            return true;
    }
    errno = ENOTCONN;
    return false;
}

/* With TCP_FASTOPEN_CONNECT, of a socket hook: the connection is made by the first send (tcp(7)). */
static bool connects_with_first_bytes(socket_handle handle)
{
    struct tcp_info info = { 0 };
    socklen_t length = sizeof(info);

    return system_calls.getsockopt(handle, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
           info.tcpi_state == TCP_SYN_SENT;
}

int socket_finish_connect(socket_handle handle, struct peer_address *peer)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    jd_endpoint local, remote;
    int error = socket_error(handle);

    if (error < 0)
        return error;
    if (system_calls.getpeername(handle, (struct sockaddr *)&address, &length) < 0 &&
        (errno != ENOTCONN || !connects_with_first_bytes(handle) || !address_of_reset_peer(handle, &address, &length)))
        return -errno;
    peer_address_from_sockaddr(peer, (const struct sockaddr *)&address, length);
    if (peer->family == AF_UNIX)
        return 0;
    endpoint_from_sockaddr(&remote, (const struct sockaddr *)&address, length);
    error = socket_local_endpoint(handle, &local);
    if (error < 0)
        return error;
    return jd_endpoint_equal(&local, &remote) ? JD_ECONNREFUSED : 0;
}

bool socket_is_connection_error(int error)
{
    switch (-error) { /* accept(2) */
    case ECONNABORTED:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case EHOSTDOWN:
    case EHOSTUNREACH:
        return true;
    default:
        return false;
    }
}

int socket_accept(socket_handle listener, socket_handle *accepted, struct peer_address *peer)
{
    struct sockaddr_storage address;
    socklen_t length;
    int handle, skips = 0;

    do {
        length = sizeof(address);
        handle = system_calls.accept4(listener, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (handle < 0 && (errno == EINTR || (socket_is_connection_error(-errno) && skips++ < ACCEPT_SKIPS)));
    if (handle < 0)
        return -errno;
    *accepted = handle;
    peer_address_from_sockaddr(peer, (const struct sockaddr *)&address, length);
    return 0;
}

int socket_peer_address(socket_handle handle, struct peer_address *peer)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    if (system_calls.getpeername(handle, (struct sockaddr *)&address, &length) < 0 &&
        (errno != ENOTCONN || !address_of_reset_peer(handle, &address, &length)))
        return -errno;
    peer_address_from_sockaddr(peer, (const struct sockaddr *)&address, length);
    return 0;
}

/* MSG_DONTWAIT here and below: the user's sockets in operations (jinduo/proactor.h) may be blocking. */
ssize_t socket_receive(socket_handle handle, void *data, size_t size)
{
    ssize_t received;

    do
        received = system_calls.recv(handle, data, size, MSG_DONTWAIT);
    while (received < 0 && errno == EINTR);
    return received < 0 ? -errno : received;
}

int socket_fin_received(socket_handle handle)
{
    const int on = 1;
    char byte;
    struct iovec piece = { .iov_base = &byte, .iov_len = sizeof(byte) };
    union {
        struct cmsghdr header;
        char memory[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    const struct cmsghdr *header;
    int unread;

    /* Behind the last byte there is one more to be read, by this count, if a FIN was received (Linux, tcp_inq_hint). */
    if (system_calls.setsockopt(handle, IPPROTO_TCP, TCP_INQ, &on, sizeof(on)) < 0 ||
        system_calls.recvmsg(handle, &message, MSG_DONTWAIT | MSG_PEEK) != 0)
        return JD_ENOTSUP;
    header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_level != IPPROTO_TCP || header->cmsg_type != TCP_CM_INQ)
        return JD_ENOTSUP;
    memcpy(&unread, CMSG_DATA(header), sizeof(unread));
    return unread > 0;
}

bool socket_awaits_input(socket_handle handle)
{
    char byte;
    ssize_t received;

    do
        received = system_calls.recv(handle, &byte, sizeof(byte), MSG_DONTWAIT | MSG_PEEK);
    while (received < 0 && errno == EINTR);
    return received < 0 && errno == EAGAIN;
}

ssize_t socket_receive_pieces(socket_handle handle, const jd_iovec *pieces, int count)
{
    ssize_t received;

    do {
        /* msg_iov is not const, but recvmsg does not modify the pieces. */
        struct msghdr message = { .msg_iov = socket_iovec(pieces), .msg_iovlen = (size_t)count };
        received = system_calls.recvmsg(handle, &message, MSG_DONTWAIT);
    } while (received < 0 && errno == EINTR);
    return received < 0 ? -errno : received;
}

/* EINPROGRESS: the send has begun to connect (TCP_FASTOPEN_CONNECT), and the SYN took no bytes along. */
static ssize_t send_error(void)
{
    return errno == EINPROGRESS ? JD_EAGAIN : -errno;
}

static ssize_t send_bytes(socket_handle handle, const void *data, size_t size, int flags)
{
    ssize_t sent;

    do
        sent = system_calls.send(handle, data, size, flags);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? send_error() : sent;
}

static ssize_t send_message(socket_handle handle, const jd_iovec *pieces, int count, int flags)
{
    /* msg_iov is not const, but sendmsg does not modify the pieces. */
    const struct msghdr message = { .msg_iov = socket_iovec(pieces),
                                    .msg_iovlen = (size_t)(count < IOV_MAX ? count : IOV_MAX) };
    ssize_t sent;

    do
        sent = system_calls.sendmsg(handle, &message, flags);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? send_error() : sent;
}

/* send(2) for one piece is cheaper than sendmsg(2), which first copies the message header and the pieces to the
 * kernel. */
static ssize_t send_pieces(socket_handle handle, const jd_iovec *pieces, int count, int flags)
{
    return count == 1 ? send_bytes(handle, pieces->data, pieces->length, flags)
                      : send_message(handle, pieces, count, flags);
}

ssize_t socket_send(socket_handle handle, const jd_iovec *pieces, int count)
{
    return send_pieces(handle, pieces, count, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t socket_send_bytes(socket_handle handle, const void *data, size_t size)
{
    return send_bytes(handle, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t socket_send_more(socket_handle handle, const jd_iovec *pieces, int count)
{
    return send_pieces(handle, pieces, count, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE);
}

ssize_t socket_send_file(socket_handle handle, jd_file fd, int64_t offset, size_t size)
{
    struct pipe_signal before;
    off_t position = offset;
    ssize_t sent;

    /* sendfile(2) has no MSG_NOSIGNAL. */
    pipe_signal_block(&before);
    do
        sent = system_calls.sendfile(handle, fd, &position, size);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        sent = -errno;
    pipe_signal_restore(&before, sent != (ssize_t)size);
    return sent;
}

int socket_shutdown_write(socket_handle handle)
{
    return system_calls.shutdown(handle, SHUT_WR) < 0 ? -errno : 0;
}

int socket_shutdown_read(socket_handle handle)
{
    return system_calls.shutdown(handle, SHUT_RD) < 0 ? -errno : 0;
}

int socket_reset_on_close(socket_handle handle)
{
    /* Linger with a timeout of 0 (socket(7), SO_LINGER; tcp(7)). */
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    return system_calls.setsockopt(handle, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0 ? -errno : 0;
}

int socket_limit_unacknowledged(socket_handle handle, unsigned ms)
{
    return system_calls.setsockopt(handle, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)) < 0 ? -errno : 0;
}

ssize_t socket_unacknowledged(socket_handle handle)
{
    int bytes = 0;

    return system_calls.ioctl(handle, SIOCOUTQ, &bytes) < 0 ? -errno : bytes;
}

int socket_error(socket_handle handle)
{
    int error = 0;
    socklen_t length = sizeof(error);

    if (system_calls.getsockopt(handle, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        return -errno;
    return -error;
}

int socket_local_endpoint(socket_handle handle, jd_endpoint *endpoint)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    if (system_calls.getsockname(handle, (struct sockaddr *)&address, &length) < 0)
        return -errno;
    endpoint_from_sockaddr(endpoint, (const struct sockaddr *)&address, length);
    return 0;
}

void socket_close(socket_handle handle)
{
    system_calls.close(handle);
}
