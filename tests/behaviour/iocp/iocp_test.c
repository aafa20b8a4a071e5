/* What is different on Windows' engine (docs/engines.md), its accepts posted ahead, and the memory that a message takes. */
#include "tests/behaviour/harness.h"

#include <jinduo/error.h>
#include <jinduo/jinduo.h>
#include <jinduo/proactor.h>
#include <string.h>

const char *const suite_name = "iocp";

/* ---- what the system has not ---- */

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

START_TEST(unix_domain_endpoints_are_not_supported)
{
    ck_assert_int_eq(listen_result("unix:@jinduo-test", false), JD_ENOTSUP);
    ck_assert_int_eq(listen_result("unix:/tmp/jinduo-test", false), JD_ENOTSUP);
}
END_TEST

START_TEST(reuse_port_is_not_supported)
{
    ck_assert_int_eq(listen_result("127.0.0.1:0", true), JD_ENOTSUP);
}
END_TEST

static void never(jd_channel *channel, jd_handle handle, unsigned events, void *arg)
{
}

START_TEST(channels_and_a_pollable_descriptor_are_not_supported)
{
    jd_channel *channel;

    ck_assert_int_eq(jd_channel_create(&channel, the_loop, 4, JD_READABLE, never, NULL), JD_ENOTSUP);
    ck_assert_int_eq(jd_event_loop_pollable_fd(the_loop), JD_ENOTSUP);
}
END_TEST

START_TEST(only_iocp_is_built_in_and_the_default)
{
    static const jd_engine absent[] = { JD_ENGINE_REACTOR, JD_ENGINE_IO_URING, JD_ENGINE_SIMULATED };
    const char *reason;
    jd_event_loop *loop;

    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        ck_assert_int_eq(jd_engine_available(absent[i], &reason), JD_ENOTSUP);
        ck_assert_str_eq(reason, "not built in");
    }
    ck_assert_int_eq(jd_engine_available(JD_ENGINE_PROACTOR, NULL), 0);
    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), 0);
    ck_assert_int_eq(jd_event_loop_engine(loop), JD_ENGINE_IOCP);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

START_TEST(a_port_in_use_is_not_taken_over)
{
    char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint;

    serve(&(struct service){ .on_message = echo });
    endpoint = *server_endpoint();
    jd_endpoint_format(&endpoint, text, sizeof(text));

    ck_assert_int_eq(listen_result(text, false), JD_EADDRINUSE);
}
END_TEST

/* ---- accepts posted ahead ---- */

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
    for (int i = 0; i < CROWD; i++) {
        client_send(clients[i], "served", 6);
        client_expect(clients[i], "served", 6);
    }
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
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo });
    pump_turns(2);

    jd_tcp_server_destroy(server, NULL, NULL);
    pump_until_quiet();
    serve(&(struct service){ .on_message = echo });
}
END_TEST

/* ---- memory ---- */

START_TEST(after_the_first_messages_a_message_allocates_nothing)
{
    enum { WARM_UP = 20, MESSAGES = 50 };
    size_t memory;
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();

    for (int i = 0; i < WARM_UP; i++) {
        client_send(client, "message", 7);
        client_expect(client, "message", 7);
    }
    pump_until_quiet();
    memory = jd_memory_in_use();
    for (int i = 0; i < MESSAGES; i++) {
        client_send(client, "message", 7);
        client_expect(client, "message", 7);
        ck_assert_uint_eq(jd_memory_in_use(), memory);
    }
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "iocp");

    tcase_add_test(tests, unix_domain_endpoints_are_not_supported);
    tcase_add_test(tests, reuse_port_is_not_supported);
    tcase_add_test(tests, channels_and_a_pollable_descriptor_are_not_supported);
    tcase_add_test(tests, only_iocp_is_built_in_and_the_default);
    tcase_add_test(tests, a_port_in_use_is_not_taken_over);
    tcase_add_loop_test(tests, more_connections_at_once_than_accepts_are_posted_are_all_served, 0, 3);
    tcase_add_test(tests, connections_that_are_reset_before_they_are_accepted_do_not_stop_accepting);
    tcase_add_test(tests, a_server_is_destroyed_with_all_accepts_posted);
    tcase_add_test(tests, after_the_first_messages_a_message_allocates_nothing);
}
