/* Operations: their memory, and their table by handle. The table has each operation from submit to its last completion,
 * so that cancel finds it.
 *
 * An idle connection has one, its receive of no bytes: so operations are small. They are in chunks, and have numbers, which take
 * less room than addresses. A chunk without operations is freed if there is another one. */
#include "base/memory.h"
#include "proactor/iocp/iocp_backend.h"

#include <errno.h>
#include <jinduo/error.h>
#include <string.h>

enum {
    OPERATION_NONE = 0, /* no number */
    NUMBERS_MAX = (1 << 23) - 1,
    HANDLES_MAX = 1 << 26, /* a process has at most 2^24 handles, which are multiples of 4 */
    OPERATIONS_A_BUCKET = 2,
};

/* ---- numbers ---- */

static struct iocp_chunk *chunk_of(const struct iocp_operation *operation)
{
    const struct iocp_operation *first = operation - operation->place;

    return (struct iocp_chunk *)(uintptr_t)((const char *)first - offsetof(struct iocp_chunk, operations));
}

struct iocp *iocp_of_operation(const struct iocp_operation *operation)
{
    return chunk_of(operation)->iocp;
}

static uint32_t operation_number(const struct iocp_operation *operation)
{
    return chunk_of(operation)->number * IOCP_CHUNK_OPERATIONS + operation->place + 1;
}

static struct iocp_operation *operation_by_number(const struct iocp *iocp, uint32_t number)
{
    if (number == OPERATION_NONE)
        return NULL;
    return &iocp->chunks[(number - 1) / IOCP_CHUNK_OPERATIONS]->operations[(number - 1) % IOCP_CHUNK_OPERATIONS];
}

/* ---- chunks ---- */

static void chunk_link(struct iocp *iocp, struct iocp_chunk *chunk)
{
    chunk->next = iocp->chunks_with_room;
    chunk->link = &iocp->chunks_with_room;
    if (chunk->next != NULL)
        chunk->next->link = &chunk->next;
    iocp->chunks_with_room = chunk;
}

static void chunk_unlink(struct iocp_chunk *chunk)
{
    *chunk->link = chunk->next;
    if (chunk->next != NULL)
        chunk->next->link = chunk->link;
}

/* Returns the place for a chunk in iocp->chunks, which grows if all are taken; -1: no memory, or no numbers are left. */
static int chunk_place(struct iocp *iocp)
{
    uint32_t before = iocp->chunk_capacity, capacity = before > 0 ? 2 * before : 4;
    struct iocp_chunk **chunks;

    for (uint32_t i = 0; i < before; i++)
        if (iocp->chunks[i] == NULL)
            return (int)i;
    if (capacity > NUMBERS_MAX / IOCP_CHUNK_OPERATIONS)
        return -1;
    chunks = memory_reallocate(iocp->chunks, before * sizeof(*chunks), capacity * sizeof(*chunks));
    if (chunks == NULL)
        return -1;
    memset(chunks + before, 0, (capacity - before) * sizeof(*chunks));
    iocp->chunks = chunks;
    iocp->chunk_capacity = capacity;
    return (int)before;
}

/* ---- the table ---- */

/* Handles are multiples of 4 and dense. */
static uint32_t *bucket_of(uint32_t *table, uint32_t buckets, uint32_t handle)
{
    return &table[handle % buckets];
}

bool iocp_make_table(struct iocp *iocp)
{
    iocp->buckets = IOCP_BUCKETS_MIN;
    iocp->by_handle = memory_allocate_zeroed(iocp->buckets * sizeof(*iocp->by_handle));
    return iocp->by_handle != NULL;
}

/* Twice as many buckets, if there is memory; else the chains get longer. */
static void table_grow(struct iocp *iocp)
{
    uint32_t buckets = 2 * iocp->buckets;
    uint32_t *table = memory_allocate_zeroed(buckets * sizeof(*table));

    if (table == NULL)
        return;
    for (uint32_t i = 0; i < iocp->buckets; i++) {
        struct iocp_operation *operation = operation_by_number(iocp, iocp->by_handle[i]), *next;

        for (; operation != NULL; operation = next) {
            uint32_t *first = bucket_of(table, buckets, operation->handle);
            next = operation_by_number(iocp, operation->next);
            operation->next = *first;
            *first = operation_number(operation);
        }
    }
    memory_release(iocp->by_handle, iocp->buckets * sizeof(*iocp->by_handle));
    iocp->by_handle = table;
    iocp->buckets = buckets;
}

static bool chunk_add(struct iocp *iocp)
{
    int place = chunk_place(iocp);
    struct iocp_chunk *chunk = place < 0 ? NULL : memory_allocate_zeroed(sizeof(*chunk));

    if (chunk == NULL)
        return false;
    chunk->iocp = iocp;
    chunk->number = (uint32_t)place;
    iocp->chunks[place] = chunk;
    iocp->idle_chunks++;
    chunk_link(iocp, chunk);
    if (chunk->number * IOCP_CHUNK_OPERATIONS >= OPERATIONS_A_BUCKET * iocp->buckets)
        table_grow(iocp);
    return true;
}

static void chunk_free(struct iocp *iocp, struct iocp_chunk *chunk)
{
    chunk_unlink(chunk);
    iocp->chunks[chunk->number] = NULL;
    iocp->idle_chunks--;
    memory_release(chunk, sizeof(*chunk));
}

