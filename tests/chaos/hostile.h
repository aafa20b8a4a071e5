/* One hostile connection. All that it does follows from its seed, apart from what the server's answers and the clock change:
 * it sends in pieces, urgent data included, reads late or never, pauses, half-closes, resets. */
#ifndef TESTS_CHAOS_HOSTILE_H
#define TESTS_CHAOS_HOSTILE_H

#include "tests/chaos/traffic.h"

#include <jinduo/endpoint.h>
#include <stdbool.h>

/* What hostile connections share. */
struct arena {
    jd_endpoint server;
    enum protocol protocol;
    unsigned large_frames; /* connections that send ten megabytes of sixteen now */
    int64_t line_bytes;    /* that may still be sent now: each line goes to every connection */
    uint8_t message[MESSAGE_MAX_BYTES], trash[MESSAGE_MAX_BYTES];
    struct counts {
        uint64_t opened, not_opened, lost, pieces, sent_bytes, received_bytes, urgent, urgent_resets, pauses,
            half_closes, resets, closes, announcements, large_announcements;
    } counts;
};

struct hostile {
    int fd; /* -1: not connected */
    uint8_t character;
    bool sends, reads, announces_much;
    uint64_t random, next_ms;
    unsigned steps;        /* until it ends */
    size_t offset, length; /* of the message that is being sent */
    uint64_t message_seed; /* by which it is made again for its next piece */
    uint64_t large_left;   /* of the ten megabytes */
};

/* Begins to connect, from an address of its own if the server is at 127.0.0.1. Returns whether it could. */
bool hostile_open(struct arena *arena, struct hostile *hostile, uint64_t seed, uint64_t now_ms);

/* Does the next step; the connection may end by it. */
void hostile_act(struct arena *arena, struct hostile *hostile, uint64_t now_ms);

/* Ends the connection, by a reset or not. */
void hostile_end(struct arena *arena, struct hostile *hostile, bool with_reset);

#endif
