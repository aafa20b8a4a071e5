/* Stream sockets. They are created non-blocking and close-on-exec. All functions may be called from any thread. They
 * return errors as negative numbers, retry after EINTR and never raise SIGPIPE; "returns 0 or an error" is not repeated
 * below. Only this file's implementation uses the system's socket calls. */
#ifndef BASE_PLATFORM_SOCKET_H
#define BASE_PLATFORM_SOCKET_H

#include "base/endpoint.h"

#include <jinduo/socket.h>
#include <sys/types.h>
#ifndef _WIN32
#include <sys/uio.h>

/* Arrays of jd_iovec are passed to the system's calls without conversion. */
_Static_assert(sizeof(jd_iovec) == sizeof(struct iovec) &&
                   offsetof(jd_iovec, data) == offsetof(struct iovec, iov_base) &&
                   offsetof(jd_iovec, length) == offsetof(struct iovec, iov_len),
               "jd_iovec is not laid out as struct iovec");

/* Casts an array for the system's calls, which do not modify it. */
static inline struct iovec *socket_iovec(const jd_iovec *buffers)
{
    return (struct iovec *)(uintptr_t)buffers;
}

#endif

/* A socket or a file. On Windows only the lower 32 bits of a handle are significant: it may be truncated and sign-extended
 * ("Interprocess Communication Between 32-bit and 64-bit Applications" in its documentation). */
typedef int socket_handle;
enum { SOCKET_NONE = JD_SOCKET_NONE };

struct socket_options {
    unsigned backlog; /* of listen(2); 0: as large as the system allows */
    bool nagle;
    bool keepalive;
    bool reuse_port;
    int send_buffer_bytes;
    int receive_buffer_bytes;
    uint32_t keepalive_idle_s, keepalive_interval_s, keepalive_count; /* 0: the system's */
    uint32_t user_timeout_ms;                                         /* 0: the system's */
    unsigned unix_mode;                                               /* of a listener's path; 0: by the umask */
    uint32_t unix_uid, unix_gid;                                      /* 0: unchanged */
    jd_socket_hook hook;                                              /* NULL: none */
    void *hook_arg;
};

/* Invokes the user's hook, if there is one. */
static inline int socket_call_hook(socket_handle handle, jd_socket_moment moment, const jd_endpoint *endpoint,
                                   const struct socket_options *options)
{
    int result = options->hook != NULL ? options->hook((jd_socket)handle, moment, endpoint, options->hook_arg) : 0;

    return result < 0 ? result : 0;
}

/* Identifies the file of a Unix-domain listener; all zero: none. */
struct socket_path {
    uint64_t device, inode;
};

/* Opens a socket that listens on endpoint. *bound (may be NULL): the actual endpoint, with the port chosen by the
 * system. *path (may be NULL): the file of a Unix-domain listener.
 *   - Options are set on the listener; accepted sockets inherit them (tcp(7)). SO_REUSEADDR is on.
 *   - "*:port" falls back to IPv4 where the system has no IPv6.
 *   - A Unix-domain path whose server has ended (connect is refused) is taken over, by one server if several try
 *     (socket_path.h). */
int socket_listen(socket_handle *listener, const jd_endpoint *endpoint, const struct socket_options *options,
                  jd_endpoint *bound, struct socket_path *path);

/* Closes a listener. Removes the path of a Unix-domain listener if it is still this listener's file. */
void socket_close_listener(socket_handle listener, const jd_endpoint *bound, const struct socket_path *path);

/* Ends listening but leaves the socket open: connections are refused, and another socket may listen on the endpoint.
 * Removes the path as socket_close_listener does. */
void socket_end_listening(socket_handle listener, const jd_endpoint *bound, const struct socket_path *path);

/* Opens a socket to connect to endpoint, with options set; bound to local if local.length > 0. */
int socket_open_to_connect(socket_handle *handle, const jd_endpoint *endpoint, const jd_endpoint *local,
                           const struct socket_options *options);

/* Starts to connect the socket. Returns 0 if connecting is in progress or complete: the socket becomes writable at its
 * end (connect(2), EINPROGRESS), and socket_finish_connect returns the result. */
int socket_connect(socket_handle handle, const jd_endpoint *endpoint);

