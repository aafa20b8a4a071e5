/* The other half of the seam: what an engine calls. event_loop_ functions are the loop's (net/loop/), stream_ functions the
 * connection's (net/connection/), listener_ functions the server's (net/server/).
 *
 * Thread rule: in the loop's thread only, but for event_loop_push and event_loop_current. */
#ifndef NET_ENGINE_ENGINE_EVENTS_H
#define NET_ENGINE_ENGINE_EVENTS_H

#include "base/task_queue.h"
#include "net/engine/engine.h"

/* The loop's engine. */
struct engine *event_loop_engine(const jd_event_loop *loop);

/* What the loop was made with. */
const jd_event_loop_options *event_loop_options(const jd_event_loop *loop);

/* From wait, once, when the waiting is over and before any report. */
void event_loop_woke(jd_event_loop *loop);

/* For the statistics: a call into the kernel to wait, or to hand over what was gathered. */
void event_loop_count_enter(jd_event_loop *loop);

/* Bytes have arrived: (*block)->begin to end. The receiver may keep them (block_keep), and sets *block to NULL if that
 * has given him the block itself; otherwise it is the engine's again on return. Only from wait. User callbacks run
 * here, which may pause the stream. */
void stream_received(struct stream *stream, struct block **block);

/* The peer's FIN, behind all its bytes. At most once, only from wait. User callbacks run here. */
void stream_ended(struct stream *stream);

/* The kernel has taken the first length bytes of the output queue, of whatever kinds they are, and does not need them any
 * more: they leave the queue, and memory and files that were lent are given back at the turn's end. */
void stream_sent(struct stream *stream, size_t length);

/* The same, but the kernel still reads the memory: blocks that it has taken whole are appended to *lent, for
 * stream_blocks_returned when it does not any more, before stream_closed. Returns 0, or JD_ENOMEM: then the
 * rest of the block of which it has taken a part has been dropped. */
int stream_sent_zero_copy(struct stream *stream, size_t length, struct block_chain *lent);
void stream_blocks_returned(jd_event_loop *loop, struct block_chain *lent);

/* Whether something is to follow as soon as the output queue has been sent: a callback, the connection's end or, as it is near
 * its limit, more output. */
bool stream_is_awaited(const struct stream *stream);

/* For engines that cannot send from a file: at most most (> 0) bytes of the file that is first in the output queue are read
 * into a block in front of it. Returns 0, or why they could not be: then the stream has failed. Not while what is first is
 * being sent. */
int stream_read_file(struct stream *stream, size_t most);

/* The same for an engine that reads by itself: into *room, and then count bytes are there, or 0 at the file's end, or an
 * error. The second may come when the stream is closing. */
int stream_begin_read(struct stream *stream, size_t most, jd_iovec *room);
int stream_end_read(struct stream *stream, ssize_t count);

/* The connection is broken; the engine goes on waiting for close. Further failures are ignored. */
void stream_failed(struct stream *stream, int error);

/* See stream_ops.close. */
void stream_closed(struct stream *stream);

/* See engine_ops.unlisten: the kernel can touch nothing of the listener any more. It may be freed when the call into the
 * engine, or its wait, is over. */
void listener_closed(struct listener *listener);

/* Accepting stopped because descriptors or memory ran out; the engine tries again by itself. */
void listener_out_of_resources(struct listener *listener, int error);

/* For the statistics: a connection was accepted, and failed before it could be told. */
void listener_count_lost(struct listener *listener);

/* For the statistics: a stream could not receive for want of blocks, and waits for some. */
void event_loop_count_receive_pause(jd_event_loop *loop);

/* For the statistics: a queue of the kernel's was full. */
void event_loop_count_overflow(jd_event_loop *loop);

/* A block to receive into, from the loop's pool; NULL when there is no memory. Put back with block_put. */
struct block *event_loop_receive_block(jd_event_loop *loop);

/* From create, before there are any: the blocks to receive into take so many bytes, their headers included, instead of the
 * loop's own measure. Returns 0 or JD_ENOMEM. */
int event_loop_set_receive_blocks(jd_event_loop *loop, uint32_t block_bytes);

/* For block_show: where slices of such blocks come from. */
struct block_pool *event_loop_slices(jd_event_loop *loop);

/* The most that one stream may report as received, and may send, in a turn, in bytes: others want their turn too. */
size_t stream_budget(const struct stream *stream);

/* A number that names the stream on its loop and no other ever after, below 2^56; and the stream it names, or NULL. For
 * engines whose kernel may tell of a stream that is gone. */
uint64_t stream_token(const struct stream *stream);
struct stream *stream_by_token(jd_event_loop *loop, uint64_t token);

/* Where a stream with that token would lie, if it is alive, without looking at it; or NULL. */
const void *stream_address(const jd_event_loop *loop, uint64_t token);

/* ---- What operations of the user's own need of the loop, besides its public functions (proactor/operation/) ---- */

/* The loop whose callback the calling thread is in, or NULL. */
jd_event_loop *event_loop_current(void);

/* Queues task on the loop and wakes it. Returns false when the loop is being destroyed: the task is still the caller's. From
 * any thread. */
bool event_loop_push(jd_event_loop *loop, struct task_node *task);

/* Before each callback of the user's: sends early what the flush policy says cannot wait for the turn's end. */
void event_loop_before_callback(jd_event_loop *loop);

/* Whether the loop is being destroyed; and whether it still takes tasks, as it does until all that was queued has run. */
bool event_loop_is_ending(const jd_event_loop *loop);
bool event_loop_takes_tasks(const jd_event_loop *loop);

/* The loop's clock, read now. */
jd_timestamp event_loop_clock(const jd_event_loop *loop);

#endif
