/* Accepts posted ahead: AcceptEx that fail, that complete with an error, and that are cancelled. */
#include "tests/behaviour/harness.h"
#include "tests/behaviour/iocp/the_calls.h"

#include <jinduo/error.h>
#include <jinduo/jinduo.h>
#include <jinduo/proactor.h>

const char *const suite_name = "iocp accept";

static int listen_result(const char *endpoint, bool reuse_port)
{
    const jd_tcp_server_options options = { .listen = endpoint, .reuse_port = reuse_port };
    jd_tcp_server *server;
    int result;

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &options), 0);
    result = jd_tcp_server_start(server, NULL);
    jd_tcp_server_destroy(server, NULL, NULL);
    return result;
}

static void expect_all_served(const int *clients, int count)
{
    for (int i = 0; i < count; i++) {
        client_send(clients[i], "served", 6);
        client_expect(clients[i], "served", 6);
    }
}

START_TEST(more_connections_at_once_than_accepts_are_posted_are_all_served)
{
    static const uint32_t ahead[] = { 1, 3, 0 };
    enum { CROWD = 100 };
    int clients[CROWD];
    remake_the_loop(&(jd_event_loop_options){ .accepts_ahead = ahead[_i] });
    serve(&(struct service){ .on_message = echo });

    for (int i = 0; i < CROWD; i++)
        clients[i] = client_connect();
    PUMP_UNTIL(connections_up() == CROWD);
    expect_all_served(clients, CROWD);
}
END_TEST

START_TEST(connections_that_are_reset_before_they_are_accepted_do_not_stop_accepting)
{
    enum { ROUNDS = 40 };
    remake_the_loop(&(jd_event_loop_options){ .accepts_ahead = 2 });
    serve(&(struct service){ .on_message = echo });

    for (int i = 0; i < ROUNDS; i++)
        client_reset(client_connect());
    int client = client_connect();
    client_send(client, "still", 5);
    client_expect(client, "still", 5);
}
END_TEST

START_TEST(a_server_is_destroyed_with_all_accepts_posted)
{
    enum { ACCEPTS_DEFAULT = 32 };
    char text[JD_ENDPOINT_TEXT_BYTES];
    jd_tcp_server *server;
    unsigned before = open_descriptors();
    calls_watch();
    server = serve(&(struct service){ .on_message = echo });
    jd_endpoint_format(server_endpoint(), text, sizeof(text));
    pump_turns(2);
    ck_assert_uint_eq(calls_of(CALL_ACCEPT), ACCEPTS_DEFAULT);

    jd_tcp_server_destroy(server, NULL, NULL);
    pump_until_quiet();

    ck_assert_uint_eq(calls_of(CALL_CANCEL), ACCEPTS_DEFAULT); /* each once */
    ck_assert_uint_eq(open_descriptors(), before);
    ck_assert_int_eq(listen_result(text, false), 0);
}
END_TEST

/* What could not be posted is posted when one of the others has completed. */
START_TEST(a_shortage_leaves_no_place_empty_for_long)
{
    enum { AHEAD = 4 };
    int clients[AHEAD];
    remake_the_loop(&(jd_event_loop_options){ .accepts_ahead = AHEAD });
    calls_watch();
    calls_fail(CALL_ACCEPT, 2, 1, WSAENOBUFS);
    serve(&(struct service){ .on_message = echo });
    pump_turns(2);
    ck_assert_uint_eq(calls_of(CALL_ACCEPT), 2); /* one is posted, and the next one failed */

    clients[0] = client_connect_up();
    ck_assert_uint_eq(calls_of(CALL_ACCEPT), 2 + AHEAD);
    for (int i = 1; i < AHEAD; i++)
        clients[i] = client_connect();
    PUMP_UNTIL(connections_up() == AHEAD);
    expect_all_served(clients, AHEAD);
}
END_TEST

/* Each status is that of one connection, also those of which nobody knows that AcceptEx has them. */
static const uint32_t statuses[] = {
    0xC00000B5, /* IO_TIMEOUT */
    0xC000013E, /* LINK_FAILED */
    0xC000020F, /* INVALID_ADDRESS_COMPONENT: as any other */
    0xC0FFFFFF, /* no status */
};
enum { STATUSES = sizeof(statuses) / sizeof(statuses[0]) };

START_TEST(a_connection_that_fails_before_it_is_accepted_does_not_disturb_the_next)
{
    enum { AHEAD = 2, FAILURES = 3 };
    remake_the_loop(&(jd_event_loop_options){ .accepts_ahead = AHEAD });
    calls_watch();
    calls_complete_with(CALL_ACCEPT, 1, FAILURES, statuses[_i], 0);
    serve(&(struct service){ .on_message = echo });

    for (int i = 0; i < FAILURES; i++)
        client_connect();
    PUMP_UNTIL(calls_struck() == FAILURES);
    int client = client_connect();
    expect_all_served(&client, 1);

    ck_assert_uint_eq(log_messages(), 0);
    ck_assert_uint_eq(calls_of(CALL_ACCEPT), AHEAD + FAILURES + 1);
    ck_assert_uint_eq(calls_of(CALL_CANCEL), 0);
}
END_TEST

