/* Every call of the table of system calls failing with every error of its man page, at every call that a scenario makes;
 * and every allocation failing. */
#include "tests/behaviour/faults/fault_part.h"
#include "tests/behaviour/faults/fault_run.h"
#include "tests/behaviour/harness.h"
#include "tests/support/checking_memory.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const char *const suite_name = "faults";

enum {
    EACH_UP_TO = 32, /* every one of the first calls fails; beyond, as many again, evenly spaced */
    FEW = 4,
    CALLS_IN_A_ROW = 2,
    ALLOCATIONS_IN_A_ROW = 8,
    TIMEOUT_S = 400, /* against hangs: all the runs of a scenario, on a machine that is busy with others */

    SMALL_BYTES = 20,
    SEND_BUFFER_BYTES = 4096,
    DRAIN_MS = 20 * 1000,
    SHORT_DRAIN_MS = 10,
};

/* A frame that takes many sends and receives. */
static size_t big_bytes(void)
{
    return engine_is("late") ? 4 * 1024 : 48 * 1024;
}

/* ---- scenarios ---- */

static char path_endpoint[sizeof("unix:") + sizeof(((struct sockaddr_un *)NULL)->sun_path)];

/* As a server leaves it that was killed. */
static void leave_stale_path(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int handle = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/jinduo-faults-%ld", (long)getpid());
    snprintf(path_endpoint, sizeof(path_endpoint), "unix:%s", address.sun_path);
    unlink(address.sun_path);
    ck_assert_int_eq(bind(handle, (const struct sockaddr *)&address, sizeof(address)), 0);
    close(handle);
}

static void start(void)
{
    leave_stale_path();
    run_serve(&(struct run_server){ .listen = { own_tcp_endpoint(0), path_endpoint } });
    run_peers();
    run_destroy_server();
    unlink(path_endpoint + strlen("unix:"));
}

static void exchange(void)
{
    struct run_peer *peer;

    run_serve(&(struct run_server){ .listen = { own_tcp_endpoint(0) }, .send_buffer_bytes = SEND_BUFFER_BYTES });
    peer = run_connect(PEER_SHUTS_DOWN);
    run_send_frame(peer, ORDER_ECHO, SMALL_BYTES);
    run_send_frame(peer, ORDER_ECHO, big_bytes());
    run_send_frame(peer, ORDER_ECHO, SMALL_BYTES);
    peer = run_connect(PEER_WAITS);
    for (int i = 0; i < FEW; i++)
        run_send_frame(peer, ORDER_ECHO, SMALL_BYTES);
    run_send_frame(peer, ORDER_SHUT_DOWN, big_bytes());
    run_peers();
    run_destroy_server();
}

static void io_threads(void)
{
    run_serve(&(struct run_server){ .listen = { own_tcp_endpoint(0) }, .io_threads = 2 });
    for (int i = 0; i < FEW; i++) {
        struct run_peer *peer = run_connect(PEER_SHUTS_DOWN);
        run_send_frame(peer, i % 2 == 0 ? ORDER_ECHO : ORDER_ECHO_FROM_AFAR, SMALL_BYTES);
        run_send_frame(peer, i % 2 == 0 ? ORDER_ECHO : ORDER_ECHO_FROM_AFAR, big_bytes() / FEW);
    }
    run_peers();
    run_destroy_server();
}

static void proxied(void)
{
    run_serve(&(struct run_server){ .listen = { own_tcp_endpoint(0) }, .io_threads = 1, .is_proxied = true });
    for (int i = 0; i < FEW; i++) {
        struct run_peer *peer = run_connect(PEER_SHUTS_DOWN);
        run_send_frame(peer, ORDER_ECHO, SMALL_BYTES);
    }
    run_peers();
    run_destroy_server();
}

