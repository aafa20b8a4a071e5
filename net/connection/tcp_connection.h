/* The internals of a connection, shared by the files of net/connection/ and used by net/server/ and net/client/.
 *
 * - tcp_connection.c: the states, from open to down
 * - connection_failure.c: the end of a connection that is broken, while input is left
 * - connection_answers.c: answers that are owed when the connection ends
 * - connection_input.c, connection_codec.c: received bytes and frames, delivered to callbacks
 * - connection_output.c, connection_send_reference.c: output, appended to the output queue
 * - connection_remote.c: commands and sends from other threads
 * - flush.c: output handed to the engine; the turn's end
 * - connection_profile.c: what the connections of one server or client share
 * - connection_session.c: an object of the user's for each connection
 * - connection_settings.c: what one connection has of its own instead
 * - connection_totals.c: limits for all connections of a server together
 * - connection_filter.c: a filter that sees received bytes before the connection is up
 * - connection_timeouts.c, connection_reference.c, connection_id.c, connection_service.c
 *
 * Terms:
 * - Turn: one iteration of the loop (jinduo/event_loop.h).
 * - To touch a connection: to note work for the turn's end (its todo bits) and to put the connection on the loop's list
 *   of touched connections. Deferring keeps callbacks out of the user's calls.
 * - To settle: to do that work at the turn's end, for each touched connection (flush.c).
 *
 * Thread rule: every function here must be called in the connection's loop thread, unless its comment says
 * otherwise. */
#ifndef NET_CONNECTION_TCP_CONNECTION_H
#define NET_CONNECTION_TCP_CONNECTION_H

#include "base/slot_map.h"
#include "base/timer_wheel.h"
#include "net/connection/connection_profile.h"
#include "net/engine/engine.h"
#include "net/loop/event_loop.h"

#include <jinduo/codec.h>
#include <jinduo/tcp_connection.h>
#include <stdatomic.h>

/* In the order of life: a connection may skip a state, and never returns to an earlier one. */
enum connection_state {
    CONNECTION_ACCEPTED,
    CONNECTION_CONNECTED,     /* up: the connection callback is about to run, or has run */
    CONNECTION_DISCONNECTING, /* sends what is queued, then FIN; further sends are refused */
    CONNECTION_BROKEN,        /* nothing more can be sent; input that has arrived is still delivered, then it closes */
    CONNECTION_FAILED,        /* as BROKEN, and nothing more is received: it closes when the input is delivered */
    CONNECTION_CLOSING,       /* the engine's close is pending (TODO_CLOSE) or in flight */
    CONNECTION_DISCONNECTED,  /* down: the connection callback is about to run, or has run */
};

/* Of todo: work for the turn's end. */
enum {
    TODO_FLUSH = 1,          /* hand the output queue to the engine */
    TODO_INPUT = 2,          /* deliver the input that is left, and resume reading, unless reading is paused */
    TODO_FINISH = 4,         /* send FIN, or close, if the output is drained */
    TODO_WRITE_COMPLETE = 8, /* invoke the write-complete callback */
    TODO_CLOSE = 16,         /* let the engine close the stream */
    TODO_DOWN = 32,          /* invoke the connection callback: down */
    TODO_WATERMARK = 64,     /* invoke a watermark callback if the output has crossed that watermark */
    TODO_PEER_GONE = 128,    /* invoke the peer-gone callback, if reading is paused */
};

