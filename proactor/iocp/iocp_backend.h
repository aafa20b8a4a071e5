/* The IOCP backend: operations of Windows over a completion port (docs/iocp.md).
 *
 *   iocp.c             the functions of backend_ops: life and wait
 *   iocp_submit.c      from a request to a system call; cancelling
 *   iocp_completion.c  what a packet of the port means
 *   iocp_accept.c      AcceptEx, posted ahead
 *   iocp_buffers.c     the blocks to receive into
 *   iocp_operation.c   operations: their memory, their table by handle, those that completed without a packet
 *
 * Each loop has a port of its own, with one thread. Each operation of the system carries an OVERLAPPED, in a struct
 * iocp_packet. The port returns its address when the operation has completed; until then the packet, and the memory that
 * the operation uses, must stay where they are. No packet is freed before that. If the system carries the operation out
 * during the call that begins it, no packet comes (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS).
 *
 * Thread rule: the loop's thread, except iocp_wake (any thread). */
#ifndef PROACTOR_IOCP_IOCP_BACKEND_H
#define PROACTOR_IOCP_IOCP_BACKEND_H

#include "base/windows/windows_calls.h"
#include "proactor/backend.h"

enum {
    IOCP_BATCH = 64,           /* packets that one wait takes from the port */
    IOCP_BUFFERS_MAX = 64,     /* of one system call: with 1500 WSASend fails, and a packet comes nevertheless */
    IOCP_BYTES_MAX = 1 << 26,  /* of one system call, during which the system locks the pages of its buffers */
    IOCP_BLOCKS_IN_A_ROW = 4,  /* that one receive reports before others have their turn */
    IOCP_ACCEPTS_DEFAULT = 32, /* AcceptEx posted ahead on a listener */
    IOCP_BUCKETS_MIN = 4096,
    IOCP_CHUNK_OPERATIONS = 256,
};

struct iocp;

/* What the port returns is the address of an OVERLAPPED: of an operation's, or of one AcceptEx of an operation that accepts. */
struct iocp_packet {
    OVERLAPPED overlapped;
    uint64_t token; /* the operation's; IOCP_ACCEPT_TOKEN: of a struct iocp_accept_slot */
};

#define IOCP_ACCEPT_TOKEN UINT64_MAX /* no operation has it (operation_request.token) */

enum iocp_state {
    IOCP_IN_KERNEL,   /* a packet will come */
    IOCP_PARKED,      /* OPCODE_POLL_MULTISHOT: has reported what there is; nothing is asked of the system */
    IOCP_IN_CALLBACK, /* a completion of it is being reported */
    IOCP_COMPLETED,   /* without a packet: its member result is to be reported (iocp_complete) */
    IOCP_DONE,        /* without a packet: its member overlapped has the result, as with one (iocp_complete_at_once) */
};

/* Each idle connection has one, so it must stay small. */
struct iocp_operation {
    union {
        struct iocp_packet packet;
        struct {
            union {
                OVERLAPPED overlapped;
                struct {
                    int64_t result; /* IOCP_COMPLETED */
                    ULONG_PTR bytes;
                    struct iocp_operation *next_completed; /* IOCP_COMPLETED, IOCP_DONE */
                    struct iocp_accept
                        *accepts; /* those that accept, instead of overlapped; while any is in the kernel */
                };
            };
            uint64_t token;
        };
    };
    uint32_t handle : 24, place : 8; /* handle: a fourth of it; place: in its chunk. Other loops' threads read these */
    uint32_t : 0;                    /* what follows is another memory location */
    uint32_t next : 23, opcode : 4, state : 3, cancelled : 1;
    uint32_t reports_end : 1; /* OPCODE_POLL, OPCODE_POLL_MULTISHOT: with READY_PEER_ENDED */
};

_Static_assert(sizeof(struct iocp_operation) == 48,
               "an idle connection takes so much more than struct jd_tcp_connection");
_Static_assert(offsetof(struct iocp_operation, next_completed) == offsetof(OVERLAPPED, Offset),
               "the result of an operation that is done stays in its OVERLAPPED");

/* The memory of operations (iocp_operation.c). */
struct iocp_chunk {
    struct iocp *iocp;
    struct iocp_chunk *next, **link; /* of those with room */
    uint32_t number;
    uint16_t carved, live; /* operations used so far, and now */
    uint32_t unused;       /* chain of those that were used, by their numbers; 0: empty */
    struct iocp_operation operations[IOCP_CHUNK_OPERATIONS];
};

