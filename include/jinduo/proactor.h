/* Proactor: asynchronous operations. A program submits an operation, and its completion handler reports the result when
 * it is done; a Channel, in contrast, reports when an operation could be done (D. Schmidt et al., Pattern-Oriented Software
 * Architecture 2, "Proactor"). Operations need a Proactor's loop (io_uring, simulated, IOCP). See docs/proactor.md.
 *
 * Ownership: a jd_operation is an object of the caller's, embedded in its own structure; submitting one allocates no memory
 * here. The library owns it from the call that submits it until the last call of its completion handler; until then neither
 * the operation nor what it was given (buffers, the array of buffers, endpoints) may be moved, freed, changed or used for
 * another operation. In the last call the caller owns it again: there it may be submitted again or freed.
 *
 * Returns: a jd_async function submits an operation and returns 0, or it returns an error and the handler is never invoked:
 * - JD_ENOTSUP: the loop is a Reactor's;
 * - JD_EINVAL: an invalid argument (a negative handle, no handler, no bytes, too many buffers);
 * - JD_EBUSY: the operation is in flight;
 * - JD_ECANCELED: the loop is being destroyed.
 *
 * All other errors are the handler's result.
 *
 * Callbacks: the handler is invoked in the loop's thread, never inside the call that submits the operation: exactly once for
 * a one-shot operation, once or more for a multishot one (jd_operation_has_more).
 *
 * Thread rule: jd_async functions may be called from any thread, also before the loop runs, while the loop exists. An
 * operation is submitted by one thread at a time.
 *
 * Handles: sockets, blocking or not, and files. They stay the caller's. A send and a receive on one socket do not wait for
 * each other. Two sends, or two receives, in flight on one socket may complete in any order, and each may transfer a part:
 * submit the next one when the last has completed.
 *
 * On Windows all operations on a handle are those of one loop, for the handle's life: the first operation binds the handle to
 * its loop's port, and operations of another loop complete only while the first loop runs. */
#ifndef JINDUO_PROACTOR_H
#define JINDUO_PROACTOR_H

#include <jinduo/buffer.h>
#include <jinduo/endpoint.h>
#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Memory for one operation. All its bytes must be zero before its first use, as they hold its state; afterwards it is
 * reused as it is. */
typedef struct jd_operation {
    uint64_t opaque[32];
} jd_operation;

/* Reports a result: bytes, a handle or 0, as each operation says; or a negative error, JD_ECANCELED if the operation was
 * cancelled. Invoked in the loop's thread. The handler may submit operations (this one too, if jd_operation_has_more is
 * false), cancel any, and send on connections. It must not destroy the loop. */
typedef void (*jd_completion_handler)(jd_operation *operation, int64_t result, void *arg);

/* ---- sockets ---- */

/* Creates a socket that listens on endpoint, with the system's maximum backlog. *bound (bound may be NULL) is its address,
 * with the port that the system chose. Returns 0 or a negative error, such as JD_EADDRINUSE. The caller owns the socket:
 * close it with jd_async_close, which does not remove a Unix-domain socket's path. May be called from any thread. */
JD_API int jd_socket_listen(jd_socket *listener, const jd_endpoint *endpoint, jd_endpoint *bound);

/* Accepts one connection. Result: its socket, non-blocking and close-on-exec. The caller owns it. */
JD_API int jd_async_accept(jd_event_loop *loop, jd_operation *operation, jd_socket listener,
                           jd_completion_handler handler, void *arg);

/* Multishot: accepts connections until it is cancelled or fails, for example with JD_EMFILE. Result: a socket each time, as
 * jd_async_accept; last the error. */
JD_API int jd_async_accept_multishot(jd_event_loop *loop, jd_operation *operation, jd_socket listener,
                                     jd_completion_handler handler, void *arg);

/* Creates a socket and connects it to endpoint, which must stay valid until the completion. Result: the socket,
 * non-blocking and close-on-exec, which the caller owns; after an error there is none. */
JD_API int jd_async_connect(jd_event_loop *loop, jd_operation *operation, const jd_endpoint *endpoint,
                            jd_completion_handler handler, void *arg);

/* Receives at most size (>= 1) bytes into data. Result: the number of bytes, 0 at the end of the stream, or JD_ETIMEDOUT
 * after timeout_ms milliseconds (0: no timeout). */
JD_API int jd_async_receive(jd_event_loop *loop, jd_operation *operation, jd_socket socket, void *data, size_t size,
                            uint32_t timeout_ms, jd_completion_handler handler, void *arg);

/* As jd_async_receive, without a timeout, into count (1 to JD_BUFFERS_MAX) buffers, which are filled in order. */
enum { JD_BUFFERS_MAX = 64 };
JD_API int jd_async_receive_buffers(jd_event_loop *loop, jd_operation *operation, jd_socket socket,
                                    const jd_iovec *buffers, int count, jd_completion_handler handler, void *arg);

/* Multishot: receives until the end of the stream, an error or a cancel, into memory of the loop, so that an idle socket
 * takes no buffer. Result: the number of bytes each time, which jd_operation_data returns; last 0 at the end of the
 * stream, or the error. Bytes that were received before a cancel may be reported after it. When the loop's memory is
 * exhausted the operation waits until some is returned; no bytes are lost. */
JD_API int jd_async_receive_multishot(jd_event_loop *loop, jd_operation *operation, jd_socket socket,
                                      jd_completion_handler handler, void *arg);

/* Send length (>= 1) bytes of data, or the bytes of count (1 to JD_BUFFERS_MAX) buffers, as far as the kernel takes them.
 * Result: the number of bytes, possibly fewer (short write). SIGPIPE is not raised. */
