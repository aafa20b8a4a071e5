/* The end of clients: disconnected and destroyed in every state, in every callback and from other threads. Pitfall 28. */
#include "tests/behaviour/client/client_fixture.h"
#include "tests/support/name_service.h"

#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

const char *const suite_name = "client_ends";

enum { KIB = 1024, LONG_MS = 60 * 1000 };

static unsigned done_count, downs_when_done;

static void note_done(void *arg)
{
    done_count++;
    downs_when_done = clients_down();
}

static void say_hello(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, "hello", 5), 0);
}

/* ---- at every turn of its life ---- */

enum life { LIFE_ANSWERED, LIFE_REFUSED, LIFE_NAMED, LIFE_NAME_HELD, LIFE_NO_NAME, LIFE_NO_PATH, LIVES };
enum ending { END_DESTROY, END_DISCONNECT, END_DRAIN, END_LOOP, ENDINGS };

static jd_tcp_client *live(enum life life)
{
    static const char *const addresses[] = { "127.0.0.2", "127.0.0.1", NULL };
    struct client_use use = { .options = { .reconnect = true, .reconnect_initial_ms = 1, .reconnect_max_ms = 2 },
                              .on_up = say_hello };

    name_service_answer(addresses);
    if (life == LIFE_REFUSED)
        use.options.connect = at_dead_port("127.0.0.1");
    if (life == LIFE_NAMED || life == LIFE_NAME_HELD || life == LIFE_NO_NAME)
        use.options.connect = at_server_port("server.test");
    if (life == LIFE_NO_PATH)
        use.options.connect = "unix:/nonexistent/path";
    if (life == LIFE_NAME_HELD)
        name_service_block();
    if (life == LIFE_NO_NAME)
        name_service_fail(EAI_AGAIN, 0);
    return start_client(&use);
}

static void end(jd_tcp_client *client, enum ending ending)
{
    if (ending == END_DISCONNECT)
        ck_assert_int_eq(jd_tcp_client_disconnect(client, 0, note_done, NULL), 0);
    else if (ending == END_DRAIN)
        ck_assert_int_eq(jd_tcp_client_disconnect(client, LONG_MS, note_done, NULL), 0);
    else
        jd_tcp_client_destroy(client, note_done, NULL);
}

static void end_after(enum life life, enum ending ending, unsigned turns)
{
    unsigned done = done_count;
    jd_tcp_client *client = live(life);

    for (unsigned i = 0; i < turns; i++)
        ck_assert_int_ge(jd_event_loop_run_once(the_loop, i % 2 == 0), 0);
    ck_assert_uint_eq(done_count, done);
    end(client, ending);
    PUMP_UNTIL(done_count == done + 1);
    ck_assert_uint_eq(downs_when_done, clients_up());
    if (ending == END_DESTROY)
        return;
    pump_turns(3);
    ck_assert_uint_eq(done_count, done + 1);
    jd_tcp_client_destroy(client, note_done, NULL);
    PUMP_UNTIL(done_count == done + 2);
}

START_TEST(a_client_may_be_ended_in_every_state)
{
    enum life life = (enum life)_i / ENDINGS;
    enum ending ending = (enum ending)(_i % ENDINGS);
    bool comes_up = ending != END_LOOP && (life == LIFE_ANSWERED || life == LIFE_NAMED);
    bool needs_threads = life == LIFE_NAMED || engine_is("simulated");
    struct patience patience = patience_begin(20 * 1000);
    unsigned turns = engine_patience() > 1 ? 48 : 12;
    name_service_install();
    serve(&(struct service){ .on_message = echo });

    for (unsigned i = 0; i < turns && ending != END_LOOP; i++)
        end_after(life, ending, i);
    for (unsigned i = turns; comes_up && needs_threads && clients_up() == 0 && !patience_is_over(&patience); i++)
        end_after(life, ending, i); /* a thread that got none of the time that those turns took */
    ck_assert(!comes_up || clients_up() > 0);
    if (ending == END_LOOP) {
        live(life);
        pump_turns((unsigned)life * 2);
        ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
        the_loop = NULL;
    }

    name_service_remove();
}
END_TEST

/* With the client's connection at several stages. */
START_TEST(a_loop_may_be_destroyed_at_any_turn_of_a_clients_life)
{
    serve(&(struct service){ .on_message = echo });
    start_client(&(struct client_use){ .on_up = say_hello });
    pump_turns((unsigned)_i);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);

    the_loop = NULL;
    ck_assert_uint_eq(clients_up(), clients_down());
}
END_TEST

static int64_t created_in_destructor;

