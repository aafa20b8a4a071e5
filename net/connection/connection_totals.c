/* The bytes that all connections of a server hold together (connection_totals.h). */
#include "net/connection/connection_totals.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/platform/thread.h"
#include "net/connection/tcp_connection.h"

#include <stdint.h>

enum {
    LOOPS = UINT8_MAX + 1, /* jd_event_loop.index */

    /* Back-pressure begins a little below the limit: a server that only answers what it reads never has a send refused. */
    PRESSED_PARTS = 8,  /* from seven eighths on */
    RELEASED_PARTS = 4, /* below three quarters it ends */
    HEAP_MIN = 16,
};

/* Bytes that are counted here and not moved to the server's total: 0 to TOTAL_STEP_BYTES. */
struct loop_totals {
    int64_t output, input;

    /* The connections with unread input: a binary heap, the one with the most input first. */
    jd_tcp_connection **unread;
    uint32_t unread_count, unread_capacity;
    char padding[CACHE_LINE_BYTES];
};

struct connection_totals {
    _Atomic uint32_t references;
    size_t output_limit, input_limit; /* SIZE_MAX: none */
    _Atomic size_t output, input;     /* moved here by the loops; output: and reserved by other threads */
    _Atomic bool pressed;
    _Atomic unsigned pressure_changes;
    struct loop_totals loops[LOOPS];
};

struct connection_totals *connection_totals_create(size_t output_limit, size_t input_limit)
{
    struct connection_totals *totals = memory_allocate_zeroed(sizeof(*totals));

    if (totals == NULL)
        return NULL;
    atomic_init(&totals->references, 1);
    totals->output_limit = output_limit != 0 ? output_limit : SIZE_MAX;
    totals->input_limit = input_limit != 0 ? input_limit : SIZE_MAX;
    return totals;
}

struct connection_totals *connection_totals_ref(struct connection_totals *totals)
{
    if (totals != NULL)
        atomic_fetch_add_explicit(&totals->references, 1, memory_order_relaxed);
    return totals;
}

void connection_totals_unref(struct connection_totals *totals)
{
    if (totals == NULL || atomic_fetch_sub_explicit(&totals->references, 1, memory_order_acq_rel) > 1)
        return;
    for (int i = 0; i < LOOPS; i++)
        memory_release(totals->loops[i].unread, totals->loops[i].unread_capacity * sizeof(jd_tcp_connection *));
    memory_release(totals, sizeof(*totals));
}

static struct loop_totals *totals_of_loop(const jd_tcp_connection *connection)
{
    return &connection->profile->totals->loops[connection_loop(connection)->index];
}

/* Counts in the loop, and moves what exceeds a step. Returns the total as this loop knows it. */
static size_t total_add(_Atomic size_t *total, int64_t *here, int64_t change)
{
    int64_t steps;

    *here += change;
    if (*here >= 0 && *here <= TOTAL_STEP_BYTES)
        return atomic_load_explicit(total, memory_order_relaxed) + (size_t)*here;
    steps = *here > 0 ? *here / TOTAL_STEP_BYTES : -((TOTAL_STEP_BYTES - 1 - *here) / TOTAL_STEP_BYTES);
    *here -= steps * TOTAL_STEP_BYTES;
    return atomic_fetch_add_explicit(total, (size_t)(steps * TOTAL_STEP_BYTES), memory_order_relaxed) +
           (size_t)(steps * TOTAL_STEP_BYTES + *here);
}

/* ---- output ---- */

bool connection_totals_are_pressed(const struct connection_totals *totals)
{
    return atomic_load_explicit(&totals->pressed, memory_order_relaxed);
}

unsigned connection_totals_pressure_changes(const struct connection_totals *totals)
{
    return atomic_load(&totals->pressure_changes);
}

/* Tells the owner, which lets each of its loops apply the change. */
static void totals_set_pressed(const jd_tcp_connection *connection, bool pressed, size_t bytes)
{
    struct connection_profile *profile = connection->profile;

    if (atomic_exchange(&profile->totals->pressed, pressed) == pressed)
        return;
    atomic_fetch_add(&profile->totals->pressure_changes, 1);
    if (pressed && loop_may_log(connection_loop(connection)))
        log_message(
            JD_LOG_WARNING,
            "%s: all connections together have %zu bytes of queued output, and total_output_limit is %zu: those "
            "with queued output are not read until it falls below three quarters",
            profile->name, bytes, profile->totals->output_limit);
    profile->owner->pressure_changed(profile->owner);
}

