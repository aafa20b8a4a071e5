/* Operations: their memory, and their table by handle. The table has each operation from submit to its last completion,
 * so that cancel finds it. */
#include "base/memory.h"
#include "proactor/iocp/iocp_backend.h"

#include <string.h>

enum { UNUSED_MAX = 64 }; /* operations whose memory is kept for new ones */

static struct iocp_operation **iocp_bucket(struct iocp *iocp, socket_handle fd)
{
    return &iocp->by_handle[(uintptr_t)fd / 4 % IOCP_BUCKETS];
}

static const struct iocp_operation *iocp_first(const struct iocp *iocp, socket_handle fd)
{
    return iocp->by_handle[(uintptr_t)fd / 4 % IOCP_BUCKETS];
}

static struct iocp_operation *iocp_allocate(struct iocp *iocp)
{
    struct iocp_operation *operation = iocp->unused;

    if (operation == NULL)
        return memory_allocate_zeroed(sizeof(*operation));
    iocp->unused = operation->next;
    iocp->unused_count--;
    memset(operation, 0, sizeof(*operation));
    return operation;
}

struct iocp_operation *iocp_begin_operation(struct iocp *iocp, const struct operation_request *request)
{
    struct iocp_operation *operation = iocp_allocate(iocp);
    struct iocp_operation **first = iocp_bucket(iocp, request->fd);

    if (operation == NULL)
        return NULL;
    operation->packet.iocp = iocp;
    operation->packet.kind = PACKET_OPERATION;
    operation->token = request->token;
    operation->fd = request->fd;
    operation->opcode = (uint8_t)request->opcode;
    operation->next = *first;
    *first = operation;
    return operation;
}

void iocp_end_operation(struct iocp *iocp, struct iocp_operation *operation)
{
    struct iocp_operation **link = iocp_bucket(iocp, operation->fd);

    while (*link != operation)
        link = &(*link)->next;
    *link = operation->next;
    if (iocp->unused_count == UNUSED_MAX) {
        memory_release(operation, sizeof(*operation));
        return;
    }
    operation->next = iocp->unused;
    iocp->unused = operation;
    iocp->unused_count++;
}

void iocp_free_unused(struct iocp *iocp)
{
    while (iocp->unused != NULL)
        memory_release(iocp_allocate(iocp), sizeof(struct iocp_operation));
}

struct iocp_operation *iocp_find(const struct iocp *iocp, socket_handle fd, uint64_t token)
{
    const struct iocp_operation *operation = iocp_first(iocp, fd);

    while (operation != NULL && (operation->fd != fd || operation->token != token))
        operation = operation->next;
    return (struct iocp_operation *)(uintptr_t)operation;
}

struct iocp_operation *iocp_find_opcode(const struct iocp *iocp, socket_handle fd, enum backend_opcode opcode)
{
    const struct iocp_operation *operation = iocp_first(iocp, fd);

    while (operation != NULL && (operation->fd != fd || operation->opcode != opcode))
        operation = operation->next;
    return (struct iocp_operation *)(uintptr_t)operation;
}

bool iocp_handle_is_used(const struct iocp *iocp, const struct iocp_operation *operation)
{
    const struct iocp_operation *other = iocp_first(iocp, operation->fd);

    while (other != NULL && (other->fd != operation->fd || other == operation))
        other = other->next;
    return other != NULL;
}

void iocp_complete(struct iocp *iocp, struct iocp_operation *operation, int64_t result)
{
    operation->state = IOCP_COMPLETED;
    operation->result = result;
    operation->next_completed = NULL;
    *iocp->completed_link = operation;
    iocp->completed_link = &operation->next_completed;
}