/* Of flags. */
enum {
    CONNECTION_TOUCHED = 1,             /* on the loop's list of touched connections */
    CONNECTION_PAUSED = 2,              /* reading is paused by the user */
    CONNECTION_PAUSED_FOR_TURN = 4,     /* reading is paused until the next turn (jd_tcp_connection_deliver_again) */
    CONNECTION_END_DEFERRED = 8,        /* the peer's FIN has arrived and waits for the input before it */
    CONNECTION_PEER_ENDED = 16,         /* the peer's FIN has been processed */
    CONNECTION_FIN_SENT = 32,           /* this side has sent its FIN */
    CONNECTION_CLOSE_DRAINED = 64,      /* closes after its output: behind the FIN, input is discarded */
    CONNECTION_RESET = 128,             /* close with RST */
    CONNECTION_UP = 256,                /* the connection came up; stays set */
    CONNECTION_DISCARDS_INPUT = 512,    /* input is dropped; only the peer's FIN counts */
    CONNECTION_ABOVE_WATERMARK = 1024,  /* output is above the high watermark, or has not sunk to the low one since */
    CONNECTION_PAUSED_BY_OUTPUT = 2048, /* reading is paused by the high watermark (back-pressure) */
    CONNECTION_AWAITS_FIRST_MESSAGE = 4096, /* first_message_timeout_ms is running */
    CONNECTION_REPORTED_ABOVE = 8192,       /* the last watermark reported to the user was the high one */
    CONNECTION_SPARED = 16384,              /* its pending output was left out of one early flush (flush.c) */
    CONNECTION_FILTERED = 32768,            /* input goes to profile->filter; not up yet (connection_filter.c) */
    CONNECTION_ANY_PAUSE = CONNECTION_PAUSED | CONNECTION_PAUSED_BY_OUTPUT | CONNECTION_PAUSED_FOR_TURN,
};

/* Of stream.flags: bits that are rarely used (STREAM_OWNERS). */
enum {
    CONNECTION_PEER_END_SEEN = 1 << 22,      /* the engine has seen the peer's FIN, perhaps behind bytes */
    CONNECTION_ANSWERED_BAD_FRAME = 1 << 23, /* the frame-error callback closes behind an answer */
    CONNECTION_ASKED_TO_END = 1 << 24,       /* max_age_ms has passed, and the connection has been asked to end */
    CONNECTION_CHECKS_PRESSURE = 1 << 25,    /* TODO_FINISH calls connection_meet_pressure */
    CONNECTION_WAITED_FOR_SEND = 1 << 26,    /* connection_meet_pressure has waited for a turn */
    CONNECTION_RAISED_BY_PRESSURE = 1 << 27, /* above the high watermark by total_output_limit, not by its own output */
    CONNECTION_REPORTED_GONE = 1 << 28,      /* the peer-gone callback has been invoked */
};

/* The fields that every message uses come first, together: with many connections they have left the cache in
 * between. */
struct jd_tcp_connection {
    struct slot_header slot;
    struct stream stream;
    struct connection_profile *profile; /* in other threads: connection_profile_of */
    jd_buffer *input;                   /* bytes that callbacks left unconsumed; NULL: none */
    jd_tcp_connection *next;            /* on the loop's list of touched connections, or of dead ones */
    _Atomic uint64_t reserved;          /* see connection_reserved_bytes */
    _Atomic uint8_t state;
    uint8_t todo;
    uint16_t flags;
    union {
        /* Until BROKEN: the bytes in the kernel that were unacknowledged when a timeout seemed due, + 1; 0: nothing noted
         * since the last send (connection_timeouts.c). */
        uint32_t unacknowledged_note;
        uint32_t broken_bytes; /* from BROKEN on: bytes received since then */
    };
    uint32_t received_ms, sent_ms; /* of the last receive and send, by the loop's clock; differences hold for 2^31 ms */
    _Atomic(void *) context;

    void (*context_destructor)(void *);
    union {
        struct timer timer;           /* while there are references */
        struct task_node return_task; /* brings the connection to its loop when the last reference ended elsewhere */
    };
    struct peer_address peer;
    union {
        struct {
            int16_t error;        /* from BROKEN on: the first error; JD_EPIPE: see connection_first_error */
            uint8_t close_reason; /* enum close_reason; from CLOSING on */
        };
        uint32_t up_ms; /* until BROKEN, CLOSING or CONNECTION_DISCARDS_INPUT: when the connection came up */

        /* While input is discarded: how long to wait for the peer's FIN behind ours; from our FIN on: until when. 0: no
         * limit. */
        uint32_t linger_ms;
    };
    _Atomic uint32_t references;
};

/* An idle connection must stay small: docs/architecture.md. */
_Static_assert(sizeof(jd_tcp_connection) <= 184, "jd_tcp_connection must not exceed 184 bytes");

