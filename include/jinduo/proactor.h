/* Proactor: asynchronous operations. One asks for something to be done and is told when it is done, where a Channel tells
 * when it could be done (D. Schmidt et al., Pattern-Oriented Software Architecture 2, "Proactor"). On loops of a
 * completion engine (io_uring, simulated); on a Reactor's loop everything here returns JD_ENOTSUP. See docs/proactor.md.
 *
 * An operation is an object of the caller's, to be embedded in what it is about; beginning one allocates nothing. From the
 * call that begins it until its completion handler is called for the last time it belongs to the library: it must not be
 * moved, freed or begun again, and neither must what it was given (buffers, pieces, endpoints). In that last call it is the
 * caller's again: it may be begun anew or freed there.
 *
 * The jd_async functions begin an operation and return 0, and its handler is called later in the loop's thread, never
 * inside the call: exactly once for a one-shot operation, once or more often for a continuous one. Or they return an
 * error, and no handler is ever called: JD_ENOTSUP (a Reactor's loop), JD_EINVAL (an argument makes no sense), JD_EBUSY
 * (the operation is under way), JD_ECANCELED (the loop is being destroyed). Everything else that can go wrong is the
 * handler's result. From any thread, before the loop runs too, as long as the loop exists until the call has returned; but
 * one operation at a time is begun by one thread.
 *
 * Handles are sockets (non-blocking or not) or files, and stay the caller's. A send and a receive on one socket do not
 * wait for each other; of two sends, or two receives, under way at once either may be first, and each may take a part: begin
 * the next when the last has completed. */
#ifndef JINDUO_PROACTOR_H
#define JINDUO_PROACTOR_H

#include <jinduo/buffer.h>
#include <jinduo/endpoint.h>
#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Room for one operation. Before its first use it must be all zero bytes (what is in it tells whether it is under way);
 * afterwards it is used again as it is. */
typedef struct jd_operation {
    uint64_t opaque[32];
} jd_operation;

/* Called in the loop's thread, outside of the function that began the operation. result: bytes, or a handle, or 0, as the
 * operation says; or a negative error, JD_ECANCELED for one that was cancelled. It may begin operations, this one too if it
 * goes on no more, cancel any, and send on connections; it must not destroy the loop. */
typedef void (*jd_completion_handler)(jd_operation *operation, int64_t result, void *arg);

/* ---- sockets ---- */

/* A socket that listens on endpoint; *bound (may be NULL) is where. Close it with jd_async_close, which leaves a
 * Unix-domain socket's path behind. Returns 0 or a negative error, JD_EADDRINUSE among them. From any thread. */
JD_API int jd_handle_listen(jd_handle *handle, const jd_endpoint *endpoint, jd_endpoint *bound);

/* Accepts one connection. Result: its handle, non-blocking and close-on-exec, which is the caller's from then on. */
JD_API int jd_async_accept(jd_event_loop *loop, jd_operation *operation, jd_handle listener,
                           jd_completion_handler handler, void *arg);

/* Accepts connections until it is cancelled or an error ends it (JD_EMFILE, say). Result: a handle each time, as above; the
 * error comes last. */
JD_API int jd_async_accept_multishot(jd_event_loop *loop, jd_operation *operation, jd_handle listener,
                                     jd_completion_handler handler, void *arg);

/* Makes a socket and connects it to endpoint, which must stay until the completion. Result: its handle, non-blocking and
 * close-on-exec, which is the caller's from then on; there is none after an error. */
JD_API int jd_async_connect(jd_event_loop *loop, jd_operation *operation, const jd_endpoint *endpoint,
                            jd_completion_handler handler, void *arg);

/* Receives at most size (>= 1) bytes into data. Result: bytes, 0 at the end. timeout_ms: after that it is cancelled and
 * completes with JD_ETIMEDOUT; 0: never. */
JD_API int jd_async_receive(jd_event_loop *loop, jd_operation *operation, jd_handle handle, void *data, size_t size,
                            uint32_t timeout_ms, jd_completion_handler handler, void *arg);

/* The same, without a timeout, into 1 to JD_BUFFERS_MAX pieces, which are filled in turn. */
enum { JD_BUFFERS_MAX = 64 };
JD_API int jd_async_receive_buffers(jd_event_loop *loop, jd_operation *operation, jd_handle handle,
                                    const jd_iovec *pieces, int count, jd_completion_handler handler, void *arg);

/* Receives until the end, an error, or until cancelled, into memory of the loop's own: no idle socket holds a buffer.
 * Result: bytes, which jd_operation_data gives; 0 at the end, or the error, comes last. Bytes that came before a cancel may be
 * told after it. When the loop's memory is used up it waits until some is back: nothing is lost. */
JD_API int jd_async_receive_multishot(jd_event_loop *loop, jd_operation *operation, jd_handle handle,
                                      jd_completion_handler handler, void *arg);

/* Sends what the kernel takes of length (>= 1) bytes of data, or of 1 to JD_BUFFERS_MAX pieces. Result: bytes, perhaps
 * fewer. SIGPIPE is not raised. */
JD_API int jd_async_send(jd_event_loop *loop, jd_operation *operation, jd_handle handle, const void *data,
                         size_t length, jd_completion_handler handler, void *arg);
