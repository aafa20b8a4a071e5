/* How operations end: cancelled, closed, destroyed with their loop; each completes exactly once. */
#include "tests/behaviour/operation/operation_record.h"

#include "proactor/operation/operation.h"

#include <fcntl.h>
#include <jinduo/error.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

const char *const suite_name = "operation_end";

enum { RECORDS = 4 };

static struct record records[RECORDS];
static struct socket_ends ends;
static char data[64];

static void set_up(void)
{
    memset(records, 0, sizeof(records));
    ends = tcp_ends();
}

static void tear_down(void)
{
    if (ends.ours >= 0)
        close(ends.ours);
    client_close(ends.theirs);
}

static void begin_receive(struct record *record)
{
    ck_assert_int_eq(
        jd_async_receive(the_loop, &record->operation, ends.ours, data, sizeof(data), 0, note_completion, record), 0);
}

/* ---- cancelling ---- */

START_TEST(a_cancelled_operation_completes_once_and_as_cancelled)
{
    begin_receive(&records[0]);
    pump_turns(3);

    ck_assert_int_eq(jd_operation_cancel(&records[0].operation), 0);

    ck_assert_int_eq(await(&records[0]), JD_ECANCELED);
    pump_turns(5);
    ck_assert_uint_eq(records[0].reported, 1);
    ck_assert_int_eq(jd_operation_cancel(&records[0].operation), JD_ENOENT);
}
END_TEST

START_TEST(an_operation_cancelled_before_the_loop_has_seen_it_is_never_carried_out)
{
    write_to(ends.theirs, "stays");
    begin_receive(&records[0]);
    ck_assert_int_eq(jd_operation_cancel(&records[0].operation), 0);

    ck_assert_int_eq(await(&records[0]), JD_ECANCELED);
    begin_receive(&records[1]);
    ck_assert_int_eq(await(&records[1]), 5);
}
END_TEST

START_TEST(a_cancelled_continuous_receive_loses_nothing_that_it_has_taken)
{
    char rest[64];
    ssize_t left;

    jd_async_receive_multishot(the_loop, &records[0].operation, ends.ours, note_completion, &records[0]);
    write_to(ends.theirs, "abc");
    PUMP_UNTIL(records[0].data_bytes == 3);
    jd_operation_cancel(&records[0].operation);
    write_to(ends.theirs, "def");
    ck_assert_int_eq(await(&records[0]), JD_ECANCELED);

    /* Each byte is in one place: with the handler or in the socket still. */
    left = recv(ends.ours, rest, sizeof(rest), MSG_DONTWAIT);
    ck_assert_int_eq(records[0].data_bytes + (size_t)(left > 0 ? left : 0), 6);
}
END_TEST

START_TEST(cancel_all_ends_the_operations_in_flight_on_that_handle_and_no_others)
{
    struct socket_ends other = tcp_ends();
    static char other_data[4];

    begin_receive(&records[0]);
    jd_async_receive_multishot(the_loop, &records[1].operation, ends.ours, note_completion, &records[1]);
    jd_async_receive(the_loop, &records[2].operation, other.ours, other_data, 4, 0, note_completion, &records[2]);
    pump_turns(3);

    ck_assert_int_eq(jd_async_cancel_all(the_loop, ends.ours), 2);

    ck_assert_int_eq(await(&records[0]), JD_ECANCELED);
    ck_assert_int_eq(await(&records[1]), JD_ECANCELED);
    ck_assert_uint_eq(records[2].reported, 0);
    write_to(other.theirs, "x");
    ck_assert_int_eq(await(&records[2]), 1);
    close(other.ours);
    client_close(other.theirs);
}
END_TEST

static void *cancel_often(void *arg)
{
    for (int i = 0; i < 100; i++)
        jd_operation_cancel(&records[0].operation);
    return NULL;
}

START_TEST(an_operation_cancelled_by_several_threads_at_once_completes_once)
{
    for (int round = 0; round < 50; round++) {
        pthread_t threads[2];

        memset(&records[0], 0, sizeof(records[0]));
        begin_receive(&records[0]);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, cancel_often, NULL), 0);
        write_to(ends.theirs, "x");
        PUMP_UNTIL(records[0].over);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        pump_turns(3);
        ck_assert_uint_eq(records[0].reported, 1);
        ck_assert(records[0].results[0] > 0 || records[0].results[0] == JD_ECANCELED);
        recv(ends.ours, data, sizeof(data), MSG_DONTWAIT);
    }
}
END_TEST

static unsigned lives, lives_cancelled;
static _Atomic bool enough;

static void begin_anew(jd_operation *operation, int64_t result, void *unused)
{
    ck_assert(result == 0 || result == JD_ECANCELED);
    lives++;
    lives_cancelled += result == JD_ECANCELED;
    if (!enough)
        ck_assert_int_eq(jd_async_timeout(the_loop, operation, 0, begin_anew, NULL), 0);
}

