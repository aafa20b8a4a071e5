/* The connection's inside, shared by the files that make it up: tcp_connection.c (life), connection_input.c (what
 * arrives), connection_output.c (what is sent), flush.c (the turn's end). */
#ifndef NET_CONNECTION_TCP_CONNECTION_H
#define NET_CONNECTION_TCP_CONNECTION_H

#include "base/slot_map.h"
#include "base/timer_wheel.h"
#include "net/engine/engine.h"
#include "net/loop/event_loop.h"

#include <jinduo/codec.h>
#include <jinduo/tcp_connection.h>
#include <stdatomic.h>

/* What a connection tells of itself to the server or client that it belongs to, in its loop's thread. */
struct connection_owner {
    /* The user is about to be told up (change is 1), or down (-1). */
    void (*seen)(struct connection_owner *owner, jd_tcp_connection *connection, int change);

    /* It is gone from loop, whether seen or not; error: 0, or why. The owner may end any time after. */
    void (*gone)(struct connection_owner *owner, jd_event_loop *loop, int error);
};

/* What all connections of a server or client have in common: one shared record instead of a copy in each. */
struct connection_profile {
    _Atomic uint32_t references;
    struct connection_owner *owner; /* not to be followed after gone */
    char name[32];

    jd_connection_callback on_connection;
    void *on_connection_arg;
    jd_message_callback on_message;
    void *on_message_arg;
    jd_write_complete_callback on_write_complete;
    void *on_write_complete_arg;
    jd_half_close_callback on_half_close;
    void *on_half_close_arg;
    jd_watermark_callback on_high_watermark;
    void *on_high_watermark_arg;
    jd_watermark_callback on_low_watermark;
    void *on_low_watermark_arg;
    jd_heartbeat_callback on_heartbeat;
    void *on_heartbeat_arg;
    const jd_codec *codec;
    jd_frame_callback on_frame;
    void *on_frame_arg;
    jd_frame_error_callback on_frame_error;
    void *on_frame_error_arg;

    size_t output_limit;
    size_t input_limit;
    size_t budget_bytes;
    size_t high_watermark, low_watermark;
    bool allow_half_open;
    bool read_above_watermark;
    bool has_timeouts; /* any of these */
    uint32_t first_message_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t read_timeout_ms;
    uint32_t write_timeout_ms;
    uint32_t heartbeat_ms;
};

/* The options that servers and clients share. */
struct connection_options {
    struct socket_options socket;
    bool allow_half_open;
    size_t output_limit, input_limit, budget_bytes;
    size_t high_watermark, low_watermark;
    bool read_above_watermark;
    uint32_t first_message_timeout_ms, idle_timeout_ms, read_timeout_ms, write_timeout_ms, heartbeat_ms;
};

/* Taken out of either's. */
#define CONNECTION_OPTIONS_OF(options)                                                                                 \
    {                                                                                                                  \
        .socket = { .nagle = (options)->nagle,                                                                         \
                    .keepalive = (options)->keepalive,                                                                 \
                    .send_buffer_bytes = (options)->send_buffer_bytes,                                                 \
                    .receive_buffer_bytes = (options)->receive_buffer_bytes },                                         \
        .allow_half_open = (options)->allow_half_open, .output_limit = (options)->output_limit,                        \
        .input_limit = (options)->input_limit, .budget_bytes = (options)->budget_bytes,                                \
        .high_watermark = (options)->high_watermark, .low_watermark = (options)->low_watermark,                        \
        .read_above_watermark = (options)->read_above_watermark,                                                       \
        .first_message_timeout_ms = (options)->first_message_timeout_ms,                                               \
        .idle_timeout_ms = (options)->idle_timeout_ms, .read_timeout_ms = (options)->read_timeout_ms,                  \
        .write_timeout_ms = (options)->write_timeout_ms, .heartbeat_ms = (options)->heartbeat_ms,                      \
    }

/* connection_profile.c. create: with one reference; NULL when there is no memory. */
bool connection_options_make_sense(const char *name, const struct connection_options *options);
struct connection_profile *connection_profile_create(struct connection_owner *owner, const char *name,
                                                     const struct connection_options *options);
void connection_profile_release(struct connection_profile *profile);
void connection_profile_set_codec(struct connection_profile *profile, const jd_codec *codec, jd_frame_callback callback,
                                  void *arg);

/* In the order of life; a state is never left backwards. */
enum connection_state {
    CONNECTION_ACCEPTED,
    CONNECTION_CONNECTED,     /* the user has seen it */
    CONNECTION_DISCONNECTING, /* sends what is queued, then FIN; takes no more */
    CONNECTION_CLOSING,       /* the engine has been or will be told to close it */
    CONNECTION_DISCONNECTED,  /* the user has seen it go */
};