JD_API int jd_async_send(jd_event_loop *loop, jd_operation *operation, jd_socket socket, const void *data,
                         size_t length, jd_completion_handler handler, void *arg);
JD_API int jd_async_send_buffers(jd_event_loop *loop, jd_operation *operation, jd_socket socket,
                                 const jd_iovec *buffers, int count, jd_completion_handler handler, void *arg);

/* ---- files ---- */

/* Read at most size, or write length, bytes (>= 1) at offset of a file; the offset is at most 2^63 - 1 less the number of
 * bytes. Result: the number of bytes, possibly fewer; a read's is 0 at and behind the end of the file. For files that have
 * offsets, not for pipes and terminals. The loop's thread does not block for the disk. */
JD_API int jd_async_read(jd_event_loop *loop, jd_operation *operation, jd_file file, uint64_t offset, void *data,
                         size_t size, jd_completion_handler handler, void *arg);
JD_API int jd_async_write(jd_event_loop *loop, jd_operation *operation, jd_file file, uint64_t offset, const void *data,
                          size_t length, jd_completion_handler handler, void *arg);

/* ---- timeouts, close ---- */

/* Complete after delay_ms milliseconds from the call (no limit), or at the time when (at once if it is past). Result: 0.
 * The resolution is a millisecond; a timeout is never early. */
JD_API int jd_async_timeout(jd_event_loop *loop, jd_operation *operation, uint64_t delay_ms,
                            jd_completion_handler handler, void *arg);
JD_API int jd_async_timeout_at(jd_event_loop *loop, jd_operation *operation, jd_timestamp when,
                               jd_completion_handler handler, void *arg);

/* Cancels all operations that this loop has in flight on handle, and closes handle when their handlers have been invoked.
 * Result: 0.
 * - The library owns handle until the completion. Operations that are submitted on it on this loop meanwhile complete with
 *   JD_ECANCELED, also another close.
 * - A close cannot be cancelled; if the loop is destroyed, it is carried out nevertheless.
 * - If this function returns an error, handle is still the caller's to close.
 * - No operation on handle may be in flight on another loop. */
JD_API int jd_async_close(jd_event_loop *loop, jd_operation *operation, jd_handle handle, jd_completion_handler handler,
                          void *arg);

/* ---- composed operations ---- */

/* Receives until length (>= 1) bytes have arrived in data. Result: length, or fewer if the stream ended first. After an
 * error jd_operation_transferred returns how many arrived. */
JD_API int jd_async_read_exactly(jd_event_loop *loop, jd_operation *operation, jd_socket socket, void *data,
                                 size_t length, jd_completion_handler handler, void *arg);

/* Receives into buffer until it contains the delimiter (1 to JD_DELIMITER_MAX_BYTES bytes, copied). Bytes that are in buffer
 * before count: if the delimiter is among them, nothing is received.
 *
 * Result: the number of bytes up to and including the delimiter; 0 if the stream ended before it; JD_EMSGSIZE if the
 * delimiter does not end within the first limit bytes (limit: at least the delimiter's length); JD_ENOMEM; or another
 * error. All received bytes are in buffer, never more than limit by this; bytes behind the delimiter belong to the next
 * message: leave them there. buffer must not be used before the completion, not even read. */
JD_API int jd_async_read_until(jd_event_loop *loop, jd_operation *operation, jd_socket socket, jd_buffer *buffer,
                               const void *delimiter, size_t delimiter_length, size_t limit,
                               jd_completion_handler handler, void *arg);

/* Send all of length (>= 1) bytes of data, or of count (1 to JD_BUFFERS_MAX) buffers. Result: the number of bytes. After an
 * error jd_operation_transferred returns how many the kernel took. */
JD_API int jd_async_write_all(jd_event_loop *loop, jd_operation *operation, jd_socket socket, const void *data,
                              size_t length, jd_completion_handler handler, void *arg);
JD_API int jd_async_write_all_buffers(jd_event_loop *loop, jd_operation *operation, jd_socket socket,
                                      const jd_iovec *buffers, int count, jd_completion_handler handler, void *arg);

/* ---- cancelling ---- */

/* Cancels an operation: its handler is invoked soon, not inside this call, with JD_ECANCELED, or with the operation's
 * result if that came first; exactly once either way. A close is not affected (jd_async_close). Returns 0, or JD_ENOENT if
 * the operation is not in flight, or has ended and only its handler is pending. May be called from any thread. Loop and
 * operation must live until this call has returned: so from another thread than the loop's only while the handler cannot
 * free the operation. */
JD_API int jd_operation_cancel(jd_operation *operation);

/* Cancels all operations that this loop has in flight on handle, except a close. Connects and timeouts have no handle.
 * Operations submitted by other threads that have not reached the loop yet are not included. Returns the number of operations;
 * JD_ENOTSUP (the loop is a Reactor's); JD_EPERM (wrong thread). Must be called in the loop's thread. */
JD_API int jd_async_cancel_all(jd_event_loop *loop, jd_handle handle);

/* ---- inside a completion handler ---- */

/* Returns whether the handler will be invoked again. False in the last call for a multishot operation, and always for a
 * one-shot one: the caller then owns the operation again. */
JD_API bool jd_operation_has_more(const jd_operation *operation);

/* Returns the received bytes (jd_async_receive_multishot, result > 0). They are borrowed: valid during the handler. */
JD_API const void *jd_operation_data(const jd_operation *operation);

/* Returns how many bytes a composed operation itself has transferred, also when its result is an error; without the bytes
 * that were in read_until's buffer before. 0 for other operations. */
JD_API size_t jd_operation_transferred(const jd_operation *operation);

JD_END_DECLS
#endif
