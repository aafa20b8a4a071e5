/* What a simulated Proactor knows of a descriptor: the operations on it, and what the Poller has been asked to tell.
 *
 * Of each direction one operation at a time is waiting or performed, the others are behind it in order of submission. The
 * Poller is edge-triggered and armed anew, which makes it look at the descriptor again (Linux, fs/eventpoll.c: ep_modify),
 * for each operation that begins to wait, after that has been stored: so what was ready before is told, and an edge for
 * which nobody waited may be forgotten. With its last operation a descriptor leaves the Poller, before that operation is
 * reported: from then on its owner may close it, and its number may be another's. */
#ifndef PROACTOR_SIMULATED_SIMULATED_DESCRIPTOR_H
#define PROACTOR_SIMULATED_SIMULATED_DESCRIPTOR_H

#include "base/posix/poller.h"
#include "proactor/simulated/simulated_operation.h"

struct simulated_descriptor {
    int fd;
    uint32_t generation; /* in the Poller's token: what is told of an earlier one with this number is dropped */
    bool registered;     /* with the Poller */
    uint32_t armed;      /* what it tells */
    struct link in;      /* accepting, receiving */
    struct link out;     /* connecting, sending */
    struct link unordered;
};

struct simulated_descriptors {
    struct poller poller;
    uint32_t generation; /* the last one's */
    struct simulated_descriptor **by_fd;
    size_t room;
};

/* Returns 0 or a negative error. */
int simulated_descriptors_open(struct simulated_descriptors *descriptors);

/* No descriptor has operations. */
void simulated_descriptors_close(struct simulated_descriptors *descriptors);

/* The descriptor, known from now on; simulated_descriptor_forget ends that. Returns 0, JD_ENOMEM, or -EBADF. */
int simulated_descriptor_get(struct simulated_descriptors *descriptors, int fd, struct simulated_descriptor **found);

/* If no operation is left on it. */
void simulated_descriptor_forget(struct simulated_descriptors *descriptors, struct simulated_descriptor *descriptor);

/* The one that the Poller means by a token, or NULL. */
struct simulated_descriptor *simulated_descriptor_by_token(const struct simulated_descriptors *descriptors,
                                                           uint64_t token);

/* The operation with that token on fd, or NULL. Looks at the operations of fd only. */
struct simulated_operation *simulated_descriptor_find(const struct simulated_descriptors *descriptors, int fd,
                                                      uint64_t token);

/* Adds an operation at the end of its direction. Returns whether it is the first: else it is behind. */
bool simulated_descriptor_add(struct simulated_descriptor *descriptor, struct simulated_operation *operation);

/* Removes an operation. Returns the one that was behind and is the first now, or NULL. */
struct simulated_operation *simulated_descriptor_remove(struct simulated_operation *operation);

/* Calls function with each operation that waits for readiness. The function may end that. */
void simulated_descriptor_each_waiting(struct simulated_descriptor *descriptor,
                                       void (*function)(struct simulated_operation *operation, void *arg), void *arg);

/* Arms the Poller for all that operations wait for; what is ready already will be told. Returns 0 or a negative error. */
int simulated_descriptor_arm(struct simulated_descriptors *descriptors, struct simulated_descriptor *descriptor);

/* Events have come: if some that nobody waits for, the Poller is to tell of those no more. */
void simulated_descriptor_narrow(struct simulated_descriptors *descriptors, struct simulated_descriptor *descriptor,
                                 uint32_t events);

#endif
