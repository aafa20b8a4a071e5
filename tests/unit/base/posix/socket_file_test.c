/* Files to sockets: ranges, their ends, and no SIGPIPE although sendfile(2) raises it. */
#include "base/platform/file.h"
#include "base/posix/system_calls.h"
#include "tests/support/check_main.h"
#include "tests/support/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <jinduo/error.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

const char *const suite_name = "socket_file";

static int file_of(const char *text)
{
    int fd = memfd_create("jinduo-socket", MFD_CLOEXEC);

    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static bool is_pending(void)
{
    sigset_t pending;

    ck_assert_int_eq(sigpending(&pending), 0);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void block(void)
{
    sigset_t pipe_only;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &pipe_only, NULL), 0);
}

static bool is_blocked(void)
{
    sigset_t mask;

    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    return sigismember(&mask, SIGPIPE) == 1;
}

/* ---- sending ---- */

START_TEST(a_range_of_a_file_is_sent_and_its_own_position_stays)
{
    struct socket_pair pair = connect_loopback();
    int fd = file_of("0123456789");
    char data[16];

    ck_assert_int_eq(socket_send_file(pair.server, fd, 3, 4), 4);

    ck_assert_int_eq(read(pair.client, data, sizeof(data)), 4);
    ck_assert_mem_eq(data, "3456", 4);
    ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 10);
}
END_TEST

START_TEST(at_the_end_of_a_file_nothing_is_sent)
{
    struct socket_pair pair = connect_loopback();
    int fd = file_of("0123456789");

    ck_assert_int_eq(socket_send_file(pair.server, fd, 8, 4), 2);
    ck_assert_int_eq(socket_send_file(pair.server, fd, 10, 4), 0);
}
END_TEST

static int interruptions;

static ssize_t interrupted_sendfile(int socket, int fd, off_t *offset, size_t size)
{
    if (interruptions-- > 0) {
        errno = EINTR;
        return -1;
    }
    return sendfile(socket, fd, offset, size);
}

static ssize_t interrupted_pread(int fd, void *data, size_t size, off_t offset)
{
    if (interruptions-- > 0) {
        errno = EINTR;
        return -1;
    }
    return pread(fd, data, size, offset);
}

START_TEST(what_is_interrupted_is_tried_again)
{
    struct socket_pair pair = connect_loopback();
    int fd = file_of("0123456789");
    char data[4];
    system_calls.sendfile = interrupted_sendfile;
    system_calls.pread = interrupted_pread;

    interruptions = 2;
    ck_assert_int_eq(socket_send_file(pair.server, fd, 0, 10), 10);
    interruptions = 2;
    ck_assert_int_eq(file_read(fd, data, sizeof(data), 3), 4);

    ck_assert_mem_eq(data, "3456", 4);
}
END_TEST

static int last_flags;

static ssize_t noting_send(int fd, const void *data, size_t size, int flags)
{
    last_flags = flags;
    return send(fd, data, size, flags);
}

START_TEST(bytes_before_a_file_wait_for_it)
{
    struct socket_pair pair = connect_loopback();
    jd_iovec piece = { (char[]){ "header" }, 6 };
    system_calls.send = noting_send;

    ck_assert_int_eq(socket_send_more(pair.server, &piece, 1), 6);
    ck_assert_int_eq(last_flags, MSG_MORE | MSG_NOSIGNAL | MSG_DONTWAIT);
    ck_assert_int_eq(socket_send(pair.server, &piece, 1), 6);

    ck_assert_int_eq(last_flags, (MSG_NOSIGNAL | MSG_DONTWAIT));
}
END_TEST

/* ---- SIGPIPE: pitfall 39. The test's process would be killed: the signal's action is the default. ---- */

START_TEST(a_file_for_a_broken_connection_is_an_error_and_no_signal)
{
    struct socket_pair pair = connect_loopback();
    int fd = file_of("0123456789");
    signal(SIGPIPE, SIG_DFL);
    ck_assert_int_eq(socket_shutdown_write(pair.server), 0);

    ck_assert_int_eq(socket_send_file(pair.server, fd, 0, 10), JD_EPIPE);

    ck_assert(!is_pending());
    ck_assert(!is_blocked());
}
END_TEST

static ssize_t sendfile_broken_on_the_way(int socket, int fd, off_t *offset, size_t size)
{
    raise(SIGPIPE);
    return 1;
}