/* The first three stay on one loop. */
static void lend(void)
{
    static const enum run_order orders[] = { ORDER_SHARED, ORDER_OWNED, ORDER_FILE };
    struct run_peer *peer;

    run_serve(&(struct run_server){ .listen = { own_tcp_endpoint(0) }, .send_buffer_bytes = SEND_BUFFER_BYTES });
    for (int i = 0; i < 2; i++) {
        peer = run_connect(i == 0 ? PEER_SHUTS_DOWN : PEER_WAITS);
        for (int k = 0; k < 3; k++)
            run_send_frame(peer, orders[k], i == 0 ? SMALL_BYTES : big_bytes() / FEW);
        if (i == 1)
            run_send_frame(peer, ORDER_SHUT_DOWN, SMALL_BYTES);
    }
    run_peers();
    run_destroy_server();
}

static void lend_roughly(void)
{
    static const enum run_order orders[] = { ORDER_SHARED_FROM_AFAR, ORDER_OWNED_FROM_AFAR, ORDER_FILE_FROM_AFAR };
    struct run_peer *peer;

    run_serve(&(struct run_server){
        .listen = { own_tcp_endpoint(0) }, .send_buffer_bytes = SEND_BUFFER_BYTES, .io_threads = 2 });
    for (int i = 0; i < 3; i++) {
        peer = run_connect(i == 0 ? PEER_SHUTS_DOWN : i == 1 ? PEER_STAYS : PEER_RESETS);
        for (int k = 0; k < 3; k++)
            run_send_frame(peer, orders[k], big_bytes() / FEW);
    }
    peer = run_connect(PEER_NEVER_READS);
    for (int k = 0; k < 3; k++)
        run_send_frame(peer, orders[k], big_bytes());
    run_peers();
}

static void rough_ends(void)
{
    struct run_peer *peer;

    run_serve(&(struct run_server){ .listen = { own_tcp_endpoint(0) } });
    peer = run_connect(PEER_SHUTS_DOWN);
    run_send_frame(peer, ORDER_PAUSE, SMALL_BYTES);
    run_send_frame(peer, ORDER_ECHO, big_bytes());
    peer = run_connect(PEER_RESETS);
    run_send_frame(peer, ORDER_STAY_PAUSED, SMALL_BYTES);
    peer = run_connect(PEER_RESETS);
    run_send_frame(peer, ORDER_ECHO, SMALL_BYTES);
    peer = run_connect(PEER_WAITS);
    run_send_frame(peer, ORDER_CLOSE_NOW, SMALL_BYTES);
    peer = run_connect(PEER_WAITS);
    run_send_frame(peer, ORDER_ECHO, SMALL_BYTES);
    run_send_frame(peer, ORDER_RESET_NOW, SMALL_BYTES);
    peer = run_connect(PEER_STAYS);
    run_send_frame(peer, ORDER_ECHO, SMALL_BYTES);
    run_peers();
}

static void drain(void)
{
    struct run_peer *peer;

    run_serve(&(struct run_server){ .listen = { own_tcp_endpoint(0) }, .send_buffer_bytes = SEND_BUFFER_BYTES });
    for (int i = 0; i < 2; i++) {
        peer = run_connect(PEER_READS_LATE);
        run_send_frame(peer, ORDER_ECHO, big_bytes());
    }
    peer = run_connect(PEER_STAYS);
    run_send_frame(peer, ORDER_ECHO, SMALL_BYTES);
    run_peers();
    run_stop(DRAIN_MS);
}

static void drain_deadline(void)
{
    struct run_peer *peer;

    run_serve(&(struct run_server){ .listen = { own_tcp_endpoint(0) }, .send_buffer_bytes = SEND_BUFFER_BYTES });
    peer = run_connect(PEER_NEVER_READS);
    for (int i = 0; i < FEW; i++)
        run_send_frame(peer, ORDER_ECHO, big_bytes());
    run_peers();
    run_stop(SHORT_DRAIN_MS);
}

/* ---- a scenario without connections ---- */

static struct {
    unsigned asked, done; /* callbacks */
    unsigned read;
} chores;

static void chore_done(void *arg)
{
    chores.done++;
}

static void on_signal(int number, void *arg)
{
    chores.done++;
}