static void *cancel_through_lives(void *operation)
{
    while (!enough)
        jd_operation_cancel(operation);
    return NULL;
}

START_TEST(an_operation_may_be_cancelled_elsewhere_while_its_handler_begins_it_anew)
{
    jd_operation *operation = &records[0].operation;
    pthread_t thread;
    unsigned reported;
    ck_assert_int_eq(jd_async_timeout(the_loop, operation, 0, begin_anew, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_through_lives, operation), 0);

    PUMP_UNTIL(lives > 20000 && lives_cancelled > 0);

    enough = true;
    pthread_join(thread, NULL);
    reported = lives;
    PUMP_UNTIL(lives == reported + 1);
    pump_turns(3);
    ck_assert_uint_eq(lives, reported + 1);
}
END_TEST

static void cancel_other(jd_operation *operation, int64_t result, void *record)
{
    note_completion(operation, result, record);
    if (records[1].reported == 0)
        jd_operation_cancel(&records[1].operation);
}

START_TEST(a_handler_may_cancel_another_operation_that_completes_in_the_same_turn)
{
    struct socket_ends other = tcp_ends();
    static char other_data[4];

    write_to(ends.theirs, "x");
    write_to(other.theirs, "y");
    jd_async_receive(the_loop, &records[0].operation, ends.ours, data, 4, 0, cancel_other, &records[0]);
    jd_async_receive(the_loop, &records[1].operation, other.ours, other_data, 4, 0, note_completion, &records[1]);

    ck_assert_int_eq(await(&records[0]), 1);
    await(&records[1]);
    pump_turns(5);
    ck_assert_uint_eq(records[1].reported, 1);
    close(other.ours);
    client_close(other.theirs);
}
END_TEST

/* ---- closing ---- */

START_TEST(close_first_ends_operations_in_flight_and_then_closes)
{
    begin_receive(&records[0]);
    jd_async_receive_multishot(the_loop, &records[1].operation, ends.ours, note_completion, &records[1]);
    pump_turns(3);

    ck_assert_int_eq(jd_async_close(the_loop, &records[2].operation, ends.ours, note_completion, &records[2]), 0);

    ck_assert_int_eq(await(&records[2]), 0);
    ck_assert(records[0].over && records[1].over);
    ck_assert_int_eq(records[0].results[0], JD_ECANCELED);
    client_expect_end(ends.theirs);
    ends.ours = -1;
}
END_TEST

START_TEST(an_operation_begun_on_a_handle_that_is_being_closed_is_cancelled)
{
    begin_receive(&records[0]);
    pump_turns(3);
    jd_async_close(the_loop, &records[2].operation, ends.ours, note_completion, &records[2]);
    begin_receive(&records[1]);

    ck_assert_int_eq(await(&records[2]), 0);
    ck_assert_int_eq(await(&records[1]), JD_ECANCELED);
    ends.ours = -1;
}
END_TEST

START_TEST(a_descriptor_number_may_be_used_again_after_its_close_completes)
{
    for (int round = 0; round < 200; round++) {
        struct socket_ends next = tcp_ends();
        struct record *record = &records[round % 2], *closing = &records[2];

        memset(record, 0, sizeof(*record));
        memset(closing, 0, sizeof(*closing));
        jd_async_receive_multishot(the_loop, &record->operation, next.ours, note_completion, record);
        if (round % 3 > 0)
            pump_turns(1);
        write_to(next.theirs, "mine");
        jd_async_close(the_loop, &closing->operation, next.ours, note_completion, closing);
        ck_assert_int_eq(await(closing), 0);
        ck_assert(record->data_bytes == 0 || memcmp(record->data, "mine", record->data_bytes) == 0);
        ck_assert_uint_le(record->data_bytes, 4);
        client_close(next.theirs);
    }
}
END_TEST

/* F_DUPFD takes the lowest number that is free from the given one on (fcntl(2)). */
static void close_and_take_its_number(jd_operation *operation, int64_t result, void *record)
{
    struct record *receive = &records[1];

    note_completion(operation, result, record);
    jd_async_close(the_loop, &records[2].operation, ends.ours, note_completion, &records[2]);
    ends.ours = fcntl(*(int *)data, F_DUPFD_CLOEXEC, ends.ours);
    begin_receive(receive);
}

START_TEST(a_descriptor_opened_after_a_close_was_submitted_is_not_taken_for_the_closed_one)
{
    struct socket_ends next = tcp_ends();

    memcpy(data, &next.ours, sizeof(next.ours));
    jd_async_timeout(the_loop, &records[0].operation, 0, close_and_take_its_number, &records[0]);
    ck_assert_int_eq(await(&records[2]), 0);
    write_to(next.theirs, "mine");

    ck_assert_int_eq(await(&records[1]), 4);
    client_expect_end(ends.theirs);
    close(next.ours);
    client_close(next.theirs);
}
END_TEST

