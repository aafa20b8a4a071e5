/* The Proactor's seam: a backend carries out asynchronous operations and reports each one's completion. It knows nothing of
 * streams, connections or the user's operation objects; what they have in common is a token, a number that comes back.
 *
 * An operation is described by a request, which is read during submit only: no memory is kept for an operation here. What
 * a request points to as data (buffers to receive into or to send from) and its address belong to the operation until its
 * final completion; the request itself and its array of pieces do not.
 *
 * A one-shot operation completes exactly once. A continuous one completes any number of times with more set, and exactly
 * once without. After cancel the final completion still comes, with JD_ECANCELED or with what it had come to. Nothing is
 * ever completed from inside submit or cancel, only from wait.
 *
 * Everything here happens in the loop's thread, but for backend_ops.wake. */
#ifndef PROACTOR_BACKEND_H
#define PROACTOR_BACKEND_H

#include "base/block_pool.h"
#include "base/platform/socket.h"

#include <jinduo/event_loop.h>

struct backend;
struct proactor_engine;

enum backend_opcode {
    OPCODE_ACCEPT,            /* result: the socket, non-blocking and close-on-exec */
    OPCODE_ACCEPT_MULTISHOT,  /* continuous */
    OPCODE_CONNECT,           /* result: 0 */
    OPCODE_RECEIVE,           /* into pieces; result: bytes, 0 at the end */
    OPCODE_RECEIVE_MULTISHOT, /* continuous, into blocks of the backend's; JD_ENOBUFS ends it when there are none left */
    OPCODE_SEND,              /* of pieces; result: bytes, perhaps fewer than asked for */
    OPCODE_READ,              /* a file's bytes at offset, into pieces */
    OPCODE_WRITE,             /* pieces into a file at offset */
    OPCODE_POLL,              /* readiness for poll_events, once; result: what the descriptor is ready for */
    OPCODE_POLL_MULTISHOT, /* continuous: what is ready now, then whenever something more has become so (as epoll(7), EPOLLET) */
};

/* What a descriptor is ready for, of an OPCODE_POLL. The numbers are those of poll(2) and epoll(7) on Linux, so that
 * nothing is translated there; engines_compiled_in.c asserts it. */
enum operation_readiness {
    READY_INPUT = 0x01,
    READY_ERROR = 0x08,
    READY_HANGUP = 0x10,
};

struct operation_request {
    enum backend_opcode opcode;
    uint64_t token;       /* below 2^63; two operations under way never have the same */
    int fd;               /* a socket, or a file */
    uint32_t poll_events; /* of operation_readiness; more may be told, READY_ERROR and READY_HANGUP always */
    const jd_iovec *buffers;
    int buffer_count;
    bool zero_copy;    /* OPCODE_SEND: without a copy, see completion.more (backend_ops.zero_copy) */
    bool more_follows; /* OPCODE_SEND: what does not fill a segment may wait for it a moment (MSG_MORE in send(2)) */
    bool
        completion_optional; /* OPCODE_SEND: nobody waits for the completion, which may be told some microseconds late */
    bool unsignaled;         /* OPCODE_SEND: nor, if all is taken, some milliseconds */
    uint32_t timeout_ms;     /* OPCODE_RECEIVE: 0, or after that it ends with JD_ECANCELED; see submit */
    uint64_t offset;
    const struct sockaddr *address;
    socklen_t address_length;
};

struct completion {
    uint64_t token;
    int64_t result; /* >= 0, or a negative error */
    bool more; /* a continuous operation goes on; or a send that lends: result bytes are taken, but their memory is lent
                     * until the final completion, whose result means nothing. Other sends may come in between. */
    /* OPCODE_RECEIVE_MULTISHOT with result > 0: *block's begin to end is what arrived. The receiver may keep that as
     * stream_received says (net/engine/engine.h); otherwise it is the backend's again on return. */
    struct block **block;
};

struct backend_ops {
    jd_engine id;
    const char *name;

    /* Whether request.zero_copy is looked at. */
    bool zero_copy;

