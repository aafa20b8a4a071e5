/* The Proactor's seam: a backend carries out asynchronous operations and reports their completions. It knows nothing
 * of streams, connections or the user's operation objects; an operation is identified by its token, a number that its
 * completions carry.
 *
 * Rules for every operation:
 *
 *   - Ownership. The request and its array of buffers are read during submit only. The memory that the buffers point
 *     to, and the address, belong to the operation until its final completion.
 *   - Completions. A one-shot operation completes exactly once. A multishot one completes any number of times with
 *     completion.more set, and exactly once without it, which is the final one.
 *   - Cancellation. A cancelled operation still completes: with JD_ECANCELED, or with its result if that came first.
 *   - Time. Completions are reported from wait only, never from inside submit or cancel.
 *
 * Thread rule: the loop's thread, except backend_ops.available (any thread) and backend_ops.wake (any thread, and
 * signal handlers). */
#ifndef PROACTOR_BACKEND_H
#define PROACTOR_BACKEND_H

#include "base/block_pool.h"
#include "base/platform/socket.h"

#include <jinduo/event_loop.h>

struct backend;
struct proactor_engine;

/* Each with its result, if that is not an error. */
enum backend_opcode {
    OPCODE_ACCEPT,            /* the socket, non-blocking and close-on-exec */
    OPCODE_ACCEPT_MULTISHOT,  /* the same, for each connection */
    OPCODE_CONNECT,           /* 0 */
    OPCODE_RECEIVE,           /* into buffers: bytes, 0 at the end of the stream */
    OPCODE_RECEIVE_MULTISHOT, /* into blocks of the backend: bytes, finally 0; JD_ENOBUFS when no block is free */
    OPCODE_SEND,              /* from buffers: bytes, possibly fewer than asked for (a short write) */
    OPCODE_READ,              /* from a file at offset into buffers: bytes, 0 at its end */
    OPCODE_WRITE,             /* buffers into a file at offset: bytes, possibly fewer */
    OPCODE_POLL,              /* the events that the descriptor is ready for */
    OPCODE_POLL_MULTISHOT,    /* the same: those ready now, then at each new edge (as EPOLLET in epoll(7)) */
    OPCODE_SEND_FILE,         /* FILES_ARE_SENT: bytes, possibly fewer; JD_ENODATA at the file's end */
};

/* Events of OPCODE_POLL. The values are those of poll(2) and epoll(7) on Linux, so that backends pass them through;
 * engines_compiled_in.c asserts that. */
enum operation_readiness {
    READY_INPUT = 0x01,
    READY_ERROR = 0x08,
    READY_HANGUP = 0x10,
    READY_PEER_ENDED = 0x2000,
};

/* Some kernels write to a description of the buffers when the operation completes (recvmsg(2): msg_flags). OPCODE_RECEIVE
 * with several buffers needs this memory: without it only the first buffer is received into. */
enum { BACKEND_MEMORY_BYTES = 56 };

struct operation_request {
    enum backend_opcode opcode;
    uint64_t token;   /* below 2^63; unique among the operations in flight */
    socket_handle fd; /* a socket or a file */
    union {
        uint32_t
            poll_events;    /* OPCODE_POLL: of operation_readiness; READY_ERROR and READY_HANGUP are always reported */
        socket_handle file; /* OPCODE_SEND_FILE */
    };
    const jd_iovec *buffers; /* receive, send, read, write; OPCODE_SEND_FILE: one without data, the bytes of the file */
    int buffer_count;
    void *memory; /* BACKEND_MEMORY_BYTES, aligned as uint64_t: the backend's until the final completion. NULL: none */
    bool zero_copy;           /* OPCODE_SEND: the kernel reads the memory itself; see completion.more */
    bool more_follows;        /* OPCODE_SEND: a partial segment may be delayed, more data comes (MSG_MORE in send(2)) */
    bool completion_optional; /* OPCODE_SEND: the completion may be reported some microseconds late */
    bool unsignaled;          /* OPCODE_SEND: if all bytes are sent, the completion may be some milliseconds late */
    uint32_t timeout_ms;      /* OPCODE_RECEIVE: after this time it completes with JD_ECANCELED; 0: never; see submit */
    uint64_t offset;          /* read, write, OPCODE_SEND_FILE: in bytes from the file's beginning */
    const struct sockaddr *address; /* OPCODE_CONNECT */
    socklen_t address_length;
};

struct completion {
    uint64_t token;
    int64_t result; /* >= 0 as the opcode says, or a negative error */

    /* The operation is still in flight. A zero-copy send completes twice: first with more set (result bytes have been
     * taken, the kernel still reads their memory), then finally (the kernel no longer reads it; result means
     * nothing). Other sends may complete in between. If the first completion comes without more, it is the only one. */
    bool more;

    /* OPCODE_RECEIVE_MULTISHOT: the next completion that is reported is of this operation, too, and has bytes. */
    bool bytes_follow;

    /* OPCODE_RECEIVE_MULTISHOT with result > 0: the received bytes are begin to end of *block. The block is borrowed
     * until proactor_completed returns, unless the receiver keeps it as stream_received says
     * (net/engine/engine_events.h): if it took the block itself, it has set *block to NULL. */
    struct block **block;
};

