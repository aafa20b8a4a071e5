/* One connection of the load: sends the messages that the worker has granted, verifies the replies and measures. The
 * worker decides by mode and phase how many messages it grants. Used in one thread. */
#ifndef BENCHMARKS_LOAD_CONNECTION_H
#define BENCHMARKS_LOAD_CONNECTION_H

#include "benchmarks/histogram.h"
#include "benchmarks/load_options.h"

#include <time.h>

struct load_counts {
    uint64_t messages; /* complete replies in the measured time; the bytes are of that time, too */
    uint64_t bytes_received, bytes_sent;
    uint64_t verify_errors, connect_errors, io_errors; /* of the complete run */
};

/* The state that the connections of a thread share. */
struct load_context {
    const struct load_options *options;
    int epoll_fd;
    bool measuring;
    unsigned char *send_buffer, *receive_buffer; /* LOAD_BUFFER_BYTES each */
    uint64_t outstanding;                        /* messages granted and not yet answered */
    uint64_t moved_bytes;                        /* sent and received bytes, to detect a stall */
    struct load_counts counts;
    struct histogram latency; /* ns */
    char first_error[200];
};

enum { LOAD_BUFFER_BYTES = WRITE_BYTES_MAX };

/* Messages of one connection that became due at the same time. */
struct load_batch {
    uint64_t due_ns;
    uint32_t messages;
};

struct load_connection {
    int fd; /* -1: closed */
    bool connected;
    bool blocked;  /* the socket's send buffer is full; cleared by EPOLLOUT */
    bool greeting; /* opening phase: its first reply is outstanding */
    uint64_t number;
    uint64_t granted; /* messages that it may send, counted since it was opened */
    uint64_t bytes_sent, bytes_received;
    struct message_cursor send, receive;
    struct load_batch *batches; /* ring of the batches in flight; capacity: a power of two, at least the depth */
    uint32_t batch_mask, batch_head, batch_tail;
    uint64_t due;      /* with a rate: messages that have become due */
    uint64_t due_sent; /* with a rate: due messages that have been granted */
};

static inline uint64_t clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A computed due time may be ahead of the clock by a rounding error. */
static inline uint64_t waited_ns(uint64_t due_ns, uint64_t now_ns)
{
    return now_ns > due_ns ? now_ns - due_ns : 0;
}

/* Starts to connect. number makes the connection's messages differ from all others'. Returns false on failure, which is
 * counted. */
bool load_connection_open(struct load_context *context, struct load_connection *connection, uint64_t number);

/* Allows messages more messages to be sent. Their latency starts at due_ns; stream mode measures none. */
void load_connection_grant(struct load_context *context, struct load_connection *connection, uint32_t messages,
                           uint64_t due_ns);

/* Sends granted messages until the send buffer is full. Returns false if the connection was lost, which is counted. */
bool load_connection_send(struct load_context *context, struct load_connection *connection);

/* Reads until no data is left. Returns the number of completed replies, and sets *now_ns if there were any; or returns
 * -1 if the connection was lost, which is counted. */
int64_t load_connection_receive(struct load_context *context, struct load_connection *connection, uint32_t events,
                                uint64_t *now_ns);

/* With a rate: adds the messages unanswered at the end of the measurement, with the time they have waited so far. */
void load_connection_count_waiting(struct load_context *context, const struct load_connection *connection,
                                   uint64_t now_ns);

/* Closes the connection; outstanding replies are no longer counted. with_reset: by RST, so that its port is free at
 * once (SO_LINGER in socket(7)). Without it, unexpected bytes that have arrived count as a wrong reply. */
void load_connection_close(struct load_context *context, struct load_connection *connection, bool with_reset);

/* Counts the connection as lost for this reason, and closes it: its outstanding replies will not arrive. */
void load_connection_give_up(struct load_context *context, struct load_connection *connection, const char *reason);

#endif
