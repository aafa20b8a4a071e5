#include "tests/behaviour/faults/fault_lend.h"
#include "tests/behaviour/faults/fault_peer.h"

#include "base/endpoint.h"
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"
#include "tests/support/checking_memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PEERS_MAX = 8,

    PAUSE_MS = 2,
    PROBE_BODY_BYTES = 100,
};

static struct {
    struct run_plan plan;
    jd_event_loop *loop;
    jd_tcp_server *server;
    jd_codec *codec;
    jd_endpoint endpoint;
    bool is_proxied;
    bool stopping, stopped, destroyed, has_recovered;
    struct run_peer peers[PEERS_MAX];
    unsigned peer_count;
    unsigned struck, to_report; /* before the loop's destruction, which need not report */
    unsigned may_report;        /* behind it */
    unsigned descriptors;

    pthread_mutex_t lock;
    unsigned reports;
} run;

/* ---- what failed ---- */

void run_abort(const char *condition, const char *file, int line)
{
    const struct fault *fault = run.plan.fault;

    ck_abort_msg("%s:%d: %s; %s, %s %s, the %u. and %u in all", file, line, condition, run.plan.scenario,
                 fault != NULL ? fault_call_name(fault->call) : "allocation",
                 fault != NULL ? fault_error_name(fault) : "fails", run.plan.number, run.plan.count);
}

static unsigned times_struck(void)
{
    return run.plan.fault != NULL ? faults_injected() : checking_memory_failures();
}

static bool is_of_the_fault(int error)
{
    const struct fault *fault = run.plan.fault;

    if (run.plan.number == 0)
        return false;
    if (fault == NULL)
        return error == JD_ENOMEM;
    return fault->effect == FAULT_REPORTED && (error == -fault->number || error == -fault->or_number ||
                                               (fault->number == EPIPE && error == JD_ECONNRESET));
}

/* error: 0 if it is not known. */
static void report(int error)
{
    RUN_CHECK(times_struck() > 0 || run.has_recovered);
    RUN_CHECK(error == 0 || is_of_the_fault(error));
    pthread_mutex_lock(&run.lock);
    run.reports++;
    pthread_mutex_unlock(&run.lock);
}

int run_result(int result)
{
    if (result < 0)
        report(result);
    return result;
}

static void stop_failing(void)
{
    faults_stop(); /* before they are counted, as io threads continue meanwhile */
    run.struck = times_struck();
    run.to_report = run.plan.fault != NULL ? faults_to_report() : 0;
    run.has_recovered = true;
    checking_memory_fail(1, 0);
}

/* ---- turns ---- */

static bool may_read(const struct run_peer *peer)
{
    return peer->kind != PEER_NEVER_READS && (peer->kind != PEER_READS_LATE || run.stopping);
}

void run_turn(struct patience *patience, const char *condition, const char *file, int line)
{
    int result = jd_event_loop_run_once(run.loop, 1);

    run_result(result < 0 ? result : 0);
    for (unsigned i = 0; i < run.peer_count; i++)
        fault_peer_step(&run.peers[i], may_read(&run.peers[i]));
    if (patience_is_over(patience))
        run_abort(condition, file, line);
}

/* ---- the server's side of a peer ---- */

static void lock(void)
{
    pthread_mutex_lock(&run.lock);
}

static void unlock(void)
{
    pthread_mutex_unlock(&run.lock);
}

static struct run_peer *peer_of(const jd_tcp_connection *connection)
{
    jd_endpoint endpoint;
    struct run_peer *found = NULL;

    jd_tcp_connection_peer_endpoint(connection, &endpoint);
    lock();
    for (unsigned i = 0; i < run.peer_count; i++)
        if (run.peers[i].port == jd_endpoint_port(&endpoint))
            found = &run.peers[i];
    unlock();
    RUN_CHECK(found != NULL);
    return found;
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    bool up = jd_tcp_connection_is_connected(connection);
    struct run_peer *peer = up ? peer_of(connection) : jd_tcp_connection_context(connection);

    RUN_CHECK(peer != NULL);
    if (up)
        jd_tcp_connection_set_context(connection, peer, NULL);
    lock();
    peer->ups += up;
    peer->downs += !up;
    peer->error = jd_tcp_connection_error(connection);
    unlock();
}

