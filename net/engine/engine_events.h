/* The functions that an engine calls: the other half of the seam (engine.h). event_loop_ functions belong to the loop
 * (net/loop/), stream_ functions to the connection (net/connection/), listener_ functions to the server (net/server/).
 *
 * Thread rule:
 *   - from any thread: event_loop_current, event_loop_push, event_loop_accepts_tasks, event_loop_clock; and
 *     event_loop_engine and event_loop_options, whose values do not change after create
 *   - in the thread that creates the loop, inside create: event_loop_options, event_loop_set_receive_blocks
 *   - in the thread that calls unlisten: listener_closed, which may be any thread if the listener belongs to no engine
 *   - in the loop's thread only: all others */
#ifndef NET_ENGINE_ENGINE_EVENTS_H
#define NET_ENGINE_ENGINE_EVENTS_H

#include "base/task_queue.h"
#include "net/engine/engine.h"

/* ---- the loop ---- */

/* The loop's engine. Not inside create: it is not known yet. */
struct engine *event_loop_engine(const jd_event_loop *loop);

/* The options with which the loop was created. */
const jd_event_loop_options *event_loop_options(const jd_event_loop *loop);

/* The wait has ended: the loop is awake and reads its clock. Must be called once in each wait, before the first
 * report. */
void event_loop_woke(jd_event_loop *loop);

/* Statistics: counts a system call that waits or submits operations. */
void event_loop_count_enter(jd_event_loop *loop);

/* Statistics: counts a stream that has no block to receive into and waits for one. */
void event_loop_count_receive_pause(jd_event_loop *loop);

/* Statistics: counts a full queue of the kernel (io_uring's submission or completion queue). */
void event_loop_count_overflow(jd_event_loop *loop);

/* Returns an empty block to receive into, from the loop's pool, or NULL without memory. The caller owns it until
 * block_release. */
struct block *event_loop_receive_block(jd_event_loop *loop);

/* Sets the size of the blocks to receive into, in bytes and with their headers, instead of the loop's default. Inside
 * create only, before the first block is taken. Returns 0 or JD_ENOMEM. */
int event_loop_set_receive_blocks(jd_event_loop *loop, uint32_t block_bytes);

/* The pool for the slices of receive blocks (block_view). */
struct block_pool *event_loop_slice_pool(jd_event_loop *loop);

/* ---- a stream ---- */

/* With true before stream_received: more bytes of the same stream are going to be delivered at once, so that the output of
 * its callbacks waits for that of the next. With false after it. */
void event_loop_delivers_more(jd_event_loop *loop, bool more);

/* Delivers received bytes: (*block)->begin to end. The receiver may keep them (block_keep). If the block itself is
 * kept, *block is set to NULL; else it is the engine's again on return. Only from wait. User callbacks run inside and
 * may pause the stream. */
void stream_received(struct stream *stream, struct block **block);

/* Reports that a receive has found the end of input, after all bytes: the peer's FIN, or the end behind an error that has
 * been, or is about to be, reported by stream_output_failed. At most once, only from wait. User callbacks run inside. */
void stream_ended(struct stream *stream);

/* Reports that the kernel has taken the first length bytes of the output queue, in memory or in files, and reads them
 * no more. They leave the queue. Referenced memory and files are released at the end of the turn (jd_release). */
void stream_sent(struct stream *stream, size_t length);

/* As stream_sent, for a zero-copy send: the kernel still reads the memory. Blocks that it has taken completely are
 * appended to *in_flight. The caller passes them to stream_zero_copy_done when the kernel reads them no more, before
 * stream_closed. Returns 0; or JD_ENOMEM: the untaken rest of a block that was taken in part is dropped, and the stream
 * must fail. */
int stream_sent_zero_copy(struct stream *stream, size_t length, struct block_chain *in_flight);
void stream_zero_copy_done(jd_event_loop *loop, struct block_chain *in_flight);

/* Whether the connection needs the report that the output queue has been sent: for a callback, a watermark, its
 * half-close, or because so much is queued that further output may be refused. If not, the engine may send without a
 * completion (unsignaled). */