struct backend_ops {
    jd_engine id;
    const char *name;

    /* Whether the backend honours operation_request.zero_copy. */
    bool zero_copy;

    /* Returns 0 if the backend can be used here; otherwise a negative error, and *reason says why: a static string,
     * or one that is valid until the calling thread's next call. From any thread. */
    int (*available)(const char **reason);

    /* Called by the thread that creates the loop; the first wait fixes the loop's thread. Completions go to owner.
     * The engine owns *backend until destroy. Returns 0 or a negative error. */
    int (*create)(struct backend **backend, struct proactor_engine *owner, const jd_event_loop_options *options);

    /* Called when no operation is in flight and no thread is in wake. */
    void (*destroy)(struct backend *backend);

    /* Submits pending requests; waits for completions at most timeout_ns (negative: without limit; 0: does not
     * sleep); calls proactor_woke exactly once, also before an error is returned, then proactor_completed for each
     * completion. Returns the number of events, or a negative error. */
    int (*wait)(struct backend *backend, int64_t timeout_ns);

    /* Ends the current wait or, if there is none, the next one. From any thread and from signal handlers. */
    void (*wake)(struct backend *backend);

    /* Begins an operation. Returns 0: its completion follows; or a negative error: none follows. The backend may keep
     * the request from the kernel until push or the next wait. JD_ENOTSUP with timeout_ms > 0: the backend cannot
     * time this operation; the owner submits it without and times it itself. */
    int (*submit)(struct backend *backend, const struct operation_request *request);

    /* Cancels the operation with this token on fd: it completes soon. Does nothing if it is not in flight. Cannot fail. */
    void (*cancel)(struct backend *backend, socket_handle fd, uint64_t token);

    /* Submits pending requests to the kernel now instead of with the next wait. */
    void (*push)(struct backend *backend);

    /* How many OPCODE_RECEIVE_MULTISHOT operations could each receive into a block of their own now. */
    unsigned (*receive_room)(const struct backend *backend);

    /* Counters modulo 2^32: operations submitted, and how many of them the kernel has tried once. An operation that
     * did not have to wait when it was tried has its completion among those that are available now. */
    unsigned (*submitted)(const struct backend *backend);
    unsigned (*tried)(const struct backend *backend);

    /* Whether an unsignaled send may have completed without having been reported. */
    bool (*has_unsignaled)(const struct backend *backend);

    /* For a loop that waits inside another loop. pollable_fd returns a descriptor, always the same, that poll(2)
     * reports as readable when completions arrive or wake is called; a negative error if there is none. Before each
     * poll(2) comes prepare_poll, which submits pending requests and returns whether wait already has completions to
     * report. */
    int (*pollable_fd)(struct backend *backend);
    bool (*prepare_poll)(struct backend *backend);
};

/* How the files of streams are sent. */
enum backend_files {
    FILES_ARE_READ,         /* by OPCODE_READ; then what was read is sent */
    FILES_ARE_READ_AT_ONCE, /* the same, but in the loop's thread, which may wait for the disk */
    FILES_ARE_SENT          /* a part of the file by OPCODE_SEND_FILE */
};

/* The first member of each backend's own structure. */
struct backend {
    const struct backend_ops *ops;
    struct proactor_engine *owner;
    enum backend_files files;
};

/* ---- What a backend calls (proactor/engine/) ---- */

/* From wait, exactly once: the wait is over, no completion of it has been reported yet. */
void proactor_woke(struct proactor_engine *owner);

/* From wait, before proactor_woke: every unsignaled send submitted so far is reported in this wait. */
void proactor_unsignaled_reported(struct proactor_engine *owner);

/* From wait: the kernel had no memory to start the timeout of a receive; the backend does not know of which. The
 * owner starts timers for all timed receives. */
void proactor_timeout_lost(struct proactor_engine *owner);

/* From wait, after proactor_woke: an operation has completed. User callbacks run here, which may submit and cancel. */
void proactor_completed(struct proactor_engine *owner, struct completion *completion);

/* For the statistics: a queue of the kernel was full. */
void proactor_count_overflow(struct proactor_engine *owner);

/* For the statistics: a system call that submits or waits. */
void proactor_count_enter(struct proactor_engine *owner);

/* How many further completions are worth waiting for a moment, because many connections are active; 0 if few are. */
unsigned proactor_worth_gathering(const struct proactor_engine *owner);

/* From create, before it fails: logs why the system refuses. */
void proactor_log_refusal(struct proactor_engine *owner, const char *reason);

/* A block to receive into, from the loop's pool; NULL: no memory. The backend owns it until block_release. */
struct block *proactor_receive_block(struct proactor_engine *owner);

/* From create, before the first proactor_receive_block: sets the size of those blocks, in bytes with their headers,
 * instead of the loop's default. Returns 0 or JD_ENOMEM. */
int proactor_set_receive_blocks(struct proactor_engine *owner, uint32_t block_bytes);

/* The pool that slices of blocks come from (block_view in base/block_pool.h). */
struct block_pool *proactor_slices(struct proactor_engine *owner);

#endif
