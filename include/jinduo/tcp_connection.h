/* TcpConnection: one connection, accepted or made, over TCP or a Unix-domain stream socket.
 *
 * Callbacks are invoked in the thread of the connection's loop, never inside a call into the library:
 *
 *   connection callback (up) -> message or frame callbacks ... -> connection callback (down)
 *
 * Up and down are each reported exactly once, and no callback follows down. jd_tcp_connection_is_connected tells them
 * apart. A connection that fails before up is not reported.
 *
 * Ownership: the library holds a reference from up to down. To keep a pointer beyond the down callback, or to use it in
 * another thread, take a reference (jd_tcp_connection_ref), or keep the id instead.
 *
 * Thread rules: "a thread with a reference" is the loop's thread between up and down, or any thread that holds a
 * reference. "The loop's thread" is that of the connection's loop. */
#ifndef JINDUO_TCP_CONNECTION_H
#define JINDUO_TCP_CONNECTION_H

#include <jinduo/buffer.h>
#include <jinduo/codec.h>
#include <jinduo/endpoint.h>
#include <jinduo/shared.h>
#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Reports up: the connection can be used; or down: it is closed, and jd_tcp_connection_error gives the reason. */
typedef void (*jd_connection_callback)(jd_tcp_connection *connection, void *arg);

/* Delivers received bytes. input: the bytes that earlier calls left, and behind them the new ones. The callback consumes
 * what it needs, and the rest is delivered again:
 * - with the next bytes;
 * - when reading resumes (jd_tcp_connection_resume_reading);
 * - when queued output has fallen to the low watermark: a callback that answers many requests in a loop returns when
 *   jd_tcp_connection_is_above_watermark is true;
 * - in the next turn, if the callback asks for it (jd_tcp_connection_deliver_again).
 *
 * input belongs to the connection and is valid during the call. received: the time of the turn (jd_event_loop_now). */
typedef void (*jd_message_callback)(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg);

/* Reports that the kernel has taken all queued output. */
typedef void (*jd_write_complete_callback)(jd_tcp_connection *connection, void *arg);

/* Reports the peer's FIN (half-close): no more messages come, and sending is still possible. Only with allow_half_open;
 * without it the connection sends its queued output and closes. */
typedef void (*jd_half_close_callback)(jd_tcp_connection *connection, void *arg);

/* Reports, while reading is paused, that the peer has ended its side or reset the connection: once, as soon as it is known.
 * The connection stays up until reading resumes: bytes that have arrived are delivered then, before it goes down.
 * - error 0: the peer has sent its FIN. It may still take what is sent; if it resets the connection later, that is reported
 *   at resume. Also invoked while the high watermark has paused reading.
 * - JD_ECONNRESET: a reset. Or another error that ended sending, such as JD_ENODATA (jd_tcp_connection_send_file) or
 *   JD_ETIMEDOUT (keepalive). Queued output has been dropped, and sends return JD_ENOTCONN. A pause by the high watermark
 *   has ended with it. */
typedef void (*jd_peer_gone_callback)(jd_tcp_connection *connection, int error, void *arg);

/* Reports that queued output has risen above the high watermark, or fallen to the low one (jd_tcp_server_options). The two
 * alternate. A rise and a fall behind it within one turn are both reported; a fall and a rise behind it are not. queued_bytes:
 * bytes queued now. */
typedef void (*jd_watermark_callback)(jd_tcp_connection *connection, size_t queued_bytes, void *arg);

/* Whether the library receives from a connection while its queued output is above the high watermark, until the output has
 * fallen to the low one. */
typedef enum jd_above_watermark {
    JD_ABOVE_WATERMARK_DEFAULT, /* a server's connections pause reading, a client's keep reading */

    /* Back-pressure: a peer that does not take its responses cannot send more requests. Not at both ends of a connection:
     * if each waits until the other reads, both wait for ever. */
    JD_ABOVE_WATERMARK_PAUSE_READING,

    JD_ABOVE_WATERMARK_KEEP_READING, /* only the watermark callbacks; output_limit bounds the memory */
} jd_above_watermark;

