/* Socket handle: stream sockets, non-blocking and close-on-exec from birth, errors as negative numbers, EINTR retried,
 * SIGPIPE never raised. The only place that knows the system's socket calls. */
#ifndef BASE_PLATFORM_SOCKET_H
#define BASE_PLATFORM_SOCKET_H

#include "base/endpoint.h"

#include <sys/uio.h>

/* One layout: arrays of jd_iovec are handed to the system's calls as they are. */
_Static_assert(sizeof(jd_iovec) == sizeof(struct iovec) &&
                   offsetof(jd_iovec, data) == offsetof(struct iovec, iov_base) &&
                   offsetof(jd_iovec, length) == offsetof(struct iovec, iov_len),
               "jd_iovec is not laid out as struct iovec");

/* The same array, for the system's calls, which do not change it. */
static inline struct iovec *socket_iovec(const jd_iovec *buffers)
{
    return (struct iovec *)(uintptr_t)buffers;
}

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

/* The file that a Unix-domain listener made; all zero for others. */
struct socket_path {
    uint64_t device, inode;
};

/* A socket listening on endpoint; *bound (may be NULL) is where, with the port picked, and *path (may be NULL) its
 * file. Options are set on the listener, accepted sockets inherit them (tcp(7)). SO_REUSEADDR is on. "*:port" falls
 * back to IPv4 alone where there is no IPv6. A Unix-domain path whose server is gone (connecting is refused) is taken
 * over; of several servers that try at a time, by one (socket_path.h). */
int socket_listen(socket_handle *listener, const jd_endpoint *endpoint, const struct socket_options *options,
                  jd_endpoint *bound, struct socket_path *path);

/* Closes a listener, and removes the path of a Unix-domain one if it is the listener's still. */
void socket_close_listener(socket_handle listener, const jd_endpoint *bound, const struct socket_path *path);

/* A socket that may be connected to endpoint: its options set, and bound to local if that has a length. */
int socket_open_to_connect(socket_handle *handle, const jd_endpoint *endpoint, const jd_endpoint *local,
                           const struct socket_options *options);

/* Begins to connect it. Returns 0 if that has begun, even if it is done already: the socket becomes writable when it is over
 * (connect(2), EINPROGRESS), and socket_finish_connect says how it went. Or a negative error. */
int socket_connect(socket_handle handle, const jd_endpoint *endpoint);

/* Returns 0 and the peer's address, or why the socket could not be connected. One that TCP connected with itself, as it may
 * when a local port happens to be the one asked for (RFC 9293, 3.5: simultaneous open), counts as refused. */
int socket_finish_connect(socket_handle handle, struct peer_address *peer);

/* From now on nobody can connect, and another may listen there; the socket stays open. */
void socket_end_listening(socket_handle listener, const jd_endpoint *bound, const struct socket_path *path);

/* One waiting connection. Returns 0 or a negative error, JD_EAGAIN when none waits; errors of the connection itself
 * (accept(2): ECONNABORTED, EPROTO, EPERM and the network errors that Linux passes on) are skipped, unless they go on
 * without end: then the last is returned, and only a pause helps. */
int socket_accept(socket_handle listener, socket_handle *accepted, struct peer_address *peer);

/* Whether accepting failed because of the connection that was waiting, so that the next one may be accepted. */
bool socket_is_connection_error(int error);

/* Of a socket that was accepted without it. As accept(2), and unlike getpeername(2), it knows the address of a TCP peer that
 * has reset the connection since. Returns 0, or a negative error. */
int socket_peer_address(socket_handle handle, struct peer_address *peer);

/* Bytes received, 0 at the end, or a negative error. */
ssize_t socket_receive(socket_handle handle, void *data, size_t size);

/* The same into count (1 to IOV_MAX) pieces, one after the other. */
ssize_t socket_receive_pieces(socket_handle handle, const jd_iovec *pieces, int count);

/* Bytes the kernel took of count (>= 1) pieces, of which it looks at IOV_MAX at most; or a negative error. */
ssize_t socket_send(socket_handle handle, const jd_iovec *pieces, int count);

/* The same of one piece. */
ssize_t socket_send_bytes(socket_handle handle, const void *data, size_t size);

/* As socket_send, and more is sent next: what does not fill a segment may wait for it a moment (tcp(7), MSG_MORE in send(2)). */
ssize_t socket_send_more(socket_handle handle, const jd_iovec *pieces, int count);

/* Bytes the kernel took of the size bytes at offset of a file, 0 if the file ends there; or a negative error: JD_EINVAL
 * or JD_ENOSYS if this kind of file has to be read and sent instead (sendfile(2)). */
ssize_t socket_send_file(socket_handle handle, int fd, int64_t offset, size_t size);

/* FIN once the kernel has sent what it holds. */
int socket_shutdown_write(socket_handle handle);

/* Makes the next close send RST. */
int socket_reset_on_close(socket_handle handle);

/* Of TCP: what the peer does not acknowledge for so long breaks the connection, also after close (TCP_USER_TIMEOUT). */
int socket_limit_unacknowledged(socket_handle handle, unsigned ms);

/* The error waiting on the socket, fetched and cleared (socket(7), SO_ERROR); 0 if none. */
int socket_error(socket_handle handle);

int socket_local_endpoint(socket_handle handle, jd_endpoint *endpoint);

/* Never fails for the caller: after close(2) the descriptor is gone whatever it returns, EINTR included. */
void socket_close(socket_handle handle);

#endif
