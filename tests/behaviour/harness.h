/* What the behaviour suites share: the engine under test, one loop that the test steps by itself, a server on it, plain
 * sockets as its clients, and a record of what each connection's callbacks were.
 *
 * Everything happens in one thread: PUMP_UNTIL steps the loop until a condition is true, and the clients' functions
 * (clients.h) do the same while they wait. Nothing sleeps and hopes: a condition that does not come true fails the test
 * with its text.
 *
 *   #include "tests/behaviour/harness.h"
 *   const char *const suite_name = "echo";
 *
 *   static void echo(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
 *   {
 *       ck_assert_int_eq(jd_tcp_connection_send_buffer(connection, input), 0);
 *   }
 *
 *   START_TEST(what_is_sent_comes_back)
 *   {
 *       serve(&(struct service){ .on_message = echo });
 *       int client = client_connect();
 *
 *       client_send(client, "hello", 5);
 *
 *       client_expect(client, "hello", 5);
 *       client_close(client);
 *       PUMP_UNTIL(connections_down() == 1);
 *       ck_assert_str_eq(story(0), "up message down");
 *   }
 *   END_TEST
 *
 *   void suite_add_tests(Suite *suite)
 *   {
 *       TCase *tests = harness_case(suite, "echo");
 *       tcase_add_test(tests, what_is_sent_comes_back);
 *   }
 *
 * A case made by harness_case gives each test a loop, the_loop, and checks at its end, when loop and clients are gone
 * (service callbacks are not called any more then, so that arg may be a variable of the test), that descriptors and
 * memory are what they were and that each connection's story begins with up and ends with its only down.
 * JD_TEST_ENGINE names the engine: "late" (tests/support/late_engine.h), "old_uring" (io_uring as before Linux 6.12) or
 * one compiled in; default "reactor". JD_TEST_OPTION names an option that the loops have besides those that a test
 * asks for. */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include "net/engine/engine.h"
#include "tests/behaviour/clients.h"
#include "tests/support/check_main.h"

#include <jinduo/jinduo.h>

/* ---- engine and loop ---- */

const struct engine_ops *engine_under_test(void);

/* Whether that is its name. */
bool engine_is(const char *name);

/* Whether the suite runs once more with that option: "busy_poll", and of io_uring "zero_copy" and "gather" (meson.build). */
bool option_is(const char *name);

/* What the late engine stretches, and an engine whose operations are carried out by threads while turns go by, tests allow
 * for: 1, or the factor by which it may need more turns. */
unsigned engine_patience(void);

TCase *harness_case(Suite *suite, const char *name);

/* The test's loop. A test may destroy it itself, and set it to NULL. */
extern jd_event_loop *the_loop;

/* A loop on the engine under test; options may be NULL. */
jd_event_loop *make_loop(const jd_event_loop_options *options);

/* Without what the_loop's engine keeps of a finished operation for the next one, which depends on threads' timing. */
size_t memory_in_use(void);

/* Instead of the_loop with default options; before anything is on it. */
void remake_the_loop(const jd_event_loop_options *options);

/* ---- pumping ---- */

/* Steps the_loop until condition is true. */
#define PUMP_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        struct pump pump = pump_begin(#condition, __FILE__, __LINE__);                                                 \
        while (!(condition))                                                                                           \
            pump_once(&pump);                                                                                          \
    } while (0)

struct pump {
    const char *condition, *file;
    int line;
    struct patience patience;
};

struct pump pump_begin(const char *condition, const char *file, int line);
void pump_once(struct pump *pump);

/* Instead of a turn that waits a moment: one step of the_loop, or of what it is part of. Returns a negative error or >= 0. */
void pump_by(int (*step)(void));

/* A number of turns that do not wait. */
void pump_turns(unsigned turns);

/* Steps the_loop until nothing has happened on it for several turns: everything in flight has arrived. */
void pump_until_quiet(void);

/* ---- servers ---- */

/* A server's callbacks, all with arg, its codec and options; what is NULL or zero is left at its default. */
struct service {
    jd_tcp_server_options options; /* listen: default "127.0.0.1:0"; name: default "test" */
    jd_connection_callback on_up;  /* instead of on_connection: only up, only down */
    jd_connection_callback on_down;
    jd_message_callback on_message; /* NULL: input is dropped */
    jd_write_complete_callback on_write_complete;
    jd_half_close_callback on_half_close;
    jd_peer_gone_callback on_peer_gone;
    jd_watermark_callback on_high_watermark, on_low_watermark; /* these and the next are not recorded */
    jd_heartbeat_callback on_heartbeat;
    jd_thread_init_callback on_thread_init;
    jd_thread_exit_callback on_thread_exit;
    const jd_codec *codec;
    jd_frame_callback on_frame;
    jd_frame_error_callback on_frame_error;
    void *arg;
};

/* Starts a server on the_loop. The callbacks are recorded (below), then called. Destroyed with the loop at the latest. At
 * most SERVICES_MAX in a test. */
enum { SERVICES_MAX = 8 };
jd_tcp_server *serve(const struct service *service);

/* Makes room for others, when all servers are gone. */
void forget_services(void);

/* The same before start, for a test that has something to do between. */
jd_tcp_server *make_server(const struct service *service);
void start_server(jd_tcp_server *server);

/* Where the server listens; the last one made, for client_connect. */
jd_endpoint endpoint_of(const jd_tcp_server *server);
const jd_endpoint *server_endpoint(void);

/* The texts of endpoints that no other test has, as suites run beside each other: prefix, "@..." or a path, and the process's
 * number; port at an address made of that (127.0.0.0/8 is the host's: RFC 1122). Valid until the next call of either. */
const char *own_unix_endpoint(const char *prefix);
const char *own_tcp_endpoint(uint16_t port);

/* An on_message that sends everything back. */
void echo(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg);

/* the_loop's statistics now. */
jd_event_loop_statistics statistics(void);

/* ---- the record of callbacks; from any thread ---- */

/* What the connection's callbacks were, in order, as words: up, message, frame, frame-error, half-close, write-complete,
 * peer-gone, down. Equal words in a row are one, but for up and down. index: in the order of up. Fails the test if there is none.
 * Valid until the next call. */
const char *story(unsigned index);

/* The id of the connection of that index. */
jd_connection_id connection_id(unsigned index);

/* Counted when the callback has returned, unlike the words of story. */
unsigned connections_up(void);
unsigned connections_down(void);
size_t bytes_received(void); /* readable bytes that message callbacks used up, bytes of frames */

/* ---- the log ---- */

/* Whether a message with this text in it has been logged in this test; how many messages. */
bool was_logged(const char *text);
unsigned log_messages(void);

/* All of it; valid until the next call. */
const char *logged(void);

/* How many descriptors, or handles, the process has. */
unsigned open_descriptors(void);

#endif
