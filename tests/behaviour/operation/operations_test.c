/* Asynchronous operations: what each sort does, on every completion engine. */
#include "tests/behaviour/operation/operation_record.h"

#include "base/platform/socket.h"
#include "net/loop/event_loop.h"

#include <fcntl.h>
#include <jinduo/error.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const suite_name = "operations";

static const size_t four_gib = (size_t)4 << 30;
static struct record first, second, third;

static void forget_records(void)
{
    memset(&first, 0, sizeof(first));
    memset(&second, 0, sizeof(second));
    memset(&third, 0, sizeof(third));
}

static void close_ends(struct socket_ends ends)
{
    close(ends.ours);
    client_close(ends.theirs);
}

/* ---- receiving ---- */

START_TEST(a_receive_completes_with_what_has_come)
{
    struct socket_ends ends = tcp_ends();
    char data[16] = "";

    ck_assert_int_eq(
        jd_async_receive(the_loop, &first.operation, ends.ours, data, sizeof(data), 0, note_completion, &first), 0);
    pump_turns(3);
    ck_assert_uint_eq(first.reported, 0);
    write_to(ends.theirs, "hello");

    ck_assert_int_eq(await(&first), 5);
    ck_assert_str_eq(data, "hello");
    close_ends(ends);
}
END_TEST

START_TEST(a_receive_completes_with_zero_at_the_end)
{
    struct socket_ends ends = tcp_ends();
    char data[16];

    client_close(ends.theirs);
    jd_async_receive(the_loop, &first.operation, ends.ours, data, sizeof(data), 0, note_completion, &first);

    ck_assert_int_eq(await(&first), 0);
    close(ends.ours);
}
END_TEST

START_TEST(a_receive_fills_pieces_in_turn)
{
    struct socket_ends ends = tcp_ends();
    char head[4] = "", body[16] = "";
    jd_iovec pieces[] = { { .data = head, .length = 3 }, { .data = body, .length = 15 } };

    write_to(ends.theirs, "abcdefg");
    jd_async_receive_buffers(the_loop, &first.operation, ends.ours, pieces, 2, note_completion, &first);

    ck_assert_int_eq(await(&first), 7);
    ck_assert_str_eq(head, "abc");
    ck_assert_str_eq(body, "defg");
    close_ends(ends);
}
END_TEST

START_TEST(a_continuous_receive_brings_everything_and_then_the_end)
{
    struct socket_ends ends = tcp_ends();

    ck_assert_int_eq(jd_async_receive_multishot(the_loop, &first.operation, ends.ours, note_completion, &first), 0);
    write_to(ends.theirs, "one ");
    PUMP_UNTIL(first.data_bytes == 4);
    write_to(ends.theirs, "two");
    PUMP_UNTIL(first.data_bytes == 7);
    ck_assert(!first.over);
    client_close(ends.theirs);

    ck_assert_int_eq(await(&first), 0);
    ck_assert_mem_eq(first.data, "one two", 7);
    close(ends.ours);
}
END_TEST

START_TEST(a_receive_that_takes_too_long_completes_with_a_timeout)
{
    struct socket_ends ends = tcp_ends();
    char data[16];

    jd_async_receive(the_loop, &first.operation, ends.ours, data, sizeof(data), 5, note_completion, &first);

    ck_assert_int_eq(await(&first), JD_ETIMEDOUT);
    ck_assert_uint_eq(first.reported, 1);
    close_ends(ends);
}
END_TEST

START_TEST(a_receive_in_time_is_not_disturbed_by_its_timeout)
{
    struct socket_ends ends = tcp_ends();
    char data[16];

    jd_async_receive(the_loop, &first.operation, ends.ours, data, sizeof(data), 60000, note_completion, &first);
    write_to(ends.theirs, "x");

    ck_assert_int_eq(await(&first), 1);
    close_ends(ends);
}
END_TEST

static void *where_to_receive;

static void receive_in_time(void *handle)
{
    jd_async_receive(the_loop, &first.operation, *(jd_handle *)handle, where_to_receive, 16, 60000, note_completion,
                     &first);
}

/* A linked timeout of the ring's (IORING_OP_LINK_TIMEOUT), or a timer of the loop's. */
START_TEST(a_receives_timeout_is_the_backends_where_it_has_such)
{
    struct socket_ends ends = tcp_ends();
    char data[16];
    pump_turns(1); /* the ring is enabled */
    where_to_receive = data;
    jd_event_loop_queue_in_loop(the_loop, receive_in_time, &ends.ours);
    pump_turns(2);
    ck_assert_uint_eq(the_loop->timers.wheel.count, engine_is("simulated"));

    ck_assert_int_eq(jd_operation_cancel(&first.operation), 0);

    ck_assert_int_eq(await(&first), JD_ECANCELED);
    pump_turns(1);
    ck_assert_uint_eq(the_loop->timers.wheel.count, 0);
    close_ends(ends);
}
END_TEST

