/* Socket handle: stream sockets, non-blocking and close-on-exec from birth, errors as negative numbers, EINTR retried,
 * SIGPIPE never raised. The only place that knows the system's socket calls. */
#ifndef BASE_SOCKET_H
#define BASE_SOCKET_H

#include "base/endpoint.h"

#include <sys/uio.h>

typedef int socket_handle;
enum { SOCKET_NONE = -1 };

struct socket_options {
    unsigned backlog; /* 0: SOMAXCONN's value or more, as the system allows */
    bool nagle;
    bool keepalive;
    bool reuse_port;
    int send_buffer_bytes;
    int receive_buffer_bytes;
};

/* A socket listening on endpoint; *bound (may be NULL) is where, with the port picked. Options are set on the listener,
 * accepted sockets inherit them (tcp(7)). SO_REUSEADDR is on. "*:port" falls back to IPv4 alone where there is no IPv6.
 * A Unix-domain path whose server is gone (connecting is refused) is taken over. */
int socket_listen(socket_handle *listener, const jd_endpoint *endpoint, const struct socket_options *options,
                  jd_endpoint *bound);

/* Closes a listener, and removes the path of a Unix-domain one. */
void socket_close_listener(socket_handle listener, const jd_endpoint *bound);

/* From now on nobody can connect, and another may listen there; the socket stays open. */
void socket_end_listening(socket_handle listener, const jd_endpoint *bound);

/* One waiting connection. Returns 0 or a negative error, JD_EAGAIN when none waits; errors of the connection itself
 * (accept(2): ECONNABORTED, EPROTO, EPERM and the network errors that Linux passes on) are skipped, unless they go on
 * without end: then the last is returned, and only a pause helps. */
int socket_accept(socket_handle listener, socket_handle *accepted, struct peer_address *peer);

/* Whether accepting failed because of the connection that was waiting, so that the next one may be accepted. */
bool socket_is_connection_error(int error);

/* Returns 0, or JD_ENOTCONN if the connection is gone. */
int socket_peer_address(socket_handle handle, struct peer_address *peer);

/* Bytes received, 0 at the end, or a negative error. */
ssize_t socket_receive(socket_handle handle, void *data, size_t size);

/* The same into count (1 to IOV_MAX) pieces, one after the other. */
ssize_t socket_receive_pieces(socket_handle handle, const struct iovec *pieces, int count);

/* Bytes the kernel took of count (>= 1) pieces, of which it looks at IOV_MAX at most; or a negative error. */
ssize_t socket_send(socket_handle handle, const struct iovec *pieces, int count);

/* FIN once the kernel has sent what it holds. */
int socket_shutdown_write(socket_handle handle);

/* Makes the next close send RST. */
int socket_reset_on_close(socket_handle handle);

/* The error waiting on the socket, fetched and cleared (socket(7), SO_ERROR); 0 if none. */
int socket_error(socket_handle handle);

int socket_local_endpoint(socket_handle handle, jd_endpoint *endpoint);

/* Never fails for the caller: after close(2) the descriptor is gone whatever it returns, EINTR included. */
void socket_close(socket_handle handle);

#endif