static void create_another(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_client *client;

    created_in_destructor =
        jd_tcp_client_create(&client, the_loop, &(jd_tcp_client_options){ .connect = "127.0.0.1:1" });
    ck_assert_int_eq(jd_tcp_client_start(*(jd_tcp_client **)arg), JD_ECANCELED);
}

START_TEST(nothing_new_begins_while_the_loop_is_destroyed)
{
    jd_tcp_client *client;
    serve(&(struct service){ .on_message = echo });
    client = start_client(&(struct client_use){ .on_down = create_another, .arg = &client });
    PUMP_UNTIL(clients_up() == 1);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);

    the_loop = NULL;
    ck_assert_int_eq(created_in_destructor, JD_ECANCELED);
}
END_TEST

/* ---- in every callback ---- */

enum place {
    IN_UP,
    IN_MESSAGE,
    IN_WRITE_COMPLETE,
    IN_HALF_CLOSE,
    IN_HEARTBEAT,
    IN_HIGH_WATERMARK,
    IN_LOW_WATERMARK,
    IN_FRAME,
    IN_FRAME_ERROR,
    IN_DOWN,
    IN_ADDRESS_FAILED,
    IN_FAILED,
    IN_LOST,
    IN_NO_NAME,
    PLACES,
};

static struct {
    jd_tcp_client *client;
    enum place place;
    enum ending ending;
    bool ended;
} in_callback;

static void end_at(enum place place)
{
    if (in_callback.place != place || in_callback.ended)
        return;
    in_callback.ended = true;
    end(in_callback.client, in_callback.ending);
    ck_assert_uint_eq(done_count, 0);
}

static void end_at_up(jd_tcp_connection *connection, void *arg)
{
    static char much[64 * KIB];

    end_at(IN_UP);
    if (in_callback.place == IN_HIGH_WATERMARK || in_callback.place == IN_LOW_WATERMARK)
        jd_tcp_connection_send(connection, much, sizeof(much));
    else if (in_callback.place == IN_FRAME_ERROR)
        jd_tcp_connection_send(connection, "\xff\xff\xff\xff", 4);
    else if (in_callback.place != IN_HEARTBEAT)
        jd_tcp_connection_send(connection, "\0\0\0\1x", 5);
}

static void end_at_down(jd_tcp_connection *connection, void *arg)
{
    end_at(IN_DOWN);
}

static void end_at_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    end_at(IN_MESSAGE);
}

static void end_at_write_complete(jd_tcp_connection *connection, void *arg)
{
    end_at(IN_WRITE_COMPLETE);
}

static void end_at_half_close(jd_tcp_connection *connection, void *arg)
{
    end_at(IN_HALF_CLOSE);
    jd_tcp_connection_close(connection);
}

static void end_at_heartbeat(jd_tcp_connection *connection, void *arg)
{
    end_at(IN_HEARTBEAT);
}

static void end_at_high(jd_tcp_connection *connection, size_t queued, void *arg)
{
    end_at(IN_HIGH_WATERMARK);
}

static void end_at_low(jd_tcp_connection *connection, size_t queued, void *arg)
{
    end_at(IN_LOW_WATERMARK);
}

static void end_at_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                         void *arg)
{
    end_at(IN_FRAME);
}

static void end_at_frame_error(jd_tcp_connection *connection, const jd_frame_error *error, void *arg)
{
    end_at(IN_FRAME_ERROR);
}

static void end_at_report(jd_tcp_client *client, const jd_connect_report *report, void *arg)
{
    ck_assert_ptr_eq(client, in_callback.client);
    if (report->event == JD_CONNECT_ADDRESS_FAILED)
        end_at(IN_ADDRESS_FAILED);
    if (report->event == JD_CONNECT_FAILED)
        end_at(in_callback.place == IN_NO_NAME ? IN_NO_NAME : IN_FAILED);
    if (report->event == JD_CONNECT_LOST)
        end_at(IN_LOST);
}

/* The server's part: an echo, or the connection's end. */
static void serve_place(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    if (in_callback.place == IN_HALF_CLOSE || in_callback.place == IN_DOWN || in_callback.place == IN_LOST) {
        jd_buffer_consume(input, SIZE_MAX);
        jd_tcp_connection_shutdown(connection);
    } else {
        jd_tcp_connection_send_buffer(connection, input);
    }
}