START_TEST(an_operation_that_is_cancelled_again_and_again_ends)
{
    struct socket_ends ends = tcp_ends();
    char data[16];
    jd_async_receive(the_loop, &first.operation, ends.ours, data, sizeof(data), 0, note_completion, &first);

    for (unsigned tries = 0; !first.over; tries++) {
        ck_assert_uint_lt(tries, 1000 * engine_patience());
        jd_operation_cancel(&first.operation);
        pump_turns(1);
    }

    ck_assert_uint_eq(first.reported, 1);
    ck_assert_int_eq(await(&first), JD_ECANCELED);
    close_ends(ends);
}
END_TEST

/* ---- sending ---- */

START_TEST(a_send_delivers_its_bytes)
{
    struct socket_ends ends = tcp_ends();

    jd_async_send(the_loop, &first.operation, ends.ours, "hello", 5, note_completion, &first);

    ck_assert_int_eq(await(&first), 5);
    client_expect(ends.theirs, "hello", 5);
    close_ends(ends);
}
END_TEST

START_TEST(a_gathered_send_delivers_its_pieces_in_order)
{
    struct socket_ends ends = tcp_ends();
    char text[] = "abcde";
    jd_iovec pieces[] = { { text, 2 }, { text, 0 }, { text + 2, 3 } };

    jd_async_send_buffers(the_loop, &first.operation, ends.ours, pieces, 3, note_completion, &first);

    ck_assert_int_eq(await(&first), 5);
    client_expect(ends.theirs, "abcde", 5);
    close_ends(ends);
}
END_TEST

START_TEST(a_send_to_a_peer_that_is_gone_completes_with_an_error_and_no_signal)
{
    struct socket_ends ends = tcp_ends();

    client_reset(ends.theirs);
    jd_async_send(the_loop, &first.operation, ends.ours, "a", 1, note_completion, &first);
    await(&first);
    jd_async_send(the_loop, &second.operation, ends.ours, "a", 1, note_completion, &second);

    ck_assert_int_eq(await(&second), engine_is("iocp") ? JD_ECONNRESET : JD_EPIPE); /* docs/engines.md */
    close(ends.ours);
}
END_TEST

START_TEST(a_send_and_a_receive_on_one_socket_do_not_wait_for_each_other)
{
    struct socket_ends ends = tcp_ends();
    char data[8];

    jd_async_receive(the_loop, &first.operation, ends.ours, data, sizeof(data), 0, note_completion, &first);
    pump_turns(3);
    jd_async_send(the_loop, &second.operation, ends.ours, "ping", 4, note_completion, &second);
    ck_assert_int_eq(await(&second), 4);
    client_expect(ends.theirs, "ping", 4);
    write_to(ends.theirs, "pong");

    ck_assert_int_eq(await(&first), 4);
    close_ends(ends);
}
END_TEST

/* ---- accept, connect ---- */