/* Reports that nothing was sent for heartbeat_ms: send a keep-alive message here. */
typedef void (*jd_heartbeat_callback)(jd_tcp_connection *connection, void *arg);

/* Reports that the connection has reached max_age_ms and should end: once. Let the peer finish what it has begun, and tell it,
 * if the protocol can, to send nothing new (HTTP: "Connection: close"; HTTP/2: GOAWAY). Then shut the connection down. After
 * max_age_drain_ms it is closed. */
typedef void (*jd_asked_to_end_callback)(jd_tcp_connection *connection, void *arg);

/* Sessions: an object of the user's for each connection, made by a factory. It is the connection's context
 * (jd_tcp_connection_context) from before up until the last reference is returned. Each callback gets it as arg; NULL: no such
 * callback. The table must outlive the connections that use it; servers and clients may share it. */
typedef struct jd_session_callbacks {
    /* Makes the session of connection, which is about to come up: addresses and loop can be asked for, settings changed, nothing
     * sent. Returns the session; NULL: the connection closes and is not reported (a client's connect callback reports
     * JD_ECANCELED), as if the function closes it itself. arg: of jd_tcp_server_set_session or jd_tcp_client_set_session. Invoked
     * in the thread of the connection's loop. */
    void *(*create)(jd_tcp_connection *connection, void *arg);

    /* Frees the session when the last reference to its connection is returned, in the loop's thread; also if the connection never
     * came up. NULL: nothing is to be freed. */
    void (*destroy)(void *session);

    jd_connection_callback connection; /* up and down */
    jd_message_callback message;
    jd_frame_callback frame; /* with the codec that is set with the frame callback NULL */
    jd_frame_error_callback frame_error;
    jd_write_complete_callback write_complete;
    jd_watermark_callback high_watermark, low_watermark;
    jd_heartbeat_callback heartbeat;
    jd_half_close_callback half_close;
    jd_peer_gone_callback peer_gone;
    jd_asked_to_end_callback asked_to_end;
} jd_session_callbacks;

/* Identifies a connection within the process: loop (8 bits), slot (24), generation (32). Never 0. */
typedef uint64_t jd_connection_id;

/* Queues a copy of length bytes of data for sending, behind all earlier output: all of the bytes or none. They are sent at
 * the end of the turn or earlier (flush_bytes in jd_event_loop_options). A length of 0 queues nothing.
 *
 * Returns 0; JD_ENOTCONN after a shutdown or close, and once the connection is known to be broken; JD_ENOBUFS if more than
 * output_limit bytes would be queued on the connection, or total_output_limit on all of its server; JD_ENOMEM. May be called from a thread with a reference. From another thread than the loop's, the bytes travel to the loop: a
 * connection that closes before its loop takes them drops them; one without memory for them closes with JD_ENOMEM. */
JD_API int jd_tcp_connection_send(jd_tcp_connection *connection, const void *data, size_t length);

/* As jd_tcp_connection_send, for bytes in count parts, in their order: all bytes of all parts are queued, or none. A part of 0
 * bytes is allowed. Also returns JD_EINVAL if count is negative. */
JD_API int jd_tcp_connection_sendv(jd_tcp_connection *connection, const jd_iovec *parts, int count);

/* Returns whether a send of length bytes would be taken now: the connection is up, not shut down, closing or broken, and the
 * bytes are within output_limit. In the loop's thread a send that follows at once fails only for want of memory; elsewhere it may
 * come too late. May be called from a thread with a reference. */
JD_API bool jd_tcp_connection_can_send(const jd_tcp_connection *connection, size_t length);

/* Queues all bytes of buffer, as jd_tcp_connection_send, and empties it. A well-filled receive block of a message callback
 * is queued without a copy. After an error buffer is unchanged. */
JD_API int jd_tcp_connection_send_buffer(jd_tcp_connection *connection, jd_buffer *buffer);

