/* What the library does to the process it is in: no SIGPIPE, no descriptor inherited, no wait broken by a signal.
 * Pitfalls 12, 39, 40. Besides, channels, whose descriptors are the user's own. */
#include "base/posix/system_calls.h"
#include "tests/behaviour/gone_peers.h"
#include "tests/support/ring_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <jinduo/error.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const suite_name = "processes";

enum { KIB = 1024, MIB = 1024 * 1024 };

/* ---- SIGPIPE: pitfall 39 ---- */

static void send_on(jd_tcp_connection *connection, void *arg)
{
    static const char data[100 * KIB];

    if (connection == NULL)
        return;
    jd_tcp_connection_send(connection, "x", 1);
    jd_tcp_connection_send(connection, data, sizeof(data));
}

START_TEST(sending_to_a_peer_that_is_gone_raises_no_signal)
{
    check_that_gone_peers_raise_no_signal(_i, send_on);
}
END_TEST

/* ---- a process that is killed ---- */

/* In a child: says where it listens, and is killed in its loop. */
static void serve_until_killed(int port_pipe)
{
    ck_assert_int_eq(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
    the_loop = make_loop(NULL);
    serve(&(struct service){ .options.listen = own_tcp_endpoint(0), .on_message = echo });
    ck_assert_int_eq(write(port_pipe, server_endpoint(), sizeof(jd_endpoint)), sizeof(jd_endpoint));
    jd_event_loop_run(the_loop);
    _exit(1);
}

static int bind_to(const jd_endpoint *endpoint)
{
    static const struct socket_options defaults;
    int listener, result = socket_listen(&listener, endpoint, &defaults, NULL, NULL);

    if (result == 0)
        socket_close(listener);
    return result;
}

/* A ring is taken down in the background, and its accept holds the listener until then: docs/engines.md. */
START_TEST(the_address_of_a_killed_process_is_free_at_once_or_with_a_ring_soon)
{
    jd_endpoint endpoint;
    int port_pipe[2], result, status;
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
    ck_assert_int_eq(pipe2(port_pipe, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0)
        serve_until_killed(port_pipe[1]);
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(read(port_pipe[0], &endpoint, sizeof(endpoint)), sizeof(endpoint));
    int client = client_connect_to(&endpoint);
    client_send(client, "x", 1);
    client_expect(client, "x", 1);

    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    result = bind_to(&endpoint);
    if (engine_is("io_uring"))
        while (result == JD_EADDRINUSE)
            result = bind_to(&endpoint);

    ck_assert_int_eq(result, 0);
    close(port_pipe[0]);
    close(port_pipe[1]);
}
END_TEST

/* ---- close on exec: pitfall 40 ---- */

START_TEST(every_descriptor_of_the_library_is_closed_on_exec)
{
    enum { DESCRIPTORS = 256 };
    bool before[DESCRIPTORS];
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        before[fd] = fcntl(fd, F_GETFD) >= 0;
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = make_loop(NULL);
    serve(&(struct service){ .options.io_threads = 2 });
    serve(&(struct service){ .options.listen = own_unix_endpoint("@jinduo-test-") });
    serve(&(struct service){ .on_message = echo });
    for (int i = 0; i < 5; i++)
        client_connect_up();

    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0 && !before[fd])
            ck_assert_msg(flags & FD_CLOEXEC, "descriptor %d would be inherited", fd);
    }
}
END_TEST

static void close_it(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_close(connection);
}

/* Nothing is inherited: with a duplicate of the socket in the other program, closing here would send no FIN. */
START_TEST(another_program_started_meanwhile_keeps_no_connection_open)
{
    int executed[2], life[2];
    char byte;
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    ck_assert_int_eq(pipe2(executed, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(life, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(life[0], STDIN_FILENO);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    ck_assert_int_gt(child, 0);
    close(executed[1]);
    ck_assert_int_eq(read(executed[0], &byte, 1), 0); /* its end of it is closed: it is the other program now */

    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), close_it, NULL), 0);

    client_expect_end(client);
    ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
    close(executed[0]);
    close(life[0]);
    close(life[1]);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

/* ---- a loop in a child process ---- */

static int refuse_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms)
{
    _exit(2);
}

