/* Connections and loops that end with operations in flight, and descriptors' numbers that are reused. Pitfalls 20, 23, 25,
 * 31. */
#include "tests/behaviour/harness.h"

#include <stdlib.h>
#include <string.h>

const char *const suite_name = "in_flight";

enum { KIB = 1024, MIB = 1024 * 1024 };

/* ---- closing with operations in flight ---- */

enum close_way { WAY_CLOSE, WAY_RESET, WAY_SHUTDOWN, WAY_DESTROY_LOOP, CLOSE_WAYS };

static jd_tcp_connection *in_flight;

static void send_much(jd_tcp_connection *connection, void *arg)
{
    static const char much[4 * MIB];

    in_flight = connection;
    ck_assert_int_eq(jd_tcp_connection_send(connection, much, sizeof(much)), 0);
}

/* A receive, a send that the peer does not take, and the poll that a pause left behind. */
START_TEST(a_connection_with_receive_send_and_poll_in_flight_ends_in_every_way)
{
    serve(&(struct service){ .options.send_buffer_bytes = 4096,
                             .options.above_watermark = JD_ABOVE_WATERMARK_KEEP_READING,
                             .on_up = send_much });
    int client = client_connect_with_receive_buffer(4096);
    PUMP_UNTIL(in_flight != NULL);
    ck_assert_int_eq(jd_tcp_connection_pause_reading(in_flight), 0);
    pump_until_quiet();
    ck_assert_int_eq(jd_tcp_connection_resume_reading(in_flight), 0);
    pump_until_quiet();
    client_send(client, "x", 1);
    PUMP_UNTIL(bytes_received() == 1);

    switch ((enum close_way)_i) {
    case WAY_CLOSE:
        ck_assert_int_eq(jd_tcp_connection_close(in_flight), 0);
        break;
    case WAY_RESET:
        ck_assert_int_eq(jd_tcp_connection_reset(in_flight), 0);
        break;
    case WAY_SHUTDOWN:
        ck_assert_int_eq(jd_tcp_connection_shutdown(in_flight), 0);
        client_reset(client);
        break;
    default:
        ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
        the_loop = NULL;
    }
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up message down");
}
END_TEST

/* ---- descriptors' numbers ---- */

enum { LIFE_BYTES = sizeof(uint32_t) };

static uint32_t lives_to_see(void)
{
    return engine_is("late") ? 500 : 10 * 1000;
}

static struct {
    uint64_t wrong;
    unsigned begun, ended;
} lives;

static void count_life(jd_tcp_connection *connection, void *arg)
{
    if (jd_tcp_connection_is_connected(connection))
        lives.begun++;
    else
        lives.ended++;
}

/* A connection's first number is its own, and all others must be that one, too. */
static void expect_own_number(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    uint32_t number, *own = jd_tcp_connection_context(connection);

    while (jd_buffer_readable(input) >= LIFE_BYTES) {
        memcpy(&number, jd_buffer_peek(input, LIFE_BYTES), LIFE_BYTES);
        if (own == NULL) {
            own = malloc(sizeof(*own));
            *own = number;
            jd_tcp_connection_set_context(connection, own, free);
        }
        lives.wrong += *own != number;
        jd_tcp_connection_send(connection, &number, sizeof(number));
        jd_buffer_consume(input, LIFE_BYTES);
        if (number % 3 == 0)
            jd_tcp_connection_close(connection);
    }
}

static void expect_only(int client, uint32_t number)
{
    uint32_t answers[64];
    ssize_t received = client_receive_some(client, answers, sizeof(answers));

    for (ssize_t i = 0; i < received / LIFE_BYTES; i++)
        lives.wrong += answers[i] != number;
}

/* In all stages of life and with bytes in flight both ways they end; the next connection gets the number at once. */
START_TEST(reused_descriptors_never_bring_the_bytes_of_another_connection)
{
    enum { AT_ONCE = 8 };
    int clients[AT_ONCE];
    uint32_t number = 1;
    jd_tcp_server_options options = { .listen = "127.0.0.1:0" };
    jd_tcp_server *server;
    jd_endpoint endpoint;
    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &options), 0);
    jd_tcp_server_set_connection_callback(server, count_life, NULL);
    jd_tcp_server_set_message_callback(server, expect_own_number, NULL);
    ck_assert_int_eq(jd_tcp_server_start(server, NULL), 0);
    endpoint = endpoint_of(server);

    while (number < lives_to_see()) {
        uint32_t first = number;
        for (int i = 0; i < AT_ONCE; i++, number++) {
            uint32_t twice[2] = { number, number };
            clients[i] = client_connect_to(&endpoint);
            client_send_some(clients[i], twice, sizeof(twice));
        }
        pump_turns(number % 5 * engine_patience());
        for (int i = 0; i < AT_ONCE; i++) {
            expect_only(clients[i], first + (uint32_t)i);
            if ((first + (uint32_t)i) % 2 == 0)
                client_reset(clients[i]);
            else
                client_close(clients[i]);
        }
        pump_turns(engine_patience());
        if (first % 512 == 1) /* or they fill the listener's queue while a thread that accepts gets no turn */
            pump_until_quiet();
    }

    ck_assert_uint_eq(lives.wrong, 0);
    PUMP_UNTIL(lives.begun > lives_to_see() / 4 && lives.ended == lives.begun);
}
END_TEST

/* ---- a loop's end in the middle of everything ---- */

enum { CROWD = 30, ENDS = 10 };

/* Some are being received from, some sent to, some paused, some about to be accepted. */
START_TEST(a_loop_destroyed_in_the_middle_of_everything_ends_it_all_once)
{
    static const char much[MIB];
    int clients[CROWD];
    serve(&(struct service){ .options.send_buffer_bytes = 4096, .on_message = echo });
    for (int i = 0; i < CROWD; i++) {
        clients[i] = client_connect_to(server_endpoint());
        client_send_some(clients[i], much, i % 3 == 0 ? sizeof(much) : 1);
    }
    pump_turns((unsigned)_i * engine_patience());

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);

    the_loop = NULL;
    ck_assert_uint_eq(connections_down(), connections_up());
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "in_flight");

    tcase_add_loop_test(tests, a_connection_with_receive_send_and_poll_in_flight_ends_in_every_way, 0, CLOSE_WAYS);
    tcase_add_test(tests, reused_descriptors_never_bring_the_bytes_of_another_connection);
    tcase_add_loop_test(tests, a_loop_destroyed_in_the_middle_of_everything_ends_it_all_once, 0, ENDS);
}
