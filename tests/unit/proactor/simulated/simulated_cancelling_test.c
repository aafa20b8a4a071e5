/* Cancelling on the simulated Proactor, and descriptors' numbers that come again. */
#include "base/posix/system_calls.h"
#include "proactor/simulated/simulated.h"
#include "tests/support/backend_bench.h"

#include <errno.h>
#include <jinduo/error.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const suite_name = "simulated_cancelling";

enum { PAIRS = 8, STORM_ROUNDS = 20000, REUSES = 10000, REUSE_PAIRS = 4 };

static int ends[2], other[2]; /* [0] is the backend's */

static void new_pair(int pair[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
}

static void close_pair(const int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

static ssize_t gated_recv(int fd, void *data, size_t size, int flags)
{
    gate_pass();
    return recv(fd, data, size, flags);
}

static void set_up(void)
{
    system_calls.recv = gated_recv;
    bench_open(&simulated_backend);
    new_pair(ends);
    new_pair(other);
}

static void tear_down(void)
{
    close_pair(ends);
    close_pair(other);
    bench_close();
    system_calls_reset();
}

static void put(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* ---- each state that an operation can be in ---- */

START_TEST(an_operation_that_waits_is_cancelled)
{
    static const enum backend_opcode kinds[] = { OPCODE_RECEIVE_MULTISHOT, OPCODE_ACCEPT, OPCODE_ACCEPT_MULTISHOT };
    uint64_t token = bench_simple(kinds[_i], ends[0]);
    bench_turns();

    bench_cancel(token);

    ck_assert_uint_eq(bench_wait_ms(-1), 1);
    ck_assert_int_eq(bench_result(token), JD_ECANCELED);
}
END_TEST

START_TEST(an_operation_behind_another_is_cancelled_and_the_others_continue)
{
    char data[3];
    uint64_t receives[3];
    for (int i = 0; i < 3; i++)
        receives[i] = bench_receive(ends[0], &data[i], 1);

    bench_cancel(receives[1]);

    ck_assert_int_eq(bench_result(receives[1]), JD_ECANCELED);
    put(ends[1], "ab");
    ck_assert_int_eq(bench_result(receives[0]), 1);
    ck_assert_int_eq(bench_result(receives[2]), 1);
    ck_assert(data[0] == 'a' && data[2] == 'b');
}
END_TEST

START_TEST(when_the_first_is_cancelled_the_next_takes_its_place)
{
    char data[2];
    uint64_t first = bench_receive(ends[0], &data[0], 1), next = bench_receive(ends[0], &data[1], 1);

    bench_cancel(first);
    put(ends[1], "a");

    ck_assert_int_eq(bench_result(next), 1);
    ck_assert_int_eq(bench_of(first)->result, JD_ECANCELED);
    ck_assert_int_eq(data[1], 'a');
}
END_TEST

/* Its buffer is the worker's until the worker is done. */
START_TEST(a_cancel_while_a_worker_writes_into_the_buffer_waits_for_the_worker)
{
    char *data = malloc(4);
    gate_close();
    put(ends[1], "abcd");
    uint64_t receive = bench_receive(ends[0], data, 4);
    gate_wait_for_arrivals(1);

    bench_cancel(receive);
    bench_turns();
    ck_assert(!bench_of(receive)->ended);

    gate_open();
    ck_assert_int_eq(bench_result(receive), 4);
    ck_assert_mem_eq(data, "abcd", 4);
    free(data);
}
END_TEST

START_TEST(a_cancel_that_comes_when_there_is_nothing_to_do_after_all_is_one)
{
    char data[4], taken[4];
    gate_close();
    put(ends[1], "abcd");
    uint64_t receive = bench_receive(ends[0], data, 4);
    gate_wait_for_arrivals(1);

    ck_assert_int_eq(recv(ends[0], taken, 4, 0), 4);
    bench_cancel(receive);
    gate_open();

    ck_assert_int_eq(bench_result(receive), JD_ECANCELED);
}
END_TEST

START_TEST(an_operation_no_worker_has_begun_is_cancelled_at_once)
{
    enum { BUSY = 2 };
    char data[BUSY + 1];
    uint64_t receives[BUSY + 1];
    int pairs[BUSY + 1][2];
    gate_close();
    for (int i = 0; i <= BUSY; i++) {
        new_pair(pairs[i]);
        put(pairs[i][1], "x");
        receives[i] = bench_receive(pairs[i][0], &data[i], 1);
        gate_wait_for_arrivals(i < BUSY ? (unsigned)i + 1 : BUSY);
    }
    bench_turns();

    bench_cancel(receives[BUSY]);
    ck_assert_int_eq(bench_result(receives[BUSY]), JD_ECANCELED);
    gate_open();

    for (int i = 0; i < BUSY; i++)
        ck_assert_int_eq(bench_result(receives[i]), 1);
    for (int i = 0; i <= BUSY; i++)
        close_pair(pairs[i]);
}
END_TEST

static uint64_t to_cancel;

static void cancel_the_other(uint64_t token, struct completion *completion)
{
    if (to_cancel != 0 && token != to_cancel)
        bench_cancel(to_cancel);
    to_cancel = 0;
}

/* Both are complete when the first is reported: the cancel comes too late. */
START_TEST(a_cancel_that_loses_the_race_leaves_the_result)
{
    uint64_t first = bench_poll(OPCODE_POLL, ends[0], POLLOUT);
    to_cancel = bench_poll(OPCODE_POLL, ends[0], POLLOUT);
    uint64_t second = to_cancel;
    bench_on_completion = cancel_the_other;

    ck_assert_int_eq(bench_result(first), POLLOUT);
    ck_assert_int_eq(bench_result(second), POLLOUT);
}
END_TEST

static void cancel_it(uint64_t token, struct completion *completion)
{
    if (completion->more)
        bench_cancel(token);
}

START_TEST(a_continuous_receive_cancelled_in_its_own_callback_ends)
{
    uint64_t receive = bench_simple(OPCODE_RECEIVE_MULTISHOT, ends[0]);
    bench_on_completion = cancel_it;

    put(ends[1], "abc");

    ck_assert_int_eq(bench_result(receive), JD_ECANCELED);
    ck_assert_uint_eq(bench_of(receive)->received, 3);
    ck_assert_uint_eq(bench_of(receive)->completions, 2);
}
END_TEST

START_TEST(a_multishot_receive_cancelled_while_a_worker_receives_ends_with_the_bytes_received)
{
    gate_close();
    uint64_t receive = bench_simple(OPCODE_RECEIVE_MULTISHOT, ends[0]);
    put(ends[1], "abc");
    gate_wait_for_arrivals(1);

    bench_cancel(receive);
    bench_turns();
    ck_assert_uint_eq(bench_of(receive)->completions, 0);
    gate_open();

    ck_assert_int_eq(bench_result(receive), 3);
    ck_assert_uint_eq(bench_of(receive)->completions, 1);
}
END_TEST

START_TEST(an_operation_that_is_not_in_flight_is_not_cancelled)
{
    uint64_t done = bench_poll(OPCODE_POLL, ends[0], POLLOUT), receive;
    bench_result(done);
    receive = bench_simple(OPCODE_RECEIVE_MULTISHOT, ends[0]);

    bench_cancel(done);                                                 /* over */
    bench_backend->ops->cancel(bench_backend, ends[0], receive + 1000); /* never was */
    bench_backend->ops->cancel(bench_backend, other[0], receive);       /* on another descriptor */
    bench_backend->ops->cancel(bench_backend, -1, receive);
    bench_backend->ops->cancel(bench_backend, INT32_MAX, receive);
    bench_turns();

    put(ends[1], "a");
    BENCH_UNTIL(bench_of(receive)->received == 1);
    bench_cancel(receive);
    bench_cancel(receive);
    ck_assert_int_eq(bench_result(receive), JD_ECANCELED);
}
END_TEST

/* ---- storms ---- */

/* Whatever is asked for and taken back, in any order: the bench sees that each ends once, this test that no byte of the
 * stream is lost or comes twice. */
START_TEST(a_storm_of_operations_and_cancels_loses_nothing)
{
    static int pairs[PAIRS][2];
    static unsigned char data[STORM_ROUNDS];
    static uint64_t receives[STORM_ROUNDS];
    static size_t where[STORM_ROUNDS], sent[PAIRS];
    size_t received[PAIRS] = { 0 };
    uint64_t random = test_seed();
    size_t count = 0;

    for (int i = 0; i < PAIRS; i++)
        new_pair(pairs[i]);
    for (int round = 0; round < STORM_ROUNDS; round++) {
        size_t pair = random_below(&random, PAIRS);
        unsigned char byte = (unsigned char)sent[pair];
        switch (random_below(&random, 4)) {
        case 0:
            where[count] = pair;
            receives[count] = bench_receive(pairs[pair][0], &data[count], 1);
            count++;
            break;
        case 1:
            sent[pair] += write(pairs[pair][1], &byte, 1) == 1;
            break;
        case 2:
            if (count > 0)
                bench_cancel(receives[count - 1 - random_below(&random, count < 20 ? count : 20)]);
            break;
        case 3:
            bench_wait_ms(0);
            break;
        }
    }
    for (size_t i = 0; i < count; i++)
        bench_cancel(receives[i]);

    for (size_t i = 0; i < count; i++) {
        int64_t result = bench_result(receives[i]);
        ck_assert(result == 1 || result == JD_ECANCELED);
        if (result == 1)
            ck_assert_uint_eq(data[i], (unsigned char)received[where[i]]++);
    }
    for (int i = 0; i < PAIRS; i++) {
        unsigned char byte;
        while (recv(pairs[i][0], &byte, 1, 0) == 1)
            ck_assert_uint_eq(byte, (unsigned char)received[i]++);
        ck_assert_uint_eq(received[i], sent[i]);
        close_pair(pairs[i]);
    }
}
END_TEST

/* ---- numbers that come again ---- */

static void drop(uint64_t token, struct completion *completion)
{
    if (completion->result > 0)
        ck_assert_int_eq((*completion->block)->data[0], bench_of(token)->fd % 100 + 1);
}

/* Each pair sends its own number; a cancelled operation that has received something nevertheless got its own pair's
 * number. */
START_TEST(ten_thousand_descriptors_with_the_same_numbers_are_not_mistaken_for_each_other)
{
    static unsigned char wrong[] = "wrong";
    int pairs[REUSE_PAIRS][2], duplicate = -1;
    uint64_t receives[REUSE_PAIRS], watches[REUSE_PAIRS];
    bench_on_completion = drop;

    for (int i = 0; i < REUSE_PAIRS; i++)
        new_pair(pairs[i]);
    for (int round = 0; round < REUSES / REUSE_PAIRS; round++) {
        for (int i = 0; i < REUSE_PAIRS; i++) {
            unsigned char mark = (unsigned char)(pairs[i][0] % 100 + 1);
            receives[i] = bench_simple(OPCODE_RECEIVE_MULTISHOT, pairs[i][0]);
            watches[i] = bench_poll(OPCODE_POLL_MULTISHOT, pairs[i][0], POLLERR | POLLHUP);
            if ((round + i) % 3 != 0)
                ck_assert_int_eq(write(pairs[i][1], &mark, 1), 1);
        }
        bench_wait_ms(0);
        for (int i = 0; i < REUSE_PAIRS; i++) {
            int number = pairs[i][0];
            bench_cancel(receives[i]);
            bench_cancel(watches[i]);
            BENCH_UNTIL(bench_of(receives[i])->ended && bench_of(watches[i])->ended);
            /* A duplicate keeps the file open, and with it what the kernel knows of it. */
            if (duplicate >= 0)
                close(duplicate);
            duplicate = dup(number);
            /* What the old file gets now is not the new one's. */
            ck_assert_int_ge(write(pairs[i][1], wrong, 5), 0);
            close_pair(pairs[i]);
            new_pair(pairs[i]);
        }
    }
    for (int i = 0; i < REUSE_PAIRS; i++)
        close_pair(pairs[i]);
    close(duplicate);
}
END_TEST

static int control_failures;

/* The one case in which a descriptor leaves the backend, but not the Poller. */
static int no_removal(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_DEL)
        return epoll_ctl(epoll, operation, fd, event);
    control_failures++;
    errno = ENOMEM;
    return -1;
}

START_TEST(a_descriptor_the_poller_did_not_let_go_of_is_known_again)
{
    char data[4];
    system_calls.epoll_ctl = no_removal;
    put(ends[1], "a");
    ck_assert_int_eq(bench_result(bench_receive(ends[0], data, 4)), 1);
    ck_assert_int_eq(control_failures, 1);

    /* No operation is left for the event that follows. */
    put(ends[1], "b");
    bench_turns();
    ck_assert_int_eq(bench_result(bench_receive(ends[0], data, 4)), 1);
    ck_assert_int_eq(data[0], 'b');
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("simulated_cancelling");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, an_operation_that_waits_is_cancelled, 0, 3);
    tcase_add_test(tests, an_operation_behind_another_is_cancelled_and_the_others_continue);
    tcase_add_test(tests, when_the_first_is_cancelled_the_next_takes_its_place);
    tcase_add_test(tests, a_cancel_while_a_worker_writes_into_the_buffer_waits_for_the_worker);
    tcase_add_test(tests, a_cancel_that_comes_when_there_is_nothing_to_do_after_all_is_one);
    tcase_add_test(tests, an_operation_no_worker_has_begun_is_cancelled_at_once);
    tcase_add_test(tests, a_cancel_that_loses_the_race_leaves_the_result);
    tcase_add_test(tests, a_continuous_receive_cancelled_in_its_own_callback_ends);
    tcase_add_test(tests, a_multishot_receive_cancelled_while_a_worker_receives_ends_with_the_bytes_received);
    tcase_add_test(tests, an_operation_that_is_not_in_flight_is_not_cancelled);
    tcase_add_test(tests, a_storm_of_operations_and_cancels_loses_nothing);
    tcase_add_test(tests, ten_thousand_descriptors_with_the_same_numbers_are_not_mistaken_for_each_other);
    tcase_add_test(tests, a_descriptor_the_poller_did_not_let_go_of_is_known_again);
}