static inline jd_tcp_connection *connection_of_stream(struct stream *stream)
{
    return (jd_tcp_connection *)((char *)stream - offsetof(jd_tcp_connection, stream));
}

/* The profile, read in a thread that need not be the loop's. */
static inline const struct connection_profile *connection_profile_of(const jd_tcp_connection *connection)
{
    return __atomic_load_n(&connection->profile, __ATOMIC_ACQUIRE);
}

static inline jd_event_loop *connection_loop(const jd_tcp_connection *connection)
{
    return connection->stream.loop;
}

/* connection.reserved, from the lowest bit on: bytes of sends of other threads whose messages are still in flight (36 bits);
 * ranges of files that are queued or in flight (12 bits, never all of them set, so that a sum of the whole with queued bytes
 * does not overflow: connection_sure_room); answers that are owed (14 bits); two bits of connection_await_answers. */
#define CONNECTION_RESERVED_FILE   ((uint64_t)1 << 36)
#define CONNECTION_OWED_ANSWER     ((uint64_t)1 << 48)
#define CONNECTION_AWAITS_ANSWERS  ((uint64_t)1 << 62) /* the last answer must be reported to the loop */
#define CONNECTION_EXPECTS_NO_MORE ((uint64_t)1 << 63) /* jd_tcp_connection_expect is refused */

enum {
    CONNECTION_FILES_MAX = (1 << 12) - 2,
    CONNECTION_ANSWERS_MAX = (1 << 14) - 1,
};

static inline size_t connection_reserved_bytes(uint64_t reserved)
{
    return (size_t)(reserved & (CONNECTION_RESERVED_FILE - 1));
}

static inline unsigned connection_reserved_files(uint64_t reserved)
{
    return (unsigned)(reserved % CONNECTION_OWED_ANSWER / CONNECTION_RESERVED_FILE);
}

static inline unsigned connection_owed_answers(uint64_t reserved)
{
    return (unsigned)(reserved % CONNECTION_AWAITS_ANSWERS / CONNECTION_OWED_ANSWER);
}

static inline enum connection_state connection_state(const jd_tcp_connection *connection)
{
    return (enum connection_state)atomic_load_explicit(&connection->state, memory_order_relaxed);
}

/* What a connection is asked to do, also by other threads. */
enum connection_command {
    COMMAND_SEND,
    COMMAND_SEND_REFERENCE,
    COMMAND_SHUTDOWN,
    COMMAND_CLOSE,
    COMMAND_CLOSE_AFTER_OUTPUT,
    COMMAND_RESET,
    COMMAND_FINISH,   /* check again whether the output is drained: a reservation was withdrawn */
    COMMAND_ANSWERED, /* no answer is owed any more */
};

/* ---- tcp_connection.c ---- */

/* Creates a connection on a connected socket, starts its stream and invokes the connection callback (up). Takes a
 * reference on profile, and ownership of socket, also when it fails. Must not be called inside a callback of another
 * connection. Returns 0, or a negative error: then the socket is closed, now or at the turn's end, the user never sees
 * the connection, and owner->gone reports the error. */
int connection_open(jd_event_loop *loop, struct connection_profile *profile, socket_handle socket,
                    const struct peer_address *peer);

/* The connection is up: makes its session, counts it, starts its timeouts and invokes the connection callback. Returns 0, or
 * an error of the session: then the connection is closing. */
int connection_come_up(jd_tcp_connection *connection);

/* Begins to close: sends are refused from now on, the engine closes the stream at the turn's end, then the connection
 * goes down. error: 0, or the negative error that jd_tcp_connection_error reports. The reason, for the statistics,
 * follows from error, or is given. Does nothing if the connection is closing already. */
void connection_begin_close(jd_tcp_connection *connection, int error);
void connection_begin_close_for(jd_tcp_connection *connection, int error, enum close_reason reason);

/* Sets any state but DISCONNECTING, which other threads set too. */
void connection_set_state(jd_tcp_connection *connection, enum connection_state state);

