/* What all connections of a server hold together: queued output and unread input (total_output_limit, total_input_limit).
 * Exists only if one of the limits is set.
 *
 * Each loop counts plainly, and moves whole 64 KiB to and from the server's total: so the total is known up to 64 KiB for
 * each loop, and no message costs an atomic operation.
 *
 * Thread rule: in the thread of the connection's loop, unless a comment says otherwise. */
#ifndef NET_CONNECTION_CONNECTION_TOTALS_H
#define NET_CONNECTION_CONNECTION_TOTALS_H

#include <jinduo/types.h>
#include <stdbool.h>
#include <stddef.h>

struct connection_totals;

/* What a loop counts before it moves it; a limit must be at least twice that for each loop. */
enum { TOTAL_STEP_BYTES = 64 * 1024 };

/* Limits in bytes, 0: none. The caller owns one reference. Returns NULL without memory. From any thread. */
struct connection_totals *connection_totals_create(size_t output_limit, size_t input_limit);
struct connection_totals *connection_totals_ref(struct connection_totals *totals);
void connection_totals_unref(struct connection_totals *totals); /* NULL: nothing */

/* ---- output ---- */

/* The bytes of the output queue have changed; it had `before`. totals: of the connection's profile, not NULL. */
void connection_totals_count_output(jd_tcp_connection *connection, size_t before);

/* Whether length more bytes are within total_output_limit. From any thread. */
bool connection_totals_have_room(const jd_tcp_connection *connection, size_t length);

/* The same, and adds them, for bytes that travel to the loop from another thread; takes them back. From any thread. */
bool connection_totals_reserve(struct connection_totals *totals, size_t length);
void connection_totals_unreserve(struct connection_totals *totals, size_t length);

/* Whether the server is under pressure: connections with queued output are not read. From any thread. */
bool connection_totals_are_pressed(const struct connection_totals *totals);

/* How often that has changed: a loop that has not seen each change must apply the present state all the same. From any thread. */
unsigned connection_totals_pressure_changes(const struct connection_totals *totals);

/* At the end of a turn, for a connection that has queued output under pressure: if its output is still there, it counts as
 * above its high watermark. */
void connection_meet_pressure(jd_tcp_connection *connection);

/* ---- input ---- */

/* The connection's unread input has changed. Above total_input_limit it, or another of the loop, is closing afterwards. */
void connection_totals_count_input(jd_tcp_connection *connection);

/* The unread input is about to be freed. */
void connection_totals_forget_input(jd_tcp_connection *connection);

#endif
