/* The calls of completion handlers, for the suites of asynchronous operations, and pairs of sockets to work on. */
#ifndef TESTS_OPERATION_RECORD_H
#define TESTS_OPERATION_RECORD_H

#include "tests/behaviour/harness.h"

#include <jinduo/proactor.h>

enum { RECORD_TELLINGS = 64, RECORD_BYTES = 64 * 1024 };

/* One operation and the calls of its handler. Zero before use. */
struct record {
    jd_operation operation;
    unsigned reported; /* times */
    bool over;         /* the last time */
    int64_t results[RECORD_TELLINGS];
    char data[RECORD_BYTES]; /* of a multishot receive */
    size_t data_bytes;
};

/* The handler for all: jd_async_…(the_loop, &record->operation, …, note_completion, record). Fails the test when it is
 * called once more after the last time. */
void note_completion(jd_operation *operation, int64_t result, void *record);

/* Steps the loop until the operation is over; its last result. */
int64_t await(struct record *record);

/* Two connected sockets: ours is asynchronous, theirs a client (clients.h). */
struct socket_ends {
    int ours, theirs;
};
struct socket_ends tcp_ends(void);

/* Theirs sends a text. */
void write_to(int theirs, const char *text);

/* A listener on a free port. */
jd_handle listen_somewhere(jd_endpoint *bound);

#endif