    /* 0, or a negative error with *reason (a static string, or one of the calling thread's until its next call) saying why
     * this backend cannot be used here. */
    int (*available)(const char **reason);

    /* By the thread that makes the loop; wait fixes the thread. owner is told of completions. */
    int (*create)(struct backend **backend, struct proactor_engine *owner, const jd_event_loop_options *options);

    /* No operation is under way, and no thread is in wake. */
    void (*destroy)(struct backend *backend);

    /* Submits what is waiting, waits for completions at most timeout_ns (negative: without end; 0: only looks), calls
     * proactor_woke once, then proactor_completed for each. Returns their number, or a negative error. */
    int (*wait)(struct backend *backend, int64_t timeout_ns);

    /* Ends the wait under way or, if there is none, the next. From any thread and from signal handlers. */
    void (*wake)(struct backend *backend);

    /* Begins an operation: returns 0, and its completion follows; or a negative error, and none does. Whether the kernel
     * has seen it before wait or push is the backend's business. JD_ENOTSUP: it cannot end this one after timeout_ms, and
     * the owner has to do so. */
    int (*submit)(struct backend *backend, const struct operation_request *request);

    /* Ends the operation with this token on this descriptor soon, if it is still under way. Never fails. */
    void (*cancel)(struct backend *backend, int fd, uint64_t token);

    /* What was submitted goes to the kernel now, not only with the next wait. */
    void (*push)(struct backend *backend);

    /* How many operations of OPCODE_RECEIVE_MULTISHOT could receive into a block of their own at this moment. */
    unsigned (*receive_room)(const struct backend *backend);

    /* How many operations have been submitted, and how many of these have been tried once (modulo 2^32): what came of one that
     * did not have to wait is told by the completions that are there now. */
    unsigned (*submitted)(const struct backend *backend);
    unsigned (*tried)(const struct backend *backend);

    /* Whether a send that was submitted as unheard may be over without having been told. */
    bool (*has_unsignaled)(const struct backend *backend);

    /* For poll(2) in another loop: a descriptor, always the same, that becomes readable when completions come or wake is
     * called after prepare_poll, which comes before each poll, submits what is waiting, and returns whether wait has
     * something to tell already. A negative error if there is no descriptor. */
    int (*pollable_fd)(struct backend *backend);
    bool (*prepare_poll)(struct backend *backend);
};

/* What a backend's own structure begins with. */
struct backend {
    const struct backend_ops *ops;
    struct proactor_engine *owner;
};

/* ---- What a backend calls (proactor/engine/) ---- */

/* From wait, once, when the waiting is over and before any completion. */
void proactor_woke(struct proactor_engine *owner);

/* From wait, before proactor_woke: all sends submitted as unheard are told in this wait. */
void proactor_unsignaled_reported(struct proactor_engine *owner);

/* The timeout of a receive, nobody knows which, was not begun: the kernel had no memory. */
void proactor_timeout_lost(struct proactor_engine *owner);

/* An operation has completed. User callbacks run here, which may submit and cancel. */
void proactor_completed(struct proactor_engine *owner, struct completion *completion);

/* For the statistics: a queue was full. */
void proactor_count_overflow(struct proactor_engine *owner);

/* For the statistics: a call into the kernel to submit or to wait. */
void proactor_count_enter(struct proactor_engine *owner);

/* How many more completions it is worth to wait for a moment, as many connections are at work; 0 if few are. */
unsigned proactor_worth_gathering(const struct proactor_engine *owner);

/* From create, before it fails: what the system refuses, for the log. */
void proactor_log_refusal(struct proactor_engine *owner, const char *reason);

/* A block to receive into, from the loop's pool; NULL when there is no memory. Put back with block_put. */
struct block *proactor_receive_block(struct proactor_engine *owner);

/* From create, before the first block: their size, if it is not to be the loop's. Returns 0 or JD_ENOMEM. */
int proactor_set_receive_blocks(struct proactor_engine *owner, uint32_t block_bytes);

/* Where slices of blocks come from (block_show). */
struct block_pool *proactor_slices(struct proactor_engine *owner);

#endif