START_TEST(a_client_may_be_ended_in_every_callback)
{
    enum { SMALL_BYTES = 4 * KIB };
    static const char *const refusing[] = { "127.0.0.2", "127.0.0.1", NULL };
    const jd_length_codec_options codec_options = { .strip_bytes = 4 };
    jd_codec *codec;
    in_callback.place = (enum place)_i / END_LOOP;
    in_callback.ending = (enum ending)(_i % END_LOOP);
    ck_assert_int_eq(jd_length_codec_create(&codec, &codec_options), 0);
    name_service_install();
    name_service_answer(refusing);
    serve(&(struct service){ .options.receive_buffer_bytes = SMALL_BYTES, .on_message = serve_place });
    struct client_use use = { .options = { .reconnect = true,
                                           .reconnect_initial_ms = 1,
                                           .reconnect_max_ms = 1,
                                           .send_buffer_bytes = SMALL_BYTES,
                                           .high_watermark = SMALL_BYTES,
                                           .above_watermark = JD_ABOVE_WATERMARK_KEEP_READING,
                                           .allow_half_open = in_callback.place == IN_HALF_CLOSE,
                                           .heartbeat_ms = in_callback.place == IN_HEARTBEAT },
                              .on_connect = end_at_report,
                              .on_up = end_at_up,
                              .on_down = end_at_down,
                              .on_message = end_at_message,
                              .on_write_complete = end_at_write_complete,
                              .on_half_close = end_at_half_close,
                              .on_heartbeat = end_at_heartbeat,
                              .on_high_watermark = end_at_high,
                              .on_low_watermark = end_at_low };
    if (in_callback.place == IN_FRAME || in_callback.place == IN_FRAME_ERROR) {
        use.codec = codec;
        use.on_frame = end_at_frame;
        use.on_frame_error = end_at_frame_error;
    }
    if (in_callback.place == IN_ADDRESS_FAILED || in_callback.place == IN_NO_NAME)
        use.options.connect = at_server_port("server.test");
    if (in_callback.place == IN_FAILED)
        use.options.connect = at_dead_port("127.0.0.1");
    if (in_callback.place == IN_NO_NAME)
        name_service_fail(EAI_NONAME, 0);
    in_callback.client = start_client(&use);

    PUMP_UNTIL(done_count == 1);
    ck_assert(in_callback.ended);
    ck_assert_uint_eq(clients_up(), clients_down());
    ck_assert_uint_eq(downs_when_done, clients_down());
    pump_until_quiet();

    ck_assert_uint_eq(done_count, 1);
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
    name_service_remove();
    jd_codec_destroy(codec);
}
END_TEST

static void destroy_it(void *arg)
{
    done_count++;
    jd_tcp_client_destroy(arg, note_done, NULL);
}

static void start_it(void *arg)
{
    done_count++;
    ck_assert_int_eq(jd_tcp_client_start(arg), 0);
}

START_TEST(the_disconnect_callback_may_destroy_or_start_it)
{
    serve(&(struct service){ .on_message = echo });
    jd_tcp_client *client = start_client(&(struct client_use){ 0 });
    PUMP_UNTIL(clients_up() == 1);

    ck_assert_int_eq(jd_tcp_client_disconnect(client, LONG_MS, start_it, client), 0);
    PUMP_UNTIL(clients_up() == 2);
    ck_assert_uint_eq(done_count, 1);
    ck_assert_int_eq(jd_tcp_client_disconnect(client, 0, destroy_it, client), 0);
    PUMP_UNTIL(done_count == 3);

    ck_assert_uint_eq(clients_down(), 2);
}
END_TEST

START_TEST(destroying_nothing_or_twice_changes_nothing)
{
    jd_tcp_client_destroy(NULL, note_done, NULL);
    ck_assert_uint_eq(done_count, 1);
    jd_tcp_client *client = make_client(&(struct client_use){ .options.connect = "127.0.0.1:1" });
    ck_assert_int_eq(jd_tcp_client_disconnect(client, 0, note_done, NULL), JD_EALREADY);

    jd_tcp_client_destroy(client, note_done, NULL);
    jd_tcp_client_destroy(client, note_done, NULL);
    ck_assert_int_eq(jd_tcp_client_start(client), JD_ECANCELED);
    ck_assert_uint_eq(done_count, 1);
    PUMP_UNTIL(done_count == 2);
    pump_until_quiet();

    ck_assert_uint_eq(done_count, 2);
}
END_TEST

/* ---- draining ---- */

enum { MUCH_BYTES = 200 * KIB };

static void send_pattern(jd_tcp_connection *connection, void *arg)
{
    static unsigned char data[MUCH_BYTES];

    pattern_fill(data, 0, sizeof(data));
    ck_assert_int_eq(jd_tcp_connection_send(connection, data, sizeof(data)), 0);
    ck_assert_int_eq(jd_tcp_client_disconnect(*(jd_tcp_client **)arg, LONG_MS, note_done, NULL), 0);
}