/* Changes the state from CONNECTED to DISCONNECTING. Returns false if the state was another. From any thread. */
bool connection_set_disconnecting(jd_tcp_connection *connection);

/* For COMMAND_SHUTDOWN, which is refused after another, and COMMAND_CLOSE_AFTER_OUTPUT, which is not: changes the state to
 * DISCONNECTING. Returns false if the command is refused. From any thread. */
bool connection_begin_disconnecting(jd_tcp_connection *connection, enum connection_command command);

/* Processes the peer's FIN, when all input before it has been delivered: invokes the half-close callback, or begins to
 * finish the output and close. */
void connection_peer_ended(jd_tcp_connection *connection);

/* Writes the peer's address as text into text (JD_ENDPOINT_TEXT_BYTES bytes), for log lines. */
void connection_peer_text(const jd_tcp_connection *connection, char *text);

/* The remaining steps of settling, in their order; each does nothing when the state no longer asks for it. */
void connection_invoke_watermark(jd_tcp_connection *connection);      /* connection_output.c */
void connection_invoke_peer_gone(jd_tcp_connection *connection);      /* connection_failure.c */
void connection_invoke_write_complete(jd_tcp_connection *connection); /* connection_output.c */
void connection_deliver_deferred(jd_tcp_connection *connection);      /* connection_input.c; also resumes reading */
void connection_finish_output(jd_tcp_connection *connection);         /* DISCONNECTING and drained: FIN, or close */
void connection_close_stream(jd_tcp_connection *connection);
void connection_invoke_down(jd_tcp_connection *connection); /* gives the library's reference back */

/* ---- connection_filter.c ---- */

/* Begins to wait for a PROXY header (profile->proxy), behind which the connection comes up. Returns 0 or a negative error:
 * then the connection is closing. */
int connection_await_header(jd_tcp_connection *connection);

/* Passes received bytes to the filter. Returns true if bytes are left in block, for a connection that is up now. */
bool connection_filter_input(jd_tcp_connection *connection, struct block *block);

/* The peer's FIN has arrived before the filter has finished. */
void connection_filter_ended(jd_tcp_connection *connection);

/* The connection goes down and its filter has not finished: counts why. */
void connection_filter_count(const jd_tcp_connection *connection);

/* ---- connection_failure.c ---- */

/* The error with which a connection that is BROKEN or later goes down. */
int connection_first_error(const jd_tcp_connection *connection);

/* Nothing more can be sent or received (FAILED): closes now, or when the input has been delivered. */
void connection_fail(jd_tcp_connection *connection, int error);

/* The connection goes down: counts its error, if any, and logs it unless its reason has a log line of its own. */
void connection_report_error(jd_tcp_connection *connection);

/* ---- connection_totals.c ---- */

/* The pressure of total_output_limit has begun or ended: pauses or resumes reading from owner's connections. */
void connections_apply_pressure(jd_event_loop *loop, const struct connection_owner *owner);

static inline void connection_count_output(jd_tcp_connection *connection, size_t before)
{
    if (connection->profile->totals != NULL)
        connection_totals_count_output(connection, before);
}

static inline void connection_count_input(jd_tcp_connection *connection)
{
    if (connection->profile->totals != NULL)
        connection_totals_count_input(connection);
}

static inline void connection_forget_input(jd_tcp_connection *connection)
{
    if (connection->profile->totals != NULL)
        connection_totals_forget_input(connection);
}

/* ---- connection_answers.c ---- */

/* Whether the connection is CONNECTED and owes answers, which must be sent before it ends: connection_all_answered follows
 * the last one. False: jd_tcp_connection_expect is refused from now on. */
bool connection_await_answers(jd_tcp_connection *connection);

/* Ends a connection whose end has waited for answers, unless it owes one again. */
void connection_all_answered(jd_tcp_connection *connection);

/* ---- flush.c ---- */

/* Touches connection: adds todo (TODO_ bits) to the work for the turn's end. Ignored when the connection is down. */
void connection_touch(jd_tcp_connection *connection, unsigned todo);

