/* A completion's token: which part of the Proactor began the operation, in the highest byte, and below it the part's own number
 * for that operation, a stream's token or an address. A backend carries tokens and does not look into them. */
#ifndef PROACTOR_COMPLETION_TOKEN_H
#define PROACTOR_COMPLETION_TOKEN_H

#include <stdint.h>

/* Which operation completes, and what its number is. */
enum completion_kind {
    COMPLETES_RECEIVE = 1, /* these four of a stream, by stream_token */
    COMPLETES_SEND,
    COMPLETES_WATCH,
    COMPLETES_FILE,
    COMPLETES_ACCEPT,
    COMPLETES_CONNECT,
    COMPLETES_CHANNELS,
    COMPLETES_ZERO_COPY, /* a send by the address of what is lent to it */
    COMPLETES_USER,      /* an operation of the user's, by its address */
};
enum { COMPLETION_KIND_SHIFT = 56 };

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