/* The next three functions queue a reference instead of a copy: of shared bytes, of the caller's memory, of a range of a
 * file. (At most 256 bytes of memory are copied nevertheless: that is cheaper.) Errors, order and thread rule are those of
 * jd_tcp_connection_send.
 *
 * The memory or file stays the caller's and must stay valid and unchanged until release(arg) is invoked:
 * - exactly once, when the kernel has taken the last byte or the connection has dropped the rest;
 * - in the loop's thread, not inside a call into the library;
 * - before the down callback. It may come later only if the call was made in another thread, and the connection closed
 *   before its loop took the reference.
 *
 * release NULL: nothing is invoked; memory and file must stay valid as long as the connection. If the call returns an
 * error, release is not invoked. */

/* Queues length bytes of shared (JD_TO_END: all) from offset on. The queue takes a reference of its own on shared and
 * returns it when release would be invoked. Also returns JD_ERANGE if shared is shorter. */
JD_API int jd_tcp_connection_send_shared(jd_tcp_connection *connection, jd_shared *shared, size_t offset,
                                         size_t length);

/* Queues length bytes of the caller's memory. They count as copied bytes do (queued_bytes, output_limit, watermarks). */
JD_API int jd_tcp_connection_send_reference(jd_tcp_connection *connection, const void *data, size_t length,
                                            jd_release release, void *arg);

/* Queues length bytes (JD_TO_END: up to the file's present end) of a regular file from offset on. The file is sent with
 * sendfile(2) where the system has it; its own position is not used or changed. A range of any length counts as 128 bytes
 * (queued_bytes, output_limit, watermarks) until it is sent. On the Reactor, a range of at most 16 KiB is read during the call, if
 * it is made in the loop's thread, and counts as the bytes it has: it leaves together with what was queued before it, and costs one
 * system call if length is given. Where these bytes would exceed output_limit, it is queued as a longer one.
 *
 * The file must stay open until release. With jd_release_close_fd as release, the library closes it:
 *
 *     result = jd_tcp_connection_send_file(connection, fd, 0, JD_TO_END, jd_release_close_fd, (void *)(intptr_t)fd);
 *     if (result < 0)
 *         close(fd);
 *
 * A file that is shorter than the range when it is sent ends the connection with JD_ENODATA, when the input that has arrived is
 * delivered: the peer cannot get what was announced. Bytes that change before they are sent, or soon after, may be sent in either state. The loop's thread blocks
 * while the disk reads parts that are not in memory.
 *
 * Also returns JD_ENOBUFS if max_queued_files ranges are queued; JD_EINVAL (not a regular file that is open for reading, or a
 * negative offset); JD_ERANGE (the file is shorter); or an error of fstat(2) or pread(2), such as -EBADF. */
JD_API int jd_tcp_connection_send_file(jd_tcp_connection *connection, jd_file file, int64_t offset, uint64_t length,
                                       jd_release release, void *arg);

/* A release function for jd_tcp_connection_send_file: closes the file whose descriptor is the pointer's value. May be
 * called from any thread. */
JD_API void jd_release_close_fd(void *descriptor);

/* Ends the sending side (half-close): queued output is sent, then FIN. A later send returns JD_ENOTCONN. Messages are still
 * delivered until the peer ends its side too; then the connection closes. There is no time limit: a peer that does not end its side
 * meets idle_timeout_ms, or use jd_tcp_connection_close_after_output. Returns 0; JD_ENOTCONN if it is shut down or
 * closing already; JD_ENOMEM. May be called from a thread with a reference. */
JD_API int jd_tcp_connection_shutdown(jd_tcp_connection *connection);

/* Closes immediately: the kernel gets as much of the queued output as it takes without waiting, the rest is dropped and
 * counted (bytes_dropped). To send everything use jd_tcp_connection_shutdown. The down callback comes later in this turn or
 * in one of the next. A second call changes nothing. Returns 0, or JD_ENOMEM from another thread than the loop's. May be
 * called from a thread with a reference. */
JD_API int jd_tcp_connection_close(jd_tcp_connection *connection);