/* Hands queued output to the engine now, if TODO_FLUSH is set. */
void connection_flush(jd_tcp_connection *connection);

/* As connection_flush, and an engine that gathers output for its next wait submits it at once. */
void connection_flush_early(jd_tcp_connection *connection);

/* As struct loop_service says: flush_early, settle. */
void flush_early(jd_event_loop *loop);
unsigned settle_connections(jd_event_loop *loop);

/* ---- connection_timeouts.c ---- */

/* Timeouts are below 12 days: 2^30 ms and half of that again fit the signed difference of two 32-bit times. */
enum { CONNECTION_TIMEOUT_MAX_MS = (1 << 30) - 1 };

/* The connection has come up, or has got other timeouts: starts the timer for the timeouts of its profile. */
void connection_start_timeouts(jd_tcp_connection *connection);

/* awaits_next is set: the messages of this turn are over. */
void connection_await_next(jd_tcp_connection *connection);

/* There may be a heartbeat callback now. */
void connection_start_heartbeat(jd_tcp_connection *connection);

/* The timer has expired: closes with JD_ETIMEDOUT, or invokes the heartbeat callback, and starts the timer again. */
void connection_check_timeouts(jd_tcp_connection *connection);

/* Input is about to be discarded, and linger_ms to be set: max_age_ms goes on, if there is memory for it. */
void connection_keep_age(jd_tcp_connection *connection);

/* This side's FIN was sent, and input is discarded: linger_ms starts now. */
void connection_start_linger(jd_tcp_connection *connection);

/* Output was queued on an empty queue: write_timeout_ms starts now. */
void connection_start_write_timeout(jd_tcp_connection *connection);

/* ---- connection_input.c ---- */

/* Whether a callback is delivering the connection's input. */
static inline bool connection_is_delivering(const jd_tcp_connection *connection)
{
    const struct loop_delivery *delivery = &connection_loop(connection)->delivery;

    return delivery->answering == connection || delivery->redelivering == connection;
}

/* Whether input may be delivered to the user now: not closing, not paused and not discarded. */
static inline bool connection_may_deliver(const jd_tcp_connection *connection)
{
    return connection_state(connection) < CONNECTION_CLOSING &&
           !(connection->flags & (CONNECTION_ANY_PAUSE | CONNECTION_DISCARDS_INPUT));
}

/* Whether the end of input (the peer's FIN or a failure) must wait, because the input before it is going to be delivered. */
bool connection_end_is_deferred(const jd_tcp_connection *connection);

/* Copies bytes behind the unconsumed input. Returns false when there is no memory: then the connection is closing. */
bool connection_append_input(jd_tcp_connection *connection, const void *data, size_t length);

/* Copies bytes that arrived while reading is paused, or before input that is due again was delivered. They count for
 * input_limit when a callback has seen them: an engine delivers a bounded number of bytes after a pause. */
void connection_defer_input(jd_tcp_connection *connection, const void *data, size_t length);

/* Delivers block to the codec or the message callback that a callback of this delivery has set. */
void connection_deliver_rest(jd_tcp_connection *connection, struct block *block);

/* The codec or message callback has been changed: the input that is left goes to the new one, in this turn. */
void connection_note_switch(jd_tcp_connection *connection);

/* Frees the input buffer if it is empty. */
void connection_drop_empty_input(jd_tcp_connection *connection);

/* Ends one kind of pause: CONNECTION_PAUSED or CONNECTION_PAUSED_BY_OUTPUT. The input that is left is delivered, and
 * reading resumed, at the turn's end. */
void connection_end_pause(jd_tcp_connection *connection, unsigned pause);

/* Output has left the queue, or was dropped: reports the fall to the low watermark, and ends the pause above it. */
void connection_sink_to_watermark(jd_tcp_connection *connection);    /* connection_output.c */
void connection_check_low_watermark(jd_tcp_connection *connection);  /* does that if bytes and files are few enough */
void connection_rise_above_watermark(jd_tcp_connection *connection); /* connection_output.c; the opposite */

/* Drops the input from now on, until the peer's FIN. */
void connection_discard_input(jd_tcp_connection *connection);

