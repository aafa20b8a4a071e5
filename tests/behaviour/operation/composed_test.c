/* Composed operations: several receives or sends as one, on every completion engine. */
#include "tests/behaviour/operation/operation_record.h"

#include <fcntl.h>
#include <jinduo/error.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "composed";

static struct record record;
static struct socket_ends ends;
static jd_buffer *buffer;

static void set_up(void)
{
    memset(&record, 0, sizeof(record));
    ends = tcp_ends();
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
}

static void tear_down(void)
{
    jd_buffer_destroy(buffer);
    close(ends.ours);
    if (ends.theirs >= 0)
        client_close(ends.theirs);
}

static void their_end(void)
{
    client_close(ends.theirs);
    ends.theirs = -1;
}

static void again(void)
{
    memset(&record, 0, sizeof(record));
}

/* ---- read_exactly ---- */

START_TEST(read_exactly_waits_for_all_of_its_bytes)
{
    char data[16] = "";

    jd_async_read_exactly(the_loop, &record.operation, ends.ours, data, 6, note_completion, &record);
    for (const char *part = "abcdef"; *part != '\0'; part++) {
        ck_assert_uint_eq(record.reported, 0);
        client_send(ends.theirs, part, 1);
        pump_turns(3);
    }

    ck_assert_int_eq(await(&record), 6);
    ck_assert_str_eq(data, "abcdef");
}
END_TEST

START_TEST(read_exactly_leaves_what_is_behind)
{
    char data[16] = "";

    write_to(ends.theirs, "abcdef");
    jd_async_read_exactly(the_loop, &record.operation, ends.ours, data, 2, note_completion, &record);
    ck_assert_int_eq(await(&record), 2);
    again();
    jd_async_read_exactly(the_loop, &record.operation, ends.ours, data + 2, 4, note_completion, &record);

    ck_assert_int_eq(await(&record), 4);
    ck_assert_str_eq(data, "abcdef");
}
END_TEST

START_TEST(read_exactly_returns_how_much_came_before_the_end)
{
    char data[16];

    write_to(ends.theirs, "abc");
    their_end();
    jd_async_read_exactly(the_loop, &record.operation, ends.ours, data, 6, note_completion, &record);

    ck_assert_int_eq(await(&record), 3);
}
END_TEST

START_TEST(a_cancelled_read_exactly_knows_what_it_has_got)
{
    char data[16] = "";

    write_to(ends.theirs, "abc");
    jd_async_read_exactly(the_loop, &record.operation, ends.ours, data, 6, note_completion, &record);
    PUMP_UNTIL(jd_operation_transferred(&record.operation) == 3);
    jd_operation_cancel(&record.operation);

    ck_assert_int_eq(await(&record), JD_ECANCELED);
    ck_assert_uint_eq(jd_operation_transferred(&record.operation), 3);
    ck_assert_str_eq(data, "abc");
}
END_TEST

/* ---- read_until ---- */

static void read_line(size_t limit)
{
    again();
    ck_assert_int_eq(
        jd_async_read_until(the_loop, &record.operation, ends.ours, buffer, "\r\n", 2, limit, note_completion, &record),
        0);
}

static void expect_consumed(const char *line)
{
    ck_assert_mem_eq(jd_buffer_peek(buffer, strlen(line)), line, strlen(line));
    jd_buffer_consume(buffer, strlen(line));
}

START_TEST(read_until_finds_a_delimiter_that_comes_in_pieces)
{
    read_line(100);
    for (const char *part = "ab\rc\r\n"; *part != '\0'; part++) {
        ck_assert_uint_eq(record.reported, 0);
        client_send(ends.theirs, part, 1);
        pump_turns(3);
    }

    ck_assert_int_eq(await(&record), 6);
    expect_consumed("ab\rc\r\n");
}
END_TEST

START_TEST(read_until_finds_what_is_buffered_already_without_receiving)
{
    write_to(ends.theirs, "first\r\nsecond\r\nthi");
    read_line(100);
    ck_assert_int_eq(await(&record), 7);
    expect_consumed("first\r\n");
    PUMP_UNTIL(jd_buffer_readable(buffer) == 11);

    read_line(100);
    ck_assert_uint_eq(record.reported, 0);

    ck_assert_int_eq(await(&record), 8);
    expect_consumed("second\r\n");
    ck_assert_uint_eq(jd_buffer_readable(buffer), 3);
}
END_TEST

START_TEST(read_until_ends_at_its_limit)
{
    write_to(ends.theirs, "0123456789");
    read_line(8);

    ck_assert_int_eq(await(&record), JD_EMSGSIZE);
    ck_assert_uint_eq(jd_buffer_readable(buffer), 8);
}
END_TEST

START_TEST(read_until_takes_a_line_that_is_just_as_long_as_its_limit)
{
    write_to(ends.theirs, "012345\r\n");
    read_line(8);

    ck_assert_int_eq(await(&record), 8);
}
END_TEST

START_TEST(read_until_does_not_take_a_buffered_line_beyond_its_limit)
{
    jd_buffer_append(buffer, "0123456\r\n", 9);
    read_line(8);

    ck_assert_int_eq(await(&record), JD_EMSGSIZE);
    ck_assert_uint_eq(jd_buffer_readable(buffer), 9);
}
END_TEST