/* Sends queued output, then FIN, drops input from now on, and closes when the peer has ended its side too, at the latest
 * linger_ms (0: 5000) after the FIN. Dropped input does not count for idle_timeout_ms. For an answer to a request that is not
 * read to its end, a refused upload for example: closing at once would reset the connection, and the peer would lose the answer (RFC 9112, 9.6). A later send returns
 * JD_ENOTCONN. Returns 0; JD_ENOTCONN if it is broken or closing already; JD_EINVAL (linger_ms above 12 days); JD_ENOMEM.
 * May be called from a thread with a reference, also after jd_tcp_connection_shutdown. */
JD_API int jd_tcp_connection_close_after_output(jd_tcp_connection *connection, uint32_t linger_ms);

/* As jd_tcp_connection_close, but drops all queued output and ends TCP with RST (socket(7), SO_LINGER 0). */
JD_API int jd_tcp_connection_reset(jd_tcp_connection *connection);

/* Promise an answer (expect) and report that it has been sent or will not be (answered): for requests that other threads work
 * on. Each call of answered must follow one of expect. While answers are owed
 * - the peer's FIN does not end sending: the connection stays up, and closes when the last one has been sent;
 * - jd_tcp_server_stop with drain_ms lets the connection live until then, at the latest to the end of drain_ms. Further input
 *   is dropped.
 *
 * Without such a deadline idle_timeout_ms bounds the wait. A shutdown or close by the program does not wait.
 *
 * expect returns 0; JD_ENOTCONN after a shutdown or close, once the connection is broken, and when its end no longer waits;
 * JD_ENOBUFS if 16383 answers are owed. answered returns 0; JD_EINVAL (no answer is owed); JD_ENOMEM, from another thread than
 * the loop's: the answer is still owed. May be called from a thread with a reference. */
JD_API int jd_tcp_connection_expect(jd_tcp_connection *connection);
JD_API int jd_tcp_connection_answered(jd_tcp_connection *connection);

/* Stop (pause) and continue (resume) the delivery of messages and frames. While paused, bytes stay in the kernel, and TCP
 * slows the peer down.
 * - With a codec no further frame is delivered, not even of bytes already received. A message callback that pauses should
 *   return.
 * - Bytes that message callbacks have left are delivered again at the end of the turn of resume, also if the callback that
 *   left them has resumed reading itself.
 * - A peer that goes while reading is paused is reported by the peer-gone callback (jd_peer_gone_callback). Its bytes, FIN or
 *   reset are delivered and take effect at resume.
 *
 * Return 0; JD_ENOTCONN (closing or closed); JD_EPERM (wrong thread). Must be called in the loop's thread. */
JD_API int jd_tcp_connection_pause_reading(jd_tcp_connection *connection);
JD_API int jd_tcp_connection_resume_reading(jd_tcp_connection *connection);

/* Asks for the message callback, or with a codec the next frames, in the next turn: so that a callback with much input can
 * let other connections have their share of this turn. Nothing more is received or delivered before. In the next turn the
 * callback is invoked with the bytes that are left, if any. While reading is paused they wait for resume. Nothing is delivered
 * after the half-close callback. Returns 0; JD_ENOTCONN (closing or closed); JD_EPERM (wrong thread). Must be called in the loop's thread. */
JD_API int jd_tcp_connection_deliver_again(jd_tcp_connection *connection);

/* ---- settings of one connection ----
 *
 * The functions that follow change, for one connection, what its server or client has set for all: from any callback, for the
 * rest of the connection's life or until they are called again. A connection that uses one of them needs about 400 bytes more.
 *
 * Return 0; JD_ENOMEM: nothing has changed; JD_ENOTCONN (down); JD_EPERM (wrong thread). Must be called in the loop's
 * thread. */

/* Sets the codec and the frame callback with its argument; codec NULL: input is delivered to the message callback, as it is.
 * The change takes effect behind the frame, or the bytes consumed, of the callback that makes it: what has arrived behind goes
 * to the new codec or message callback in the same turn. So does input that callbacks have left, if the call comes from
 * elsewhere. The codec must outlive the connection, or its replacement here. input_limit rises to the codec's maximum frame +
 * 64 KiB, if it is less. */
