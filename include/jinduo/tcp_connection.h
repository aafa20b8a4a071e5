/* TcpConnection: one accepted (or made) connection, TCP or Unix-domain stream.
 *
 * Callbacks come in the thread of the connection's loop, never from inside a call into the library:
 *
 *   connection callback (up) -> message or frame callbacks ... -> connection callback (down)
 *
 * each of up and down exactly once for each connection the user ever sees, and none after down. A connection callback
 * tells the two apart with jd_tcp_connection_is_connected.
 *
 * The library holds a reference while the connection lives; a pointer kept beyond the down callback, or used in another
 * thread, needs a reference of its own (jd_tcp_connection_ref), or an id instead. */
#ifndef JINDUO_TCP_CONNECTION_H
#define JINDUO_TCP_CONNECTION_H

#include <jinduo/buffer.h>
#include <jinduo/endpoint.h>
#include <jinduo/shared.h>
#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Up: the connection can be used. Down: it is gone; jd_tcp_connection_error says why. */
typedef void (*jd_connection_callback)(jd_tcp_connection *connection, void *arg);

/* Bytes have arrived. input holds them behind what earlier calls left in it; what this call leaves comes again with the
 * next bytes. received: when the loop learned of them. */
typedef void (*jd_message_callback)(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg);

/* All queued output has been handed to the kernel. */
typedef void (*jd_write_complete_callback)(jd_tcp_connection *connection, void *arg);

/* The peer has sent its FIN: no more messages come. Only with allow_half_open; without it the connection sends what is
 * queued and closes. */
typedef void (*jd_half_close_callback)(jd_tcp_connection *connection, void *arg);

/* Queued output has risen above the high watermark, has sunk to the low one (jd_tcp_server_options); they come in turn.
 * queued_bytes: as of now. */
typedef void (*jd_watermark_callback)(jd_tcp_connection *connection, size_t queued_bytes, void *arg);

/* Nothing has been sent for heartbeat_ms: time for a sign of life. */
typedef void (*jd_heartbeat_callback)(jd_tcp_connection *connection, void *arg);

/* Names a connection for the life of the process: loop (8 bits), slot (24), generation (32); never 0. */
typedef uint64_t jd_connection_id;

/* Queues a copy of length bytes for sending, behind everything queued before, whole or not at all. Sent at the end of
 * the loop's turn or earlier (jd_event_loop_options). From any thread that may use connection. Returns 0; JD_ENOTCONN
 * once the connection is closing; JD_ENOBUFS when more than output_limit bytes would be queued; JD_ENOMEM. From another
 * thread the answer is as binding, but a connection that closes before its loop takes the bytes drops them. */
JD_API int jd_tcp_connection_send(jd_tcp_connection *connection, const void *data, size_t length);

/* As jd_tcp_connection_send, for all bytes of buffer, and empties it. Large receive blocks are passed on without being
 * copied. buffer is untouched after an error. */
JD_API int jd_tcp_connection_send_buffer(jd_tcp_connection *connection, jd_buffer *buffer);

/* The three sends that follow copy nothing (but ranges of memory of at most 256 bytes, for which that is cheaper): what
 * is queued refers to what was lent. They are as binding as jd_tcp_connection_send, and may be called from the same
 * threads.
 *
 * What was lent stays untouched and in place until the library gives it back by calling release(arg): exactly once,
 * when the last byte has been handed to the kernel or the connection has dropped what is left; in the thread of the
 * connection's loop, never from inside a call into the library, and before the down callback. release may be NULL: then
 * it stays for good, or as long as the connection. When the call itself fails nothing has been lent and release is not
 * called. */

/* Sends length bytes (JD_TO_END: all) of shared from offset on. The queue takes references of its own, which it gives
 * back as said above. Returns what jd_tcp_connection_send does, or JD_ERANGE if shared is shorter. */
JD_API int jd_tcp_connection_send_shared(jd_tcp_connection *connection, jd_shared *shared, size_t offset,
                                         size_t length);

/* Sends length bytes of the caller's memory. They count as if they had been copied (queued_bytes, output_limit,
 * watermarks). Returns what jd_tcp_connection_send does. */
JD_API int jd_tcp_connection_send_reference(jd_tcp_connection *connection, const void *data, size_t length,
                                            jd_release release, void *arg);

/* Sends length bytes (JD_TO_END: all that there are now) of a regular file from offset on, by sendfile(2) where there
 * is such a thing; fd's own position neither matters nor changes. The range takes no memory to speak of, so that it
 * counts as 128 bytes (queued_bytes, output_limit, watermarks) until it is sent, however long it is. fd is lent: not to
 * be closed before release. jd_release_close_fd as release makes it the library's:
 *
 *     result = jd_tcp_connection_send_file(connection, fd, 0, JD_TO_END, jd_release_close_fd, (void *)(intptr_t)fd);
 *     if (result < 0)
 *         close(fd);
 *
 * The loop waits for the disk if the file is not in memory. A file that has become shorter by the time it is sent ends
 * the connection with JD_ENODATA, as what was promised to the peer cannot be sent; bytes changed meanwhile, or soon
 * after, may be sent either way. Returns what jd_tcp_connection_send does; JD_EINVAL if fd is no regular file open for
 * reading or offset is negative; JD_ERANGE if the file is shorter; -EBADF and the like. */
