/* What the files of the Proactor's stream side share: proactor_receive.c, proactor_receive_budget.c and proactor_send.c. A
 * stream has at most three operations under way: a continuous receive, one send of what is first in its output queue, and,
 * while nothing is received, a poll that notices errors. */
#ifndef PROACTOR_ENGINE_PROACTOR_STREAM_H
#define PROACTOR_ENGINE_PROACTOR_STREAM_H

#include "net/engine/stream_socket.h"
#include "proactor/engine/proactor_engine.h"

#include <jinduo/error.h>

enum {
    STREAM_RECEIVING = 1, /* the three operations that may be under way */
    STREAM_SENDING = 2,
    STREAM_WATCHED = 4,
    STREAM_RECEIVE_CANCELLED = 8,
    STREAM_STARVED = 16,  /* on the list of that name or of those behind; or was, and has not received anything since */
    STREAM_TO_WATCH = 32, /* on the engine's list of those that have ended */
    STREAM_PAUSED = 64,
    STREAM_ENDED = 128, /* the FIN has been reported */
    STREAM_FAILED = 256,
    STREAM_CLOSING = 512,
    STREAM_RESETS = 1024, /* is closed with RST */
    STREAM_HOLDS = 2048,  /* blocks beyond its budget: on the engine's list of such */
    STREAM_END_HELD = 4096,
    STREAM_ERROR_SEEN = 8192, /* by the watch, while the receive had not ended yet */
    STREAM_READING = 16384,   /* from the file that is first in the output queue: under way, too, instead of a send */
    STREAM_COPIES = 32768,    /* it can send in no other way */
    STREAM_OPERATIONS = STREAM_RECEIVING | STREAM_SENDING | STREAM_WATCHED | STREAM_READING,
};

static inline uint64_t token_of(const struct stream *stream, enum completion_kind kind)
{
    return proactor_token(kind, stream_token(stream));
}

static inline void fail(struct stream *stream, int error)
{
    set_flag(stream, STREAM_FAILED);
    stream_failed(stream, error);
}

/* Nothing is wrong with the connection: the operation only has to be begun again. */
static inline bool is_passing(int64_t error)
{
    return error == JD_ECANCELED || error == JD_EINTR || error == JD_EAGAIN;
}

/* ---- proactor_receive.c ---- */
int proactor_stream_start(struct stream *stream);
void proactor_stream_pause(struct stream *stream);
void proactor_stream_resume(struct stream *stream);

/* Whatever the stream's state asks for, if it is not under way: to receive, or to notice errors. */
void proactor_receive_or_watch(struct proactor_engine *proactor, struct stream *stream);

void proactor_cancel_receive(struct proactor_engine *proactor, struct stream *stream);

/* Reports the peer's FIN. */
void proactor_end_stream(struct proactor_engine *proactor, struct stream *stream);

/* It is to be closed: what it receives is dropped. */
void proactor_stop_receiving(struct proactor_engine *proactor, struct stream *stream);

/* ---- proactor_send.c ---- */

/* Before a completion is told: if the stream is being closed it only counts as over. Returns whether it is. */
bool proactor_is_closing(struct proactor_engine *proactor, struct stream *stream);

#endif