static void connection_check_pressure_later(jd_tcp_connection *connection)
{
    connection->stream.flags |= CONNECTION_CHECKS_PRESSURE;
    connection_touch(connection, TODO_FINISH);
}

void connection_totals_count_output(jd_tcp_connection *connection, size_t before)
{
    struct connection_totals *totals = connection->profile->totals;
    size_t queued = output_queue_bytes(&connection->stream.output);
    size_t limit = totals->output_limit;
    size_t total = total_add(&totals->output, &totals_of_loop(connection)->output, (int64_t)queued - (int64_t)before);

    if (queued > before && total > limit - limit / PRESSED_PARTS)
        totals_set_pressed(connection, true, total);
    else if (queued < before && total < limit - limit / RELEASED_PARTS)
        totals_set_pressed(connection, false, total);
    if (queued > before && connection_totals_are_pressed(totals))
        connection_check_pressure_later(connection);
}

bool connection_totals_have_room(const jd_tcp_connection *connection, size_t length)
{
    const jd_event_loop *loop = connection_loop(connection);
    const struct connection_totals *totals = connection_profile_of(connection)->totals;
    size_t total = atomic_load_explicit(&totals->output, memory_order_relaxed);

    if (event_loop_is_in_loop_thread(loop))
        total += (size_t)totals->loops[loop->index].output;
    return total <= totals->output_limit && length <= totals->output_limit - total;
}