JD_API int jd_tcp_connection_send_file(jd_tcp_connection *connection, jd_file file, int64_t offset, uint64_t length,
                                       jd_release release, void *arg);

/* For send_file's release: closes the descriptor whose number is the pointer's value. From any thread. */
JD_API void jd_release_close_fd(void *descriptor);

/* Ends the sending side: what is queued is sent, then FIN. Sending afterwards is an error; messages still come until
 * the peer ends its side too, then the connection closes. From any thread that may use connection. Returns 0,
 * JD_ENOTCONN if it is closing already, JD_ENOMEM. */
JD_API int jd_tcp_connection_shutdown(jd_tcp_connection *connection);

/* Closes at once: the kernel is given what it takes of the queued output without waiting, the rest is dropped and
 * counted (bytes_dropped). To have everything sent use shutdown. The down callback comes later in the same turn or in
 * one of the next. Calling it again changes nothing. From any thread that may use connection. Returns 0, or JD_ENOMEM
 * from another thread. */
JD_API int jd_tcp_connection_close(jd_tcp_connection *connection);

/* As close, but drops all queued output and ends TCP with RST (socket(7), SO_LINGER 0). */
JD_API int jd_tcp_connection_reset(jd_tcp_connection *connection);

/* Stops message and frame callbacks, leaving bytes in the kernel, so that TCP slows the peer down; and goes on. A reset
 * by the peer is noticed while paused, a FIN at resume. What a message callback that pauses has left in its buffer
 * comes again at resume. In the loop's thread. Returns 0, JD_ENOTCONN, JD_EPERM. */
JD_API int jd_tcp_connection_pause_reading(jd_tcp_connection *connection);
JD_API int jd_tcp_connection_resume_reading(jd_tcp_connection *connection);

/* Whether the connection callback has said up and nothing has closed the connection since. False in the down callback.
 * From any thread that may use connection. */
JD_API bool jd_tcp_connection_is_connected(const jd_tcp_connection *connection);

/* Why the connection closed: 0 when either side ended it in good order or this side closed it, else a negative error
 * such as JD_ECONNRESET. Meaningful in the down callback and after. In the loop's thread. */
JD_API int jd_tcp_connection_error(const jd_tcp_connection *connection);

/* The user's own pointer. destructor (may be NULL) is called with it when it is replaced, or with the last reference in
 * the loop's thread. get: from any thread that may use connection; set: in the loop's thread. */
JD_API void jd_tcp_connection_set_context(jd_tcp_connection *connection, void *context, void (*destructor)(void *));
JD_API void *jd_tcp_connection_context(const jd_tcp_connection *connection);

/* The connection's id. From any thread that may use connection. */
JD_API jd_connection_id jd_tcp_connection_id(const jd_tcp_connection *connection);

/* The loop the connection lives on. From any thread that may use connection. */
JD_API jd_event_loop *jd_tcp_connection_loop(const jd_tcp_connection *connection);

/* Bytes queued that the kernel has not taken yet, those sent from other threads included; a range of a file counts as
 * 128, however much is left of it. 0: nothing is queued. From any thread that may use connection. On io_uring what the
 * kernel has taken may count for 10 ms more while the loop sleeps. */
JD_API size_t jd_tcp_connection_queued_bytes(const jd_tcp_connection *connection);

/* The two ends' addresses. In the loop's thread; local asks the system and is JD_ENOTCONN once closed, peer is known
 * to the end (a Unix-domain peer has no name: "unix:"). Return 0 or a negative error. */
JD_API int jd_tcp_connection_local_endpoint(const jd_tcp_connection *connection, jd_endpoint *endpoint);
JD_API int jd_tcp_connection_peer_endpoint(const jd_tcp_connection *connection, jd_endpoint *endpoint);

/* Sets *handle to the connection's socket, for setsockopt(2) and the like. The library owns the socket: do not read, write or
 * close it. A duplicate (dup(2), fork(2)) may outlive the connection. In the loop's thread. Returns 0, or JD_ENOTCONN once the
 * connection is closed. */
JD_API int jd_tcp_connection_native_handle(jd_tcp_connection *connection, jd_socket *handle);

/* Takes and gives back a reference. ref: wherever the caller holds one already or is in a callback of the connection.
 * unref: from any thread; the last one frees the connection, in its loop's thread. References may outlive the loop:
 * then every call on the connection says that it is closed, and the last one frees it in the thread that gives it
 * back. */
JD_API jd_tcp_connection *jd_tcp_connection_ref(jd_tcp_connection *connection);
JD_API void jd_tcp_connection_unref(jd_tcp_connection *connection);

/* connection is NULL when there is none with that id any more. */
typedef void (*jd_connection_task)(jd_tcp_connection *connection, void *arg);

/* The connection with this id, or NULL when it is gone. In the thread of the connection's loop, from within a callback;
 * NULL in any other. Valid until the callback returns. */
JD_API jd_tcp_connection *jd_tcp_connection_find(jd_connection_id id);

/* Queues task(connection, arg) on the loop of the connection with this id. From any thread. Returns 0 (task runs
 * exactly once, with NULL if the connection has gone), or, and then it never runs, JD_ENOENT (no such loop any more) or
 * JD_ENOMEM. */
JD_API int jd_tcp_connection_post(jd_connection_id id, jd_connection_task task, void *arg);

JD_END_DECLS
#endif
