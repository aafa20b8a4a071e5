/* The timeouts of a connection: one timer for all of them. A send or receive only stores the time (sent_ms,
 * received_ms). The timer expires when the earliest timeout may be due, compares these times, and is started again for
 * the rest. */
#include "base/log.h"
#include "net/connection/tcp_connection.h"

#include <inttypes.h>
#include <jinduo/error.h>

enum { NS_PER_MS = 1000000 };

static const uint32_t never_ms = UINT32_MAX;

/* The times have 32 bits. At least this often, a time that is older than the longest timeout is moved up to that
 * distance: so its age never exceeds 2^31 ms, beyond which it would look like a future time. */
static const uint32_t recheck_max_ms = CONNECTION_TIMEOUT_MAX_MS / 2;

static uint32_t now_ms(const jd_tcp_connection *connection)
{
    return connection_loop(connection)->now_ms;
}

static uint64_t clock_ms(const jd_tcp_connection *connection)
{
    return (uint64_t)(event_loop_clock(connection_loop(connection)) / NS_PER_MS);
}

/* From since_ms to the turn's time; 0 if since_ms is later, as a send reads the clock
 * (connection_start_write_timeout). */
static uint32_t elapsed_ms(const jd_tcp_connection *connection, uint32_t since_ms)
{
    int32_t elapsed = (int32_t)(now_ms(connection) - since_ms);

    return elapsed > 0 ? (uint32_t)elapsed : 0;
}

static void timestamp_clamp(const jd_tcp_connection *connection, uint32_t *since_ms)
{
    if (elapsed_ms(connection, *since_ms) > CONNECTION_TIMEOUT_MAX_MS)
        *since_ms = now_ms(connection) - CONNECTION_TIMEOUT_MAX_MS;
}