static bool is_nonblocking_and_closed_on_exec(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

START_TEST(connect_and_accept_make_a_connection)
{
    jd_endpoint bound;
    jd_handle listener = listen_somewhere(&bound);
    struct socket_ends ends;
    char data[4];

    jd_async_accept(the_loop, &first.operation, listener, note_completion, &first);
    jd_async_connect(the_loop, &second.operation, &bound, note_completion, &second);
    ends.ours = (int)await(&first);
    ends.theirs = (int)await(&second); /* no client, but not ours either */

    ck_assert(is_nonblocking_and_closed_on_exec(ends.ours));
    ck_assert(is_nonblocking_and_closed_on_exec(ends.theirs));
    write_to(ends.theirs, "abc");
    jd_async_read_exactly(the_loop, &third.operation, ends.ours, data, 3, note_completion, &third);
    ck_assert_int_eq(await(&third), 3);
    close(ends.ours);
    close(ends.theirs);
    close(listener);
}
END_TEST

START_TEST(a_multishot_accept_continues_until_it_is_cancelled)
{
    jd_endpoint bound;
    jd_handle listener = listen_somewhere(&bound);
    int clients[3];

    jd_async_accept_multishot(the_loop, &first.operation, listener, note_completion, &first);
    for (unsigned i = 0; i < 3; i++) {
        clients[i] = client_connect_to(&bound);
        PUMP_UNTIL(first.reported == i + 1);
        close((int)first.results[i]);
        client_close(clients[i]);
    }
    ck_assert_int_eq(jd_async_cancel_all(the_loop, listener), 1);

    ck_assert_int_eq(await(&first), JD_ECANCELED);
    ck_assert_uint_eq(first.reported, 4);
    close(listener);
}
END_TEST

START_TEST(a_refused_connect_says_so_and_leaves_no_descriptor)
{
    jd_endpoint bound;
    jd_handle listener = listen_somewhere(&bound);

    close(listener);
    jd_async_connect(the_loop, &first.operation, &bound, note_completion, &first);

    ck_assert_int_eq(await(&first), JD_ECONNREFUSED);
}
END_TEST

/* ---- files ---- */

static int open_scratch_file(void)
{
    char name[] = "/tmp/jinduo-operations-XXXXXX";
    int file = mkstemp(name);

    ck_assert_int_ge(file, 0);
    unlink(name);
    return file;
}

START_TEST(a_file_is_written_and_read_at_offsets)
{
    int file = open_scratch_file();
    char data[16] = "";

    jd_async_write(the_loop, &first.operation, file, 4, "world", 5, note_completion, &first);
    ck_assert_int_eq(await(&first), 5);
    jd_async_write(the_loop, &first.operation, file, 0, "big ", 4, note_completion, (first.over = false, &first));
    ck_assert_int_eq(await(&first), 4);
    jd_async_read(the_loop, &second.operation, file, 2, data, sizeof(data), note_completion, &second);

    ck_assert_int_eq(await(&second), 7);
    ck_assert_str_eq(data, "g world");
    close(file);
}
END_TEST

START_TEST(a_read_behind_the_end_of_a_file_completes_with_zero)
{
    int file = open_scratch_file();
    char data[4];

    jd_async_read(the_loop, &first.operation, file, 1000, data, sizeof(data), note_completion, &first);

    ck_assert_int_eq(await(&first), 0);
    close(file);
}
END_TEST

START_TEST(an_operation_on_a_handle_that_is_not_open_completes_with_an_error)
{
    struct socket_ends ends = tcp_ends();
    char data[4];

    close_ends(ends);
    jd_async_receive(the_loop, &first.operation, ends.ours, data, sizeof(data), 0, note_completion, &first);
    jd_async_read(the_loop, &second.operation, ends.ours, 0, data, sizeof(data), note_completion, &second);

    ck_assert_int_eq(await(&first), -EBADF);
    ck_assert_int_eq(await(&second), -EBADF);
}
END_TEST

/* 4 GiB of addresses, of which only what is touched takes memory. */
static void *reserve_4_gib(void)
{
    void *memory = mmap(NULL, four_gib, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    ck_assert_ptr_ne(memory, MAP_FAILED);
    return memory;
}

/* On Windows a send completes when the system has taken all its bytes: the peer reads meanwhile. */
static bool is_over_while_the_peer_reads(const struct record *record, int peer)
{
    char data[1 << 16];

    while (recv(peer, data, sizeof(data), MSG_DONTWAIT) > 0) {
    }
    return record->over;
}

START_TEST(a_length_of_4_gib_is_not_taken_for_zero)
{
    struct socket_ends ends = tcp_ends();
    void *memory = reserve_4_gib();
    int file = open_scratch_file();

    ck_assert_int_eq(pwrite(file, "hello", 5, 0), 5);
    write_to(ends.theirs, "hi");
    jd_async_read(the_loop, &first.operation, file, 0, memory, four_gib, note_completion, &first);
    ck_assert_int_eq(await(&first), 5);
    jd_async_receive(the_loop, &second.operation, ends.ours, memory, four_gib, 0, note_completion, &second);
    ck_assert_int_eq(await(&second), 2);
    jd_async_send(the_loop, &third.operation, ends.ours, memory, four_gib, note_completion, &third);
    PUMP_UNTIL(is_over_while_the_peer_reads(&third, ends.theirs));

    ck_assert_int_ge(third.results[0], 1);
    munmap(memory, four_gib);
    close(file);
    close_ends(ends);
}
END_TEST

/* ---- time ---- */

START_TEST(a_timeout_completes_when_its_time_has_passed_and_not_before)
{
    jd_timestamp begun, when;

    pump_turns(1);
    begun = jd_event_loop_now(the_loop);
    when = begun + 7 * 1000000;
    jd_async_timeout_at(the_loop, &first.operation, when, note_completion, &first);
    jd_async_timeout(the_loop, &second.operation, 3, note_completion, &second);

    ck_assert_int_eq(await(&first), 0);
    ck_assert_int_ge(jd_event_loop_now(the_loop), when);
    ck_assert_int_eq(await(&second), 0);
}
END_TEST

START_TEST(a_timeout_of_all_eternity_can_be_cancelled)
{
    jd_async_timeout(the_loop, &first.operation, UINT64_MAX, note_completion, &first);
    pump_turns(3);
    ck_assert_uint_eq(first.reported, 0);

    ck_assert_int_eq(jd_operation_cancel(&first.operation), 0);

    ck_assert_int_eq(await(&first), JD_ECANCELED);
}
END_TEST

/* ---- where from ---- */

static void *begin_receive(void *fd)
{
    static char data[4];

    ck_assert_int_eq(
        jd_async_receive(the_loop, &first.operation, *(int *)fd, data, sizeof(data), 0, note_completion, &first), 0);
    return NULL;
}

START_TEST(an_operation_submitted_by_another_thread_is_carried_out)
{
    struct socket_ends ends = tcp_ends();
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, begin_receive, &ends.ours), 0);
    pthread_join(thread, NULL);
    write_to(ends.theirs, "x");

    ck_assert_int_eq(await(&first), 1);
    close_ends(ends);
}
END_TEST

