/* Messages: every byte of every message follows from the connection's number, the message's sequence number and the
 * byte's offset. So the sender stores nothing to send a remainder again, and the receiver knows what must come: a byte
 * that is wrong, missing, doubled, out of order or another connection's differs. */
#ifndef BENCHMARKS_MESSAGE_H
#define BENCHMARKS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum message_verify { VERIFY_ALL, VERIFY_SAMPLE, VERIFY_OFF };

enum {
    MESSAGE_SAMPLE = 16, /* VERIFY_SAMPLE: one message of so many is compared whole, the headers of all */
    MESSAGE_HEADER_BYTES_MAX = 8,
    MESSAGE_PAYLOAD_BYTES_MAX = 1 << 30,
};

struct message_format {
    uint64_t seed;
    uint32_t min_bytes, max_bytes; /* of payload, each size in between as likely as the others */
    uint32_t header_bytes;         /* length field in front of the payload: 1, 2, 3, 4, 8; 0: none */
    bool little_endian;
    enum message_verify verify;
};

/* A place in a connection's endless row of messages. */
struct message_cursor {
    uint64_t connection;
    uint64_t sequence; /* of the message it is in: so many are behind it */
    uint64_t key;      /* what the payload is made from */
    uint32_t offset;   /* in the message, header included */
    uint32_t bytes;    /* of the message, header included */
    bool wrong;        /* a byte of this message was wrong */
};

/* The first difference that a check met. */
struct message_fault {
    uint64_t sequence;
    uint32_t offset;
    unsigned char expected, found;
};

void message_cursor_init(struct message_cursor *cursor, const struct message_format *format, uint64_t connection);

/* Writes what follows the cursor, up to room bytes and to the end of message end_sequence - 1, and moves the cursor.
 * Returns the bytes written. Payload that nobody will verify is left as it is in the buffer. */
size_t message_write(struct message_cursor *cursor, const struct message_format *format, unsigned char *buffer,
                     size_t room, uint64_t end_sequence);

void message_skip(struct message_cursor *cursor, const struct message_format *format, size_t bytes);

/* Compares length received bytes with what must follow the cursor, and moves it. Returns how many messages turned out
 * wrong; *fault is set to the first difference if there is one. */
uint64_t message_check(struct message_cursor *cursor, const struct message_format *format, const unsigned char *bytes,
                       size_t length, struct message_fault *fault);

#endif