JD_API int jd_async_send_buffers(jd_event_loop *loop, jd_operation *operation, jd_handle handle, const jd_iovec *pieces,
                                 int count, jd_completion_handler handler, void *arg);

/* ---- files ---- */

/* Reads at most size (>= 1) bytes at offset (at most 2^63 - 1 less size) of a file into data; writes. Result: bytes, perhaps
 * fewer; a read's is 0 at and behind the file's end. For files that have offsets, not for pipes and terminals. The loop's
 * thread is not held up while the disk works. */
JD_API int jd_async_read(jd_event_loop *loop, jd_operation *operation, jd_handle file, uint64_t offset, void *data,
                         size_t size, jd_completion_handler handler, void *arg);
JD_API int jd_async_write(jd_event_loop *loop, jd_operation *operation, jd_handle file, uint64_t offset,
                          const void *data, size_t length, jd_completion_handler handler, void *arg);

/* ---- time, end ---- */

/* Completes with 0 when delay_ms (no limit) have passed from now; at the time when (jd_timestamp), at once if that is past.
 * Precise to the millisecond, never early. */
JD_API int jd_async_timeout(jd_event_loop *loop, jd_operation *operation, uint64_t delay_ms,
                            jd_completion_handler handler, void *arg);
JD_API int jd_async_timeout_at(jd_event_loop *loop, jd_operation *operation, jd_timestamp when,
                               jd_completion_handler handler, void *arg);

/* Cancels every operation that this loop has under way on handle, and when each has completed and its handler been called,
 * closes it. handle is the library's until the completion: what is begun on it on this loop meanwhile completes with
 * JD_ECANCELED, another close too. Result: 0. Itself it cannot be cancelled; destroying the loop carries it out. Only when it
 * could not be begun (JD_ECANCELED is returned) handle is still the caller's to close. On other loops nothing may be under
 * way on handle. */
JD_API int jd_async_close(jd_event_loop *loop, jd_operation *operation, jd_handle handle, jd_completion_handler handler,
                          void *arg);

/* ---- composed ---- */

/* Receives until length (>= 1) bytes have come. Result: length, or fewer when the end came before; after an error
 * jd_operation_transferred tells how many had come. */
JD_API int jd_async_read_exactly(jd_event_loop *loop, jd_operation *operation, jd_handle handle, void *data,
                                 size_t length, jd_completion_handler handler, void *arg);

/* Receives into buffer until it holds the delimiter (1 to JD_DELIMITER_MAX bytes, copied). What is in buffer already counts:
 * if the delimiter is there, nothing is received. Result: bytes up to and including the delimiter (buffer may hold more
 * behind them: leave them there for the next), 0 when the end came before it, JD_EMSGSIZE when it does not end within the
 * first limit bytes (at least the delimiter's length; buffer never grows beyond limit by this), JD_ENOMEM. What has arrived
 * is in buffer in every case; until the completion buffer must not be used, not even read. */
enum { JD_DELIMITER_MAX = 16 };
JD_API int jd_async_read_until(jd_event_loop *loop, jd_operation *operation, jd_handle handle, jd_buffer *buffer,
                               const void *delimiter, size_t delimiter_length, size_t limit,
                               jd_completion_handler handler, void *arg);

/* Sends all of length (>= 1) bytes of data, or of 1 to JD_BUFFERS_MAX pieces. Result: the number of bytes; after an error
 * jd_operation_transferred tells how many the kernel had taken. */
JD_API int jd_async_write_all(jd_event_loop *loop, jd_operation *operation, jd_handle handle, const void *data,
                              size_t length, jd_completion_handler handler, void *arg);
JD_API int jd_async_write_all_buffers(jd_event_loop *loop, jd_operation *operation, jd_handle handle,
                                      const jd_iovec *pieces, int count, jd_completion_handler handler, void *arg);

/* ---- cancelling ---- */

/* Ends an operation soon: it completes with JD_ECANCELED, or with its result if that came first; exactly once either way.
 * The handler is not called inside this. Returns 0, or JD_ENOENT if it is not under way, or its end only has to be told. From
 * any thread, as long as loop and operation exist until this has returned: so in another thread than the loop's only while
 * the handler cannot free the operation. A close goes on all the same (jd_async_close). */
JD_API int jd_operation_cancel(jd_operation *operation);

/* Cancels every operation under way on handle that was begun on this loop, but for a close; connects and timeouts have no
 * handle. What other threads have begun and the loop has not seen yet is not among them. Returns how many, JD_ENOTSUP, or
 * JD_EPERM in another thread than the loop's. */
JD_API int jd_async_cancel_all(jd_event_loop *loop, jd_handle handle);

/* ---- inside a completion handler ---- */

/* Whether the handler of a continuous operation will be called again. When not, and always for a one-shot operation, this is
 * the last call, and the operation is the caller's again. */
JD_API bool jd_operation_has_more(const jd_operation *operation);

/* The bytes that arrived (jd_async_receive_multishot, result > 0); valid during the handler. */
JD_API const void *jd_operation_data(const jd_operation *operation);

/* How many bytes a composed operation has transferred itself, also when its result is an error (of read_until without what
 * was in the buffer before). 0 for any other. */
JD_API size_t jd_operation_transferred(const jd_operation *operation);

JD_END_DECLS
#endif
