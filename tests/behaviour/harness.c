#include "tests/behaviour/harness.h"
#include "proactor/engines.h"

#include "net/loop/event_loop.h"
#if JD_WITH_IO_URING
#include "proactor/io_uring/io_uring_backend.h"
#endif
#include "proactor/engine/proactor_engine.h"
#if JD_WITH_IOCP
#include "proactor/iocp/iocp_backend.h"
#endif
#if JD_WITH_EPOLL
#include "proactor/simulated/simulated_backend.h"
#include "tests/support/late_engine.h"
#include "tests/support/ring_calls.h"
#endif
#include "tests/behaviour/recorder.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 30 * 1000, /* only a failing test waits as long */
    TEST_TIMEOUT_S = 100,
    QUIET_TURNS = 4,
    LOG_BYTES = 64 * 1024,
};

jd_event_loop *the_loop;

/* ---- the engine ---- */

const struct engine_ops *engine_under_test(void)
{
    const char *name = getenv("JD_TEST_ENGINE");

    if (name == NULL || *name == '\0')
        name = engines_compiled_in[0]->name;
#if JD_WITH_EPOLL
    if (strcmp(name, late_engine.name) == 0)
        return &late_engine;
#endif
#if JD_WITH_IO_URING
    if (strcmp(name, "old_uring") == 0) {
        ring_calls_before_6_12();
        return &io_uring_engine;
    }
#endif
    for (const struct engine_ops *const *ops = engines_compiled_in; *ops != NULL; ops++)
        if (strcmp(name, (*ops)->name) == 0)
            return *ops;
    ck_abort_msg("JD_TEST_ENGINE: no engine %s", name);
    return NULL;
}

bool engine_is(const char *name)
{
    return strcmp(engine_under_test()->name, name) == 0;
}

bool option_is(const char *name)
{
    const char *option = getenv("JD_TEST_OPTION");

    return option != NULL && strcmp(option, name) == 0;
}

unsigned engine_patience(void)
{
    return engine_is("late") || engine_is("simulated") ? 50 : 1;
}

static void force_option(jd_event_loop_options *options)
{
    enum { BUSY_POLL_US = 200 };

    if (option_is("busy_poll"))
        options->busy_poll_us = BUSY_POLL_US;
    if (option_is("zero_copy"))
        options->zero_copy_send_bytes = 1;
}

/* With the option gather a wait gathers, however few streams are active. */
static void gather_always(jd_event_loop *loop)
{
    if (option_is("gather"))
        proactor_of_loop(loop)->budget.gathering_share = 1;
}

jd_event_loop *make_loop(const jd_event_loop_options *options)
{
    jd_event_loop_options wanted = options != NULL ? *options : (jd_event_loop_options){ 0 };
    jd_event_loop *loop = NULL;

    force_option(&wanted);
    ck_assert_int_eq(event_loop_create_on(&loop, &wanted, engine_under_test()), 0);
    gather_always(loop);
    return loop;
}

void remake_the_loop(const jd_event_loop_options *options)
{
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = make_loop(options);
}

/* ---- pumping ---- */

static int run_once(void)
{
    return jd_event_loop_run_once(the_loop, 1);
}

static int (*step)(void) = run_once;

void pump_by(int (*other_step)(void))
{
    step = other_step;
}

struct pump pump_begin(const char *condition, const char *file, int line)
{
    return (struct pump){ .condition = condition, .file = file, .line = line, .patience = patience_begin(PATIENCE_MS) };
}

void pump_once(struct pump *pump)
{
    if (the_loop != NULL)
        ck_assert_int_ge(step(), 0);
    else
        poll(NULL, 0, 1);
    if (patience_is_over(&pump->patience))
        ck_abort_msg("%s:%d: waited in vain for: %s (log: %s)", pump->file, pump->line, pump->condition, logged());
}

void pump_turns(unsigned turns)
{
    for (unsigned i = 0; i < turns; i++)
        ck_assert_int_ge(jd_event_loop_run_once(the_loop, 0), 0);
}

/* What another thread is about to do for the loop has not happened yet, however long the loop has had nothing to do.
 * memory_in_use is without that of operations that are over, kept for the next: how much depends on how many there ever were
 * at a time. */
#if JD_WITH_EPOLL
static const struct simulated *the_simulated(void)
{
    return simulated_of(proactor_of_loop(the_loop)->backend);
}

static bool is_at_work(void)
{
    return engine_is("simulated") && the_simulated()->workers.given > 0;
}

static size_t memory_kept(void)
{
    return engine_is("simulated") ? the_simulated()->unused_count * sizeof(struct simulated_operation) : 0;
}
#else
static bool is_at_work(void)
{
    return false;
}