bool stream_needs_sent_report(const struct stream *stream);

/* For engines that cannot send from a file: reads at most `most` (> 0) bytes of the file that is first in the output
 * queue into a block before it. Not while the first bytes of the queue are being sent. Returns 0, or a negative error:
 * the stream must fail. */
int stream_read_file(struct stream *stream, size_t most);

/* The same in two steps, for an engine that reads by an operation. begin sets *room to the memory to read into; end
 * passes the number of bytes read, 0 at the end of the file, or a negative error. Between the two nothing may be sent.
 * end may come while the stream is closing. Both return as stream_read_file. */
int stream_begin_read(struct stream *stream, size_t most, jd_iovec *room);
int stream_end_read(struct stream *stream, ssize_t count);

/* Reports that the peer's FIN has arrived while the stream is paused: stream_ended follows behind its bytes, when the
 * stream is resumed. */
void stream_end_seen(struct stream *stream);

/* Reports that nothing more can be sent, and that nothing uses the output queue any more: it is emptied inside. The engine goes on receiving what the kernel has of input, and what is behind the
 * last byte: stream_ended or stream_failed. Later reports of this kind, and of stream_failed, do not change the error. */
void stream_output_failed(struct stream *stream, int error);

/* Reports that nothing more can be received or sent: all bytes that arrived before have been reported. The connection
 * will call close, and the engine waits for that. Before this call, or as soon as nothing uses the output queue, the engine
 * reports stream_output_failed. */
void stream_failed(struct stream *stream, int error);

/* Reports the end of close (stream_ops.close): nothing of the stream is in use any more. */
void stream_closed(struct stream *stream);

/* The most bytes that a stream may report as received, and may send, in one turn: so that one fast peer cannot keep the
 * other connections waiting. */
size_t stream_budget(const struct stream *stream);

/* stream_token returns a number below 2^56 that names the stream on its loop, and no later stream. stream_by_token
 * returns the stream of a token, or NULL if it is gone. For engines whose kernel may report an event for a stream that
 * is gone. */
uint64_t stream_token(const struct stream *stream);
struct stream *stream_by_token(jd_event_loop *loop, uint64_t token);

/* The address that the stream of a token has if it is alive, to be prefetched; or NULL. Reads nothing of the stream. */
const void *stream_address(const jd_event_loop *loop, uint64_t token);

/* ---- a listener ---- */

/* Reports the end of unlisten (engine_ops.unlisten): the kernel uses nothing of the listener any more. The receiver
 * frees it only after the current call into the engine, or its wait, has returned. */
void listener_closed(struct listener *listener);

/* Reports that accepting has stopped for want of descriptors or memory. The engine retries by itself. */
void listener_out_of_resources(struct listener *listener, int error);

/* Statistics: counts a connection that was accepted, but failed before it could be reported. */
void listener_count_failed(struct listener *listener);

/* ---- what the user's operations need of the loop, besides its public functions (proactor/operation/) ---- */

/* The loop whose turn the calling thread is running, or NULL. */
jd_event_loop *event_loop_current(void);

/* Queues task on the loop and wakes it. The loop must exist until the task has run or this call has returned, whichever
 * is first; so the task may destroy it. Returns false if the loop accepts no tasks any more, because it is being
 * destroyed: the task still belongs to the caller. */
bool event_loop_push(jd_event_loop *loop, struct task_node *task);

/* Must be called before each user callback: sends the output that, by the flush policy, must not wait for the end of
 * the turn. */
void event_loop_before_callback(jd_event_loop *loop);

/* Whether jd_event_loop_destroy is in progress; and whether the loop still accepts tasks: it does until all queued
 * tasks have run. */
bool event_loop_is_being_destroyed(const jd_event_loop *loop);
bool event_loop_accepts_tasks(const jd_event_loop *loop);

/* The loop's monotonic clock, read now. jd_event_loop_now returns the time at which the turn's wait ended. */
jd_timestamp event_loop_clock(const jd_event_loop *loop);

#endif