START_TEST(a_close_is_carried_out_though_it_is_cancelled)
{
    begin_receive(&records[0]);
    ck_assert_int_eq(jd_async_close(the_loop, &records[2].operation, ends.ours, note_completion, &records[2]), 0);
    ck_assert_int_eq(jd_operation_cancel(&records[2].operation), 0);

    ck_assert_int_eq(await(&records[2]), 0);
    ck_assert(records[0].over);
    client_expect_end(ends.theirs);
    ends.ours = -1;
}
END_TEST

/* ---- the loop's end ---- */

START_TEST(a_close_is_carried_out_though_the_loop_is_destroyed)
{
    ck_assert_int_eq(jd_async_close(the_loop, &records[2].operation, ends.ours, note_completion, &records[2]), 0);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    ck_assert_uint_eq(records[2].reported, 1);
    ck_assert_int_eq(records[2].results[0], 0);
    client_expect_end(ends.theirs);
    ends.ours = -1;
}
END_TEST

/* As if another thread were between announcing its cancel and queueing it, for which then there is no queue any more. */
START_TEST(a_cancel_that_comes_too_late_for_the_loops_queue_delays_no_completion)
{
    jd_async_timeout(the_loop, &records[0].operation, 0, note_completion, &records[0]);
    pump_turns(1);
    ck_assert(!records[0].over);
    atomic_store(&operation_of(&records[0].operation)->cancel_state, CANCEL_POSTED);
    PUMP_UNTIL(operation_of(&records[0].operation)->state == OPERATION_CANCEL_PENDING);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    ck_assert_uint_eq(records[0].reported, 1);
}
END_TEST

START_TEST(a_loop_that_is_destroyed_cancels_operations_in_flight)
{
    begin_receive(&records[0]);
    jd_async_receive_multishot(the_loop, &records[1].operation, ends.ours, note_completion, &records[1]);
    jd_async_timeout(the_loop, &records[2].operation, 1000000, note_completion, &records[2]);
    pump_turns(3);
    jd_async_timeout(the_loop, &records[3].operation, 1000000, note_completion, &records[3]); /* in the queue still */

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    for (int i = 0; i < RECORDS; i++) {
        ck_assert_uint_eq(records[i].reported, 1);
        ck_assert_int_eq(records[i].results[0], JD_ECANCELED);
    }
}
END_TEST

static void begin_another(jd_operation *operation, int64_t result, void *record)
{
    note_completion(operation, result, record);
    ck_assert_int_eq(jd_async_timeout(the_loop, &records[1].operation, 1, note_completion, &records[1]), JD_ECANCELED);
}

START_TEST(an_operation_submitted_while_the_loop_is_being_destroyed_is_refused)
{
    jd_async_timeout(the_loop, &records[0].operation, 1000000, begin_another, &records[0]);
    pump_turns(2);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    ck_assert_uint_eq(records[0].reported, 1);
    ck_assert_uint_eq(records[1].reported, 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "operation_end");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_cancelled_operation_completes_once_and_as_cancelled);
    tcase_add_test(tests, an_operation_cancelled_before_the_loop_has_seen_it_is_never_carried_out);
    tcase_add_test(tests, a_cancelled_continuous_receive_loses_nothing_that_it_has_taken);
    tcase_add_test(tests, cancel_all_ends_the_operations_in_flight_on_that_handle_and_no_others);
    tcase_add_test(tests, an_operation_cancelled_by_several_threads_at_once_completes_once);
    tcase_add_test(tests, an_operation_may_be_cancelled_elsewhere_while_its_handler_begins_it_anew);
    tcase_add_test(tests, a_handler_may_cancel_another_operation_that_completes_in_the_same_turn);
    tcase_add_test(tests, close_first_ends_operations_in_flight_and_then_closes);
    tcase_add_test(tests, an_operation_begun_on_a_handle_that_is_being_closed_is_cancelled);
    tcase_add_test(tests, a_descriptor_number_may_be_used_again_after_its_close_completes);
    tcase_add_test(tests, a_descriptor_opened_after_a_close_was_submitted_is_not_taken_for_the_closed_one);
    tcase_add_test(tests, a_close_is_carried_out_though_it_is_cancelled);
    tcase_add_test(tests, a_close_is_carried_out_though_the_loop_is_destroyed);
    tcase_add_test(tests, a_cancel_that_comes_too_late_for_the_loops_queue_delays_no_completion);
    tcase_add_test(tests, a_loop_that_is_destroyed_cancels_operations_in_flight);
    tcase_add_test(tests, an_operation_submitted_while_the_loop_is_being_destroyed_is_refused);
}
