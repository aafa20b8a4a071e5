/* The sockets of connections: opening, accepting, receiving, sending, closing. */
#include "base/platform/socket.h"

#include "base/log.h"
#include "base/windows/error_code.h"
#include "base/windows/socket_options.h"
#include "base/windows/windows_calls.h"

#include <jinduo/error.h>
#include <mstcpip.h>
#include <mswsock.h>
#include <string.h>

enum {
    ACCEPT_SKIPS = 128,         /* errors of single connections, in a row, after which the error is reported */
    BUFFERS_MAX = 64,           /* of one call: with 1500 some systems fail (docs/iocp.md) */
    BUFFER_MAX_BYTES = 1 << 30, /* of one buffer, and of one call: a ULONG counts them */
};

static SOCKET system_socket(socket_handle handle)
{
    return (SOCKET)handle;
}

static int last_error(void)
{
    return error_from_code((unsigned long)WSAGetLastError());
}

/* ---- opening ---- */

static int socket_open_like(int family, socket_handle *handle)
{
    SOCKET opened =
        windows_calls.WSASocketW(family, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    u_long on = 1;

    if (opened == INVALID_SOCKET)
        return last_error();
    if (ioctlsocket(opened, (long)FIONBIO, &on) != 0) {
        int error = last_error();
        closesocket(opened);
        return error;
    }
    *handle = (socket_handle)opened;
    return 0;
}

int socket_open(int family, socket_handle *handle)
{
    int error = family == AF_UNIX ? JD_ENOTSUP : socket_library_start();

    *handle = SOCKET_NONE;
    return error < 0 ? error : socket_open_like(family, handle);
}

int socket_set_option(socket_handle handle, int level, int name, int value)
{
    return setsockopt(system_socket(handle), level, name, (const char *)&value, sizeof(value)) != 0 ? last_error() : 0;
}

/* mingw-w64's headers have none of these (ws2ipdef.h of Windows 10, 1709). */
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE  3
#define TCP_KEEPCNT   16
#define TCP_KEEPINTVL 17
#endif

/* For systems without the options above: before Windows 10, 1709, and Wine. The number of probes is the system's. */
static int set_keepalive_together(socket_handle handle, const struct socket_options *options)
{
    enum { MS_PER_S = 1000, IDLE_DEFAULT_S = 7200, INTERVAL_DEFAULT_S = 1 };
    uint32_t idle_s = options->keepalive_idle_s, interval_s = options->keepalive_interval_s;
    struct tcp_keepalive times = { .onoff = 1,
                                   .keepalivetime = MS_PER_S * (idle_s > 0 ? idle_s : IDLE_DEFAULT_S),
                                   .keepaliveinterval = MS_PER_S * (interval_s > 0 ? interval_s : INTERVAL_DEFAULT_S) };
    DWORD bytes;

    return WSAIoctl(system_socket(handle), SIO_KEEPALIVE_VALS, &times, sizeof(times), NULL, 0, &bytes, NULL, NULL) != 0
               ? last_error()
               : 0;
}

/* There is no TCP_USER_TIMEOUT. */
static int set_keepalive(socket_handle handle, const struct socket_options *options)
{
    int error = socket_set_option(handle, SOL_SOCKET, SO_KEEPALIVE, 1);

    if (error == 0 && options->keepalive_idle_s > 0)
        error = socket_set_option(handle, IPPROTO_TCP, TCP_KEEPIDLE, (int)options->keepalive_idle_s);
    if (error == 0 && options->keepalive_interval_s > 0)
        error = socket_set_option(handle, IPPROTO_TCP, TCP_KEEPINTVL, (int)options->keepalive_interval_s);
    if (error == 0 && options->keepalive_count > 0)
        error = socket_set_option(handle, IPPROTO_TCP, TCP_KEEPCNT, (int)options->keepalive_count);
    return error == -ENOPROTOOPT ? set_keepalive_together(handle, options) : error;
}

int socket_set_stream_options(socket_handle handle, int family, const struct socket_options *options)
{
    int error = options->user_timeout_ms > 0 ? log_unsupported("user_timeout_ms: not available on Windows") : 0;

    if (error == 0 && !options->nagle)
        error = socket_set_option(handle, IPPROTO_TCP, TCP_NODELAY, 1);
    if (error == 0 && options->keepalive)
        error = set_keepalive(handle, options);
    if (error == 0 && options->send_buffer_bytes > 0)
        error = socket_set_option(handle, SOL_SOCKET, SO_SNDBUF, options->send_buffer_bytes);
    if (error == 0 && options->receive_buffer_bytes > 0)
        error = socket_set_option(handle, SOL_SOCKET, SO_RCVBUF, options->receive_buffer_bytes);
    return error;
}

/* ConnectEx needs a bound socket: without a local endpoint, to any address and any port. */
static int bind_to_connect(socket_handle handle, int family, const jd_endpoint *local)
{
    struct sockaddr_in6 any = { .sin6_family = (ADDRESS_FAMILY)family };
    int length = family == AF_INET ? (int)sizeof(struct sockaddr_in) : (int)sizeof(any);
    const struct sockaddr *address = local->length > 0 ? endpoint_sockaddr(local) : (const struct sockaddr *)&any;

    return bind(system_socket(handle), address, local->length > 0 ? (int)local->length : length) != 0 ? last_error()
                                                                                                      : 0;
}

int socket_open_to_connect(socket_handle *handle, const jd_endpoint *endpoint, const jd_endpoint *local,
                           const struct socket_options *options)
{
    int family = endpoint_sockaddr(endpoint)->sa_family;
    int error = socket_open(family, handle);

    if (error < 0)
        return error;
    error = socket_set_stream_options(*handle, family, options);
    if (error == 0 && local->length > 0)
        error = socket_call_hook(*handle, JD_SOCKET_BEFORE_BIND, endpoint, options);
    if (error == 0)
        error = bind_to_connect(*handle, family, local);
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
    if (connect(system_socket(handle), endpoint_sockaddr(endpoint), (int)endpoint->length) == 0)
        return 0;
    return WSAGetLastError() == WSAEWOULDBLOCK ? 0 : last_error();
}

int socket_finish_connect(socket_handle handle, struct peer_address *peer)
{
    struct sockaddr_storage address;
    int length = sizeof(address);
    jd_endpoint local, remote;
    int error = socket_error(handle);

    if (error < 0)
        return error;
    if (getpeername(system_socket(handle), (struct sockaddr *)&address, &length) != 0)
        return last_error();
    peer_address_from_sockaddr(peer, (const struct sockaddr *)&address, length);
    endpoint_from_sockaddr(&remote, (const struct sockaddr *)&address, length);
    error = socket_local_endpoint(handle, &local);
    if (error < 0)
        return error;
    return jd_endpoint_equal(&local, &remote) ? JD_ECONNREFUSED : 0;
}

int socket_update_connected(socket_handle connected)
{
    return setsockopt(system_socket(connected), SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, NULL, 0) != 0 ? last_error() : 0;
}

/* ---- accepting ---- */

/* The connection was reset before it was accepted, or its network failed (accept, AcceptEx). */
bool socket_is_connection_error(int error)
{
    switch (-error) {
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case ENETDOWN:
    case ENETUNREACH:
    case ENETRESET:
    case EHOSTUNREACH:
        return true;
    default:
        return false;
    }
}

int socket_accept(socket_handle listener, socket_handle *accepted, struct peer_address *peer)
{
    struct sockaddr_storage address;
    int length, error = 0, skips = 0;
    u_long on = 1;
    SOCKET handle;

    do {
        length = sizeof(address);
        handle = accept(system_socket(listener), (struct sockaddr *)&address, &length);
        error = handle == INVALID_SOCKET ? last_error() : 0;
    } while (error < 0 && socket_is_connection_error(error) && skips++ < ACCEPT_SKIPS);
    if (error < 0)
        return error;
    SetHandleInformation((HANDLE)handle, HANDLE_FLAG_INHERIT, 0);
    ioctlsocket(handle, (long)FIONBIO, &on);
    *accepted = (socket_handle)handle;
    peer_address_from_sockaddr(peer, (const struct sockaddr *)&address, length);
    return 0;
}

/* Sets the option of accepted to its value on listener, which is returned. */
static int inherit_option(socket_handle accepted, socket_handle listener, int level, int name)
{
    int wanted = 0, now = 0, length = sizeof(wanted), now_length = sizeof(now);

    if (getsockopt(system_socket(listener), level, name, (char *)&wanted, &length) == 0 &&
        getsockopt(system_socket(accepted), level, name, (char *)&now, &now_length) == 0 && wanted != now)
        socket_set_option(accepted, level, name, wanted);
    return wanted;
}

int socket_finish_accept(socket_handle accepted, socket_handle listener)
{
    SOCKET origin = system_socket(listener);

    if (setsockopt(system_socket(accepted), SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, (const char *)&origin,
                   sizeof(origin)) != 0)
        return last_error();
    inherit_option(accepted, listener, IPPROTO_TCP, TCP_NODELAY);
    if (inherit_option(accepted, listener, SOL_SOCKET, SO_KEEPALIVE) != 0) {
        inherit_option(accepted, listener, IPPROTO_TCP, TCP_KEEPIDLE);
        inherit_option(accepted, listener, IPPROTO_TCP, TCP_KEEPINTVL);
        inherit_option(accepted, listener, IPPROTO_TCP, TCP_KEEPCNT);
    }
    inherit_option(accepted, listener, SOL_SOCKET, SO_SNDBUF);
    inherit_option(accepted, listener, SOL_SOCKET, SO_RCVBUF);
    return 0;
}

int socket_peer_address(socket_handle handle, struct peer_address *peer)
{
    struct sockaddr_storage address;
    int length = sizeof(address);

    if (getpeername(system_socket(handle), (struct sockaddr *)&address, &length) != 0)
        return last_error();
    peer_address_from_sockaddr(peer, (const struct sockaddr *)&address, length);
    return 0;
}

/* ---- receiving ---- */

/* The library's sockets are non-blocking. There is no flag for one call (MSG_DONTWAIT), so a user's blocking socket must
 * be known to have data. */
ssize_t socket_receive(socket_handle handle, void *data, size_t size)
{
    int bytes = (int)(size < BUFFER_MAX_BYTES ? size : (size_t)BUFFER_MAX_BYTES);
    int received = windows_calls.recv(system_socket(handle), data, bytes, 0);

    return received < 0 ? last_error() : received;
}

int socket_fin_received(socket_handle handle)
{
    return JD_ENOTSUP;
}

bool socket_awaits_input(socket_handle handle)
{
    char byte;

    return windows_calls.recv(system_socket(handle), &byte, sizeof(byte), MSG_PEEK) < 0 &&
           WSAGetLastError() == WSAEWOULDBLOCK;
}

bool socket_has_input(socket_handle handle)
{
    u_long bytes = 0;

    return ioctlsocket(system_socket(handle), (long)FIONREAD, &bytes) == 0 && bytes > 0;
}

/* Converts the pieces. Returns how many: not all, if there are too many or too large ones. */
static DWORD convert_pieces(WSABUF *buffers, const jd_iovec *pieces, int count)
{
    size_t room = BUFFER_MAX_BYTES;
    DWORD used = 0;

    for (; used < BUFFERS_MAX && (int)used < count && room > 0; used++) {
        size_t length = pieces[used].length < room ? pieces[used].length : room;
        buffers[used] = (WSABUF){ .len = (ULONG)length, .buf = pieces[used].data };
        room -= length;
        if (length < pieces[used].length)
            return used + 1;
    }
    return used;
}

ssize_t socket_receive_pieces(socket_handle handle, const jd_iovec *pieces, int count)
{
    WSABUF buffers[BUFFERS_MAX];
    DWORD received = 0, flags = 0, used = convert_pieces(buffers, pieces, count);

    return windows_calls.WSARecv(system_socket(handle), buffers, used, &received, &flags, NULL, NULL) != 0
               ? last_error()
               : (ssize_t)received;
}

/* ---- sending ---- */

ssize_t socket_send(socket_handle handle, const jd_iovec *pieces, int count)
{
    WSABUF buffers[BUFFERS_MAX];
    DWORD sent = 0, used = convert_pieces(buffers, pieces, count);

    return windows_calls.WSASend(system_socket(handle), buffers, used, &sent, 0, NULL, NULL) != 0 ? last_error()
                                                                                                  : (ssize_t)sent;
}

ssize_t socket_send_bytes(socket_handle handle, const void *data, size_t size)
{
    const jd_iovec piece = { .data = (void *)(uintptr_t)data, .length = size };

    return socket_send(handle, &piece, 1);
}

/* There is no MSG_MORE. */
ssize_t socket_send_more(socket_handle handle, const jd_iovec *pieces, int count)
{
    return socket_send(handle, pieces, count);
}

/* TransmitFile waits for the peer or is overlapped (the engine's sends): it is no call that sends as much as is possible now,
 * which the end of a connection needs. */
ssize_t socket_send_file(socket_handle handle, jd_file file, int64_t offset, size_t size)
{
    return JD_ENOSYS;
}

/* ---- ending ---- */

int socket_shutdown_write(socket_handle handle)
{
    return shutdown(system_socket(handle), SD_SEND) != 0 ? last_error() : 0;
}

/* SD_RECEIVE resets the connection if there are unread bytes, or when some arrive (shutdown). */
int socket_shutdown_read(socket_handle handle)
{
    return JD_ENOTSUP;
}

int socket_reset_on_close(socket_handle handle)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    return setsockopt(system_socket(handle), SOL_SOCKET, SO_LINGER, (const char *)&linger, sizeof(linger)) != 0
               ? last_error()
               : 0;
}

int socket_limit_unacknowledged(socket_handle handle, unsigned ms)
{
    return JD_ENOTSUP;
}

ssize_t socket_unacknowledged(socket_handle handle)
{
    return JD_ENOTSUP;
}

int socket_error(socket_handle handle)
{
    int code = 0, length = sizeof(code);

    if (getsockopt(system_socket(handle), SOL_SOCKET, SO_ERROR, (char *)&code, &length) != 0)
        return last_error();
    return code != 0 ? error_from_code((unsigned long)code) : 0;
}

int socket_local_endpoint(socket_handle handle, jd_endpoint *endpoint)
{
    struct sockaddr_storage address;
    int length = sizeof(address);

    if (getsockname(system_socket(handle), (struct sockaddr *)&address, &length) != 0)
        return last_error();
    endpoint_from_sockaddr(endpoint, (const struct sockaddr *)&address, length);
    return 0;
}

void socket_close(socket_handle handle)
{
    closesocket(system_socket(handle));
}