/* What is to be done at the turn's end (todo), and what else is true of the connection (flags). */
enum {
    TODO_FLUSH = 1,          /* hand the output queue to the engine */
    TODO_INPUT = 2,          /* input held back while reading was paused */
    TODO_FINISH = 4,         /* see whether the output is drained */
    TODO_WRITE_COMPLETE = 8, /* tell the user that it is */
    TODO_CLOSE = 16,
    TODO_DOWN = 32,
    TODO_WATERMARK = 64, /* tell the user on which side of the watermarks the output is */
};

enum {
    CONNECTION_TOUCHED = 1,          /* on the loop's list of connections with something to do */
    CONNECTION_PAUSED = 2,           /* by the user */
    CONNECTION_INPUT_DEFERRED = 4,   /* input arrived that the user has not been told of */
    CONNECTION_END_DEFERRED = 8,     /* and behind it the peer's FIN */
    CONNECTION_PEER_ENDED = 16,      /* the peer has sent its FIN */
    CONNECTION_FIN_SENT = 32,        /* we have */
    CONNECTION_CLOSE_DRAINED = 64,   /* close when the output is drained, instead of FIN */
    CONNECTION_RESET = 128,          /* close with RST */
    CONNECTION_UP = 256,             /* the user has been told up */
    CONNECTION_DISCARDS_INPUT = 512, /* only the peer's FIN is waited for */
    CONNECTION_ABOVE_WATERMARK = 1024,
    CONNECTION_REPORTED_ABOVE = 8192, /* and the user knows */
    CONNECTION_SPARED = 16384,        /* by an early flush, of output that was old */
    CONNECTION_PAUSED_BY_OUTPUT = 2048,
    CONNECTION_FIRST_MESSAGE = 4096, /* has not come yet, and must in time */
    CONNECTION_ANY_PAUSE = CONNECTION_PAUSED | CONNECTION_PAUSED_BY_OUTPUT,
};

/* What each message touches comes first, together: with many connections it has left the cache in between. */
struct jd_tcp_connection {
    struct slot_header slot;
    struct stream stream;
    struct connection_profile *profile;
    jd_buffer *input;                /* what callbacks left behind; NULL: nothing */
    jd_tcp_connection *next;         /* on the loop's list of touched, or of dead ones */
    _Atomic size_t queued_elsewhere; /* bytes that other threads' sends have reserved, on their way to the loop */
    _Atomic uint8_t state;
    uint8_t todo;
    uint16_t flags;
    _Atomic uint32_t references;
    uint32_t received_ms, sent_ms; /* when last, by the loop's clock; differences are right for 2^31 ms */
    _Atomic(void *) context;

    void (*context_destructor)(void *);
    union {
        struct timer timer;    /* while it lives */
        struct task_node home; /* the last reference on its way home to the loop */
    };
    struct peer_address peer;
    union {
        struct {
            int16_t error;        /* once it is closing */
            uint8_t close_reason; /* enum close_reason */
        };
        uint32_t up_ms; /* before: when it came up */
    };
};

/* An idle connection must stay small: docs/architecture.md. */
_Static_assert(sizeof(jd_tcp_connection) <= 184, "an idle connection has grown");

static inline jd_tcp_connection *connection_of_stream(struct stream *stream)
{
    return (jd_tcp_connection *)((char *)stream - offsetof(jd_tcp_connection, stream));
}

static inline jd_event_loop *connection_loop(const jd_tcp_connection *connection)
{
    return connection->stream.loop;
}

static inline enum connection_state connection_state(const jd_tcp_connection *connection)
{
    return (enum connection_state)atomic_load_explicit(&connection->state, memory_order_relaxed);
}

/* Makes a connection of a connected socket, which it owns from here on, starts it and tells the user (up). Takes a
 * reference on profile. In the loop's thread, not inside a callback of another connection. Returns 0, or a negative error
 * and the socket is closed. */
int connection_open(jd_event_loop *loop, struct connection_profile *profile, socket_handle socket,
                    const struct peer_address *peer);

/* Queues todo for the turn's end (flush.c). */
void connection_touch(jd_tcp_connection *connection, unsigned todo);

/* Hands queued output to the engine now, if any waits for that (flush.c). */
void connection_flush(jd_tcp_connection *connection);

/* The same, and it leaves at once. */
void connection_flush_early(jd_tcp_connection *connection);

/* No sends from now on; the engine is told at the turn's end. error: 0, or why; the reason follows from it, or is given. */
void connection_begin_close(jd_tcp_connection *connection, int error);
void connection_begin_close_for(jd_tcp_connection *connection, int error, enum close_reason reason);