/* What cannot be answered is not to be waited for. */
static void give_up(jd_tcp_connection *connection)
{
    struct run_peer *peer = jd_tcp_connection_context(connection);

    lock();
    peer->given_up = true;
    unlock();
    while (jd_tcp_connection_reset(connection) < 0)
        report(JD_ENOMEM);
}

static int send_frame(jd_tcp_connection *connection, const void *data, size_t length)
{
    if (fault_lends(*(const unsigned char *)data))
        return fault_lend(connection, data, length);
    return jd_codec_send(run.codec, connection, data, length);
}

/* JD_ENOTCONN: the connection is about to go down and to say why. */
static void send_back(jd_tcp_connection *connection, const void *data, size_t length)
{
    int result = send_frame(connection, data, length);

    if (result == 0 || result == JD_ENOTCONN)
        return;
    report(result);
    give_up(connection);
}

/* ---- from afar ---- */

struct errand {
    jd_tcp_connection *connection;
    size_t length;
    unsigned char data[];
};

static void end_errand(struct errand *errand)
{
    jd_tcp_connection_unref(errand->connection);
    free(errand);
}

static void run_errand(void *arg)
{
    struct errand *errand = arg;

    send_back(errand->connection, errand->data, errand->length);
    end_errand(errand);
}

static void send_back_from_afar(jd_tcp_connection *connection, const void *data, size_t length)
{
    struct errand *errand = malloc(sizeof(*errand) + length);

    ck_assert_ptr_nonnull(errand);
    errand->connection = jd_tcp_connection_ref(connection);
    errand->length = length;
    memcpy(errand->data, data, length);
    if (run_result(jd_event_loop_queue_in_loop(run.loop, run_errand, errand)) == 0)
        return;
    end_errand(errand);
    give_up(connection);
}

/* ---- frames ---- */

/* The id instead of a pointer, as a timer that is cancelled could not give back a reference. */
static void resume(void *arg)
{
    jd_tcp_connection *connection = jd_tcp_connection_find((jd_connection_id)(uintptr_t)arg);

    if (connection != NULL)
        jd_tcp_connection_resume_reading(connection);
}

static void pause_for_a_while(jd_tcp_connection *connection)
{
    void *id = (void *)(uintptr_t)jd_tcp_connection_id(connection);

    jd_tcp_connection_pause_reading(connection);
    if (run_result(jd_event_loop_run_after(jd_tcp_connection_loop(connection), PAUSE_MS, resume, id, NULL)) < 0)
        jd_tcp_connection_resume_reading(connection);
}

static void obey(jd_tcp_connection *connection, enum run_order order)
{
    switch (order) {
    case ORDER_PAUSE:
        pause_for_a_while(connection);
        break;
    case ORDER_STAY_PAUSED:
        jd_tcp_connection_pause_reading(connection);
        break;
    case ORDER_SHUT_DOWN:
        jd_tcp_connection_shutdown(connection);
        break;
    case ORDER_CLOSE_NOW:
        jd_tcp_connection_close(connection);
        break;
    case ORDER_RESET_NOW:
        jd_tcp_connection_reset(connection);
        break;
    default: /* to be sent back, that is all */
        break;
    }
}

static bool is_from_afar(enum run_order order)
{
    return order == ORDER_ECHO_FROM_AFAR || order == ORDER_SHARED_FROM_AFAR || order == ORDER_OWNED_FROM_AFAR ||
           order == ORDER_FILE_FROM_AFAR;
}

static void on_peer_gone(jd_tcp_connection *connection, int error, void *arg)
{
    if (error < 0)
        jd_tcp_connection_resume_reading(connection);
}

static void on_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    struct run_peer *peer = jd_tcp_connection_context(connection);
    enum run_order order = *(const unsigned char *)data;

    lock();
    peer->frames_served++;
    unlock();
    if (is_from_afar(order))
        send_back_from_afar(connection, data, length);
    else if (order != ORDER_RESET_NOW)
        send_back(connection, data, length);
    obey(connection, order);
}

/* ---- loop and server ---- */

/* What failed once must not fail again. */
static bool is_worth_another_try(int result, int tries)
{
    if (result == 0)
        return false;
    run_result(result);
    RUN_CHECK(tries == 0 || run.plan.count > 1);
    return tries == 0;
}

jd_event_loop *run_loop(void)
{
    int result, tries = 0;

    if (run.loop != NULL)
        return run.loop;
    do
        result = event_loop_create_on(&run.loop, NULL, engine_under_test());
    while (is_worth_another_try(result, tries++));
    return run.loop;
}

