/* Small files are read into the answer where the engine sends in the loop's thread anyway: few system calls, and all that
 * jd_tcp_connection_send_file promises. */
#include "base/posix/system_calls.h"
#include "tests/behaviour/harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if JD_WITH_IO_URING
#include <liburing.h>
#endif

const char *const suite_name = "small_files";

enum { KIB = 1024, LARGEST = 16 * KIB, HEADER = 100, REQUESTS = 20 };

/* ---- the calls of the library, also in the simulated engine's workers ---- */

static _Atomic unsigned waits, receives, sends, reads, others;
static struct system_calls real;

static int counting_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms)
{
    int result = real.epoll_wait(epoll, events, count, timeout_ms);

    waits += result > 0; /* the others are the test's turns while nothing has come */
    return result;
}

static ssize_t counting_recv(int fd, void *data, size_t size, int flags)
{
    receives++;
    return real.recv(fd, data, size, flags);
}

static ssize_t counting_send(int fd, const void *data, size_t size, int flags)
{
    sends++;
    return real.send(fd, data, size, flags);
}

static ssize_t counting_sendmsg(int fd, const struct msghdr *message, int flags)
{
    sends++;
    return real.sendmsg(fd, message, flags);
}

static ssize_t counting_pread(int fd, void *data, size_t size, off_t offset)
{
    reads++;
    return real.pread(fd, data, size, offset);
}

static ssize_t counting_sendfile(int socket, int fd, off_t *offset, size_t size)
{
    others += 3; /* and two for the mask of signals */
    return real.sendfile(socket, fd, offset, size);
}

static int counting_fstat(int fd, struct stat *status)
{
    others += 2; /* and fcntl(2) behind it */
    return real.fstat(fd, status);
}

static int counting_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    others++;
    return real.epoll_ctl(epoll, operation, fd, event);
}

#if JD_WITH_IO_URING
static int counting_enter(struct io_uring *ring, unsigned submissions, unsigned completions, unsigned flags,
                          const void *argument, size_t argument_bytes)
{
    int result = real.io_uring_enter(ring, submissions, completions, flags, argument, argument_bytes);

    waits += submissions > 0 || result > 0 || io_uring_cq_ready(ring) > 0;
    return result;
}
#endif

static void begin_to_count(void)
{
    real = system_calls;
    waits = receives = sends = reads = others = 0;
    system_calls.epoll_wait = counting_epoll_wait;
    system_calls.recv = counting_recv;
    system_calls.send = counting_send;
    system_calls.sendmsg = counting_sendmsg;
    system_calls.pread = counting_pread;
    system_calls.sendfile = counting_sendfile;
    system_calls.fstat = counting_fstat;
    system_calls.epoll_ctl = counting_epoll_ctl;
#if JD_WITH_IO_URING
    system_calls.io_uring_enter = counting_enter;
#endif
}

/* ---- a server of one file ---- */

static int file = -1;
static unsigned char content[LARGEST + 1];
static unsigned lent, back;
static bool is_calling;

static void make_file(size_t length)
{
    char name[] = "/tmp/jinduo-small-file-XXXXXX";

    file = mkstemp(name);
    ck_assert_int_ge(file, 0);
    unlink(name);
    pattern_fill(content, 0, sizeof(content));
    ck_assert_int_eq(write(file, content, length), (ssize_t)length);
}

static void give_back(void *arg)
{
    ck_assert(!is_calling);
    back++;
}

static int send_range(jd_tcp_connection *connection, int descriptor, int64_t offset, uint64_t length)
{
    int result;

    is_calling = true;
    result = jd_tcp_connection_send_file(connection, descriptor, offset, length, give_back, NULL);
    is_calling = false;
    lent += result == 0;
    return result;
}

static void answer(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *length)
{
    static const char header[HEADER];

    if (jd_buffer_readable(input) < 3) /* "get" */
        return;
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, header, sizeof(header)), 0);
    ck_assert_int_eq(send_range(connection, file, 0, *(const uint64_t *)length), 0);
}

static void request(int client, size_t length)
{
    static char header[HEADER];

    client_send(client, "get", 3);
    client_receive(client, header, sizeof(header));
    client_expect_pattern(client, 0, length);
}