static bool inside;

static void ensure_outside(jd_operation *operation, int64_t result, void *arg)
{
    ck_assert(!inside);
    note_completion(operation, result, arg);
}

static void begin_inside(void *fd)
{
    static char data[4];

    inside = true;
    jd_async_receive(the_loop, &first.operation, *(int *)fd, data, sizeof(data), 0, ensure_outside, &first);
    jd_async_send(the_loop, &second.operation, *(int *)fd, "x", 1, ensure_outside, &second);
    jd_async_receive(the_loop, &third.operation, 1 << 20, data, sizeof(data), 0, ensure_outside, &third);
    jd_operation_cancel(&third.operation);
    inside = false;
}

START_TEST(a_handler_is_never_called_inside_the_call_that_begins_or_cancels)
{
    struct socket_ends ends = tcp_ends();

    write_to(ends.theirs, "ready");
    jd_event_loop_run_in_loop(the_loop, begin_inside, &ends.ours);

    ck_assert_int_gt(await(&first), 0);
    ck_assert_int_eq(await(&second), 1);
    ck_assert_int_lt(await(&third), 0);
    close_ends(ends);
}
END_TEST

static unsigned rounds;

static void begin_again(jd_operation *operation, int64_t result, void *fd)
{
    static char data[1];

    ck_assert_int_eq(result, 1);
    if (++rounds < 5)
        ck_assert_int_eq(jd_async_receive(the_loop, operation, *(int *)fd, data, 1, 0, begin_again, fd), 0);
}

START_TEST(an_operation_may_be_submitted_again_in_its_handler)
{
    struct socket_ends ends = tcp_ends();
    static char data[1];

    rounds = 0;
    write_to(ends.theirs, "12345");
    jd_async_receive(the_loop, &first.operation, ends.ours, data, 1, 0, begin_again, &ends.ours);

    PUMP_UNTIL(rounds == 5);
    close_ends(ends);
}
END_TEST

static void free_operation(jd_operation *operation, int64_t result, void *reported)
{
    free(operation);
    (*(unsigned *)reported)++;
}

START_TEST(an_operation_may_be_freed_in_its_handler)
{
    jd_operation *operation = calloc(1, sizeof(*operation));
    unsigned reported = 0;

    jd_async_timeout(the_loop, operation, 1, free_operation, &reported);

    PUMP_UNTIL(reported == 1);
}
END_TEST

/* ---- misuse ---- */

START_TEST(an_operation_in_flight_cannot_be_submitted_again)
{
    ck_assert_int_eq(jd_async_timeout(the_loop, &first.operation, 1, note_completion, &first), 0);
    ck_assert_int_eq(jd_async_timeout(the_loop, &first.operation, 1, note_completion, &first), JD_EBUSY);
    ck_assert_int_eq(await(&first), 0);
    ck_assert_uint_eq(first.reported, 1);
}
END_TEST