struct iocp {
    struct backend backend;
    HANDLE port;
    unsigned accepts_ahead;
    bool reported_only;  /* the last wait reported what was complete, and did not ask the port */
    DWORD receive_flags; /* of all WSARecv: the system may write to it until the packet comes */
    struct iocp_chunk **chunks, *chunks_with_room; /* the memory of operations */
    uint32_t chunk_capacity, idle_chunks;
    struct iocp_operation *completed, **completed_link; /* FIFO */
    struct block *spare;                                /* the block that was returned last */
    bool out_of_memory;                                 /* no block could be allocated, and none has been since */
    uint32_t *by_handle, buckets;                       /* all operations in flight, by their numbers */
    OVERLAPPED_ENTRY entries[IOCP_BATCH];
};

extern const struct backend_ops iocp_backend;

static inline struct iocp *iocp_of(const struct backend *backend)
{
    return (struct iocp *)(uintptr_t)backend;
}

static inline SOCKET iocp_socket(socket_handle fd)
{
    return (SOCKET)fd;
}

static inline HANDLE iocp_handle(socket_handle fd)
{
    return (HANDLE)(intptr_t)fd;
}

static inline socket_handle iocp_fd(const struct iocp_operation *operation)
{
    return (socket_handle)(operation->handle * 4);
}

/* ---- iocp.c ---- */

/* Posts a packet: NULL wakes the loop. If the system is short of memory, it is tried until it succeeds. From any thread. */
void iocp_post(const struct iocp *iocp, OVERLAPPED *overlapped);

/* ---- iocp_operation.c ---- */

/* Sets *begun to a new operation, in the table. Returns 0, JD_ENOMEM or -EBADF. */
int iocp_begin_operation(struct iocp *iocp, const struct operation_request *request, struct iocp_operation **begun);

/* Takes it out of the table and frees it. */
void iocp_end_operation(struct iocp *iocp, struct iocp_operation *operation);

/* Makes the table. Returns false if there is no memory. */
bool iocp_make_table(struct iocp *iocp);

/* When no operation is left: frees their memory, and the table. */
void iocp_free_table(struct iocp *iocp);

/* The loop of an operation in flight. From any loop's thread. */
struct iocp *iocp_of_operation(const struct iocp_operation *operation);

/* Returns the operation in flight, or NULL. */
struct iocp_operation *iocp_find(const struct iocp *iocp, socket_handle fd, uint64_t token);

/* Returns an operation of this opcode on fd other than except, or NULL. */
struct iocp_operation *iocp_find_opcode(const struct iocp *iocp, socket_handle fd, enum backend_opcode opcode);

/* Whether the table has another operation on the handle of this one: then the handle is bound to a port. */
bool iocp_handle_is_used(const struct iocp *iocp, const struct iocp_operation *operation);

/* The operation has completed without a packet: the next report reports result, as its last completion. */
void iocp_complete(struct iocp *iocp, struct iocp_operation *operation, int64_t result);

/* The system has carried it out during the call that began it: the next report handles it as a packet. */
void iocp_complete_at_once(struct iocp *iocp, struct iocp_operation *operation);

/* ---- iocp_submit.c; the first two: see backend_ops ---- */
int iocp_submit(struct backend *backend, const struct operation_request *request);
void iocp_cancel(struct backend *backend, socket_handle fd, uint64_t token);

/* Waits for input: a receive of no bytes, which locks no memory and completes when there are bytes, the end or an error.
 * Returns 0 or a negative error. */
int iocp_await_input(struct iocp *iocp, struct iocp_operation *operation);

/* ---- iocp_completion.c ---- */

/* Handles a packet. User callbacks run here. Returns how many completions were reported. */
unsigned iocp_dispatch(struct iocp *iocp, OVERLAPPED *overlapped);

/* Reports the operations that were complete, without a packet, when it begins: those that complete meanwhile, as a receive on a
 * socket with more bytes, wait for the next call, so that the port has its turn. Returns how many completions were reported. */
unsigned iocp_report_completed(struct iocp *iocp);

/* Ends the operation and reports its last completion. */
void iocp_report_last(struct iocp *iocp, struct iocp_operation *operation, int64_t result);

/* ---- iocp_accept.c ---- */

/* Posts AcceptEx: as many as are to be posted ahead, or one. Returns 0 or a negative error. */
int iocp_accept_begin(struct iocp *iocp, struct iocp_operation *operation);

/* Cancels all of them. */
void iocp_accept_cancel(struct iocp_operation *operation);

/* Handles the packet of one of them. Returns how many completions were reported. */
unsigned iocp_accept_completed(struct iocp *iocp, struct iocp_packet *packet);

/* The loop that has posted it. From any loop's thread. */
struct iocp *iocp_of_accept(const struct iocp_packet *packet);

/* ---- iocp_buffers.c ---- */

/* Returns a block to receive into, or NULL: no memory. */
struct block *iocp_get_block(struct iocp *iocp);

/* Returns a block; NULL: its receiver has kept it. */
void iocp_put_block(struct iocp *iocp, struct block *block);

/* If there was no memory for a block: tries again. */
void iocp_check_memory(struct iocp *iocp);

#endif