START_TEST(an_answer_from_a_file_of_1_KiB_costs_four_system_calls_on_the_Reactor)
{
    uint64_t length = KIB;
    make_file(KIB);
    serve(&(struct service){ .on_message = answer, .arg = &length });
    int client = client_connect_up();
    request(client, KIB);
    pump_until_quiet();

    begin_to_count();
    for (int i = 0; i < REQUESTS; i++)
        request(client, KIB);
    system_calls_reset();

    if (engine_is("reactor") && !option_is("busy_poll")) {
        ck_assert_uint_eq(receives, REQUESTS);
        ck_assert_uint_eq(sends, REQUESTS);
        ck_assert_uint_eq(reads, REQUESTS);
        ck_assert_uint_eq(others, 0);
        ck_assert_uint_le(waits, REQUESTS);
    } else if (getenv("JD_TEST_COUNTS") != NULL) { /* for docs/notes/core-measurements.md */
        printf("# %u waits, %u receives, %u sends, %u reads, %u others in %d requests\n", waits, receives, sends, reads,
               others, REQUESTS);
    }
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(lent, back);
    close(file);
}
END_TEST

/* ---- what send_file promises ---- */

START_TEST(files_of_all_sizes_arrive_and_are_given_back)
{
    static const size_t sizes[] = { 0, 1, 255, 256, 257, 4096, LARGEST - 1, LARGEST, LARGEST + 1 };
    uint64_t length = _i == 0 ? JD_TO_END : 0;
    serve(&(struct service){ .on_message = answer, .arg = &length });
    int client = client_connect_up();

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        make_file(sizes[i]);
        if (_i == 1)
            length = sizes[i];
        request(client, sizes[i]);
        PUMP_UNTIL(back == i + 1);
        close(file);
    }
    ck_assert_uint_eq(lent, back);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

static void try_bad_ranges(jd_tcp_connection *connection, void *arg)
{
    int pipes[2], written = open("/tmp", O_TMPFILE | O_WRONLY, 0600);

    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_int_eq(write(pipes[1], content, KIB), KIB);
    ck_assert_int_eq(send_range(connection, file, 0, KIB + 1), JD_ERANGE);
    ck_assert_int_eq(send_range(connection, file, 1, KIB), JD_ERANGE);
    ck_assert_int_eq(send_range(connection, file, -1, KIB), JD_EINVAL);
    ck_assert_int_eq(send_range(connection, pipes[0], 0, 1), JD_EINVAL);
    ck_assert_int_eq(send_range(connection, -1, 0, 1), -EBADF);
    ck_assert_int_eq(jd_tcp_connection_queued_bytes(connection), 0);
    if (written >= 0) {
        ck_assert_int_eq(ftruncate(written, KIB), 0);
        ck_assert_int_eq(send_range(connection, written, 0, 1), JD_EINVAL);
        close(written);
    }
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
    ck_assert_int_eq(send_range(connection, file, 0, KIB), JD_ENOTCONN);
    close(pipes[0]);
    close(pipes[1]);
}

START_TEST(a_range_that_cannot_be_sent_is_refused_and_not_given_back)
{
    make_file(KIB);
    serve(&(struct service){ .on_up = try_bad_ranges });
    int client = client_connect_up();

    client_expect_end(client);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(lent + back, 0);
    close(file);
}
END_TEST

static void send_past_the_limit(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, content, 4 * KIB), 0);
    ck_assert_int_eq(send_range(connection, file, 0, KIB), 0);
}

/* A small file counts with its bytes, and where these do not fit as a larger one does. */
START_TEST(a_small_file_beyond_the_limit_is_sent_as_a_large_one)
{
    static unsigned char got[5 * KIB];
    make_file(KIB);
    pattern_fill(content, 0, sizeof(content));
    serve(&(struct service){ .on_up = send_past_the_limit, .options.output_limit = 4 * KIB + 200 });
    int client = client_connect_up();

    client_receive(client, got, sizeof(got));
    ck_assert_mem_eq(got, content, 4 * KIB);
    ck_assert_mem_eq(got + 4 * KIB, content, KIB);
    PUMP_UNTIL(back == 1);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    close(file);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "small files");

    tcase_add_test(tests, an_answer_from_a_file_of_1_KiB_costs_four_system_calls_on_the_Reactor);
    tcase_add_loop_test(tests, files_of_all_sizes_arrive_and_are_given_back, 0, 2);
    tcase_add_test(tests, a_range_that_cannot_be_sent_is_refused_and_not_given_back);
    tcase_add_test(tests, a_small_file_beyond_the_limit_is_sent_as_a_large_one);
}
