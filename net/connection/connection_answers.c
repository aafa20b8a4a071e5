/* Answers that are owed: requests that other threads still work on. The connection's end, by the peer's FIN or by a drain,
 * waits for them. */
#include "base/log.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

/* The count and the refusal change in one variable, together: an answer that was promised to be waited for is waited for. */
bool connection_await_answers(jd_tcp_connection *connection)
{
    uint64_t reserved = atomic_load(&connection->reserved);
    uint64_t bit;

    if (connection_state(connection) != CONNECTION_CONNECTED)
        return false;
    do {
        bit = connection_owed_answers(reserved) > 0 ? CONNECTION_AWAITS_ANSWERS : CONNECTION_EXPECTS_NO_MORE;
    } while (!atomic_compare_exchange_weak(&connection->reserved, &reserved, reserved | bit));
    return bit == CONNECTION_AWAITS_ANSWERS;
}

void connection_all_answered(jd_tcp_connection *connection)
{
    if (connection_state(connection) != CONNECTION_CONNECTED || connection_await_answers(connection))
        return;
    connection_set_disconnecting(connection);
    connection_touch(connection, TODO_FINISH);
}

int jd_tcp_connection_expect(jd_tcp_connection *connection)
{
    uint64_t reserved = atomic_load(&connection->reserved);

    do {
        if (connection_state(connection) != CONNECTION_CONNECTED || reserved & CONNECTION_EXPECTS_NO_MORE)
            return JD_ENOTCONN;
        if (connection_owed_answers(reserved) == CONNECTION_ANSWERS_MAX)
            return JD_ENOBUFS;
    } while (!atomic_compare_exchange_weak(&connection->reserved, &reserved, reserved + CONNECTION_OWED_ANSWER));
    return 0;
}

/* The last answer of those that an end waits for is reported to the loop, behind the sends of this thread. */
static int connection_report_answered(jd_tcp_connection *connection)
{
    int result;

    if (event_loop_is_in_loop_thread(connection_loop(connection))) {
        connection_all_answered(connection);
        return 0;
    }
    result = connection_post_command(connection, COMMAND_ANSWERED, 0);
    if (result < 0)
        atomic_fetch_add(&connection->reserved, CONNECTION_OWED_ANSWER); /* the caller may try again */
    return result;
}

int jd_tcp_connection_answered(jd_tcp_connection *connection)
{
    uint64_t reserved = atomic_load(&connection->reserved);

    do {
        if (connection_owed_answers(reserved) == 0)
            return log_invalid("%s: jd_tcp_connection_answered: no answer is owed; each call must follow one of "
                               "jd_tcp_connection_expect",
                               connection_profile_of(connection)->name);
    } while (!atomic_compare_exchange_weak(&connection->reserved, &reserved, reserved - CONNECTION_OWED_ANSWER));
    if (connection_owed_answers(reserved) > 1 || !(reserved & CONNECTION_AWAITS_ANSWERS))
        return 0;
    return connection_report_answered(connection);
}