/* Returns 0 and the peer's address, or the error for which the socket was not connected. A TCP socket that is connected
 * to itself counts as refused: that happens when its local port is the port it connects to (RFC 9293, 3.5, simultaneous
 * open). */
int socket_finish_connect(socket_handle handle, struct peer_address *peer);

/* Accepts one connection. JD_EAGAIN: none is pending. Errors of a pending connection are skipped (accept(2):
 * ECONNABORTED, EPROTO, EPERM and the network errors that Linux passes on); but not more than 128 in a row: then the
 * last one is returned, and the caller should pause accepting. */
int socket_accept(socket_handle listener, socket_handle *accepted, struct peer_address *peer);

/* Whether an error of accept(2) concerns only the connection that was pending: the next one may be accepted. */
bool socket_is_connection_error(int error);

/* Sets *peer to the peer's address, for a socket that was accepted without it. Like accept(2), and unlike
 * getpeername(2), it finds the address of a TCP peer that has reset the connection since. */
int socket_peer_address(socket_handle handle, struct peer_address *peer);

/* Receives at most size bytes. Returns their number, 0 after the peer's FIN, or a negative error. Does not block, even
 * if the socket is blocking; nor does any function below that receives to, or sends from, memory. */
ssize_t socket_receive(socket_handle handle, void *data, size_t size);

/* For a socket whose receive has returned 0: whether the peer's FIN was received. Else a reset ended the input, whose error
 * was fetched before, or socket_shutdown_read did. Returns 1, 0, or JD_ENOTSUP: not known, as on a Unix-domain socket. */
int socket_fin_received(socket_handle handle);

/* Whether a receive would have to wait: no byte has arrived, and there is neither an end nor an error. */
bool socket_awaits_input(socket_handle handle);

/* As socket_receive, into count (1 to IOV_MAX) pieces. */
ssize_t socket_receive_pieces(socket_handle handle, const jd_iovec *pieces, int count);

/* Sends count (>= 1) pieces; of more than IOV_MAX the rest is ignored. Returns the bytes that the kernel took, perhaps
 * fewer (short write), or a negative error. */
ssize_t socket_send(socket_handle handle, const jd_iovec *pieces, int count);

/* As socket_send, for one piece. */
ssize_t socket_send_bytes(socket_handle handle, const void *data, size_t size);

/* As socket_send, when more data will be sent next: the kernel may delay an incomplete segment for a moment (MSG_MORE
 * in send(2)). */
ssize_t socket_send_more(socket_handle handle, const jd_iovec *pieces, int count);

/* Sends size bytes at offset of a file. Returns the bytes that the kernel took, 0 at the end of the file, or a negative
 * error: JD_EINVAL or JD_ENOSYS if this kind of file must be read and sent instead (sendfile(2)). */
ssize_t socket_send_file(socket_handle handle, jd_file file, int64_t offset, size_t size);

/* Half-closes the socket: the kernel sends FIN after the data that it has taken. */
int socket_shutdown_write(socket_handle handle);

/* Ends receiving: what the kernel has can still be received, then a receive returns 0. Sends nothing. */
int socket_shutdown_read(socket_handle handle);

/* Makes the next close send RST. */
int socket_reset_on_close(socket_handle handle);

/* TCP only: breaks the connection when the peer acknowledges nothing for ms, also after close (tcp(7),
 * TCP_USER_TIMEOUT). */
int socket_limit_unacknowledged(socket_handle handle, unsigned ms);

/* Returns how many of the bytes sent the peer's system has not acknowledged (TCP), or how much memory of the kernel the
 * bytes that the peer has not received take (Unix-domain); or a negative error (tcp(7), unix(7), SIOCOUTQ). */
ssize_t socket_unacknowledged(socket_handle handle);

/* Returns and clears the pending error of the socket (socket(7), SO_ERROR); 0: none. */
int socket_error(socket_handle handle);

/* Sets *endpoint to the socket's local address. */
int socket_local_endpoint(socket_handle handle, jd_endpoint *endpoint);

/* Closes the socket. Errors are ignored: on Linux the descriptor is closed in any case, after EINTR as well
 * (close(2)). */
void socket_close(socket_handle handle);

#endif
