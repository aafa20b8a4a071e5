/* The late engine's streams: late_engine.c decides when work is done, late_stream.c does it. */
#ifndef TESTS_LATE_STREAM_H
#define TESTS_LATE_STREAM_H

#include "net/engine/engine_events.h"

enum { READ_AHEAD_BYTES = 64 * 1024 };

struct late_stream {
    struct late_stream *next;
    struct stream *stream;
    bool started;
    bool pause_asked, paused;
    bool flush_asked, blocked; /* blocked: the kernel takes no more at the moment */
    bool shutdown_asked;
    bool closing, with_reset, rest_sent;
    bool end_read, end_reported;
    bool end_seen, end_seen_reported; /* the FIN is there while the stream is paused */
    bool hung_up;                     /* POLLHUP was reported: poll(2) would report it again and again */
    bool output_failure_reported, failure_reported;
    int output_failure, failure;
    unsigned turns_to_close;
    size_t sent_unreported; /* bytes that the kernel has taken of the output queue: not reported yet */
    size_t begin, end;      /* of the bytes in data that were read ahead and not delivered */
    uint8_t data[READ_AHEAD_BYTES];
};

/* The kinds of work for a stream. */
enum stream_work {
    WORK_PAUSE, /* or resume */
    WORK_RECEIVE,
    WORK_END_SEEN,
    WORK_END,
    WORK_SEND,
    WORK_SENT,
    WORK_SHUTDOWN,
    WORK_FAIL_OUTPUT,
    WORK_FAIL,
    WORK_CLOSE,
    STREAM_WORKS,
};

struct late_streams {
    struct late_stream *first;
    uint64_t random;
    bool descriptor_freed;
};

extern const struct stream_ops late_stream_ops;

void late_stream_adopt(struct late_streams *streams, struct stream *stream, socket_handle socket);

/* The events to poll(2) for; -1: do not poll this stream. polled: poll(2) has reported these events. */
int late_stream_interest(const struct late_stream *late_stream);
void late_stream_polled(struct late_stream *late_stream, int events);

/* could: whether there is such work. do: does a part of it; WORK_CLOSE may free the stream. */
bool late_stream_could(const struct late_stream *late_stream, enum stream_work work);
void late_stream_do(struct late_streams *streams, struct late_stream *late_stream, enum stream_work work);

#endif
