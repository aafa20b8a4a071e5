/* The simulated Proactor's threads, blocks, wake-ups and memory. */
#include "base/posix/system_calls.h"
#include "proactor/simulated/simulated.h"
#include "proactor/simulated/simulated_workers.h"
#include "tests/support/backend_bench.h"
#include "tests/support/checking_memory.h"
#include "tests/support/sockets.h"

#include <dirent.h>
#include <errno.h>
#include <jinduo/error.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const suite_name = "simulated_workers";

enum { CROWD = 50, BLOCKS_MAX = 16, EXCHANGES = 200 };

static int ends[2]; /* [0] is the backend's */

static void new_pair(int pair[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
}

static ssize_t gated_recv(int fd, void *data, size_t size, int flags)
{
    gate_pass();
    return recv(fd, data, size, flags);
}

static ssize_t gated_preadv(int fd, const struct iovec *pieces, int count, off_t offset)
{
    gate_pass();
    return preadv(fd, pieces, count, offset);
}

static void set_up(void)
{
    system_calls.preadv = gated_preadv;
    bench_open(&simulated_backend);
    new_pair(ends);
}

static void tear_down(void)
{
    close(ends[0]);
    close(ends[1]);
    bench_close();
    system_calls_reset();
}

/* ---- threads ---- */

/* Calls function, if it is not NULL, with the status of each thread but this one. */
static unsigned other_threads(void (*function)(const char *status))
{
    DIR *directory = opendir("/proc/self/task");
    struct dirent *entry;
    unsigned count = 0;

    ck_assert_ptr_nonnull(directory);
    while ((entry = readdir(directory)) != NULL) {
        char path[300], status[8192] = "";
        FILE *file;
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == gettid())
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        file = fopen(path, "r");
        if (file == NULL)
            continue;
        ck_assert_uint_gt(fread(status, 1, sizeof(status) - 1, file), 0);
        fclose(file);
        if (strstr(status, "jd-simulated") == NULL)
            continue;
        count++;
        if (function != NULL)
            function(status);
    }
    closedir(directory);
    return count;
}

static void check_that_signals_are_blocked(const char *status)
{
    const char *line = strstr(status, "SigBlk:");
    unsigned long long blocked;

    ck_assert_ptr_nonnull(line);
    blocked = strtoull(line + strlen("SigBlk:"), NULL, 16);
    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP)
            ck_assert_msg(blocked >> (number - 1) & 1, "signal %d", number);
}

START_TEST(threads_are_started_when_there_is_work_and_take_no_signals)
{
    uint64_t watch = bench_poll(OPCODE_POLL, ends[0], POLLIN);
    ck_assert_uint_eq(other_threads(NULL), 0);

    for (int i = 0; i < CROWD; i++)
        ck_assert_int_eq(bench_result(bench_send(ends[1], "x", 1)), 1);

    ck_assert_int_eq(bench_result(watch), POLLIN);
    ck_assert_uint_ge(other_threads(check_that_signals_are_blocked), 1);
    ck_assert_uint_le(other_threads(NULL), SIMULATED_WORKERS);
}
END_TEST

START_TEST(files_that_block_hold_up_no_socket_and_are_all_read)
{
    char path[] = "/tmp/jinduo-simulated-XXXXXX", data[CROWD], received[4];
    int file = mkstemp(path);
    uint64_t reads[CROWD];
    unlink(path);
    ck_assert_int_eq(write(file, bench_pattern(), CROWD), CROWD);
    gate_close();
    for (int i = 0; i < CROWD; i++)
        reads[i] = bench_file(OPCODE_READ, file, &data[i], 1, (uint64_t)i);
    gate_wait_for_arrivals(1);

    ck_assert_int_eq(bench_result(bench_send(ends[1], "abcd", 4)), 4);
    ck_assert_int_eq(bench_result(bench_receive(ends[0], received, 4)), 4);

    for (int i = 0; i < CROWD; i++)
        ck_assert(!bench_of(reads[i])->ended);
    gate_open();
    for (int i = 0; i < CROWD; i++)
        ck_assert_int_eq(bench_result(reads[i]), 1);
    ck_assert_mem_eq(data, bench_pattern(), CROWD);
    close(file);
}
END_TEST