/* More in a row than the failures for which a listener pauses. */
START_TEST(any_number_of_resets_in_a_row_is_no_failure_of_the_listener)
{
    enum { RESETS = 400 };
    static const uint32_t netname_deleted = 0xC00000C9;
    calls_watch();
    calls_complete_with(CALL_ACCEPT, 1, RESETS, netname_deleted, 0);
    serve(&(struct service){ .on_message = echo });

    for (int i = 0; i < RESETS; i++)
        client_reset(client_connect());
    PUMP_UNTIL(calls_struck() == RESETS);
    int client = client_connect();
    expect_all_served(&client, 1);

    ck_assert_uint_eq(log_messages(), 0);
    ck_assert_uint_eq(calls_of(CALL_CANCEL), 0);
}
END_TEST

static unsigned accepted;

static void note_accepted(jd_operation *operation, int64_t result, void *arg)
{
    if (result >= 0)
        closesocket((SOCKET)result);
    ck_assert(result >= 0 || result == JD_ECANCELED);
    accepted += result >= 0;
}

START_TEST(a_programs_own_multishot_accept_goes_on_behind_such_a_connection)
{
    static jd_operation accept;
    jd_endpoint endpoint, bound;
    jd_handle listener;
    ck_assert_int_eq(jd_endpoint_parse(&endpoint, own_tcp_endpoint(0), NULL), 0);
    ck_assert_int_eq(jd_socket_listen(&listener, &endpoint, &bound), 0);
    calls_watch();
    calls_complete_with(CALL_ACCEPT, 1, 1, statuses[_i], 0);

    ck_assert_int_eq(jd_async_accept_multishot(the_loop, &accept, listener, note_accepted, NULL), 0);
    client_connect_to(&bound);
    PUMP_UNTIL(calls_struck() == 1);
    client_connect_to(&bound);
    PUMP_UNTIL(accepted == 1);

    ck_assert_int_eq(jd_operation_cancel(&accept), 0);
    pump_until_quiet();
    closesocket((SOCKET)listener);
}
END_TEST

static unsigned ended, closed;

static void note_ended(jd_operation *operation, int64_t result, void *arg)
{
    ck_assert_int_eq(result, JD_ECANCELED);
    ended++;
}

static void note_closed(jd_operation *operation, int64_t result, void *arg)
{
    ck_assert_int_eq(result, 0);
    closed++;
}

START_TEST(a_listener_is_closed_with_all_accepts_posted)
{
    enum { ACCEPTS_DEFAULT = 32 };
    static jd_operation accept, close;
    unsigned before = open_descriptors();
    jd_endpoint endpoint;
    jd_handle listener;
    ck_assert_int_eq(jd_endpoint_parse(&endpoint, own_tcp_endpoint(0), NULL), 0);
    ck_assert_int_eq(jd_socket_listen(&listener, &endpoint, NULL), 0);
    calls_watch();
    ck_assert_int_eq(jd_async_accept_multishot(the_loop, &accept, listener, note_ended, NULL), 0);
    pump_turns(2);
    ck_assert_uint_eq(calls_of(CALL_ACCEPT), ACCEPTS_DEFAULT);

    ck_assert_int_eq(jd_async_close(the_loop, &close, listener, note_closed, NULL), 0);
    PUMP_UNTIL(closed == 1);

    ck_assert_uint_eq(ended, 1);
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(an_accept_that_the_system_refuses_for_a_connection_leaves_no_place_empty)
{
    enum { AHEAD = 4, REFUSALS = 2 };
    remake_the_loop(&(jd_event_loop_options){ .accepts_ahead = AHEAD });
    calls_watch();
    calls_fail(CALL_ACCEPT, 2, REFUSALS, WSAECONNRESET);

    serve(&(struct service){ .on_message = echo });
    pump_turns(2);

    ck_assert_uint_eq(calls_of(CALL_ACCEPT), AHEAD + REFUSALS);
}
END_TEST

START_TEST(a_backlog_of_any_length_is_taken)
{
    static const unsigned backlogs[] = { 1, 200, 201, 65535, 65536, UINT32_MAX };

    for (size_t i = 0; i < sizeof(backlogs) / sizeof(backlogs[0]); i++) {
        serve(&(struct service){ .options.backlog = backlogs[i], .on_message = echo });
        int client = client_connect();
        expect_all_served(&client, 1);
    }
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "iocp accept");

    tcase_add_loop_test(tests, more_connections_at_once_than_accepts_are_posted_are_all_served, 0, 3);
    tcase_add_test(tests, connections_that_are_reset_before_they_are_accepted_do_not_stop_accepting);
    tcase_add_test(tests, a_server_is_destroyed_with_all_accepts_posted);
    tcase_add_test(tests, a_shortage_leaves_no_place_empty_for_long);
    tcase_add_loop_test(tests, a_connection_that_fails_before_it_is_accepted_does_not_disturb_the_next, 0, STATUSES);
    tcase_add_test(tests, any_number_of_resets_in_a_row_is_no_failure_of_the_listener);
    tcase_add_loop_test(tests, a_programs_own_multishot_accept_goes_on_behind_such_a_connection, 0, STATUSES);
    tcase_add_test(tests, a_listener_is_closed_with_all_accepts_posted);
    tcase_add_test(tests, an_accept_that_the_system_refuses_for_a_connection_leaves_no_place_empty);
    tcase_add_test(tests, a_backlog_of_any_length_is_taken);
}
