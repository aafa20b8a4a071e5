/* Messages whose every byte is a function of the connection's number, the message's sequence number and the byte's
 * offset. So the sender stores nothing for the rest of a short write, and the receiver can compute each expected byte:
 * it detects bytes that are wrong, missing, duplicated, out of order or from another connection. */
#ifndef BENCHMARKS_MESSAGE_H
#define BENCHMARKS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum message_verify { VERIFY_ALL, VERIFY_SAMPLE, VERIFY_OFF };

enum {
    MESSAGE_SAMPLE = 16, /* VERIFY_SAMPLE: each 16th message is compared completely, of the others the header */
    MESSAGE_HEADER_BYTES_MAX = 8,
    MESSAGE_PAYLOAD_BYTES_MAX = 1 << 30,
};

struct message_format {
    uint64_t seed;
    uint32_t min_bytes, max_bytes; /* of the payload; sizes are uniformly distributed */
    uint32_t header_bytes;         /* of the length field before the payload: 1, 2, 3, 4, 8; 0: no length field */
    bool little_endian;
    enum message_verify verify;
};

/* A position in a connection's endless sequence of messages. */
struct message_cursor {
    uint64_t connection;
    uint64_t sequence; /* number of the current message, from 0: the count of complete messages */
    uint64_t key;      /* from which the payload is generated */
    uint32_t offset;   /* in the message, header included */
    uint32_t bytes;    /* of the message, header included */
    bool wrong;        /* a byte of the current message was wrong */
};

/* The first wrong byte that a check found. */
struct message_fault {
    uint64_t sequence;
    uint32_t offset;
    unsigned char expected, found;
};

void message_cursor_init(struct message_cursor *cursor, const struct message_format *format, uint64_t connection);

/* Writes the bytes after the cursor to buffer, at most room bytes and to the end of message end_sequence - 1, and
 * advances the cursor. Returns the bytes written. Payload that will not be verified is not written: the buffer keeps
 * its content. */
size_t message_write(struct message_cursor *cursor, const struct message_format *format, unsigned char *buffer,
                     size_t room, uint64_t end_sequence);

/* Advances the cursor by bytes. */
void message_skip(struct message_cursor *cursor, const struct message_format *format, size_t bytes);

/* Compares length received bytes with those expected after the cursor, and advances it. Returns the number of messages
 * that were found wrong; if there is one, *fault is the first wrong byte. */
uint64_t message_check(struct message_cursor *cursor, const struct message_format *format, const unsigned char *bytes,
                       size_t length, struct message_fault *fault);

#endif