START_TEST(a_reactor_has_no_operations)
{
    const jd_event_loop_options options = { .engine = JD_ENGINE_REACTOR };
    jd_operation *operation = &first.operation;
    jd_event_loop *loop;
    char data[4];

    ck_assert_int_eq(jd_event_loop_create(&loop, &options), 0);
    ck_assert_int_eq(jd_async_receive(loop, operation, 0, data, 4, 0, note_completion, &first), JD_ENOTSUP);
    ck_assert_int_eq(jd_async_timeout(loop, operation, 0, note_completion, &first), JD_ENOTSUP);
    ck_assert_int_eq(jd_async_cancel_all(loop, 0), JD_ENOTSUP);

    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

START_TEST(arguments_that_make_no_sense_are_refused)
{
    jd_iovec empty[2] = { { NULL, 0 }, { NULL, 0 } };
    char data[4];
    jd_operation *operation = &first.operation;

    ck_assert_int_eq(jd_async_receive(the_loop, operation, -1, data, 4, 0, note_completion, &first), JD_EINVAL);
    ck_assert_int_eq(jd_async_receive(the_loop, operation, 0, NULL, 4, 0, note_completion, &first), JD_EINVAL);
    ck_assert_int_eq(jd_async_receive(the_loop, operation, 0, data, 0, 0, note_completion, &first), JD_EINVAL);
    ck_assert_int_eq(jd_async_receive(the_loop, operation, 0, data, 4, 0, NULL, &first), JD_EINVAL);
    ck_assert_int_eq(jd_async_send_buffers(the_loop, operation, 0, empty, 2, note_completion, &first), JD_EINVAL);
    ck_assert_int_eq(jd_async_send_buffers(the_loop, operation, 0, empty, JD_BUFFERS_MAX + 1, note_completion, &first),
                     JD_EINVAL);
    ck_assert_int_eq(jd_async_write(the_loop, operation, 0, UINT64_MAX, data, 4, note_completion, &first), JD_EINVAL);
    ck_assert_int_eq(jd_async_connect(the_loop, operation, NULL, note_completion, &first), JD_EINVAL);
    ck_assert_int_eq(jd_operation_cancel(operation), JD_ENOENT);
    pump_turns(3);
    ck_assert_uint_eq(first.reported, 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "operations");

    tcase_add_checked_fixture(tests, forget_records, NULL);
    tcase_add_test(tests, a_receive_completes_with_what_has_come);
    tcase_add_test(tests, a_receive_completes_with_zero_at_the_end);
    tcase_add_test(tests, a_receive_fills_pieces_in_turn);
    tcase_add_test(tests, a_continuous_receive_brings_everything_and_then_the_end);
    tcase_add_test(tests, a_receive_that_takes_too_long_completes_with_a_timeout);
    tcase_add_test(tests, a_receive_in_time_is_not_disturbed_by_its_timeout);
    tcase_add_test(tests, a_receives_timeout_is_the_backends_where_it_has_such);
    tcase_add_test(tests, an_operation_that_is_cancelled_again_and_again_ends);
    tcase_add_test(tests, a_send_delivers_its_bytes);
    tcase_add_test(tests, a_gathered_send_delivers_its_pieces_in_order);
    tcase_add_test(tests, a_send_to_a_peer_that_is_gone_completes_with_an_error_and_no_signal);
    tcase_add_test(tests, a_send_and_a_receive_on_one_socket_do_not_wait_for_each_other);
    tcase_add_test(tests, connect_and_accept_make_a_connection);
    tcase_add_test(tests, a_multishot_accept_continues_until_it_is_cancelled);
    tcase_add_test(tests, a_refused_connect_says_so_and_leaves_no_descriptor);
    tcase_add_test(tests, a_file_is_written_and_read_at_offsets);
    tcase_add_test(tests, a_read_behind_the_end_of_a_file_completes_with_zero);
    tcase_add_test(tests, an_operation_on_a_handle_that_is_not_open_completes_with_an_error);
    tcase_add_test(tests, a_length_of_4_gib_is_not_taken_for_zero);
    tcase_add_test(tests, a_timeout_completes_when_its_time_has_passed_and_not_before);
    tcase_add_test(tests, a_timeout_of_all_eternity_can_be_cancelled);
    tcase_add_test(tests, an_operation_submitted_by_another_thread_is_carried_out);
    tcase_add_test(tests, a_handler_is_never_called_inside_the_call_that_begins_or_cancels);
    tcase_add_test(tests, an_operation_may_be_submitted_again_in_its_handler);
    tcase_add_test(tests, an_operation_may_be_freed_in_its_handler);
    tcase_add_test(tests, an_operation_in_flight_cannot_be_submitted_again);
    tcase_add_test(tests, a_reactor_has_no_operations);
    tcase_add_test(tests, arguments_that_make_no_sense_are_refused);
}