bool connection_totals_reserve(struct connection_totals *totals, size_t length)
{
    size_t total = atomic_load_explicit(&totals->output, memory_order_relaxed);

    do {
        if (total > totals->output_limit || length > totals->output_limit - total)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&totals->output, &total, total + length, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void connection_totals_unreserve(struct connection_totals *totals, size_t length)
{
    atomic_fetch_sub_explicit(&totals->output, length, memory_order_relaxed);
}

/* An engine that gathers sends submits them only after the turn: its connections have one more turn. */
void connection_meet_pressure(jd_tcp_connection *connection)
{
    bool waits =
        !connection_loop(connection)->ops->sends_at_once && !(connection->stream.flags & CONNECTION_WAITED_FOR_SEND);

    connection->stream.flags &= ~(uint32_t)(CONNECTION_CHECKS_PRESSURE | CONNECTION_WAITED_FOR_SEND);
    if (connection->profile->totals == NULL || !connection_totals_are_pressed(connection->profile->totals) ||
        output_queue_bytes(&connection->stream.output) == 0)
        return;
    if (waits) {
        connection->stream.flags |= CONNECTION_WAITED_FOR_SEND;
        connection_check_pressure_later(connection);
    } else if (!(connection->flags & CONNECTION_ABOVE_WATERMARK)) {
        connection->stream.flags |= CONNECTION_RAISED_BY_PRESSURE;
        connection_rise_above_watermark(connection);
    }
}

/* The pressure has ended: a connection whose own output is not above the high watermark need not fall to the low one. */
static void connection_leave_pressure(jd_tcp_connection *connection)
{
    bool was_raised = (connection->stream.flags & CONNECTION_RAISED_BY_PRESSURE) != 0;

    connection->stream.flags &= ~(uint32_t)CONNECTION_RAISED_BY_PRESSURE;
    if (was_raised && output_queue_bytes(&connection->stream.output) <= connection->profile->high_watermark)
        connection_sink_to_watermark(connection);
    else
        connection_check_low_watermark(connection);
}

void connections_apply_pressure(jd_event_loop *loop, const struct connection_owner *owner)
{
    jd_tcp_connection *connection;

    for (uint32_t slot = 0; (connection = slot_map_next(&loop->connections.map, slot)) != NULL;
         slot = connection->slot.slot + 1) {
        if (connection->profile->owner != owner || connection_state(connection) >= CONNECTION_BROKEN)
            continue;
        if (connection_totals_are_pressed(connection->profile->totals))
            connection_meet_pressure(connection);
        else if (connection->flags & CONNECTION_ABOVE_WATERMARK)
            connection_leave_pressure(connection);
    }
}

/* ---- input ---- */

static size_t unread_bytes(const jd_tcp_connection *connection)
{
    return connection->input->counted;
}

static void unread_place(struct loop_totals *here, uint32_t at, jd_tcp_connection *connection)
{
    here->unread[at] = connection;
    connection->input->counted_at = at;
}

/* Moves a connection to where it belongs in the heap, from the place `at`. */
static void unread_sift(struct loop_totals *here, uint32_t at, jd_tcp_connection *connection)
{
    size_t bytes = unread_bytes(connection);

    for (uint32_t parent; at > 0 && unread_bytes(here->unread[parent = (at - 1) / 2]) < bytes; at = parent)
        unread_place(here, at, here->unread[parent]);
    for (uint32_t child; (child = 2 * at + 1) < here->unread_count; at = child) {
        if (child + 1 < here->unread_count && unread_bytes(here->unread[child + 1]) > unread_bytes(here->unread[child]))
            child++;
        if (unread_bytes(here->unread[child]) <= bytes)
            break;
        unread_place(here, at, here->unread[child]);
    }
    unread_place(here, at, connection);
}

static bool unread_grow(struct loop_totals *here)
{
    uint32_t capacity = here->unread_capacity > 0 ? 2 * here->unread_capacity : HEAP_MIN;
    jd_tcp_connection **unread;

    if (here->unread_count < here->unread_capacity)
        return true;
    unread = memory_allocate(capacity * sizeof(jd_tcp_connection *));
    if (unread == NULL)
        return false;
    for (uint32_t i = 0; i < here->unread_count; i++)
        unread[i] = here->unread[i];
    memory_release(here->unread, here->unread_capacity * sizeof(jd_tcp_connection *));
    here->unread = unread;
    here->unread_capacity = capacity;
    return true;
}

static void unread_remove(struct loop_totals *here, const jd_tcp_connection *connection)
{
    jd_tcp_connection *last = here->unread[--here->unread_count];

    if (last != connection)
        unread_sift(here, connection->input->counted_at, last);
}

void connection_totals_forget_input(jd_tcp_connection *connection)
{
    struct connection_totals *totals = connection->profile->totals;
    struct loop_totals *here = totals_of_loop(connection);
    jd_buffer *input = connection->input;

    if (input == NULL || input->counted == 0)
        return;
    unread_remove(here, connection);
    total_add(&totals->input, &here->input, -(int64_t)input->counted);
    input->counted = 0;
}

/* Closes the connection of this loop that holds the most, of which there is one at least. */
static void unread_close_first(struct loop_totals *here, size_t total)
{
    jd_tcp_connection *connection = here->unread[0];
    const struct connection_profile *profile = connection->profile;
    char peer[JD_ENDPOINT_TEXT_BYTES];

    if (loop_may_log(connection_loop(connection))) {
        connection_peer_text(connection, peer);
        log_message(JD_LOG_WARNING,
                    "%s: %s: all connections together have %zu bytes of unread input, the limit is %zu "
                    "(total_input_limit); this one has the most of its loop, %zu; connection closed",
                    profile->name, peer, total, profile->totals->input_limit, unread_bytes(connection));
    }
    connection_totals_forget_input(connection);
    connection_begin_close_for(connection, JD_ENOBUFS, CLOSED_INPUT_LIMIT);
}

void connection_totals_count_input(jd_tcp_connection *connection)
{
    struct connection_totals *totals = connection->profile->totals;
    struct loop_totals *here = totals_of_loop(connection);
    jd_buffer *input = connection->input;
    size_t bytes = input != NULL ? jd_buffer_readable(input) : 0, before, total;

    if (bytes == 0 || connection_state(connection) >= CONNECTION_CLOSING) {
        connection_totals_forget_input(connection);
        return;
    }
    before = input->counted;
    if (before == 0 && !unread_grow(here)) {
        connection_begin_close(connection, JD_ENOMEM);
        return;
    }
    input->counted = bytes;
    unread_sift(here, before > 0 ? input->counted_at : here->unread_count++, connection);
    total = total_add(&totals->input, &here->input, (int64_t)bytes - (int64_t)before);
    /* One is enough: it holds at least as much as was added. More would make this loop's connections pay for another's. */
    if (bytes > before && total > totals->input_limit)
        unread_close_first(here, total);
}
