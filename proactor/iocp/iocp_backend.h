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
 * the operation uses, must stay where they are. No packet is freed before that.
 *
 * Thread rule: the loop's thread, except iocp_wake (any thread). */
#ifndef PROACTOR_IOCP_IOCP_BACKEND_H
#define PROACTOR_IOCP_IOCP_BACKEND_H

#include "proactor/backend.h"

/* The order matters: <windows.h> needs <winsock2.h> before it. */
#include <winsock2.h>

#include <mswsock.h>
#include <windows.h>

enum {
    IOCP_BATCH = 64,           /* packets that one wait takes from the port */
    IOCP_BUFFERS_MAX = 64,     /* of one system call: with 1500 WSASend fails, and a packet comes nevertheless */
    IOCP_BYTES_MAX = 1 << 30,  /* of one system call */
    IOCP_BLOCKS_IN_A_ROW = 4,  /* that one receive reports before others have their turn */
    IOCP_ACCEPTS_DEFAULT = 32, /* AcceptEx posted ahead on a listener */
    IOCP_BUCKETS = 4096,       /* handles are multiples of 4 and dense */
};

struct iocp;

enum iocp_packet_kind {
    PACKET_OPERATION, /* of a struct iocp_operation */
    PACKET_ACCEPT,    /* of a struct iocp_accept */
};

/* What the port returns: the address of overlapped, its first member. */
struct iocp_packet {
    OVERLAPPED overlapped;
    struct iocp *iocp; /* the port to which it belongs; a handle may be bound to the port of another loop */
    enum iocp_packet_kind kind;
};

enum iocp_state {
    IOCP_IN_KERNEL,   /* a packet will come */
    IOCP_PARKED,      /* OPCODE_POLL_MULTISHOT: has reported what there is; nothing is asked of the system */
    IOCP_IN_CALLBACK, /* a completion of it is being reported */
    IOCP_COMPLETED,   /* to be reported, without a packet */
};

struct iocp_operation {
    struct iocp_packet packet;
    uint64_t token;
    socket_handle fd;
    struct iocp_operation *next; /* in its bucket of the table, or among the unused ones */
    union {
        struct { /* IOCP_COMPLETED */
            struct iocp_operation *next_completed;
            int64_t result;
        };
        uint32_t poll_events;
        struct iocp_accept *accepts; /* OPCODE_ACCEPT, OPCODE_ACCEPT_MULTISHOT; while there are any in the kernel */
    };
    DWORD flags; /* of WSARecv, which writes to it until the packet comes */
    uint8_t opcode, state;
    bool cancelled;
};

struct iocp {
    struct backend backend;
    HANDLE port;
    LPFN_CONNECTEX connect;
    unsigned accepts_ahead;
    struct iocp_operation *unused; /* memory of finished operations, kept for new ones */
    unsigned unused_count;
    struct iocp_operation *completed, **completed_link; /* FIFO */
    struct block *spare;                                /* the block that was returned last */
    bool out_of_memory;                                 /* no block could be allocated, and none has been since */
    struct iocp_operation *by_handle[IOCP_BUCKETS];     /* all operations in flight */
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

/* ---- iocp_operation.c ---- */

/* Returns a new operation, in the table; NULL: no memory. */
struct iocp_operation *iocp_begin_operation(struct iocp *iocp, const struct operation_request *request);

/* Takes it out of the table and frees it: a bounded number is kept for new ones, which free_unused releases. */
void iocp_end_operation(struct iocp *iocp, struct iocp_operation *operation);
void iocp_free_unused(struct iocp *iocp);

/* Returns the operation in flight, or NULL. */
struct iocp_operation *iocp_find(const struct iocp *iocp, socket_handle fd, uint64_t token);

/* Returns an operation of this opcode on fd other than except, or NULL. */
struct iocp_operation *iocp_find_opcode(const struct iocp *iocp, socket_handle fd, enum backend_opcode opcode);

/* Whether the table has another operation on the handle of this one: then the handle is bound to a port. */
bool iocp_handle_is_used(const struct iocp *iocp, const struct iocp_operation *operation);

/* The operation has completed without a packet: the next report reports result, as its last completion. */
void iocp_complete(struct iocp *iocp, struct iocp_operation *operation, int64_t result);

/* ---- iocp_submit.c; the first two: see backend_ops ---- */
int iocp_submit(struct backend *backend, const struct operation_request *request);
void iocp_cancel(struct backend *backend, socket_handle fd, uint64_t token);

/* Waits for input: a receive of no bytes, which locks no memory and completes when there are bytes, the end or an error.
 * Returns 0 or a negative error. */
int iocp_await_input(struct iocp_operation *operation);

/* ---- iocp_completion.c ---- */

/* Handles a packet. User callbacks run here. Returns how many completions were reported. */
unsigned iocp_dispatch(struct iocp *iocp, OVERLAPPED *overlapped);

/* Reports the operations that were complete, without a packet, when it begins. Returns how many. */
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

/* ---- iocp_buffers.c ---- */

/* Returns a block to receive into, or NULL: no memory. */
struct block *iocp_get_block(struct iocp *iocp);

/* Returns a block; NULL: its receiver has kept it. */
void iocp_put_block(struct iocp *iocp, struct block *block);

/* If there was no memory for a block: tries again. */
void iocp_check_memory(struct iocp *iocp);

#endif
