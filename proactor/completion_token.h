/* A completion's token. The highest byte is the kind of operation; the 56 bits below it identify the operation within
 * that kind: a stream's token or an address. A backend returns tokens unchanged and does not interpret them. */
#ifndef PROACTOR_COMPLETION_TOKEN_H
#define PROACTOR_COMPLETION_TOKEN_H

#include <stdint.h>

/* The kind of the operation that completes, and what the token's value is. */
enum completion_kind {
    COMPLETES_RECEIVE = 1, /* this and the next three: a stream's, by stream_token */
    COMPLETES_SEND,
    COMPLETES_WATCH,     /* the poll for errors */
    COMPLETES_FILE,      /* the read of a file that is sent */
    COMPLETES_ACCEPT,    /* by the listener's address */
    COMPLETES_CONNECT,   /* by the connector's address */
    COMPLETES_CHANNELS,  /* the poll for the user's descriptors; value 0 */
    COMPLETES_ZERO_COPY, /* a stream's zero-copy send, by the address of its struct zero_copy_send */
    COMPLETES_USER,      /* an operation of the user's, by its address */
};
enum { COMPLETION_KIND_SHIFT = 56 };

/* value: below 2^56. */
static inline uint64_t proactor_token(enum completion_kind kind, uint64_t value)
{
    return (uint64_t)kind << COMPLETION_KIND_SHIFT | value;
}

static inline enum completion_kind proactor_token_kind(uint64_t token)
{
    return (enum completion_kind)(token >> COMPLETION_KIND_SHIFT);
}

static inline uint64_t proactor_token_value(uint64_t token)
{
    return token & (((uint64_t)1 << COMPLETION_KIND_SHIFT) - 1);
}

#endif
