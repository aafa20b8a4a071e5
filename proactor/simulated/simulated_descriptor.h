/* What a simulated Proactor knows about a descriptor: the operations on it, and the events that the Poller is armed
 * for.
 *
 *   - Order. In each direction one operation at a time waits or is performed; the others are behind it in order of
 *     submission.
 *   - Edges. The Poller is edge-triggered. It is armed again for each operation that begins to wait, after the
 *     operation has been stored; arming makes the kernel check the descriptor again (Linux, fs/eventpoll.c:
 *     ep_modify). So readiness from before is reported, and an edge for which no operation waited may be forgotten.
 *   - Removal. A descriptor is removed from the Poller with its last operation, before that operation is reported:
 *     from the report on its owner may close it, and its number may be reused.
 *
 * Thread rule: the loop's thread. */
#ifndef PROACTOR_SIMULATED_SIMULATED_DESCRIPTOR_H
#define PROACTOR_SIMULATED_SIMULATED_DESCRIPTOR_H

#include "base/posix/poller.h"
#include "proactor/simulated/simulated_operation.h"

struct simulated_descriptor {
    int fd;
    uint32_t generation;   /* in the Poller's token: events of an earlier descriptor with this number are dropped */
    bool registered;       /* with the Poller */
    uint32_t armed;        /* the events it is armed for */
    struct link in;        /* accept, receive */
    struct link out;       /* connect, send */
    struct link unordered; /* poll, read, write: not ordered */
};

struct simulated_descriptors {
    struct poller poller;
    uint32_t generation; /* of the newest descriptor */
    struct simulated_descriptor **by_fd;
    size_t room;
};

/* Returns 0 or a negative error. */
int simulated_descriptors_open(struct simulated_descriptors *descriptors);

/* Called when no descriptor has operations. */
void simulated_descriptors_close(struct simulated_descriptors *descriptors);

/* Finds fd's descriptor, or creates it; simulated_descriptor_forget removes it. Returns 0, JD_ENOMEM, or -EBADF. */
int simulated_descriptor_get(struct simulated_descriptors *descriptors, int fd, struct simulated_descriptor **found);

/* Removes and frees the descriptor if no operation is left on it. */
void simulated_descriptor_forget(struct simulated_descriptors *descriptors, struct simulated_descriptor *descriptor);

/* The descriptor of a token of the Poller's; NULL: the wake-up's token, or the descriptor has been removed. */
struct simulated_descriptor *simulated_descriptor_by_token(const struct simulated_descriptors *descriptors,
                                                           uint64_t token);

/* The operation with that token on fd, or NULL. Looks at the operations of fd only. */
struct simulated_operation *simulated_descriptor_find(const struct simulated_descriptors *descriptors, int fd,
                                                      uint64_t token);

/* Appends an operation to its direction. Returns whether it can begin: it is the first, or its kind is not ordered. */
bool simulated_descriptor_add(struct simulated_descriptor *descriptor, struct simulated_operation *operation);

/* Removes an operation. Returns the next operation of its direction, if that can begin now, or NULL. */
struct simulated_operation *simulated_descriptor_remove(struct simulated_operation *operation);

/* Calls function with each operation that waits for readiness. function may change the operation's state. */
void simulated_descriptor_each_waiting(struct simulated_descriptor *descriptor,
                                       void (*function)(struct simulated_operation *operation, void *arg), void *arg);

/* Arms the Poller for all events that operations wait for; those that are ready already are reported. Returns 0 or a
 * negative error. */
int simulated_descriptor_arm(struct simulated_descriptors *descriptors, struct simulated_descriptor *descriptor);

/* Called when events have come: if no operation waits for some of them, arms the Poller without those. */
void simulated_descriptor_narrow(struct simulated_descriptors *descriptors, struct simulated_descriptor *descriptor,
                                 uint32_t events);

#endif