static void on_channel(jd_channel *channel, int fd, unsigned events, void *arg)
{
    char byte;

    if (events & JD_READABLE && recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
        chores.done++;
    if (events & JD_WRITABLE) {
        chores.done++;
        run_result(jd_channel_set_events(channel, JD_READABLE));
    }
}

static void *queue_from_afar(void *loop)
{
    chores.asked += run_result(jd_event_loop_queue_in_loop(loop, chore_done, NULL)) == 0;
    return NULL;
}

static void use_channel(jd_event_loop *loop, const int sockets[2])
{
    jd_channel *channel;

    if (run_result(jd_channel_create(&channel, loop, sockets[0], JD_READABLE, on_channel, NULL)) < 0 &&
        run_result(jd_channel_create(&channel, loop, sockets[0], JD_READABLE, on_channel, NULL)) < 0)
        return;
    ck_assert_int_eq(write(sockets[1], "x", 1), 1);
    chores.asked++;
    RUN_UNTIL(chores.done == chores.asked);
    if (run_result(jd_channel_set_events(channel, JD_READABLE | JD_WRITABLE | JD_EDGE)) == 0)
        chores.asked++;
    RUN_UNTIL(chores.done == chores.asked);
    jd_channel_destroy(channel);
    ck_assert_int_eq(write(sockets[1], "x", 1), 1);
}

static void chores_of_all_kinds(void)
{
    jd_event_loop *loop = run_loop();
    int sockets[2];
    pthread_t thread;

    chores.asked = chores.done = 0;
    if (loop == NULL)
        return;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    for (unsigned i = 0; i < FEW; i++) {
        chores.asked += run_result(jd_event_loop_run_after(loop, i, chore_done, NULL, NULL)) == 0;
        chores.asked += run_result(jd_event_loop_queue_in_loop(loop, chore_done, NULL)) == 0;
    }
    if (run_result(jd_event_loop_watch_signal(loop, SIGUSR1, on_signal, NULL)) == 0) {
        chores.asked++;
        raise(SIGUSR1);
    }
    use_channel(loop, sockets);
    ck_assert_int_eq(pthread_create(&thread, NULL, queue_from_afar, loop), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    RUN_UNTIL(chores.done == chores.asked);
    close(sockets[0]);
    close(sockets[1]);
}

/* ---- all of them with all faults ---- */

struct scenario {
    const char *name;
    void (*run)(void);
    bool strict;
};

static const struct scenario scenarios[] = {
    { "start", start, true },
    { "exchange", exchange, true },
    { "io threads", io_threads, false },
    { "proxied", proxied, false },
    { "lend", lend, true },
    { "lend roughly", lend_roughly, false },
    { "rough ends", rough_ends, false },
    { "chores", chores_of_all_kinds, true },
    { "drain", drain, false },
    { "drain deadline", drain_deadline, false },
};

enum { SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

static unsigned run_scenario(const struct scenario *scenario, const struct fault *fault, unsigned number,
                             unsigned count)
{
    /* The late engine may be about to report a fault when the connection is closed for another reason. On the simulated
     * engine threads decide which call is the n-th, and a call that disarms the Poller may fail without a report. */
    const struct run_plan plan = {
        .scenario = scenario->name,
        .fault = fault,
        .number = number,
        .count = count,
        .strict = scenario->strict && !engine_is("late") && !engine_is("simulated"),
    };

    if (getenv("JD_TEST_VERBOSE") != NULL)
        fprintf(stderr, "%s: %s %s at %u, %u in a row\n", scenario->name,
                fault != NULL ? fault_call_name(fault->call) : "allocation",
                fault != NULL ? fault_error_name(fault) : "", number, count);
    run_begin(&plan);
    scenario->run();
    return run_end();
}

/* Which of so many calls is to fail after this one: every one of the first, then some, evenly spaced; 0: no more. */
static unsigned next_number(unsigned number, unsigned calls)
{
    unsigned step = calls > EACH_UP_TO ? (calls - EACH_UP_TO + EACH_UP_TO - 1) / EACH_UP_TO : 1;
    unsigned next = number < EACH_UP_TO ? number + 1 : number + step;

    return next <= calls ? next : 0;
}

struct tally {
    unsigned places, tried, struck, sampled;
};

/* Tries the sweep's next place, if the part that is to be swept has it. */
static void try_place(const struct scenario *scenario, const struct fault *fault, unsigned number, unsigned count,
                      struct tally *tally)
{
    if (!fault_part_has(tally->places++))
        return;
    tally->tried++;
    tally->struck += run_scenario(scenario, fault, number, count) > 0;
}

/* Pauses of accepting take their time: what one error shows in every place and in a row, the others show in the first. */
static bool is_one_of_many(const struct fault *fault)
{
    return fault != NULL && fault->effect == FAULT_PAUSES_ACCEPTING && fault->number != EMFILE;
}

static void fail_each(const struct scenario *scenario, const struct fault *fault, unsigned calls, struct tally *tally)
{
    if (is_one_of_many(fault) && calls > 0)
        calls = 1;
    tally->sampled += calls > 2 * EACH_UP_TO;
    for (unsigned number = next_number(0, calls); number > 0; number = next_number(number, calls))
        try_place(scenario, fault, number, 1, tally);
}

/* From a few calls on. */
static void fail_in_a_row(const struct scenario *scenario, const struct fault *fault, unsigned calls, unsigned count,
                          struct tally *tally)
{
    unsigned step = (calls + FEW - 1) / FEW;

    if (is_one_of_many(fault))
        return;
    for (unsigned number = 1; number <= calls; number += step)
        try_place(scenario, fault, number, count, tally);
}

static void fail_allocations_in_a_row(const struct scenario *scenario, unsigned allocations, struct tally *tally)
{
    for (unsigned number = next_number(0, allocations); number > 0; number = next_number(number, allocations))
        try_place(scenario, NULL, number, ALLOCATIONS_IN_A_ROW, tally);
}

static void print_tally(const struct scenario *scenario, const char *what, const struct tally *tally)
{
    printf("# %s, %s: %u of %u faults tried, %u reached", scenario->name, what, tally->tried, tally->places,
           tally->struck);
    if (tally->sampled > 0)
        printf("; beyond the first %d calls %d at most, evenly spaced", EACH_UP_TO, EACH_UP_TO);
    printf("\n");
    fflush(stdout);
}

START_TEST(every_system_call_may_fail)
{
    const struct scenario *scenario = &scenarios[_i];
    unsigned calls[FAULT_CALLS];
    struct tally tally = { 0 };

    run_scenario(scenario, NULL, 0, 0);
    for (enum fault_call call = 0; call < FAULT_CALLS; call++)
        calls[call] = faults_calls(call);
    for (const struct fault *fault = known_faults; fault->call < FAULT_CALLS; fault++) {
        fail_each(scenario, fault, calls[fault->call], &tally);
        fail_in_a_row(scenario, fault, calls[fault->call], CALLS_IN_A_ROW, &tally);
    }
    print_tally(scenario, "system calls", &tally);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    const struct scenario *scenario = &scenarios[_i];
    unsigned before = checking_memory_allocations();
    struct tally tally = { 0 };
    unsigned allocations;

    run_scenario(scenario, NULL, 0, 0);
    allocations = checking_memory_allocations() - before;
    fail_each(scenario, NULL, allocations, &tally);
    fail_allocations_in_a_row(scenario, allocations, &tally);
    print_tally(scenario, "allocations", &tally);
}
END_TEST

static void set_up(void)
{
    faults_install();
    checking_memory_install();
}

static void tear_down(void)
{
    checking_memory_remove();
    faults_remove();
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("faults");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, TIMEOUT_S);
    tcase_add_loop_test(tests, every_allocation_may_fail, 0, SCENARIOS);
    tcase_add_loop_test(tests, every_system_call_may_fail, 0, SCENARIOS);
}