static void answer_at_the_end(jd_tcp_connection *connection, void *arg)
{
    ck_assert_uint_eq(bytes_received(), MUCH_BYTES);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "thanks", 6), 0);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

START_TEST(disconnecting_sends_what_is_queued_and_waits_for_what_the_peer_answers)
{
    jd_tcp_client *client;
    serve(&(struct service){ .options.allow_half_open = true, .on_half_close = answer_at_the_end });
    client = start_client(&(struct client_use){
        .options = { .reconnect = true, .send_buffer_bytes = 4 * KIB }, .on_up = send_pattern, .arg = &client });

    PUMP_UNTIL(done_count == 1);

    ck_assert_uint_eq(client_bytes(), 6);
    ck_assert_uint_eq(downs_when_done, 1);
    ck_assert_uint_eq(reports_noted(), 0);
}
END_TEST

START_TEST(a_peer_that_does_not_end_is_closed_at_the_drain_deadline)
{
    serve(&(struct service){ .options.allow_half_open = true });
    jd_tcp_client *client = start_client(&(struct client_use){ 0 });
    PUMP_UNTIL(connections_up() == 2);

    ck_assert_int_eq(jd_tcp_client_disconnect(client, 10, note_done, NULL), 0);

    PUMP_UNTIL(done_count == 1);
    ck_assert_uint_eq(downs_when_done, 1);
}
END_TEST

START_TEST(a_client_that_drains_may_be_destroyed)
{
    serve(&(struct service){ .options.allow_half_open = true });
    jd_tcp_client *client = start_client(&(struct client_use){ 0 });
    PUMP_UNTIL(connections_up() == 2);
    ck_assert_int_eq(jd_tcp_client_disconnect(client, LONG_MS, note_done, NULL), 0);
    pump_turns((unsigned)_i);
    ck_assert_uint_eq(done_count, 0);

    jd_tcp_client_destroy(client, note_done, NULL);

    PUMP_UNTIL(done_count == 2);
    ck_assert_uint_eq(downs_when_done, 1);
}
END_TEST

START_TEST(a_start_waits_until_what_was_disconnected_has_ended)
{
    serve(&(struct service){ .on_message = echo });
    jd_tcp_client *client = start_client(&(struct client_use){ 0 });
    PUMP_UNTIL(clients_up() == 1);

    ck_assert_int_eq(jd_tcp_client_disconnect(client, LONG_MS, note_done, NULL), 0);
    ck_assert_int_eq(jd_tcp_client_start(client), 0);
    ck_assert_int_eq(jd_tcp_client_start(client), JD_EALREADY);

    PUMP_UNTIL(clients_up() == 2);
    ck_assert_uint_eq(done_count, 1);
    ck_assert_uint_eq(clients_down(), 1);
    ck_assert_int_eq(jd_tcp_client_disconnect(client, LONG_MS, note_done, NULL), 0);
    ck_assert_int_eq(jd_tcp_client_start(client), 0);
    ck_assert_int_eq(jd_tcp_client_disconnect(client, LONG_MS, note_done, NULL), JD_EALREADY);
    PUMP_UNTIL(done_count == 2);
    pump_until_quiet();
    ck_assert_uint_eq(clients_up(), 2);
}
END_TEST

/* ---- from other threads ---- */

static struct {
    jd_tcp_client *client;
    unsigned yields, round;
} afar;

static _Atomic unsigned done_afar;

static void note_done_afar(void *arg)
{
    done_afar++;
}

static void *use_from_afar(void *arg)
{
    jd_tcp_client *client = afar.client;

    jd_tcp_client_start(client);
    for (unsigned i = 0; i < afar.yields; i++)
        sched_yield();
    if (afar.round % 3 == 1)
        jd_tcp_client_disconnect(client, LONG_MS, note_done_afar, NULL);
    if (afar.round % 3 == 2) {
        jd_tcp_client_disconnect(client, 0, note_done_afar, NULL);
        jd_tcp_client_start(client);
        jd_tcp_client_disconnect(client, 0, note_done_afar, NULL);
    }
    jd_tcp_client_destroy(client, note_done_afar, NULL);
    return NULL;
}

