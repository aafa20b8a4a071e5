/* A simulated operation: what was asked for, and how far it is. */
#ifndef PROACTOR_SIMULATED_SIMULATED_OPERATION_H
#define PROACTOR_SIMULATED_SIMULATED_OPERATION_H

#include "proactor/backend.h"

#include <stdbool.h>
#include <stddef.h>

/* ---- lists: circular, so that an element can leave without knowing which list it is in ---- */

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

/* Moves everything to an empty list. */
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
    OPERATION_BEHIND,     /* another of the same direction on its descriptor comes first */
    OPERATION_WAITING,    /* until its descriptor is ready */
    OPERATION_BLOCKLESS,  /* ready, but there is no block to receive into yet */
    OPERATION_WORKING,    /* with the workers */
    OPERATION_COMPLETED,  /* to be reported by wait */
    OPERATION_IN_CALLBACK /* a continuous one, being reported */
};

enum { OPERATION_FEW_PIECES = 8 };

struct simulated_descriptor;

struct simulated_operation {
    struct link link;  /* of its descriptor's */
    struct link queue; /* of jobs, of done, of completed, or of those without a block */
    struct simulated_descriptor *descriptor;
    uint64_t token;
    int64_t result;
    int fd;
    enum backend_opcode opcode;
    enum simulated_state state;
    bool queued;       /* among the jobs, no worker has it yet; under the workers' lock */
    bool finished;     /* performed, with a result; else it would have blocked */
    bool cancelled;    /* too late to stop it: there is no other completion after the one to come */
    bool connecting;   /* connect(2) has been called */
    uint32_t interest; /* while it waits: the readiness that it waits for, epoll's bits */
    int buffer_count;
    jd_iovec *buffers; /* few, or allocated */
    uint64_t offset;
    bool more_follows;
    struct block *block; /* of OPCODE_RECEIVE_MULTISHOT; never while it waits for readiness */
    socklen_t address_length;
    union {
        jd_iovec few[OPERATION_FEW_PIECES];
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

static inline bool operation_is_continuous(enum backend_opcode opcode)
{
    return opcode == OPCODE_ACCEPT_MULTISHOT || opcode == OPCODE_RECEIVE_MULTISHOT || opcode == OPCODE_POLL_MULTISHOT;
}

/* Done by the Poller alone. */
static inline bool operation_is_poll(enum backend_opcode opcode)
{
    return opcode == OPCODE_POLL || opcode == OPCODE_POLL_MULTISHOT;
}

/* Takes over what the request says. Returns 0, or JD_EINVAL if it makes no sense. Of more pieces than fit, or than there
 * is memory for, it takes the first: operations may always move fewer bytes than asked for. */
int simulated_operation_init(struct simulated_operation *operation, const struct operation_request *request);

/* Gives back what init took. */
void simulated_operation_release(struct simulated_operation *operation);

/* Performs it, by a worker: sets finished and, if so, result. Operations on sockets do not wait: unless finished, the
 * socket was not ready. */
void simulated_operation_perform(struct simulated_operation *operation);

#endif
