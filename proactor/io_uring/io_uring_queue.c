/* Room in the submission queue: when it is full it is submitted, and what still finds no room is parked, in order. */
#include "base/memory.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <string.h>

enum { PARKED_FIRST = 64 };

/* ---- parked entries ---- */

/* Room for so many parked ones in all. */
static bool make_parking(struct io_uring_backend *uring, unsigned least)
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

static struct io_uring_sqe *park(struct io_uring_backend *uring)
{
    return make_parking(uring, uring->parked_count + 1) ? &uring->parked[uring->parked_count++] : NULL;
}

/* A cancel must not fail, not even without memory. Before the ring is enabled nothing leaves the queue, so the room for an
 * operation's cancel is kept from its beginning on; later the kernel takes what is in the queue. */
bool uring_keep_room_for_cancel(struct io_uring_backend *uring)
{
    unsigned entries = io_uring_sq_ready(&uring->ring) + uring->parked_count + 1;

    return uring->enabled || 2 * entries <= URING_SUBMISSIONS || make_parking(uring, 2 * entries - URING_SUBMISSIONS);
}

/* ---- entries ---- */

/* The kernel's thread is at the queue, which is full: soon it is not. */
static void wait_for_thread(struct io_uring_backend *uring)
{
    while (io_uring_sq_space_left(&uring->ring) == 0) {
        proactor_count_enter(uring->backend.owner);
        if (io_uring_sqring_wait(&uring->ring) < 0)
            return;
    }
}

static struct io_uring_sqe *queue_entry(struct io_uring_backend *uring)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);

    if (entry != NULL)
        return entry;
    proactor_count_overflow(uring->backend.owner);
    uring_submit_now(uring);
    if (uring_is_polled(uring) && uring->enabled)
        wait_for_thread(uring);
    return io_uring_get_sqe(&uring->ring);
}

struct io_uring_sqe *uring_next_entry(struct io_uring_backend *uring)
{
    struct io_uring_sqe *entry = uring->parked_count == 0 ? queue_entry(uring) : NULL;

    return entry != NULL ? entry : park(uring);
}

void uring_unpark(struct io_uring_backend *uring)
{
    unsigned count = 0;

    for (; count < uring->parked_count; count++) {
        struct io_uring_sqe *entry = queue_entry(uring);
        if (entry == NULL)
            break;
        *entry = uring->parked[count];
    }
    uring->parked_count -= count;
    if (count > 0)
        memmove(uring->parked, uring->parked + count, uring->parked_count * sizeof(*uring->parked));
}

/* Not where entries wait until the ring is enabled, or are parked. */
bool uring_has_room_for_two(struct io_uring_backend *uring)
{
    if (!uring->enabled || uring->parked_count > 0)
        return false;
    if (io_uring_sq_space_left(&uring->ring) < 2)
        uring_submit_now(uring);
    return io_uring_sq_space_left(&uring->ring) >= 2;
}