START_TEST(other_threads_start_disconnect_and_destroy_it)
{
    enum { ROUNDS = 150 };
    static const unsigned done_per_round[] = { 1, 2, 3 };
    static const char *const addresses[] = { "127.0.0.2", "127.0.0.1", NULL };
    name_service_install();
    name_service_answer(addresses);
    serve(&(struct service){ .on_message = echo });
    pump_turns(1);

    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned expected = done_afar + done_per_round[round % 3];
        pthread_t thread;
        afar.client = make_client(&(struct client_use){
            .options = { .connect = round % 2 == 0 ? at_server_port("server.test") : NULL, .reconnect = true },
            .on_up = say_hello });
        afar.round = round;
        afar.yields = round * 7 % 60;
        ck_assert_int_eq(pthread_create(&thread, NULL, use_from_afar, NULL), 0);
        PUMP_UNTIL(done_afar == expected);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_uint_eq(clients_up(), clients_down());
    }
    PUMP_UNTIL(connections_up() == connections_down());
    name_service_remove();
}
END_TEST

static void *disconnect_from_afar(void *arg)
{
    ck_assert_int_eq(jd_tcp_client_disconnect(arg, 0, note_done_afar, NULL), 0);
    return NULL;
}

/* Until its done callback the client exists. */
START_TEST(what_is_asked_of_it_while_it_is_destroyed_is_answered_first)
{
    pthread_t thread;
    jd_tcp_client *client = make_client(&(struct client_use){ .options.connect = "127.0.0.1:1" });
    pump_turns(1);

    jd_tcp_client_destroy(client, note_done, NULL);
    ck_assert_int_eq(pthread_create(&thread, NULL, disconnect_from_afar, client), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);

    PUMP_UNTIL(done_count == 1);
    ck_assert_uint_eq(done_afar, 1);
}
END_TEST

static void *create_from_afar(void *arg)
{
    jd_tcp_client *client;

    *(int *)arg = jd_tcp_client_create(&client, the_loop, &(jd_tcp_client_options){ .connect = "127.0.0.1:1" });
    return NULL;
}

START_TEST(it_is_made_in_the_loops_thread_only)
{
    pthread_t thread;
    int result = 0;

    ck_assert_int_eq(pthread_create(&thread, NULL, create_from_afar, &result), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);

    ck_assert_int_eq(result, JD_EPERM);
}
END_TEST

/* ---- again and again ---- */

START_TEST(five_hundred_clients_leave_nothing_behind)
{
    enum { CYCLES = 500, WARM_UP = 20 };
    unsigned descriptors = 0;
    size_t memory = 0;
    serve(&(struct service){ .on_message = echo });

    for (unsigned cycle = 0; cycle < CYCLES; cycle++) {
        unsigned done = done_count;
        jd_tcp_client *client = start_client(&(struct client_use){ .on_up = say_hello });
        PUMP_UNTIL(client_bytes() == 5 * (size_t)(cycle + 1));
        jd_tcp_client_destroy(client, note_done, NULL);
        PUMP_UNTIL(done_count == done + 1 && connections_down() == 2 * (cycle + 1));
        pump_turns(2 * engine_patience());
        if (cycle == WARM_UP) {
            descriptors = open_descriptors();
            memory = memory_in_use();
        }
    }

    ck_assert_uint_eq(open_descriptors(), descriptors);
    ck_assert_uint_le(memory_in_use(), memory);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = client_case(suite, "client ends");

    tcase_add_loop_test(tests, a_client_may_be_ended_in_every_state, 0, LIVES * ENDINGS);
    tcase_add_loop_test(tests, a_loop_may_be_destroyed_at_any_turn_of_a_clients_life, 0, 10);
    tcase_add_test(tests, nothing_new_begins_while_the_loop_is_destroyed);
    tcase_add_loop_test(tests, a_client_may_be_ended_in_every_callback, 0, PLACES * END_LOOP);
    tcase_add_test(tests, the_disconnect_callback_may_destroy_or_start_it);
    tcase_add_test(tests, destroying_nothing_or_twice_changes_nothing);
    tcase_add_test(tests, disconnecting_sends_what_is_queued_and_waits_for_what_the_peer_answers);
    tcase_add_test(tests, a_peer_that_does_not_end_is_closed_at_the_drain_deadline);
    tcase_add_loop_test(tests, a_client_that_drains_may_be_destroyed, 0, 4);
    tcase_add_test(tests, a_start_waits_until_what_was_disconnected_has_ended);
    tcase_add_test(tests, other_threads_start_disconnect_and_destroy_it);
    tcase_add_test(tests, what_is_asked_of_it_while_it_is_destroyed_is_answered_first);
    tcase_add_test(tests, it_is_made_in_the_loops_thread_only);
    tcase_add_test(tests, five_hundred_clients_leave_nothing_behind);
}