#if JD_WITH_IO_URING
static int refuse_enter(struct io_uring *ring, unsigned submissions, unsigned completions, unsigned flags,
                        const void *argument, size_t argument_bytes)
{
    _exit(3);
}
#endif

static void run_in_child(void)
{
    system_calls.epoll_wait = refuse_epoll_wait;
#if JD_WITH_IO_URING
    system_calls.io_uring_enter = refuse_enter;
#endif
    _exit(jd_event_loop_run(the_loop) == JD_EFORKED && jd_event_loop_run_once(the_loop, 0) == JD_EFORKED &&
                  jd_event_loop_destroy(the_loop) == JD_EFORKED
              ? 0
              : 1);
}

START_TEST(a_loop_that_a_child_process_has_inherited_does_not_run_there)
{
    int status;
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    client_send(client, "mine", 4);

    pid_t child = fork();
    if (child == 0)
        run_in_child();

    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    client_expect(client, "mine", 4);
}
END_TEST

/* ---- signals and waits: pitfall 12 ---- */

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    alarms++;
}

static void set_alarms(long interval_us)
{
    struct itimerval every = { .it_interval.tv_usec = interval_us, .it_value.tv_usec = interval_us };

    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
}

START_TEST(signals_that_interrupt_everything_disturb_nothing)
{
    struct sigaction action = { .sa_handler = count_alarm }; /* without SA_RESTART */
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    set_alarms(200);

    while (alarms < 100) {
        client_send_pattern(client, 0, 64 * KIB);
        client_expect_pattern(client, 0, 64 * KIB);
        ck_assert_int_ge(jd_event_loop_run_once(the_loop, 1), 0);
    }

    set_alarms(0);
}
END_TEST

static _Atomic unsigned interruptions; /* an engine may receive and send by threads of its own */

