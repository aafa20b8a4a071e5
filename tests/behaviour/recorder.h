/* The record of callbacks behind harness.h's story. From any thread. */
#ifndef TESTS_RECORDER_H
#define TESTS_RECORDER_H

#include <jinduo/tcp_connection.h>

/* In the order of the words that story uses for them. */
enum callback {
    CALLED_UP,
    CALLED_MESSAGE,
    CALLED_FRAME,
    CALLED_FRAME_ERROR,
    CALLED_HALF_CLOSE,
    CALLED_WRITE_COMPLETE,
    CALLED_PEER_GONE,
    CALLED_DOWN
};

void record(const jd_tcp_connection *connection, enum callback callback);

/* The callback has returned: what it has done is there for whoever waits for its number. */
void record_return(enum callback callback);
void record_bytes(size_t bytes);

/* Fails the test unless every connection's story begins with its only up and ends with its only down. */
void check_stories(void);

#endif