/* ---- waiting ---- */

/* Each wait without a completion is at most one of a few that an operation takes: readiness, and what a worker did. */
START_TEST(nothing_is_waited_for_busily)
{
    char byte;
    uint64_t waits, watch = bench_poll(OPCODE_POLL_MULTISHOT, ends[0], POLLERR | POLLHUP);
    uint64_t idle = bench_poll(OPCODE_POLL, ends[1], POLLPRI);

    waits = bench_waits;
    for (int i = 0; i < EXCHANGES; i++) {
        uint64_t receive = bench_receive(ends[0], &byte, 1);
        ck_assert_int_eq(write(ends[1], "x", 1), 1);
        while (!bench_of(receive)->ended)
            bench_wait_ms(-1);
    }
    ck_assert_uint_le(bench_waits - waits, EXCHANGES * 4);

    /* A lasting state is reported once. */
    close(ends[1]);
    ends[1] = dup(ends[0]);
    while (bench_of(watch)->completions == 0)
        bench_wait_ms(-1);
    bench_turns();
    ck_assert_uint_eq(bench_wait_ms(10), 0);
    ck_assert_uint_le(bench_of(watch)->completions, 2);
    bench_cancel(watch);
    bench_cancel(idle);
}
END_TEST

static void *wake_backend(void *arg)
{
    bench_backend->ops->wake(bench_backend);
    return NULL;
}

static void wake_in_handler(int number)
{
    bench_backend->ops->wake(bench_backend);
}

START_TEST(a_wait_is_ended_from_other_threads_signal_handlers_and_beforehand)
{
    pthread_t thread;
    uint64_t watch = bench_poll(OPCODE_POLL, ends[0], POLLIN);

    bench_backend->ops->wake(bench_backend);
    ck_assert_uint_eq(bench_wait_ms(-1), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, wake_backend, NULL), 0);
    ck_assert_uint_eq(bench_wait_ms(-1), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    signal(SIGUSR1, wake_in_handler);
    raise(SIGUSR1);
    ck_assert_uint_eq(bench_wait_ms(-1), 0);
    signal(SIGUSR1, SIG_DFL);
    bench_cancel(watch);
}
END_TEST

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd polled = { .fd = fd, .events = POLLIN };

    return poll(&polled, 1, timeout_ms) == 1;
}

START_TEST(a_descriptor_is_readable_for_another_loop_when_work_is_pending)
{
    enum { PATIENCE_MS = 30000 };
    char byte;
    int fd = bench_backend->ops->pollable_fd(bench_backend);
    uint64_t receive = bench_receive(ends[0], &byte, 1);
    bench_turns();
    ck_assert(!is_readable(fd, 0));

    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    while (!bench_of(receive)->ended) {
        ck_assert(is_readable(fd, PATIENCE_MS));
        bench_wait_ms(0);
    }

    receive = bench_receive(ends[0], &byte, 1);
    bench_turns();
    ck_assert(!is_readable(fd, 0));
    bench_cancel(receive);
    ck_assert(is_readable(fd, 0));
    bench_wait_ms(0);
    ck_assert_int_eq(bench_result(receive), JD_ECANCELED);
}
END_TEST

/* ---- blocks ---- */

static unsigned kept_count;
static struct block *kept[CROWD];

static void keep_block(uint64_t token, struct completion *completion)
{
    if (completion->result <= 0)
        return;
    kept[kept_count++] = *completion->block;
    *completion->block = NULL;
}

static void put_kept_blocks(void)
{
    while (kept_count > 0)
        bench_put_block(kept[--kept_count]);
}

