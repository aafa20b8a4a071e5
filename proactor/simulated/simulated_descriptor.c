#include "proactor/simulated/simulated_descriptor.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <jinduo/error.h>
#include <string.h>

enum { FIRST_ROOM = 64, GENERATION_SHIFT = 32 };

int simulated_descriptors_open(struct simulated_descriptors *descriptors)
{
    return poller_open(&descriptors->poller);
}

void simulated_descriptors_close(struct simulated_descriptors *descriptors)
{
    poller_close(&descriptors->poller);
    memory_release(descriptors->by_fd, descriptors->room * sizeof(struct simulated_descriptor *));
}

/* ---- the table: its size follows the largest descriptor, so only open descriptors may make it grow ---- */

static int descriptors_grow(struct simulated_descriptors *descriptors, int fd)
{
    size_t room = descriptors->room > 0 ? descriptors->room : FIRST_ROOM;
    const size_t entry_bytes = sizeof(struct simulated_descriptor *);
    struct simulated_descriptor **by_fd;

    if (fd < 0 || fcntl(fd, F_GETFD) < 0)
        return -EBADF;
    while (room <= (size_t)fd)
        room *= 2;
    by_fd = memory_reallocate(descriptors->by_fd, descriptors->room * entry_bytes, room * entry_bytes);
    if (by_fd == NULL)
        return JD_ENOMEM;
    memset(by_fd + descriptors->room, 0, (room - descriptors->room) * entry_bytes);
    descriptors->by_fd = by_fd;
    descriptors->room = room;
    return 0;
}

static struct simulated_descriptor *descriptors_look_up(const struct simulated_descriptors *descriptors, int fd)
{
    return fd >= 0 && (size_t)fd < descriptors->room ? descriptors->by_fd[fd] : NULL;
}

int simulated_descriptor_get(struct simulated_descriptors *descriptors, int fd, struct simulated_descriptor **found)
{
    struct simulated_descriptor *descriptor = descriptors_look_up(descriptors, fd);
    int result = 0;

    *found = descriptor;
    if (descriptor != NULL)
        return 0;
    if (fd < 0 || (size_t)fd >= descriptors->room)
        result = descriptors_grow(descriptors, fd);
    if (result < 0)
        return result;
    descriptor = memory_allocate_zeroed(sizeof(*descriptor));
    if (descriptor == NULL)
        return JD_ENOMEM;
    descriptor->fd = fd;
    descriptor->generation = ++descriptors->generation;
    list_init(&descriptor->in);
    list_init(&descriptor->out);
    list_init(&descriptor->unordered);
    *found = descriptors->by_fd[fd] = descriptor;
    return 0;
}

void simulated_descriptor_forget(struct simulated_descriptors *descriptors, struct simulated_descriptor *descriptor)
{
    if (!list_is_empty(&descriptor->in) || !list_is_empty(&descriptor->out) || !list_is_empty(&descriptor->unordered))
        return;
    if (descriptor->registered)
        poller_remove(&descriptors->poller, descriptor->fd);
    descriptors->by_fd[descriptor->fd] = NULL;
    memory_release(descriptor, sizeof(*descriptor));
}

static uint64_t descriptor_token(const struct simulated_descriptor *descriptor)
{
    return (uint64_t)descriptor->generation << GENERATION_SHIFT | (uint32_t)descriptor->fd;
}

struct simulated_descriptor *simulated_descriptor_by_token(const struct simulated_descriptors *descriptors,
                                                           uint64_t token)
{
    struct simulated_descriptor *descriptor = descriptors_look_up(descriptors, (int)(uint32_t)token);

    return descriptor != NULL && descriptor->generation == token >> GENERATION_SHIFT ? descriptor : NULL;
}

/* ---- the operations of a descriptor ---- */

static struct link *descriptor_list_of(struct simulated_descriptor *descriptor, enum backend_opcode opcode)
{
    switch (opcode) {
    case OPCODE_ACCEPT:
    case OPCODE_ACCEPT_MULTISHOT:
    case OPCODE_RECEIVE:
    case OPCODE_RECEIVE_MULTISHOT:
        return &descriptor->in;
    case OPCODE_CONNECT:
    case OPCODE_SEND:
        return &descriptor->out;
    default:
        return &descriptor->unordered;
    }
}

static struct simulated_operation *operation_list_find(struct link *list, uint64_t token)
{
    for (struct link *link = list->next; link != list; link = link->next)
        if (operation_of_link(link)->token == token)
            return operation_of_link(link);
    return NULL;
}

