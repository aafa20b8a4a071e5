/* What the Proactor's stream files share: proactor_receive.c, proactor_receive_budget.c and proactor_send.c. A stream
 * has at most three operations in flight:
 *
 *   - a multishot receive,
 *   - a send of the front of its output queue, or instead a read of the file that is at the front,
 *   - while it does not receive, a multishot poll that notices errors. */
#ifndef PROACTOR_ENGINE_PROACTOR_STREAM_H
#define PROACTOR_ENGINE_PROACTOR_STREAM_H

#include "net/engine/stream_socket.h"
#include "proactor/engine/proactor_engine.h"

#include <jinduo/error.h>

/* The engine's bits of stream.flags. */
enum {
    STREAM_RECEIVING = 1, /* these three: the operation is in flight */
    STREAM_SENDING = 2,
    STREAM_WATCHED = 4,
    STREAM_RECEIVE_CANCELLED = 8,
    STREAM_RECEIVE_WAITER = 16, /* on one of the lists receive_waiters; or receives after that, without bytes so far */
    STREAM_WATCH_PENDING = 32,  /* on the list ended */
    STREAM_PAUSED = 64,
    STREAM_ENDED = 128,  /* the peer's FIN has been reported */
    STREAM_FAILED = 256, /* nothing more can be received: reported */
    STREAM_CLOSING = 512,
    STREAM_RESETS = 1024,           /* close sends RST */
    STREAM_BUDGET_DEFERRED = 2048,  /* on the list budget_deferred: has blocks beyond its budget */
    STREAM_END_DEFERRED = 4096,     /* the FIN came behind deferred blocks */
    STREAM_ERROR_POLLED = 8192,     /* the poll has reported an error, which an operation in flight may report first */
    STREAM_READING = 16384,         /* the read of a file is in flight */
    STREAM_COPY_ONLY = 32768,       /* zero-copy sends have been refused */
    STREAM_OUTPUT_FAILED = 1 << 16, /* nothing more can be sent: reported */
    STREAM_END_SEEN = 1 << 17,      /* the peer's FIN is there, perhaps behind bytes */
    STREAM_OPERATIONS = STREAM_RECEIVING | STREAM_SENDING | STREAM_WATCHED | STREAM_READING,
};

static inline uint64_t stream_completion_token(const struct stream *stream, enum completion_kind kind)
{
    return proactor_token(kind, stream_token(stream));
}

/* Whether the connection is intact after this error, so that the operation is submitted again. */
static inline bool error_is_transient(int64_t error)
{
    return error == JD_ECANCELED || error == JD_EINTR || error == JD_EAGAIN;
}

/* ---- proactor_failure.c ---- */

/* Nothing more can be received or sent. */
void proactor_fail(struct stream *stream, int error);

/* Nothing more can be sent: receiving goes on up to the end. Called when nothing uses the output queue. */
void proactor_fail_output(struct stream *stream, int error);

/* Takes the error that the poll has reported, unless an operation in flight is going to report it. */
void proactor_take_polled_error(struct proactor_engine *proactor, struct stream *stream);

/* The peer's FIN is there (STREAM_END_SEEN), and the stream may be paused: reports that. */
void proactor_notice_end(struct stream *stream);

/* ---- proactor_receive.c ---- */
int proactor_stream_start(struct stream *stream);
void proactor_stream_pause(struct stream *stream);
void proactor_stream_resume(struct stream *stream);

/* Submits what the stream's state needs and is not in flight: a receive, or the poll for errors. A stream that is to
 * receive while others wait for a block joins the waiters. */
void proactor_receive_or_watch(struct proactor_engine *proactor, struct stream *stream);

void proactor_cancel_receive(struct proactor_engine *proactor, struct stream *stream);

/* Reports the peer's FIN (stream_ended). */
void proactor_report_end(struct proactor_engine *proactor, struct stream *stream);

/* The stream is being closed: takes it off all lists, drops deferred blocks, cancels the receive and the poll. */
void proactor_stop_receiving(struct proactor_engine *proactor, struct stream *stream);

/* ---- proactor_send.c ---- */

/* Cancels the send in flight. */
void proactor_cancel_send(struct proactor_engine *proactor, struct stream *stream);

/* Called for each completion: returns true if the stream is being closed, so that nothing is reported. If it was the
 * last operation in flight, the stream is closed, and may no longer exist. */
bool proactor_continue_close(struct proactor_engine *proactor, struct stream *stream);

#endif
