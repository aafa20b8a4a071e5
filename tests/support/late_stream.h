/* The late engine's streams: late_engine.c decides when what is done, late_stream.c does it. */
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
    bool end_read, end_told;
    bool hung_up; /* poll(2) would tell of it again and again */
    bool failure_told;
    int failure;
    unsigned turns_to_close;
    size_t sent_untold; /* the kernel has taken these bytes of the output queue */
    size_t begin, end;  /* of what was read ahead */
    uint8_t data[READ_AHEAD_BYTES];
};

/* What can be done for a stream. */
enum stream_work {
    WORK_PAUSE, /* or resume */
    WORK_RECEIVE,
    WORK_END,
    WORK_SEND,
    WORK_SENT,
    WORK_SHUTDOWN,
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

/* The events to poll for, or -1 for not at all. */
int late_stream_interest(const struct late_stream *late_stream);
void late_stream_polled(struct late_stream *late_stream, int events);

/* Whether there is such work; does a part of it. The stream is gone after WORK_CLOSE, perhaps. */
bool late_stream_could(const struct late_stream *late_stream, enum stream_work work);
void late_stream_do(struct late_streams *streams, struct late_stream *late_stream, enum stream_work work);

#endif
