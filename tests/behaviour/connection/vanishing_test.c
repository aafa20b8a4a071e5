/* Peers that are gone without having said so: no FIN comes, no RST, no acknowledgement. Pitfall 38. */
#include "tests/behaviour/harness.h"

#include <jinduo/error.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

const char *const suite_name = "vanishing";

enum { HEARTBEAT_MS = 20, READ_TIMEOUT_MS = 1000, USER_TIMEOUT_MS = 100 };

/* From here on the client's kernel drops whatever arrives for it before TCP sees it, as if its host were gone (socket(7),
 * SO_ATTACH_FILTER: a filter that accepts no byte of any packet). */
static void client_vanish(int client)
{
    struct sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = { .len = 1, .filter = &drop_all };

    ck_assert_int_eq(setsockopt(client, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
}

static int last_error;
static unsigned heartbeats;

static void note_down(jd_tcp_connection *connection, void *arg)
{
    last_error = jd_tcp_connection_error(connection);
}

static void send_heartbeat(jd_tcp_connection *connection, void *arg)
{
    heartbeats++;
    ck_assert_int_eq(jd_tcp_connection_send(connection, "h", 1), 0);
}

/* The heartbeats themselves never fail: the kernel still takes them. */
START_TEST(heartbeat_and_read_timeout_find_a_peer_that_is_gone)
{
    serve(&(struct service){
        .options = { .heartbeat_ms = HEARTBEAT_MS, .read_timeout_ms = READ_TIMEOUT_MS, .allow_half_open = _i == 1 },
        .on_heartbeat = send_heartbeat,
        .on_down = note_down });
    int client = client_connect_up();

    PUMP_UNTIL(heartbeats > 0);
    client_vanish(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up down");
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
    ck_assert_uint_gt(heartbeats, 1);
}
END_TEST

static void set_option(jd_tcp_connection *connection, int name, int value)
{
    jd_socket handle;

    ck_assert_int_eq(jd_tcp_connection_native_handle(connection, &handle), 0);
    ck_assert_int_eq(setsockopt(handle, IPPROTO_TCP, name, &value, sizeof(value)), 0);
}

/* The shortest there are, in seconds (tcp(7)); the system's are hours. */
static void shorten_keepalive(jd_tcp_connection *connection, void *arg)
{
    set_option(connection, TCP_KEEPIDLE, 1);
    set_option(connection, TCP_KEEPINTVL, 1);
    set_option(connection, TCP_KEEPCNT, 1);
    if (*(const bool *)arg)
        ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
}

static void resume_it(jd_tcp_connection *connection, int error, void *arg)
{
    ck_assert_int_eq(error, JD_ETIMEDOUT);
    ck_assert_int_eq(jd_tcp_connection_resume_reading(connection), 0);
}

START_TEST(keepalive_finds_a_peer_that_is_gone)
{
    bool paused = _i == 1;
    serve(&(struct service){ .options.keepalive = true,
                             .on_up = shorten_keepalive,
                             .on_peer_gone = resume_it,
                             .on_down = note_down,
                             .arg = &paused });
    int client = client_connect_up();

    client_vanish(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), paused ? "up peer-gone down" : "up down");
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
}
END_TEST

static void shorten_user_timeout(jd_tcp_connection *connection, void *arg)
{
    set_option(connection, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

/* What the kernel has taken and the peer does not acknowledge. */
START_TEST(the_kernels_timeout_for_unacknowledged_output_ends_the_connection)
{
    serve(&(struct service){ .on_up = shorten_user_timeout, .on_message = echo, .on_down = note_down });
    int client = client_connect_up();

    client_vanish(client);
    client_send(client, "an answer, please", 17);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up message down");
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
}
END_TEST

/* Nobody acknowledges the last bytes and the FIN: that is the kernel's business, and no connection waits for it longer
 * than its timeout. */
START_TEST(stopping_does_not_wait_for_a_peer_that_is_gone_beyond_the_deadline)
{
    enum { DRAIN_MS = 50 };
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo, .on_down = note_down });
    int client = client_connect_up();

    client_vanish(client);
    client_send_pattern(client, 0, 100);
    PUMP_UNTIL(bytes_received() == 100);
    ck_assert_int_eq(jd_tcp_server_stop(server, DRAIN_MS, NULL, NULL), 0);

    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "vanishing");

    tcase_add_loop_test(tests, heartbeat_and_read_timeout_find_a_peer_that_is_gone, 0, 2);
    tcase_add_loop_test(tests, keepalive_finds_a_peer_that_is_gone, 0, 2);
    tcase_add_test(tests, the_kernels_timeout_for_unacknowledged_output_ends_the_connection);
    tcase_add_test(tests, stopping_does_not_wait_for_a_peer_that_is_gone_beyond_the_deadline);
}