/* ---- connection_codec.c ---- */

/* Decodes the frames in block and delivers them; an incomplete frame is copied to the connection's input. */
void connection_deliver_frames(jd_tcp_connection *connection, struct block *block);

/* Decodes and delivers the frames in the connection's input, which must not be NULL. */
void connection_decode_input(jd_tcp_connection *connection);

/* ---- connection_output.c ---- */

/* Drops the output queue, and counts its bytes as dropped. */
void connection_drop_output(jd_tcp_connection *connection);

/* Whether length more bytes may be queued now. Returns 0, JD_ENOTCONN or JD_ENOBUFS (output_limit). */
int connection_may_send(const jd_tcp_connection *connection, size_t length);

/* Copies the parts (length bytes in total) into the output queue, all or nothing. Returns what jd_tcp_connection_send
 * returns. From any thread that may use connection. */
int connection_send_parts(jd_tcp_connection *connection, const jd_iovec *parts, int count, size_t length);

/* The watermarks have been changed. */
void connection_apply_watermarks(jd_tcp_connection *connection);

/* A range of a file has been added to the output queue, besides connection_output_added; ranges have left it. */
void connection_file_added(jd_tcp_connection *connection);
void connection_files_released(jd_tcp_connection *connection);

/* Must follow each addition to the output queue: schedules the flush and checks the watermark. queued_before: the
 * queue's bytes before; length: the bytes added, those in files included. */
void connection_output_added(jd_tcp_connection *connection, size_t queued_before, uint64_t length);

/* After a flush. block: a receive block that send_buffer moved to the output queue. If few of its bytes are still
 * queued they are copied, and the block returns to its pool. */
void connection_return_borrowed(jd_tcp_connection *connection, const struct block *block);

/* ---- connection_remote.c: from threads other than the loop's ---- */

/* Queues command (not a send). linger_ms: of COMMAND_CLOSE_AFTER_OUTPUT. Returns 0, also when the connection or its loop
 * is gone; JD_ENOMEM; for COMMAND_SHUTDOWN and COMMAND_CLOSE_AFTER_OUTPUT JD_ENOTCONN if the connection is not in a state
 * for it (connection_begin_disconnecting). */
int connection_post_command(jd_tcp_connection *connection, enum connection_command command, uint32_t linger_ms);

/* Queues a copy of the parts, length bytes in total. Returns what jd_tcp_connection_send returns. */
int connection_post_send(jd_tcp_connection *connection, const jd_iovec *parts, int count, size_t length);

/* Queues a reference (the struct is copied, the memory or file is not). counted_bytes: what it adds to queued_bytes. A
 * file counts for max_queued_files.
 * Returns what jd_tcp_connection_send returns; after an error release is not called. */
int connection_post_reference(jd_tcp_connection *connection, const struct output_reference *reference,
                              size_t counted_bytes);

/* Adds counted_bytes to connection.reserved, and a file that is about to be queued. Returns 0; or JD_ENOBUFS beyond
 * max_queued_files, or beyond output_limit together with queued_bytes: nothing was added. From any thread that may use
 * connection. */
int connection_reserve(jd_tcp_connection *connection, size_t queued_bytes, size_t counted_bytes, bool is_file);

/* tcp_connection.c, in the loop's thread: executes a command that is not a send. */
void connection_execute_command(jd_tcp_connection *connection, enum connection_command command, uint32_t linger_ms);

/* ---- connection_reference.c ---- */

/* Frees a connection without references: its context, its profile reference and its slot. */
void connection_free_in_loop(jd_tcp_connection *connection);

/* ---- connection_service.c: all connections of a loop ---- */

enum closing {
    CLOSING_NOW,
    CLOSING_DRAINED, /* connections with queued output when it is sent and the peer has ended its side, others now */
    CLOSING_OVERDUE, /* now, because the time for draining has passed */
};

/* Closes the loop's connections that belong to owner (NULL: all). */
void connections_close(jd_event_loop *loop, const struct connection_owner *owner, enum closing closing);

extern const struct loop_service connection_service;

#endif
