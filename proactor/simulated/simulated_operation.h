/* A simulated operation: a copy of its request, and its state. */
#ifndef PROACTOR_SIMULATED_SIMULATED_OPERATION_H
#define PROACTOR_SIMULATED_SIMULATED_OPERATION_H

#include "proactor/backend.h"

#include <stdbool.h>
#include <stddef.h>

/* ---- lists: circular, so that an element can be removed without knowing its list ---- */

struct link {
    struct link *next, *previous;
};

static inline void list_init(struct link *list)
{
    list->next = list->previous = list;
}

static inline bool list_is_empty(const struct link *list)
{
    return list->next == list;
}

static inline void list_append(struct link *list, struct link *element)
{
    element->next = list;
    element->previous = list->previous;
    list->previous->next = element;
    list->previous = element;
}

static inline void list_remove(struct link *element)
{
    element->next->previous = element->previous;
    element->previous->next = element->next;
}

/* Moves all elements to *to, which is initialised. */
static inline void list_move_all(struct link *from, struct link *to)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    *to = *from;
    to->next->previous = to->previous->next = to;
    list_init(from);
}

/* ---- operations ---- */

enum simulated_state {
    OPERATION_BEHIND,            /* an earlier operation of its direction on its descriptor comes first */
    OPERATION_WAITING,           /* for its descriptor to be ready */
    OPERATION_WAITING_FOR_BLOCK, /* the descriptor is ready, but there is no block to receive into */
    OPERATION_WORKING,           /* owned by the workers */
    OPERATION_COMPLETED,         /* to be reported by wait */
    OPERATION_IN_CALLBACK        /* being reported */
};

enum { OPERATION_INLINE_BUFFERS = 8 };

struct simulated_descriptor;

struct simulated_operation {
    struct link link;  /* among its descriptor's operations */
    struct link queue; /* among the workers' jobs, their done, the completed, the block waiters, or the unused */
    struct simulated_descriptor *descriptor;
    uint64_t token;
    int64_t result;
    int fd;
    enum backend_opcode opcode;
    enum simulated_state state;
    bool queued;       /* among the jobs: no worker has begun it; under the workers' lock */
    bool finished;     /* performed, with a result; false: it would have blocked */
    bool cancelled;    /* its next completion is the final one */
    bool connecting;   /* connect(2) has been called */
    uint32_t interest; /* the readiness that it waits for, bits of epoll(7) */
    int buffer_count;
    jd_iovec *buffers; /* inline_buffers, or allocated */
    uint64_t offset;
    bool more_follows;
    struct block
        *block; /* OPCODE_RECEIVE_MULTISHOT, while it is performed and reported; NULL while it waits for readiness */
    socklen_t address_length;
    union {
        jd_iovec inline_buffers[OPERATION_INLINE_BUFFERS];
        struct sockaddr_storage address;
    };
};

static inline struct simulated_operation *operation_of_link(struct link *link)
{
    return (struct simulated_operation *)((char *)link - offsetof(struct simulated_operation, link));
}

static inline struct simulated_operation *operation_of_queue(struct link *queue)
{
    return (struct simulated_operation *)((char *)queue - offsetof(struct simulated_operation, queue));
}

static inline bool operation_is_of_file(enum backend_opcode opcode)
{
    return opcode == OPCODE_READ || opcode == OPCODE_WRITE;
}

static inline bool operation_is_multishot(enum backend_opcode opcode)
{
    return opcode == OPCODE_ACCEPT_MULTISHOT || opcode == OPCODE_RECEIVE_MULTISHOT || opcode == OPCODE_POLL_MULTISHOT;
}

/* Performed by the Poller, not by a worker. */
static inline bool operation_is_poll(enum backend_opcode opcode)
{
    return opcode == OPCODE_POLL || opcode == OPCODE_POLL_MULTISHOT;
}

/* Copies the request. Returns 0, or JD_EINVAL for an invalid one. If there are more buffers than IOV_MAX, or no
 * memory for more than OPERATION_INLINE_BUFFERS, only the first ones are copied: operations may always move fewer
 * bytes than asked for. */
int simulated_operation_init(struct simulated_operation *operation, const struct operation_request *request);

/* Frees what init has allocated. */
void simulated_operation_release(struct simulated_operation *operation);

/* Performs the operation. Called by a worker's thread. Sets finished and, if true, result. Operations on sockets do
 * not block: finished is false if the socket was not ready. */
void simulated_operation_perform(struct simulated_operation *operation);

#endif