static bool make_codec(void)
{
    const jd_length_codec_options options = { .length_bytes = FAULT_HEADER_BYTES, .strip_bytes = JD_STRIP_HEADER };
    int result, tries = 0;

    do
        result = jd_length_codec_create(&run.codec, &options);
    while (is_worth_another_try(result, tries++));
    return result == 0;
}

static bool create_server(const struct run_server *server)
{
    const jd_tcp_server_options options = {
        .listen = server->listen[0],
        .io_threads = server->io_threads,
        .send_buffer_bytes = server->send_buffer_bytes,
        .proxy_sources = server->is_proxied ? "all" : NULL,
    };
    int result, tries = 0;

    run.is_proxied = server->is_proxied;
    do
        result = jd_tcp_server_create(&run.server, run.loop, &options);
    while (is_worth_another_try(result, tries++));
    return result == 0;
}

static bool add_endpoint(const char *text)
{
    jd_endpoint endpoint;
    int result, tries = 0;

    ck_assert_int_eq(jd_endpoint_parse(&endpoint, text, NULL), 0);
    do
        result = jd_tcp_server_listen(run.server, &endpoint, NULL);
    while (is_worth_another_try(result, tries++));
    return result == 0;
}

void run_serve(const struct run_server *server)
{
    int result, tries = 0;

    if (run_loop() == NULL || !make_codec() || !create_server(server))
        return;
    jd_tcp_server_set_connection_callback(run.server, on_connection, NULL);
    jd_tcp_server_set_peer_gone_callback(run.server, on_peer_gone, NULL);
    jd_tcp_server_set_codec(run.server, run.codec, on_frame, NULL);
    if (server->listen[1] != NULL && !add_endpoint(server->listen[1]))
        return;
    do
        result = jd_tcp_server_start(run.server, NULL);
    while (is_worth_another_try(result, tries++));
    if (result == 0)
        ck_assert_int_eq(jd_tcp_server_endpoint(run.server, 0, &run.endpoint), 0);
}

static void note(void *arg)
{
    bool *done = arg;

    RUN_CHECK(!*done);
    *done = true;
}

void run_stop(unsigned drain_ms)
{
    int result, tries = 0;

    if (run.endpoint.length == 0)
        return;
    do
        result = jd_tcp_server_stop(run.server, drain_ms, note, &run.stopped);
    while (is_worth_another_try(result, tries++));
    if (result < 0)
        return;
    run.stopping = true;
    RUN_UNTIL(run.stopped);
}

void run_destroy_server(void)
{
    if (run.server == NULL)
        return;
    jd_tcp_server_destroy(run.server, note, &run.destroyed);
    run.server = NULL;
    RUN_UNTIL(run.destroyed);
}

/* ---- peers ---- */

struct run_peer *run_connect(enum run_peer_kind kind)
{
    struct run_peer *peer;

    if (run.endpoint.length == 0)
        return NULL;
    ck_assert_uint_lt(run.peer_count, PEERS_MAX);
    lock();
    peer = &run.peers[run.peer_count++];
    *peer = (struct run_peer){ .kind = kind };
    fault_peer_connect(peer, &run.endpoint);
    if (run.is_proxied)
        fault_peer_set_header(peer);
    unlock();
    return peer;
}

/* Both ends, if that is what it is about; a connection that the server never saw has no other. */
static bool is_done(const struct run_peer *peer)
{
    bool down, served, gone;

    lock();
    down = peer->downs == peer->ups;
    served = peer->frames_served == peer->frames;
    gone = peer->downs > 0;
    unlock();
    if (peer->over)
        return down;
    if (peer->kind == PEER_STAYS)
        return peer->received == peer->expected && served;
    return !may_read(peer) && (served || gone || fault_peer_has_hung_up(peer));
}

bool run_peers_are_done(void)
{
    for (unsigned i = 0; i < run.peer_count; i++)
        if (!is_done(&run.peers[i]))
            return false;
    return true;
}

static unsigned peers_never_up(void)
{
    unsigned count = 0;

    lock();
    for (unsigned i = 0; i < run.peer_count; i++)
        count += run.peers[i].ups == 0;
    unlock();
    return count;
}

static jd_event_loop_statistics server_statistics(void)
{
    jd_event_loop_statistics now;

    jd_tcp_server_get_statistics(run.server, &now);
    return now;
}