static int interrupted_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms)
{
    if (interruptions++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return epoll_wait(epoll, events, count, timeout_ms);
}

static ssize_t interrupted_recv(int fd, void *data, size_t size, int flags)
{
    if (interruptions++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return recv(fd, data, size, flags);
}

static ssize_t interrupted_send(int fd, const void *data, size_t size, int flags)
{
    if (interruptions++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return send(fd, data, size, flags);
}

static int interrupted_ring_call(enum ring_call call, int fd)
{
    static unsigned enters, operations;

    if (call == RING_SETUP || (call < RING_ACCEPT ? enters++ : operations++) % 2 != 0)
        return 0;
    interruptions++;
    return -EINTR;
}

/* Of these an engine uses its own only. */
START_TEST(an_interrupted_system_call_is_done_again)
{
    system_calls.epoll_wait = interrupted_epoll_wait;
    system_calls.recv = interrupted_recv;
    system_calls.send = interrupted_send;
    ring_calls_decide(interrupted_ring_call);
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();

    client_send_pattern(client, 0, MIB);
    client_expect_pattern(client, 0, MIB);

    ck_assert_uint_gt(interruptions, 0);
    system_calls_reset();
}
END_TEST

/* ---- channels ---- */

static int pipe_ends[2];
static jd_channel *channel;
static unsigned reported;
static char piped[64];

static void open_pipe(unsigned events, jd_channel_callback callback)
{
    ck_assert_int_eq(pipe(pipe_ends), 0);
    ck_assert_int_eq(jd_channel_create(&channel, the_loop, pipe_ends[0], events, callback, NULL), 0);
}

static void close_pipe(void)
{
    jd_channel_destroy(channel);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void take_one_byte(jd_channel *which, int fd, unsigned events, void *arg)
{
    ck_assert_ptr_eq(which, channel);
    if (events & JD_READABLE)
        ck_assert_int_eq(read(fd, piped + reported, 1), 1);
    reported++;
}

START_TEST(a_channel_reports_readable_as_long_as_data_is_there)
{
    open_pipe(JD_READABLE, take_one_byte);
    pump_until_quiet();
    ck_assert_uint_eq(reported, 0);

    ck_assert_int_eq(write(pipe_ends[1], "hello", 5), 5);
    PUMP_UNTIL(reported == 5);
    pump_until_quiet();

    ck_assert_uint_eq(reported, 5);
    ck_assert_str_eq(piped, "hello");
    close_pipe();
}
END_TEST

START_TEST(an_edge_triggered_channel_reports_changes_only)
{
    open_pipe(JD_READABLE | JD_EDGE, take_one_byte);

    ck_assert_int_eq(write(pipe_ends[1], "ab", 2), 2);
    PUMP_UNTIL(reported == 1);
    pump_until_quiet();
    ck_assert_uint_eq(reported, 1);
    ck_assert_int_eq(write(pipe_ends[1], "c", 1), 1);
    PUMP_UNTIL(reported == 2);
    pump_until_quiet();

    ck_assert_uint_eq(reported, 2);
    close_pipe();
}
END_TEST

static void destroy_itself(jd_channel *which, int fd, unsigned events, void *arg)
{
    reported++;
    jd_channel_destroy(which);
    channel = NULL;
}

START_TEST(a_channel_may_destroy_itself_in_its_callback)
{
    open_pipe(JD_READABLE, destroy_itself);

    ck_assert_int_eq(write(pipe_ends[1], "x", 1), 1);
    PUMP_UNTIL(reported == 1);
    pump_until_quiet();

    ck_assert_uint_eq(reported, 1);
    close_pipe();
}
END_TEST

START_TEST(a_channel_left_to_the_loop_ends_with_it)
{
    open_pipe(JD_READABLE, take_one_byte);
    if (_i == 1)
        jd_channel_destroy(channel);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);

    the_loop = NULL;
    channel = NULL;
    close_pipe();
}
END_TEST

START_TEST(a_channel_that_cannot_be_is_refused)
{
    jd_channel *other;
    open_pipe(JD_READABLE, take_one_byte);

    ck_assert_int_eq(jd_channel_create(&other, the_loop, pipe_ends[0], JD_READABLE, take_one_byte, NULL), JD_EEXIST);
    ck_assert_int_eq(jd_channel_create(&other, the_loop, -1, JD_READABLE, take_one_byte, NULL), JD_EINVAL);
    ck_assert_int_eq(jd_channel_create(&other, the_loop, pipe_ends[1], 64, take_one_byte, NULL), JD_EINVAL);
    close_pipe();
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "processes");

    tcase_add_test(tests, the_address_of_a_killed_process_is_free_at_once_or_with_a_ring_soon);
    tcase_add_test(tests, a_loop_that_a_child_process_has_inherited_does_not_run_there);
    tcase_add_loop_test(tests, sending_to_a_peer_that_is_gone_raises_no_signal, 0, GONE_PEERS_ENDPOINTS);
    tcase_add_test(tests, every_descriptor_of_the_library_is_closed_on_exec);
    tcase_add_test(tests, another_program_started_meanwhile_keeps_no_connection_open);
    tcase_add_test(tests, signals_that_interrupt_everything_disturb_nothing);
    tcase_add_test(tests, an_interrupted_system_call_is_done_again);
    tcase_add_test(tests, a_channel_reports_readable_as_long_as_data_is_there);
    tcase_add_test(tests, an_edge_triggered_channel_reports_changes_only);
    tcase_add_test(tests, a_channel_may_destroy_itself_in_its_callback);
    tcase_add_loop_test(tests, a_channel_left_to_the_loop_ends_with_it, 0, 2);
    tcase_add_test(tests, a_channel_that_cannot_be_is_refused);
}