struct simulated_operation *simulated_descriptor_find(const struct simulated_descriptors *descriptors, int fd,
                                                      uint64_t token)
{
    struct simulated_descriptor *descriptor = descriptors_look_up(descriptors, fd);
    struct simulated_operation *operation;

    if (descriptor == NULL)
        return NULL;
    operation = operation_list_find(&descriptor->in, token);
    if (operation == NULL)
        operation = operation_list_find(&descriptor->out, token);
    return operation != NULL ? operation : operation_list_find(&descriptor->unordered, token);
}

bool simulated_descriptor_add(struct simulated_descriptor *descriptor, struct simulated_operation *operation)
{
    struct link *list = descriptor_list_of(descriptor, operation->opcode);

    operation->descriptor = descriptor;
    operation->state = OPERATION_BEHIND;
    list_append(list, &operation->link);
    return list->next == &operation->link || list == &descriptor->unordered;
}

struct simulated_operation *simulated_descriptor_remove(struct simulated_operation *operation)
{
    struct link *list = descriptor_list_of(operation->descriptor, operation->opcode);
    struct simulated_operation *first;

    list_remove(&operation->link);
    if (list_is_empty(list))
        return NULL;
    first = operation_of_link(list->next);
    return first->state == OPERATION_BEHIND ? first : NULL;
}

/* ---- readiness ---- */

static void operation_visit_if_waiting(struct link *link,
                                       void (*function)(struct simulated_operation *operation, void *arg), void *arg)
{
    if (operation_of_link(link)->state == OPERATION_WAITING)
        function(operation_of_link(link), arg);
}

void simulated_descriptor_each_waiting(struct simulated_descriptor *descriptor,
                                       void (*function)(struct simulated_operation *operation, void *arg), void *arg)
{
    if (!list_is_empty(&descriptor->in))
        operation_visit_if_waiting(descriptor->in.next, function, arg);
    if (!list_is_empty(&descriptor->out))
        operation_visit_if_waiting(descriptor->out.next, function, arg);
    for (struct link *link = descriptor->unordered.next; link != &descriptor->unordered; link = link->next)
        operation_visit_if_waiting(link, function, arg);
}

static uint32_t operation_list_interest(struct link *list)
{
    struct simulated_operation *first = operation_of_link(list->next);

    return !list_is_empty(list) && first->state == OPERATION_WAITING ? first->interest : 0;
}

/* A multishot poll waits for events also while one is being reported. */
static uint32_t descriptor_wanted_events(struct simulated_descriptor *descriptor)
{
    uint32_t wanted = operation_list_interest(&descriptor->in) | operation_list_interest(&descriptor->out);

    for (struct link *link = descriptor->unordered.next; link != &descriptor->unordered; link = link->next) {
        const struct simulated_operation *operation = operation_of_link(link);
        if (operation->state == OPERATION_WAITING || operation->opcode == OPCODE_POLL_MULTISHOT)
            wanted |= operation->interest;
    }
    return wanted;
}

/* JD_EEXIST: an earlier descriptor with this number could not be removed from the Poller. */
static int poller_add_or_modify(struct poller *poller, int fd, uint32_t events, uint64_t token)
{
    int result = poller_add(poller, fd, events, token);

    return result == JD_EEXIST && poller_modify(poller, fd, events, token) == 0 ? 0 : result;
}

int simulated_descriptor_arm(struct simulated_descriptors *descriptors, struct simulated_descriptor *descriptor)
{
    struct poller *poller = &descriptors->poller;
    uint32_t wanted = descriptor_wanted_events(descriptor);
    uint64_t token = descriptor_token(descriptor);
    int result;

    if (descriptor->registered)
        result = poller_modify(poller, descriptor->fd, wanted | EPOLLET, token);
    else
        result = poller_add_or_modify(poller, descriptor->fd, wanted | EPOLLET, token);
    if (result < 0)
        return result;
    descriptor->registered = true;
    descriptor->armed = wanted;
    return 0;
}

void simulated_descriptor_narrow(struct simulated_descriptors *descriptors, struct simulated_descriptor *descriptor,
                                 uint32_t events)
{
    const uint32_t always_reported = EPOLLERR | EPOLLHUP;

    if ((events & descriptor->armed & ~(descriptor_wanted_events(descriptor) | always_reported)) != 0)
        simulated_descriptor_arm(descriptors, descriptor);
}