static void check_that_it_serves(void)
{
    struct run_peer *peer = run_connect(PEER_SHUTS_DOWN);

    run_send_frame(peer, ORDER_ECHO, PROBE_BODY_BYTES);
    RUN_UNTIL(run_peers_are_done());
    RUN_CHECK(peer->ups == 1 && peer->received == peer->expected && peer->error == 0);
}

/* A listener that cannot be watched accepts nothing for a while, which reports the fault; an accept that is an operation may
 * be what is hit by anything. */
static bool pauses_are_right(unsigned struck)
{
    bool pauses = run.plan.fault != NULL && run.plan.fault->effect == FAULT_PAUSES_ACCEPTING;
    bool reports = run.plan.fault != NULL && run.plan.fault->call == CALL_EPOLL_CTL;
    uint64_t counted = server_statistics().accept_pauses;

    if (!reports && (pauses || !engine_under_test()->is_proactor))
        return run.plan.count > 1 || counted == (pauses ? struck : 0);
    for (uint64_t i = 0; i < counted; i++)
        report(0);
    return counted <= struck;
}

void run_peers(void)
{
    unsigned struck;

    if (run.endpoint.length == 0)
        return;
    RUN_UNTIL(run_peers_are_done());
    RUN_UNTIL(server_statistics().connections_failed == peers_never_up());
    for (unsigned i = peers_never_up(); i > 0; i--)
        report(0);
    struck = times_struck();
    RUN_CHECK(pauses_are_right(struck));
    if (struck == 0)
        return;
    stop_failing();
    check_that_it_serves();
}

/* ---- beginning and end ---- */

static void drop_message(jd_log_level level, const char *message, void *arg)
{
}

void run_begin(const struct run_plan *plan)
{
    memset(&run, 0, sizeof(run));
    run.plan = *plan;
    pthread_mutex_init(&run.lock, NULL);
    run.descriptors = open_descriptors();
    jd_log_set_sink(drop_message, NULL);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
    faults_set(plan->number > 0 ? plan->fault : NULL, plan->number, plan->count);
    checking_memory_fail(plan->number > 0 ? plan->number : 1,
                         plan->number > 0 && plan->fault == NULL ? plan->count : 0);
}

static bool is_normal_end(const struct run_peer *peer)
{
    return peer->error == 0 || (peer->kind == PEER_RESETS && peer->error == JD_ECONNRESET);
}

/* Whether it got all that it was to get. */
static bool is_complete(const struct run_peer *peer)
{
    return peer->received == peer->expected || peer->is_cut || !may_read(peer);
}

static void check_peer(const struct run_peer *peer)
{
    RUN_CHECK(peer->ups <= 1 && peer->downs == peer->ups);
    if (!is_normal_end(peer))
        report(peer->error);
    /* Whoever did not get all was hit itself. */
    RUN_CHECK(is_complete(peer) || peer->ups == 0 || peer->given_up || peer->error != 0);
}

static void check_reports(void)
{
    if (run.plan.fault == NULL || run.plan.count > 1)
        return;
    RUN_CHECK(run.reports <= run.may_report);
    if (run.plan.strict)
        RUN_CHECK(run.reports == run.to_report);
}

unsigned run_end(void)
{
    unsigned struck;

    if (!run.has_recovered) {
        run.struck = times_struck();
        run.to_report = run.plan.fault != NULL ? faults_to_report() : 0;
    }
    RUN_CHECK(jd_event_loop_destroy(run.loop) == 0);
    struck = run.has_recovered ? run.struck : times_struck();
    /* A connection that is hit while the loop is being destroyed may still report its error. */
    run.may_report = run.has_recovered || run.plan.fault == NULL ? run.to_report : faults_to_report();
    faults_stop();
    jd_codec_destroy(run.codec);
    for (unsigned i = 0; i < run.peer_count; i++) {
        check_peer(&run.peers[i]);
        if (!run.peers[i].over)
            close(run.peers[i].socket);
        free(run.peers[i].script);
    }
    check_reports();
    RUN_CHECK(fault_lent() == 0);
    RUN_CHECK(jd_memory_in_use() == 0);
    RUN_CHECK(open_descriptors() == run.descriptors);
    pthread_mutex_destroy(&run.lock);
    checking_memory_fail(1, 0);
    return struck;
}