static size_t memory_kept(void)
{
    const struct iocp *iocp = iocp_of(proactor_of_loop(the_loop)->backend);
    size_t kept = iocp->chunk_capacity * sizeof(*iocp->chunks);

    for (uint32_t i = 0; i < iocp->chunk_capacity; i++)
        if (iocp->chunks[i] != NULL)
            kept += sizeof(*iocp->chunks[i]) - iocp->chunks[i]->live * sizeof(struct iocp_operation);
    return kept;
}
#endif

size_t memory_in_use(void)
{
    return jd_memory_in_use() - memory_kept();
}

void pump_until_quiet(void)
{
    for (unsigned quiet = 0; quiet < QUIET_TURNS;) {
        jd_event_loop_statistics before = statistics(), after;
        ck_assert_int_ge(jd_event_loop_run_once(the_loop, 1), 0);
        after = statistics();
        quiet = after.idle_turns > before.idle_turns && !is_at_work() ? quiet + 1 : 0;
    }
}

/* ---- servers ---- */

static struct running_service {
    struct service service;
    jd_tcp_server *server;
} services[SERVICES_MAX];

static unsigned service_count;

/* The end of the loop is no part of the test any more, whose variables are gone: callbacks are recorded only. */
static _Atomic bool test_is_over;
static jd_endpoint last_endpoint;

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    const struct service *service = arg;
    bool up = jd_tcp_connection_is_connected(connection);
    jd_connection_callback callback = up ? service->on_up : service->on_down;

    record(connection, up ? CALLED_UP : CALLED_DOWN);
    if (callback != NULL && !test_is_over)
        callback(connection, service->arg);
    record_return(up ? CALLED_UP : CALLED_DOWN);
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    const struct service *service = arg;
    size_t before = jd_buffer_readable(input);

    record(connection, CALLED_MESSAGE);
    if (service->on_message != NULL && !test_is_over)
        service->on_message(connection, input, received, service->arg);
    else
        jd_buffer_consume(input, SIZE_MAX);
    record_bytes(before - jd_buffer_readable(input));
}

static void on_write_complete(jd_tcp_connection *connection, void *arg)
{
    const struct service *service = arg;

    record(connection, CALLED_WRITE_COMPLETE);
    if (!test_is_over)
        service->on_write_complete(connection, service->arg);
}

static void on_half_close(jd_tcp_connection *connection, void *arg)
{
    const struct service *service = arg;

    record(connection, CALLED_HALF_CLOSE);
    if (service->on_half_close != NULL && !test_is_over)
        service->on_half_close(connection, service->arg);
}

static void on_peer_gone(jd_tcp_connection *connection, int error, void *arg)
{
    const struct service *service = arg;

    record(connection, CALLED_PEER_GONE);
    if (service->on_peer_gone != NULL && !test_is_over)
        service->on_peer_gone(connection, error, service->arg);
}

static void on_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    const struct service *service = arg;

    record(connection, CALLED_FRAME);
    if (service->on_frame != NULL && !test_is_over)
        service->on_frame(connection, data, length, received, service->arg);
    record_bytes(length);
}

static void on_frame_error(jd_tcp_connection *connection, const jd_frame_error *error, void *arg)
{
    const struct service *service = arg;

    record(connection, CALLED_FRAME_ERROR);
    if (service->on_frame_error != NULL && !test_is_over)
        service->on_frame_error(connection, error, service->arg);
}

static void on_thread_init(jd_event_loop *loop, void *arg)
{
    const struct service *service = arg;

    gather_always(loop);
    if (service->on_thread_init != NULL)
        service->on_thread_init(loop, service->arg);
}

static void on_thread_exit(jd_event_loop *loop, void *arg)
{
    const struct service *service = arg;

    if (service->on_thread_exit != NULL && !test_is_over)
        service->on_thread_exit(loop, service->arg);
}

static void set_callbacks(jd_tcp_server *server, struct service *service)
{
    jd_tcp_server_set_connection_callback(server, on_connection, service);
    jd_tcp_server_set_message_callback(server, on_message, service);
    jd_tcp_server_set_half_close_callback(server, on_half_close, service);
    jd_tcp_server_set_peer_gone_callback(server, on_peer_gone, service);
    jd_tcp_server_set_high_watermark_callback(server, service->on_high_watermark, service->arg);
    jd_tcp_server_set_low_watermark_callback(server, service->on_low_watermark, service->arg);
    jd_tcp_server_set_heartbeat_callback(server, service->on_heartbeat, service->arg);
    jd_tcp_server_set_thread_init_callback(server, on_thread_init, service);
    jd_tcp_server_set_thread_exit_callback(server, on_thread_exit, service);
    /* Only if the test wants it: it would be invoked after each send. */
    if (service->on_write_complete != NULL)
        jd_tcp_server_set_write_complete_callback(server, on_write_complete, service);
    if (service->codec != NULL)
        jd_tcp_server_set_codec(server, service->codec, on_frame, service);
    jd_tcp_server_set_frame_error_callback(server, on_frame_error, service);
}