JD_API int jd_tcp_connection_set_codec(jd_tcp_connection *connection, const jd_codec *codec, jd_frame_callback callback,
                                       void *arg);

/* Set a callback and its argument; NULL: none. A new message callback gets what the present one leaves, in the same turn. A
 * half-close callback allows half-open for this connection (allow_half_open), and NULL ends that. */
JD_API int jd_tcp_connection_set_connection_callback(jd_tcp_connection *connection, jd_connection_callback callback,
                                                     void *arg);
JD_API int jd_tcp_connection_set_message_callback(jd_tcp_connection *connection, jd_message_callback callback,
                                                  void *arg);
JD_API int jd_tcp_connection_set_frame_error_callback(jd_tcp_connection *connection, jd_frame_error_callback callback,
                                                      void *arg);
JD_API int jd_tcp_connection_set_write_complete_callback(jd_tcp_connection *connection,
                                                         jd_write_complete_callback callback, void *arg);
JD_API int jd_tcp_connection_set_high_watermark_callback(jd_tcp_connection *connection, jd_watermark_callback callback,
                                                         void *arg);
JD_API int jd_tcp_connection_set_low_watermark_callback(jd_tcp_connection *connection, jd_watermark_callback callback,
                                                        void *arg);
JD_API int jd_tcp_connection_set_heartbeat_callback(jd_tcp_connection *connection, jd_heartbeat_callback callback,
                                                    void *arg);
JD_API int jd_tcp_connection_set_asked_to_end_callback(jd_tcp_connection *connection, jd_asked_to_end_callback callback,
                                                       void *arg);
JD_API int jd_tcp_connection_set_half_close_callback(jd_tcp_connection *connection, jd_half_close_callback callback,
                                                     void *arg);
JD_API int jd_tcp_connection_set_peer_gone_callback(jd_tcp_connection *connection, jd_peer_gone_callback callback,
                                                    void *arg);

/* Gives the connection another session, for another protocol from here on: all callbacks are those of the table, with session as
 * arg; create is not invoked. The former session is destroyed at once, as a replaced context: a callback of it that makes this
 * call must not use it any more. */
JD_API int jd_tcp_connection_set_session(jd_tcp_connection *connection, const jd_session_callbacks *callbacks,
                                         void *session);

/* Milliseconds, as the options of these names (jd_tcp_server_options). 0: none. */
typedef struct jd_connection_timeouts {
    /* For the next frame or bytes consumed: those of later turns, if a message or frame callback sets it. It ends when they have
     * come: set it again for each that is to be awaited. */
    uint32_t first_message_ms;
    uint32_t idle_ms;
    uint32_t read_ms;
    uint32_t write_ms;
    uint32_t heartbeat_ms;
} jd_connection_timeouts;

/* Sets all timeouts. They count from this call on. Also returns JD_EINVAL if one is above 2^30 - 1 (12 days). */
JD_API int jd_tcp_connection_set_timeouts(jd_tcp_connection *connection, const jd_connection_timeouts *timeouts);

/* Sets both watermarks in bytes, and whether reading pauses in between; 0 and JD_ABOVE_WATERMARK_DEFAULT: as the server or
 * client. If the output that is queued is now above the high one, or no longer above, that takes effect as if it had risen or
 * fallen now. Also returns JD_EINVAL unless low < high <= output_limit. */
JD_API int jd_tcp_connection_set_watermarks(jd_tcp_connection *connection, size_t high, size_t low,
                                            jd_above_watermark above);

/* Returns whether the connection is up and not closing: true from the up callback on, also after a shutdown and while input
 * of a broken connection is still delivered; false once it closes, and in the down callback. May be called from a thread with a reference. */
JD_API bool jd_tcp_connection_is_connected(const jd_tcp_connection *connection);