/* The peer's address as text, of at most JD_ENDPOINT_TEXT_BYTES: for messages in the log. */
void connection_peer_text(const jd_tcp_connection *connection, char *text);

/* The peer's FIN, when the input before it has been dealt with. */
void connection_peer_ended(jd_tcp_connection *connection);

/* The steps of the turn's end, in their order. */
void connection_invoke_watermark(jd_tcp_connection *connection);
void connection_invoke_write_complete(jd_tcp_connection *connection);
void connection_deliver_deferred(jd_tcp_connection *connection);
void connection_finish_output(jd_tcp_connection *connection); /* if drained and someone waits for that: FIN or close */
void connection_close_stream(jd_tcp_connection *connection);
void connection_invoke_down(jd_tcp_connection *connection);

/* connection_timeouts.c: timeouts of less than 12 days, as 2^30 ms and their half again fit a signed 32-bit clock. */
enum { CONNECTION_TIMEOUT_MAX_MS = (1 << 30) - 1 };
void connection_start_timeouts(jd_tcp_connection *connection);
void connection_check_timeouts(jd_tcp_connection *connection);
void connection_expect_progress(jd_tcp_connection *connection); /* of output that begins to wait */

/* Whether input may be given to the user now. */
static inline bool connection_takes_input(const jd_tcp_connection *connection)
{
    return connection_state(connection) < CONNECTION_CLOSING && !(connection->flags & CONNECTION_ANY_PAUSE);
}

/* Whether that many bytes more may be queued now: 0 or a negative error. In the loop's thread. */
int connection_may_send(const jd_tcp_connection *connection, size_t length);

/* What follows from length bytes of output having been queued; queued_before: what the queue counted before. */
void connection_output_added(jd_tcp_connection *connection, size_t queued_before, uint64_t length);

/* ---- connection_input.c, for connection_codec.c ---- */

/* Adds to the input that callbacks left behind. False when there is no memory: then the connection ends. */
bool connection_keep_input(jd_tcp_connection *connection, const void *data, size_t length);

/* The same for bytes that came although reading is paused: they are delivered at resume. */
void connection_defer_input(jd_tcp_connection *connection, const void *data, size_t length);

/* Frees the buffer when nothing is left in it. */
void connection_drop_empty_input(jd_tcp_connection *connection);

/* ---- connection_codec.c ---- */

/* Cuts frames from the block, and delivers them; from the input that was left behind. */
void connection_deliver_frames(jd_tcp_connection *connection, const struct block *block);
void connection_cut_input(jd_tcp_connection *connection);

/* Ends one of the two kinds of pause. */
void connection_end_pause(jd_tcp_connection *connection, unsigned pause);

/* From now on input is dropped, until the peer's FIN. */
void connection_discard_input(jd_tcp_connection *connection);

/* After a flush: if block, taken from the engine by send_buffer, holds few bytes still, they are copied and it goes back to
 * its pool. */
void connection_return_borrowed(jd_tcp_connection *connection, const struct block *block);

/* Sends the parts, length bytes in all, as one, as jd_tcp_connection_send. */
int connection_send_parts(jd_tcp_connection *connection, const jd_iovec *parts, int count, size_t length);

/* What one thread asks of a connection that belongs to another. */
enum connection_order { ORDER_SEND, ORDER_SEND_REFERENCE, ORDER_SHUTDOWN, ORDER_CLOSE, ORDER_RESET, ORDER_FINISH };

/* connection_reference.c: the end of a connection that nobody refers to any more, in its loop's thread; and of one whose loop has
 * ended, whose memory goes with the loop's. */
void connection_free_in_loop(jd_tcp_connection *connection);
void connection_free(jd_tcp_connection *connection);

/* connection_remote.c: orders from other threads. */
int connection_post_order(jd_tcp_connection *connection, enum connection_order order);
int connection_post_send(jd_tcp_connection *connection, const jd_iovec *parts, int count, size_t length);
int connection_post_reference(jd_tcp_connection *connection, const struct output_reference *reference, size_t counts);

/* In the loop's thread. */
void connection_carry_out(jd_tcp_connection *connection, enum connection_order order);

/* From CONNECTED, from any thread. False if it was in another state. */
bool connection_set_disconnecting(jd_tcp_connection *connection);

/* ---- all connections of a loop ---- */

/* At once; those with queued output when it is sent, the others at once; at once, as the time for that is over. */
enum closing { CLOSING_NOW, CLOSING_DRAINED, CLOSING_OVERDUE };

/* Closes those of profile (NULL: all). */
void connections_close(jd_event_loop *loop, const struct connection_profile *profile, enum closing closing);

extern const struct loop_service connection_service;

/* flush.c, as struct loop_service says. */
void flush_early(jd_event_loop *loop);
unsigned settle_connections(jd_event_loop *loop);

#endif