START_TEST(read_until_completes_with_zero_at_the_end_and_leaves_what_came)
{
    write_to(ends.theirs, "no line");
    their_end();
    read_line(100);

    ck_assert_int_eq(await(&record), 0);
    expect_consumed("no line");
}
END_TEST

START_TEST(read_until_checks_its_arguments)
{
    jd_operation *operation = &record.operation;

    ck_assert_int_eq(jd_async_read_until(the_loop, operation, ends.ours, buffer, "", 0, 9, note_completion, &record),
                     JD_EINVAL);
    ck_assert_int_eq(jd_async_read_until(the_loop, operation, ends.ours, NULL, "\n", 1, 9, note_completion, &record),
                     JD_EINVAL);
    ck_assert_int_eq(jd_async_read_until(the_loop, operation, ends.ours, buffer, NULL, 1, 9, note_completion, &record),
                     JD_EINVAL);
    ck_assert_int_eq(jd_async_read_until(the_loop, operation, ends.ours, buffer, "ab", 2, 1, note_completion, &record),
                     JD_EINVAL);
    ck_assert_int_eq(jd_async_read_until(the_loop, operation, ends.ours, buffer, "0123456789abcdefg", 17, 99,
                                         note_completion, &record),
                     JD_EINVAL);
}
END_TEST

/* ---- write_all ---- */

enum { MUCH_BYTES = 8 * 1024 * 1024 };

static char *pattern(void)
{
    char *data = malloc(MUCH_BYTES);

    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < MUCH_BYTES; i++)
        data[i] = (char)(i * 31 + (i >> 12));
    return data;
}

static bool take_some(char *data, size_t *taken)
{
    ssize_t count = recv(ends.theirs, data + *taken, MUCH_BYTES - *taken, MSG_DONTWAIT);

    *taken += count > 0 ? (size_t)count : 0;
    return record.over && *taken == MUCH_BYTES;
}

START_TEST(write_all_delivers_more_than_the_kernel_takes_at_once)
{
    char *data = pattern(), *got = malloc(MUCH_BYTES);
    jd_iovec pieces[] = { { data, 3 }, { data + 3, MUCH_BYTES / 2 }, { data + 3 + MUCH_BYTES / 2, 0 } };
    size_t taken = 0;

    pieces[2].length = MUCH_BYTES - 3 - MUCH_BYTES / 2;
    jd_async_write_all_buffers(the_loop, &record.operation, ends.ours, pieces, 3, note_completion, &record);
    PUMP_UNTIL(take_some(got, &taken));

    ck_assert_int_eq(record.results[0], MUCH_BYTES);
    ck_assert_uint_eq(record.reported, 1);
    ck_assert_mem_eq(got, data, MUCH_BYTES);
    free(data);
    free(got);
}
END_TEST

START_TEST(a_cancelled_write_all_knows_how_much_it_has_sent)
{
    char *data = pattern();

    jd_async_write_all(the_loop, &record.operation, ends.ours, data, MUCH_BYTES, note_completion, &record);
    pump_until_quiet();
    ck_assert_uint_eq(record.reported, 0);
    jd_operation_cancel(&record.operation);

    ck_assert_int_eq(await(&record), JD_ECANCELED);
    ck_assert_uint_lt(jd_operation_transferred(&record.operation), MUCH_BYTES);
    free(data);
}
END_TEST

START_TEST(a_blocking_socket_delays_no_other_operation)
{
    char *data = pattern();

    ck_assert_int_eq(fcntl(ends.ours, F_SETFL, 0), 0);
    jd_async_write_all(the_loop, &record.operation, ends.ours, data, MUCH_BYTES, note_completion, &record);
    pump_turns(20);
    jd_operation_cancel(&record.operation);

    ck_assert_int_eq(await(&record), JD_ECANCELED);
    free(data);
}
END_TEST

START_TEST(write_all_to_a_peer_that_goes_away_completes_with_an_error)
{
    char *data = pattern();

    jd_async_write_all(the_loop, &record.operation, ends.ours, data, MUCH_BYTES, note_completion, &record);
    pump_turns(3);
    their_end();

    ck_assert_int_lt(await(&record), 0);
    free(data);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "composed");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, read_exactly_waits_for_all_of_its_bytes);
    tcase_add_test(tests, read_exactly_leaves_what_is_behind);
    tcase_add_test(tests, read_exactly_returns_how_much_came_before_the_end);
    tcase_add_test(tests, a_cancelled_read_exactly_knows_what_it_has_got);
    tcase_add_test(tests, read_until_finds_a_delimiter_that_comes_in_pieces);
    tcase_add_test(tests, read_until_finds_what_is_buffered_already_without_receiving);
    tcase_add_test(tests, read_until_ends_at_its_limit);
    tcase_add_test(tests, read_until_takes_a_line_that_is_just_as_long_as_its_limit);
    tcase_add_test(tests, read_until_does_not_take_a_buffered_line_beyond_its_limit);
    tcase_add_test(tests, read_until_completes_with_zero_at_the_end_and_leaves_what_came);
    tcase_add_test(tests, read_until_checks_its_arguments);
    tcase_add_test(tests, write_all_delivers_more_than_the_kernel_takes_at_once);
    tcase_add_test(tests, a_cancelled_write_all_knows_how_much_it_has_sent);
    tcase_add_test(tests, a_blocking_socket_delays_no_other_operation);
    tcase_add_test(tests, write_all_to_a_peer_that_goes_away_completes_with_an_error);
}