/* Returns why the connection closed: 0 after an orderly end by either side or a local close, else the first error, such as
 * JD_ECONNRESET. Of a connection that is broken but not closed yet, because input is left, the error; else 0. Must be called
 * in the loop's thread. */
JD_API int jd_tcp_connection_error(const jd_tcp_connection *connection);

/* Set and return the context, a pointer of the user's. destructor (may be NULL) is invoked with it when it is replaced or,
 * in the loop's thread, when the last reference is returned. set must be called in the loop's thread; context may be called
 * from a thread with a reference. */
JD_API void jd_tcp_connection_set_context(jd_tcp_connection *connection, void *context, void (*destructor)(void *));
JD_API void *jd_tcp_connection_context(const jd_tcp_connection *connection);

/* Returns the connection's id. May be called from a thread with a reference. */
JD_API jd_connection_id jd_tcp_connection_id(const jd_tcp_connection *connection);

/* Returns the loop that the connection lives on. May be called from a thread with a reference. */
JD_API jd_event_loop *jd_tcp_connection_loop(const jd_tcp_connection *connection);

/* Returns the bytes queued that the kernel has not taken yet, those sent from other threads included. A range of a file
 * counts as 128. On io_uring, bytes that the kernel has taken may be counted for 10 ms more while the loop sleeps. May be
 * called from a thread with a reference. */
JD_API size_t jd_tcp_connection_queued_bytes(const jd_tcp_connection *connection);

/* Returns whether queued output has risen above the high watermark and has not fallen to the low one since. It changes with
 * each send, before the watermark callbacks report it. Sends of other threads count when they have arrived at the loop.
 * Must be called in the loop's thread. */
JD_API bool jd_tcp_connection_is_above_watermark(const jd_tcp_connection *connection);

/* Set *endpoint to the address of this end (local) or the peer's (peer). Return 0 or a negative error: local asks the
 * system and returns JD_ENOTCONN once the connection is closed; peer never fails. A Unix-domain peer has no name: "unix:".
 * Must be called in the loop's thread. */
JD_API int jd_tcp_connection_local_endpoint(const jd_tcp_connection *connection, jd_endpoint *endpoint);
JD_API int jd_tcp_connection_peer_endpoint(const jd_tcp_connection *connection, jd_endpoint *endpoint);

/* Sets *handle to the connection's socket, for setsockopt(2) and the like. The library owns the socket: do not read, write
 * or close it. A duplicate (dup(2), fork(2)) may outlive the connection. Returns 0, or JD_ENOTCONN once the connection is
 * closed. Must be called in the loop's thread. */
JD_API int jd_tcp_connection_native_handle(jd_tcp_connection *connection, jd_socket *handle);

/* Takes a reference (ref, returns connection) or returns one (unref). ref may be called from a thread with a reference,
 * unref from any thread. When the last reference is returned, the connection is freed in the loop's thread. References may
 * outlive the loop: the connection is then closed, and the thread that returns the last one frees it. */
JD_API jd_tcp_connection *jd_tcp_connection_ref(jd_tcp_connection *connection);
JD_API void jd_tcp_connection_unref(jd_tcp_connection *connection);

/* A function that the library invokes for a connection, in the thread of its loop. From jd_tcp_connection_post, connection
 * is NULL if there is none with that id any more. */
typedef void (*jd_connection_task)(jd_tcp_connection *connection, void *arg);

/* Returns the connection with this id, or NULL if it is down, from its down callback on. The pointer is valid until the
 * callback returns. Must be called in a callback of the connection's loop; it returns NULL anywhere else. */
JD_API jd_tcp_connection *jd_tcp_connection_find(jd_connection_id id);

/* Queues task(connection, arg) on the loop of the connection with this id. Returns 0: the task runs exactly once, with
 * NULL if the connection is down by then; or JD_ENOENT (the loop is being or has been destroyed) or JD_ENOMEM: the task
 * never runs. May be called from any thread. */
JD_API int jd_tcp_connection_post(jd_connection_id id, jd_connection_task task, void *arg);

JD_END_DECLS
#endif