static uint32_t min_ms(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Milliseconds until timeout_ms is due: 0 if it is due, never_ms if timeout_ms is 0. One tick is added, as times are
 * rounded down to the millisecond and a timeout must not be early. */
static uint32_t remaining_ms(uint32_t timeout_ms, uint32_t elapsed)
{
    if (timeout_ms == 0)
        return never_ms;
    return elapsed <= timeout_ms ? timeout_ms + 1 - elapsed : 0;
}

static uint32_t first_message_remaining_ms(const jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;

    if (!(connection->flags & CONNECTION_AWAITS_FIRST_MESSAGE))
        return never_ms;
    return remaining_ms(profile->first_message_timeout_ms,
                        elapsed_ms(connection, profile->base != NULL ? profile->awaited_ms : connection->up_ms));
}

static uint32_t idle_remaining_ms(const jd_tcp_connection *connection)
{
    return remaining_ms(connection->profile->idle_timeout_ms, min_ms(elapsed_ms(connection, connection->sent_ms),
                                                                     elapsed_ms(connection, connection->received_ms)));
}

static uint32_t read_remaining_ms(const jd_tcp_connection *connection)
{
    /* While reading is paused, and after the peer's FIN, read_timeout_ms does not run. */
    if (connection->flags & (CONNECTION_ANY_PAUSE | CONNECTION_END_DEFERRED | CONNECTION_PEER_ENDED))
        return connection->profile->read_timeout_ms > 0 ? connection->profile->read_timeout_ms : never_ms;
    return remaining_ms(connection->profile->read_timeout_ms, elapsed_ms(connection, connection->received_ms));
}

static uint32_t write_remaining_ms(const jd_tcp_connection *connection)
{
    if (output_queue_bytes(&connection->stream.output) == 0)
        return never_ms;
    return remaining_ms(connection->profile->write_timeout_ms, elapsed_ms(connection, connection->sent_ms));
}

static uint32_t heartbeat_remaining_ms(const jd_tcp_connection *connection)
{
    if (connection_state(connection) != CONNECTION_CONNECTED || connection->profile->on_heartbeat == NULL)
        return never_ms;
    /* No heartbeat while output is queued: once sent, it serves the same purpose. */
    if (output_queue_bytes(&connection->stream.output) > 0)
        return connection->profile->heartbeat_ms > 0 ? connection->profile->heartbeat_ms : never_ms;
    return remaining_ms(connection->profile->heartbeat_ms, elapsed_ms(connection, connection->sent_ms));
}

/* max_age_ms, a tenth more or less: connections that came up together do not all end together. The difference follows from
 * the connection's number and does not change. */
static uint32_t age_limit_ms(const jd_tcp_connection *connection)
{
    static const uint64_t golden_ratio = 0x9e3779b97f4a7c15; /* Fibonacci hashing: Knuth, volume 3, 6.4 */
    enum { SPREAD_PARTS = 10, HASH_SHIFT = 32 };
    uint64_t number = (uint64_t)connection->slot.generation << HASH_SHIFT | connection->slot.slot;
    uint32_t age_ms = connection->profile->max_age_ms, spread_ms = age_ms / SPREAD_PARTS;

    return age_ms - spread_ms + (uint32_t)(number * golden_ratio >> HASH_SHIFT) % (2 * spread_ms + 1);
}

/* Until the connection is asked to end; after that, until it is closed. */
static uint32_t age_remaining_ms(const jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;
    bool is_asked = (connection->stream.flags & CONNECTION_ASKED_TO_END) != 0;
    bool discards = (connection->flags & CONNECTION_DISCARDS_INPUT) != 0; /* linger_ms has taken the place of up_ms */

    if (profile->max_age_ms == 0 || connection_state(connection) < CONNECTION_CONNECTED ||
        connection_state(connection) >= CONNECTION_BROKEN || (discards && !profile->keeps_age))
        return never_ms;
    return remaining_ms(age_limit_ms(connection) + (is_asked ? profile->max_age_drain_ms : 0),
                        elapsed_ms(connection, discards ? profile->awaited_ms : connection->up_ms));
}

void connection_keep_age(jd_tcp_connection *connection)
{
    struct connection_profile *profile;

    if (connection->profile->max_age_ms == 0 || connection->flags & CONNECTION_DISCARDS_INPUT ||
        connection_own_profile(connection, &profile) < 0)
        return;
    profile->keeps_age = true;
    profile->awaited_ms = connection->up_ms; /* no message is awaited any more */
}

static uint32_t linger_remaining_ms(const jd_tcp_connection *connection)
{
    const unsigned lingers = CONNECTION_DISCARDS_INPUT | CONNECTION_FIN_SENT;
    int32_t remaining = (int32_t)(connection->linger_ms - now_ms(connection));

    if ((connection->flags & lingers) != lingers || connection->linger_ms == 0)
        return never_ms;
    return remaining > 0 ? (uint32_t)remaining : 0;
}

static void connection_start_timer(jd_tcp_connection *connection, uint32_t in_ms)
{
    jd_event_loop *loop = connection_loop(connection);

    connection->timer.kind = TIMER_CONNECTION;
    timer_start(&loop->timers.wheel, &connection->timer, (uint64_t)(loop->now / NS_PER_MS) + in_ms);
}

static void connection_time_out(jd_tcp_connection *connection, const char *option, uint32_t timeout_ms,
                                enum close_reason reason)
{
    char peer[JD_ENDPOINT_TEXT_BYTES];

    if (loop_may_log(connection_loop(connection))) {
        connection_peer_text(connection, peer);
        log_message(JD_LOG_INFO, "%s: %s: %s of %" PRIu32 " ms expired; connection closed", connection->profile->name,
                    peer, option, timeout_ms);
    }
    connection_begin_close_for(connection, JD_ETIMEDOUT, reason);
}

/* idle_timeout_ms or write_timeout_ms seems due: nothing has left the output queue for that time. But the peer may be
 * taking what the kernel has: a kernel buffer of megabytes asks for more only when a third of it is free. So the first
 * time, what is unacknowledged is noted, and the timeout begins anew; the next time, a different amount is progress, as
 * is any send in between, which clears the note. Answers to zero-window probes change nothing here. Returns false if the
 * timeout is due: no progress since the note, or nothing to be taken when there is none. */
static bool connection_notes_progress(jd_tcp_connection *connection)
{
    ssize_t unacknowledged;
    uint32_t note, before = connection->unacknowledged_note;

    if (connection_state(connection) >= CONNECTION_BROKEN)
        return false;
    unacknowledged = socket_unacknowledged(connection->stream.socket);
    note = (uint32_t)unacknowledged + 1;
    if (unacknowledged < 0 || note == before)
        return false;
    if (before == 0 && unacknowledged == 0 && output_queue_bytes(&connection->stream.output) == 0)
        return false;
    connection->unacknowledged_note = note;
    /* The clock, as the turn's time is earlier than the note. */
    connection->sent_ms = (uint32_t)clock_ms(connection);
    return true;
}

static void connection_invoke_heartbeat(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;

    flush_before_callback(connection_loop(connection));
    profile->on_heartbeat(connection, profile->on_heartbeat_arg);
}

/* max_age_ms has passed: asks the connection to end, and closes it when max_age_drain_ms has passed, too. */
static void connection_reach_age(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;
    char peer[JD_ENDPOINT_TEXT_BYTES];

    if (connection->stream.flags & CONNECTION_ASKED_TO_END) {
        if (loop_may_log(connection_loop(connection))) {
            connection_peer_text(connection, peer);
            log_message(JD_LOG_INFO,
                        "%s: %s: max_age_ms of %" PRIu32 " ms has passed, and the connection has not ended within "
                        "max_age_drain_ms of %" PRIu32 " ms; connection closed",
                        profile->name, peer, profile->max_age_ms, profile->max_age_drain_ms);
        }
        connection_begin_close_for(connection, 0, CLOSED_OVERDUE);
        return;
    }
    connection->stream.flags |= CONNECTION_ASKED_TO_END;
    if (profile->on_asked_to_end != NULL && connection_state(connection) == CONNECTION_CONNECTED) {
        flush_before_callback(connection_loop(connection));
        profile->on_asked_to_end(connection, profile->on_asked_to_end_arg);
    } else if (!connection_await_answers(connection)) {
        jd_tcp_connection_shutdown(connection);
    }
}

/* Starts the timer for the timeout that is due first. Invokes no callback. */
static void connection_start_timer_for_timeouts(jd_tcp_connection *connection)
{
    uint32_t remaining = min_ms(first_message_remaining_ms(connection), idle_remaining_ms(connection));
    uint32_t until_heartbeat_ms = heartbeat_remaining_ms(connection);

    remaining = min_ms(remaining, min_ms(read_remaining_ms(connection), write_remaining_ms(connection)));
    remaining = min_ms(remaining, min_ms(linger_remaining_ms(connection), age_remaining_ms(connection)));
    /* The heartbeat is still due if its callback has sent nothing: then it is invoked an interval later, not at
     * once. */
    remaining = min_ms(remaining, until_heartbeat_ms > 0 ? until_heartbeat_ms : connection->profile->heartbeat_ms);
    if (remaining != never_ms)
        connection_start_timer(connection, min_ms(remaining, recheck_max_ms));
}

void connection_check_timeouts(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;

    timestamp_clamp(connection, &connection->received_ms);
    timestamp_clamp(connection, &connection->sent_ms);
    if (first_message_remaining_ms(connection) == 0)
        connection_time_out(connection,
                            connection->flags & CONNECTION_FILTERED ? "proxy_timeout_ms" : "first_message_timeout_ms",
                            profile->first_message_timeout_ms, CLOSED_FIRST_MESSAGE);
    else if (idle_remaining_ms(connection) == 0 && !connection_notes_progress(connection))
        connection_time_out(connection, "idle_timeout_ms", profile->idle_timeout_ms, CLOSED_IDLE);
    else if (read_remaining_ms(connection) == 0)
        connection_time_out(connection, "read_timeout_ms", profile->read_timeout_ms, CLOSED_READ);
    else if (write_remaining_ms(connection) == 0 && !connection_notes_progress(connection))
        connection_time_out(connection, "write_timeout_ms", profile->write_timeout_ms, CLOSED_WRITE);
    else if (linger_remaining_ms(connection) == 0)
        connection_begin_close(connection, 0);
    else if (age_remaining_ms(connection) == 0)
        connection_reach_age(connection);
    else if (heartbeat_remaining_ms(connection) == 0)
        connection_invoke_heartbeat(connection);
    if (connection_state(connection) < CONNECTION_CLOSING)
        connection_start_timer_for_timeouts(connection);
}

static void connection_await_message(jd_tcp_connection *connection)
{
    if (connection_state(connection) >= CONNECTION_BROKEN || connection->flags & CONNECTION_DISCARDS_INPUT)
        return;
    if (connection->profile->base != NULL)
        connection->profile->awaited_ms = (uint32_t)clock_ms(connection);
    connection->flags |= CONNECTION_AWAITS_FIRST_MESSAGE;
}

void connection_await_next(jd_tcp_connection *connection)
{
    connection->profile->awaits_next = false;
    connection_await_message(connection);
    if (connection_state(connection) < CONNECTION_CLOSING)
        connection_start_timer_for_timeouts(connection);
}

/* A message whose callback asks for the next one to be awaited must not count as the next: so the wait begins at the turn's
 * end. */
static void connection_start_first_message_timeout(jd_tcp_connection *connection)
{
    struct connection_profile *profile = connection->profile;
    bool awaits = profile->first_message_timeout_ms > 0, later = connection_is_delivering(connection);

    connection->flags &= (uint16_t)~CONNECTION_AWAITS_FIRST_MESSAGE;
    if (profile->base != NULL)
        profile->awaits_next = awaits && later;
    if (awaits && later)
        connection_touch(connection, TODO_FINISH);
    else if (awaits)
        connection_await_message(connection);
}

/* By the clock: a change of timeouts may come long after the turn's beginning. */
void connection_start_timeouts(jd_tcp_connection *connection)
{
    uint32_t now = (uint32_t)clock_ms(connection);

    connection->received_ms = now;
    connection->sent_ms = now;
    if (connection_state(connection) < CONNECTION_BROKEN)
        connection->unacknowledged_note = 0;
    connection_start_first_message_timeout(connection);
    connection_start_timer_for_timeouts(connection);
}

/* The timer is moved only if it would expire too late: for the write timeout at most once per timeout, not with each message. */
static void connection_start_timer_by(jd_tcp_connection *connection, uint64_t expiry_ms)
{
    if (timer_is_started(&connection->timer) && connection->timer.expiry_ms <= expiry_ms)
        return;
    connection->timer.kind = TIMER_CONNECTION;
    timer_start(&connection_loop(connection)->timers.wheel, &connection->timer, expiry_ms);
}

void connection_start_linger(jd_tcp_connection *connection)
{
    uint64_t expiry_ms;

    if (connection->linger_ms == 0)
        return;
    expiry_ms = clock_ms(connection) + connection->linger_ms + 1;
    connection->linger_ms = (uint32_t)expiry_ms != 0 ? (uint32_t)expiry_ms : 1;
    connection_start_timer_by(connection, expiry_ms);
}

void connection_start_write_timeout(jd_tcp_connection *connection)
{
    uint32_t write_ms = connection->profile->write_timeout_ms;
    uint64_t now;

    if (write_ms == 0)
        return;
    /* The clock, not the turn's time: the peer must not be charged for a slow callback before the send. */
    now = clock_ms(connection);
    connection->sent_ms = (uint32_t)now;
    connection_start_timer_by(connection, now + write_ms + 1);
}

void connection_start_heartbeat(jd_tcp_connection *connection)
{
    uint32_t heartbeat_ms = connection->profile->heartbeat_ms;

    if (heartbeat_ms > 0 && connection->profile->on_heartbeat != NULL)
        connection_start_timer_by(connection, clock_ms(connection) + heartbeat_ms + 1);
}