START_TEST(an_idle_socket_holds_no_block)
{
    uint64_t receive = bench_simple(OPCODE_RECEIVE_MULTISHOT, ends[0]);
    bench_turns();
    ck_assert_uint_eq(bench_blocks_out, 0);

    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    BENCH_UNTIL(bench_of(receive)->received == 1);
    ck_assert_uint_le(bench_blocks_out, 1);
    bench_cancel(receive);
}
END_TEST

START_TEST(a_kept_block_stays_as_it_was)
{
    uint64_t receive = bench_simple(OPCODE_RECEIVE_MULTISHOT, ends[0]);
    bench_on_completion = keep_block;

    ck_assert_int_eq(write(ends[1], "first", 5), 5);
    BENCH_UNTIL(kept_count == 1);
    ck_assert_int_eq(write(ends[1], "second", 6), 6);
    BENCH_UNTIL(kept_count == 2);

    ck_assert_mem_eq(kept[0]->data + kept[0]->begin, "first", 5);
    ck_assert_mem_eq(kept[1]->data + kept[1]->begin, "second", 6);
    put_kept_blocks();
    bench_cancel(receive);
}
END_TEST

/* Ready all at once: they take turns. */
START_TEST(many_ready_sockets_share_a_few_blocks)
{
    int pairs[CROWD][2];
    uint64_t receives[CROWD];
    system_calls.recv = gated_recv;
    gate_close();
    for (int i = 0; i < CROWD; i++) {
        new_pair(pairs[i]);
        receives[i] = bench_simple(OPCODE_RECEIVE_MULTISHOT, pairs[i][0]);
        ck_assert_int_eq(write(pairs[i][1], "x", 1), 1);
    }
    bench_turns();
    ck_assert_uint_eq(bench_blocks_out, BLOCKS_MAX);
    ck_assert_uint_eq(bench_backend->ops->receive_room(bench_backend), 0);
    /* One of those that wait for a block. */
    bench_cancel(receives[CROWD - 1]);
    ck_assert_int_eq(bench_result(receives[CROWD - 1]), JD_ECANCELED);

    gate_open();
    for (int i = 0; i < CROWD - 1; i++)
        BENCH_UNTIL(bench_of(receives[i])->received == 1);

    ck_assert_uint_gt(bench_backend->ops->receive_room(bench_backend), 0);
    for (int i = 0; i < CROWD; i++) {
        bench_cancel(receives[i]);
        bench_result(receives[i]);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
}
END_TEST

START_TEST(without_any_block_a_continuous_receive_ends_and_may_begin_again_when_there_is_room)
{
    uint64_t receive = bench_simple(OPCODE_RECEIVE_MULTISHOT, ends[0]);
    bench_blocks_max = 0;
    ck_assert_int_eq(write(ends[1], "x", 1), 1);

    ck_assert_int_eq(bench_result(receive), JD_ENOBUFS);
    bench_turns();
    ck_assert_uint_eq(bench_backend->ops->receive_room(bench_backend), 0);

    bench_blocks_max = 1;
    BENCH_UNTIL(bench_backend->ops->receive_room(bench_backend) > 0);
    receive = bench_simple(OPCODE_RECEIVE_MULTISHOT, ends[0]);
    BENCH_UNTIL(bench_of(receive)->received == 1);
    bench_cancel(receive);
}
END_TEST

/* ---- memory and system calls that fail ---- */

/* Some operations with many pieces, whatever fails: each is refused or ends. Returns how many were refused. */
static unsigned some_operations(void)
{
    static char data[8][12];
    jd_iovec pieces[12];
    uint64_t tokens[8];
    unsigned count = 0, refused = 0;
    int pairs[2][2];
    struct operation_request request = { .buffers = pieces, .buffer_count = 12 };

    for (int i = 0; i < 2; i++) {
        new_pair(pairs[i]);
        for (int j = 0; j < 4; j++) {
            static const enum backend_opcode kinds[] = { OPCODE_SEND, OPCODE_RECEIVE, OPCODE_RECEIVE_MULTISHOT,
                                                         OPCODE_POLL };
            int error;
            for (int k = 0; k < 12; k++)
                pieces[k] = (jd_iovec){ &data[i * 4 + j][k], 1 };
            request.opcode = kinds[j];
            request.fd = pairs[i][j == 0];
            request.poll_events = POLLIN;
            tokens[count] = bench_try(&request, &error);
            count += error == 0;
            refused += error < 0;
        }
    }
    bench_turns();
    for (unsigned i = 0; i < count; i++)
        bench_cancel(tokens[i]);
    for (unsigned i = 0; i < count; i++)
        bench_result(tokens[i]);
    for (int i = 0; i < 2; i++) {
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    return refused;
}

static void destroy_backend(void)
{
    bench_backend->ops->destroy(bench_backend);
    bench_backend = NULL;
}

START_TEST(every_allocation_may_fail)
{
    jd_event_loop_options options = { 0 };
    struct backend *first = bench_backend;
    unsigned number = 1;

    for (bool failed = true; failed; number++) {
        int result;
        checking_memory_fail_at(number);
        result = simulated_backend.create(&bench_backend, first->owner, &options);
        if (result == 0) {
            some_operations();
            destroy_backend();
        } else {
            ck_assert_int_eq(result, JD_ENOMEM);
        }
        failed = checking_memory_has_failed();
    }
    ck_assert_uint_gt(number, 5);
    bench_backend = first;
    ck_assert_uint_eq(some_operations(), 0);
}
END_TEST

static int control_calls, failing_call;

static int failing_control(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (++control_calls != failing_call)
        return epoll_ctl(epoll, operation, fd, event);
    errno = ENOMEM;
    return -1;
}

START_TEST(every_call_to_the_poller_may_fail)
{
    system_calls.epoll_ctl = failing_control;
    for (failing_call = 1; failing_call == 1 || control_calls >= failing_call - 1; failing_call++) {
        control_calls = 0;
        ck_assert_uint_le(some_operations(), 1);
    }
    ck_assert_int_gt(failing_call, 5);
}
END_TEST

/* A receive that has to wait once more cannot: that is its result, not silence. */
START_TEST(an_operation_that_cannot_wait_any_more_ends_with_the_reason)
{
    system_calls.epoll_ctl = failing_control;
    uint64_t receive = bench_simple(OPCODE_RECEIVE_MULTISHOT, ends[0]);
    control_calls = 0;
    failing_call = 1;

    ck_assert_int_eq(write(ends[1], "x", 1), 1);

    ck_assert_int_eq(bench_result(receive), JD_ENOMEM);
    ck_assert_uint_eq(bench_of(receive)->received, 1);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("simulated_workers");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, threads_are_started_when_there_is_work_and_take_no_signals);
    tcase_add_test(tests, files_that_block_hold_up_no_socket_and_are_all_read);
    tcase_add_test(tests, nothing_is_waited_for_busily);
    tcase_add_test(tests, a_wait_is_ended_from_other_threads_signal_handlers_and_beforehand);
    tcase_add_test(tests, a_descriptor_is_readable_for_another_loop_when_work_is_pending);
    tcase_add_test(tests, an_idle_socket_holds_no_block);
    tcase_add_test(tests, a_kept_block_stays_as_it_was);
    tcase_add_test(tests, many_ready_sockets_share_a_few_blocks);
    tcase_add_test(tests, without_any_block_a_continuous_receive_ends_and_may_begin_again_when_there_is_room);
    tcase_add_test(tests, every_allocation_may_fail);
    tcase_add_test(tests, every_call_to_the_poller_may_fail);
    tcase_add_test(tests, an_operation_that_cannot_wait_any_more_ends_with_the_reason);
}