START_TEST(a_connection_that_breaks_after_some_bytes_raises_no_signal_either)
{
    signal(SIGPIPE, SIG_DFL);
    system_calls.sendfile = sendfile_broken_on_the_way;

    ck_assert_int_eq(socket_send_file(0, 0, 0, 10), 1);

    ck_assert(!is_pending());
    ck_assert(!is_blocked());
}
END_TEST

START_TEST(a_thread_that_blocks_the_signal_finds_none_pending_and_still_blocks_it)
{
    struct socket_pair pair = connect_loopback();
    int fd = file_of("0123456789");
    block();
    ck_assert_int_eq(socket_shutdown_write(pair.server), 0);

    ck_assert_int_eq(socket_send_file(pair.server, fd, 0, 10), JD_EPIPE);

    ck_assert(!is_pending());
    ck_assert(is_blocked());
}
END_TEST

START_TEST(a_signal_of_the_programs_own_that_was_pending_stays_so)
{
    struct socket_pair pair = connect_loopback();
    int fd = file_of("0123456789");
    block();
    raise(SIGPIPE);
    ck_assert_int_eq(socket_shutdown_write(pair.server), 0);

    ck_assert_int_eq(socket_send_file(pair.server, fd, 0, 10), JD_EPIPE);

    ck_assert(is_pending());
    ck_assert(is_blocked());
}
END_TEST

/* ---- ranges ---- */

static const struct {
    int64_t offset;
    uint64_t length;
    int result;
    uint64_t found;
} ranges[] = {
    { 0, 10, 0, 10 },
    { 0, JD_TO_END, 0, 10 },
    { 4, JD_TO_END, 0, 6 },
    { 10, JD_TO_END, 0, 0 },
    { 10, 0, 0, 0 },
    { 4, 6, 0, 6 },
    { 4, 7, JD_ERANGE, 0 },
    { 11, 0, JD_ERANGE, 0 },
    { 11, JD_TO_END, JD_ERANGE, 0 },
    { INT64_MAX, JD_TO_END, JD_ERANGE, 0 },
    { 1, UINT64_MAX - 1, JD_ERANGE, 0 },
    { -1, 1, JD_EINVAL, 0 },
    { INT64_MIN, JD_TO_END, JD_EINVAL, 0 },
};

enum { RANGES = sizeof(ranges) / sizeof(ranges[0]) };

START_TEST(a_range_must_lie_within_the_file)
{
    uint64_t length = ranges[_i].length;

    ck_assert_int_eq(file_check_range(file_of("0123456789"), ranges[_i].offset, &length), ranges[_i].result);

    if (ranges[_i].result == 0)
        ck_assert_uint_eq(length, ranges[_i].found);
}
END_TEST

START_TEST(what_is_no_file_or_cannot_be_read_is_refused)
{
    char path[64];
    uint64_t length = 1;
    int fd = file_of("0123456789");
    int ends[2];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ck_assert_int_eq(pipe(ends), 0);

    ck_assert_int_eq(file_check_range(ends[0], 0, &length), JD_EINVAL);
    ck_assert_int_eq(file_check_range(open("/", O_RDONLY | O_DIRECTORY), 0, &length), JD_EINVAL);
    ck_assert_int_eq(file_check_range(open(path, O_WRONLY), 0, &length), JD_EINVAL);
    ck_assert_int_eq(file_check_range(open(path, O_PATH), 0, &length), JD_EINVAL);
    ck_assert_int_eq(file_check_range(-1, 0, &length), -EBADF);
    ck_assert_int_eq(file_check_range(open(path, O_RDWR), 0, &length), 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("socket_file");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, NULL, system_calls_reset);
    tcase_add_test(tests, a_range_of_a_file_is_sent_and_its_own_position_stays);
    tcase_add_test(tests, at_the_end_of_a_file_nothing_is_sent);
    tcase_add_test(tests, what_is_interrupted_is_tried_again);
    tcase_add_test(tests, bytes_before_a_file_wait_for_it);
    tcase_add_test(tests, a_file_for_a_broken_connection_is_an_error_and_no_signal);
    tcase_add_test(tests, a_connection_that_breaks_after_some_bytes_raises_no_signal_either);
    tcase_add_test(tests, a_thread_that_blocks_the_signal_finds_none_pending_and_still_blocks_it);
    tcase_add_test(tests, a_signal_of_the_programs_own_that_was_pending_stays_so);
    tcase_add_loop_test(tests, a_range_must_lie_within_the_file, 0, RANGES);
    tcase_add_test(tests, what_is_no_file_or_cannot_be_read_is_refused);
}