static struct iocp_operation *iocp_allocate(struct iocp *iocp)
{
    struct iocp_operation *operation;
    struct iocp_chunk *chunk;

    if (iocp->chunks_with_room == NULL && !chunk_add(iocp))
        return NULL;
    chunk = iocp->chunks_with_room;
    operation = operation_by_number(iocp, chunk->unused);
    if (operation != NULL) {
        chunk->unused = operation->next;
    } else {
        operation = &chunk->operations[chunk->carved];
        operation->place = (uint8_t)chunk->carved++;
    }
    iocp->idle_chunks -= chunk->live++ == 0;
    if (chunk->live == IOCP_CHUNK_OPERATIONS)
        chunk_unlink(chunk);
    return operation;
}

static void iocp_release(struct iocp *iocp, struct iocp_operation *operation)
{
    struct iocp_chunk *chunk = chunk_of(operation);

    operation->next = chunk->unused;
    chunk->unused = operation_number(operation);
    if (chunk->live-- == IOCP_CHUNK_OPERATIONS)
        chunk_link(iocp, chunk);
    iocp->idle_chunks += chunk->live == 0;
    if (chunk->live == 0 && iocp->idle_chunks > 1)
        chunk_free(iocp, chunk);
}

void iocp_free_table(struct iocp *iocp)
{
    while (iocp->chunks_with_room != NULL)
        chunk_free(iocp, iocp->chunks_with_room);
    memory_release(iocp->chunks, iocp->chunk_capacity * sizeof(*iocp->chunks));
    memory_release(iocp->by_handle, iocp->buckets * sizeof(*iocp->by_handle));
}

/* ---- operations in flight ---- */

static uint32_t *iocp_bucket(const struct iocp *iocp, socket_handle fd)
{
    return bucket_of(iocp->by_handle, iocp->buckets, (uint32_t)fd / 4);
}

static struct iocp_operation *iocp_first(const struct iocp *iocp, socket_handle fd)
{
    return operation_by_number(iocp, *iocp_bucket(iocp, fd));
}

static struct iocp_operation *iocp_next(const struct iocp *iocp, const struct iocp_operation *operation)
{
    return operation_by_number(iocp, operation->next);
}

int iocp_begin_operation(struct iocp *iocp, const struct operation_request *request, struct iocp_operation **begun)
{
    struct iocp_operation *operation;
    uint32_t *first;

    if (request->fd < 0 || request->fd >= HANDLES_MAX || request->fd % 4 != 0)
        return -EBADF;
    operation = iocp_allocate(iocp);
    if (operation == NULL)
        return JD_ENOMEM;
    operation->overlapped = (OVERLAPPED){ 0 };
    operation->token = request->token;
    operation->handle = (uint32_t)request->fd / 4;
    operation->opcode = request->opcode;
    operation->state = IOCP_IN_KERNEL;
    operation->cancelled = operation->reports_end = false;
    first = iocp_bucket(iocp, request->fd); /* not before: the table may just have grown */
    operation->next = *first;
    *first = operation_number(operation);
    *begun = operation;
    return 0;
}

void iocp_end_operation(struct iocp *iocp, struct iocp_operation *operation)
{
    uint32_t *first = iocp_bucket(iocp, iocp_fd(operation));
    struct iocp_operation *before = operation_by_number(iocp, *first);

    if (before == operation) {
        *first = operation->next;
    } else {
        while (iocp_next(iocp, before) != operation)
            before = iocp_next(iocp, before);
        before->next = operation->next;
    }
    iocp_release(iocp, operation);
}

struct iocp_operation *iocp_find(const struct iocp *iocp, socket_handle fd, uint64_t token)
{
    struct iocp_operation *operation = iocp_first(iocp, fd);

    while (operation != NULL && (iocp_fd(operation) != fd || operation->token != token))
        operation = iocp_next(iocp, operation);
    return operation;
}

struct iocp_operation *iocp_find_opcode(const struct iocp *iocp, socket_handle fd, enum backend_opcode opcode)
{
    struct iocp_operation *operation = iocp_first(iocp, fd);

    while (operation != NULL && (iocp_fd(operation) != fd || operation->opcode != opcode))
        operation = iocp_next(iocp, operation);
    return operation;
}

bool iocp_handle_is_used(const struct iocp *iocp, const struct iocp_operation *operation)
{
    socket_handle fd = iocp_fd(operation);
    const struct iocp_operation *other = iocp_first(iocp, fd);

    while (other != NULL && (iocp_fd(other) != fd || other == operation))
        other = iocp_next(iocp, other);
    return other != NULL;
}

/* ---- completed without a packet ---- */

static void append_completed(struct iocp *iocp, struct iocp_operation *operation, enum iocp_state state)
{
    operation->state = state;
    operation->next_completed = NULL;
    *iocp->completed_link = operation;
    iocp->completed_link = &operation->next_completed;
}

void iocp_complete(struct iocp *iocp, struct iocp_operation *operation, int64_t result)
{
    operation->result = result;
    append_completed(iocp, operation, IOCP_COMPLETED);
}

void iocp_complete_at_once(struct iocp *iocp, struct iocp_operation *operation)
{
    append_completed(iocp, operation, IOCP_DONE);
}
