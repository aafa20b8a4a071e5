/* Room in the submission queue. A full queue is submitted; entries that still find no room are parked, in order. */
#include "base/memory.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <string.h>

enum { PARKED_FIRST = 64 };

/* ---- parked entries ---- */

/* Makes room for least parked entries in all. Returns whether there is. */
static bool uring_reserve_parked(struct io_uring_backend *uring, unsigned least)
{
    unsigned room = uring->parked_room > 0 ? uring->parked_room : PARKED_FIRST;
    struct io_uring_sqe *parked;

    if (least <= uring->parked_room)
        return true;
    while (room < least)
        room *= 2;
    parked = memory_allocate(room * sizeof(*parked));
    if (parked == NULL)
        return false;
    if (uring->parked != NULL) {
        memcpy(parked, uring->parked, uring->parked_count * sizeof(*parked));
        memory_release(uring->parked, uring->parked_room * sizeof(*parked));
    }
    uring->parked = parked;
    uring->parked_room = room;
    return true;
}

static struct io_uring_sqe *uring_park_entry(struct io_uring_backend *uring)
{
    return uring_reserve_parked(uring, uring->parked_count + 1) ? &uring->parked[uring->parked_count++] : NULL;
}

/* A cancel must not fail, not even without memory. Before the ring is enabled no entry leaves the queue, so room for
 * an operation's cancel is reserved together with its own entry. Afterwards the kernel takes entries, which makes
 * room. */
bool uring_keep_room_for_cancel(struct io_uring_backend *uring)
{
    unsigned entries = io_uring_sq_ready(&uring->ring) + uring->parked_count + 1;

    return uring->enabled || 2 * entries <= URING_SUBMISSIONS ||
           uring_reserve_parked(uring, 2 * entries - URING_SUBMISSIONS);
}

/* ---- entries ---- */

static struct io_uring_sqe *uring_queue_entry(struct io_uring_backend *uring)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);

    if (entry != NULL)
        return entry;
    proactor_count_overflow(uring->backend.owner);
    uring_submit_now(uring);
    return io_uring_get_sqe(&uring->ring);
}

struct io_uring_sqe *uring_next_entry(struct io_uring_backend *uring)
{
    struct io_uring_sqe *entry = uring->parked_count == 0 ? uring_queue_entry(uring) : NULL;

    return entry != NULL ? entry : uring_park_entry(uring);
}

void uring_unpark(struct io_uring_backend *uring)
{
    unsigned count = 0;

    for (; count < uring->parked_count; count++) {
        struct io_uring_sqe *entry = uring_queue_entry(uring);
        if (entry == NULL)
            break;
        *entry = uring->parked[count];
    }
    uring->parked_count -= count;
    if (count > 0)
        memmove(uring->parked, uring->parked + count, uring->parked_count * sizeof(*uring->parked));
}

/* Entries that wait for the ring to be enabled, or are parked, may be separated when they are submitted. */
bool uring_has_room_for_two(struct io_uring_backend *uring)
{
    if (!uring->enabled || uring->parked_count > 0)
        return false;
    if (io_uring_sq_space_left(&uring->ring) < 2)
        uring_submit_now(uring);
    return io_uring_sq_space_left(&uring->ring) >= 2;
}
