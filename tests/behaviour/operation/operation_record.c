#include "tests/behaviour/operation/operation_record.h"

#include "base/platform/socket.h"

#include <string.h>
#include <unistd.h>

void note_completion(jd_operation *operation, int64_t result, void *arg)
{
    struct record *record = arg;

    ck_assert_ptr_eq(operation, &record->operation);
    ck_assert(!record->over);
    ck_assert(jd_event_loop_is_in_loop_thread(the_loop));
    if (record->reported < RECORD_TELLINGS)
        record->results[record->reported] = result;
    record->reported++;
    record->over = !jd_operation_has_more(operation);
    if (jd_operation_data(operation) == NULL)
        return;
    ck_assert_int_ge(result, 1);
    ck_assert_uint_le(record->data_bytes + (size_t)result, RECORD_BYTES);
    memcpy(record->data + record->data_bytes, jd_operation_data(operation), (size_t)result);
    record->data_bytes += (size_t)result;
}

int64_t await(struct record *record)
{
    PUMP_UNTIL(record->over);
    return record->results[record->reported - 1];
}

jd_handle listen_somewhere(jd_endpoint *bound)
{
    jd_endpoint endpoint;
    jd_handle listener;

    ck_assert_int_eq(jd_endpoint_parse(&endpoint, own_tcp_endpoint(0), NULL), 0);
    ck_assert_int_eq(jd_socket_listen(&listener, &endpoint, bound), 0);
    return listener;
}

/* On loopback a connection is there for accept when connect has returned. */
struct socket_ends tcp_ends(void)
{
    struct peer_address peer;
    struct socket_ends ends;
    jd_endpoint bound;
    jd_handle listener = listen_somewhere(&bound);

    ends.theirs = client_connect_to(&bound);
    ck_assert_int_eq(socket_accept(listener, &ends.ours, &peer), 0);
    close(listener);
    return ends;
}

void write_to(int fd, const char *text)
{
    client_send(fd, text, strlen(text));
}