void forget_services(void)
{
    service_count = 0;
}

jd_tcp_server *make_server(const struct service *service)
{
    struct running_service *running = &services[service_count++];
    jd_tcp_server_options options = service->options;

    ck_assert_uint_le(service_count, SERVICES_MAX);
    running->service = *service;
    options.listen = options.listen != NULL ? options.listen : "127.0.0.1:0";
    options.name = options.name != NULL ? options.name : "test";
    ck_assert_int_eq(jd_tcp_server_create(&running->server, the_loop, &options), 0);
    set_callbacks(running->server, &running->service);
    return running->server;
}

/* A machine on which most ports linger from tests before (TIME-WAIT) may have none to pick at a moment (seen: 22 000 of
 * 28 000). */
void start_server(jd_tcp_server *server)
{
    struct patience patience = patience_begin(PATIENCE_MS);
    int result;

    while ((result = jd_tcp_server_start(server, NULL)) == JD_EADDRINUSE && !patience_is_over(&patience))
        poll(NULL, 0, 1);
    ck_assert_msg(result == 0, "start: %s", jd_strerror(result));
    last_endpoint = endpoint_of(server);
}

jd_tcp_server *serve(const struct service *service)
{
    jd_tcp_server *server = make_server(service);

    start_server(server);
    return server;
}

jd_endpoint endpoint_of(const jd_tcp_server *server)
{
    jd_endpoint endpoint;

    ck_assert_int_eq(jd_tcp_server_endpoint(server, 0, &endpoint), 0);
    return endpoint;
}

const jd_endpoint *server_endpoint(void)
{
    return &last_endpoint;
}

static char own_endpoint[64];

const char *own_unix_endpoint(const char *prefix)
{
    snprintf(own_endpoint, sizeof(own_endpoint), "unix:%s%d", prefix, (int)getpid());
    return own_endpoint;
}

const char *own_tcp_endpoint(uint16_t port)
{
    int process = getpid();

    snprintf(own_endpoint, sizeof(own_endpoint), "127.%d.%d.%d:%u", 1 + (process >> 16) % 250, process >> 8 & 255,
             process & 255, port);
    return own_endpoint;
}

void echo(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    int result = jd_tcp_connection_send_buffer(connection, input);

    if (result == JD_ENOTCONN) /* the peer has gone: its bytes are delivered, and nothing can be sent */
        jd_buffer_consume(input, SIZE_MAX);
    else
        ck_assert_int_eq(result, 0);
}

jd_event_loop_statistics statistics(void)
{
    jd_event_loop_statistics now;

    jd_event_loop_get_statistics(the_loop, &now);
    return now;
}

/* ---- the log ---- */

static char log_text[LOG_BYTES];
static unsigned log_count;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void log_sink(jd_log_level level, const char *message, void *arg)
{
    pthread_mutex_lock(&log_lock);
    if (strlen(log_text) + strlen(message) + 2 <= sizeof(log_text)) {
        strcat(log_text, message);
        strcat(log_text, "\n");
    }
    log_count++;
    pthread_mutex_unlock(&log_lock);
}

bool was_logged(const char *text)
{
    bool found;

    pthread_mutex_lock(&log_lock);
    found = strstr(log_text, text) != NULL;
    pthread_mutex_unlock(&log_lock);
    return found;
}

unsigned log_messages(void)
{
    unsigned count;

    pthread_mutex_lock(&log_lock);
    count = log_count;
    pthread_mutex_unlock(&log_lock);
    return count;
}

const char *logged(void)
{
    static char text[LOG_BYTES];

    pthread_mutex_lock(&log_lock);
    memcpy(text, log_text, sizeof(text));
    pthread_mutex_unlock(&log_lock);
    return text;
}

/* ---- before and after each test ---- */

static unsigned descriptors_before;
static size_t memory_before;

static void set_up(void)
{
    jd_log_set_sink(log_sink, NULL);
    descriptors_before = open_descriptors();
    memory_before = jd_memory_in_use();
    the_loop = make_loop(NULL);
    step = run_once;
}

static void tear_down(void)
{
    test_is_over = true;
    if (the_loop != NULL)
        ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
    clients_close_all();
    check_stories();
    ck_assert_uint_eq(open_descriptors(), descriptors_before);
    ck_assert_uint_eq(jd_memory_in_use(), memory_before);
}

TCase *harness_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, TEST_TIMEOUT_S);
    return tests;
}
