/* One connection of the load: sends the messages it was granted, checks what comes back, measures. It knows neither mode
 * nor phase but for what it may count; the worker decides what is granted. One thread only. */
#ifndef BENCHMARKS_LOAD_CONNECTION_H
#define BENCHMARKS_LOAD_CONNECTION_H

#include "benchmarks/histogram.h"
#include "benchmarks/load_options.h"

#include <time.h>

struct load_counts {
    uint64_t messages; /* whole replies, in the measured span; so are the bytes */
    uint64_t bytes_received, bytes_sent;
    uint64_t verify_errors, connect_errors, io_errors; /* in the whole run */
};

/* What the connections of a thread share. */
struct load_context {
    const struct load_options *options;
    int epoll_fd;
    bool measuring;
    unsigned char *send_buffer, *receive_buffer; /* LOAD_BUFFER_BYTES each */
    uint64_t outstanding;                        /* messages granted, not replied to */
    uint64_t moved_bytes;                        /* grows as long as anything moves */
    struct load_counts counts;
    struct histogram latency; /* ns */
    char first_error[200];
};

enum { LOAD_BUFFER_BYTES = 65536 };

/* Messages that were due at the same time. */
struct load_batch {
    uint64_t due_ns;
    uint32_t messages;
};

struct load_connection {
    int fd; /* -1: closed */
    bool connected;
    bool blocked;  /* the socket's buffer is full until EPOLLOUT says otherwise */
    bool greeting; /* waits for its first reply, in the opening phase */
    uint64_t number;
    uint64_t granted; /* messages it may have sent since it was opened */
    uint64_t bytes_sent, bytes_received;
    struct message_cursor send, receive;
    struct load_batch *batches; /* ring of those in flight; capacity is a power of two, at least the depth */
    uint32_t batch_mask, batch_head, batch_tail;
    uint64_t due;      /* with a rate: messages that have become due, */
    uint64_t due_sent; /* and of them granted */
};

static inline uint64_t clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A due time that was computed may be a rounding ahead of the clock. */
static inline uint64_t waited_ns(uint64_t due_ns, uint64_t now_ns)
{
    return now_ns > due_ns ? now_ns - due_ns : 0;
}

/* Starts to connect. The number tells its messages from all others'. False if it failed, which is counted. */
bool load_connection_open(struct load_context *context, struct load_connection *connection, uint64_t number);

/* Lets it send so many more messages. Their latency counts from due_ns, in stream mode not at all. */
void load_connection_grant(struct load_context *context, struct load_connection *connection, uint32_t messages,
                           uint64_t due_ns);

/* Sends what was granted as far as the socket takes it. False if the connection was lost, which is counted. */
bool load_connection_send(struct load_context *context, struct load_connection *connection);

/* Reads all that is there. Returns the replies that became whole, and the time in *now_ns if there were any; or -1 if
 * the connection was lost, which is counted. */
int64_t load_connection_receive(struct load_context *context, struct load_connection *connection, uint32_t events,
                                uint64_t *now_ns);

/* With a rate: what is still unanswered at the end counts with the time it has waited so far. */
void load_connection_count_waiting(struct load_context *context, const struct load_connection *connection,
                                   uint64_t now_ns);

/* Closes it; with_reset: by RST, so that its port is free at once (SO_LINGER in socket(7)), otherwise bytes that came
 * although nothing was owed are a wrong reply. What is outstanding is forgotten. */
void load_connection_close(struct load_context *context, struct load_connection *connection, bool with_reset);

/* As lost: what it has not answered will never come. */
void load_connection_give_up(struct load_context *context, struct load_connection *connection, const char *reason);

#endif
