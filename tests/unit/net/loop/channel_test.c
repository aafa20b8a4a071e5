#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"
#include "tests/support/loop_fixture.h"

#include "net/loop/event_loop.h"
#include "proactor/engine/proactor_engine.h"

#include <fcntl.h>
#include <jinduo/error.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "channel";

/* The events that a channel's callback got. */
struct record {
    unsigned count, last, all;
};

static void note(jd_channel *channel, int fd, unsigned events, void *arg)
{
    struct record *record = arg;

    record->count++;
    record->last = events;
    record->all |= events;
}

static jd_channel *watch(int fd, unsigned events, jd_channel_callback callback, void *arg)
{
    jd_channel *channel;

    ck_assert_int_eq(jd_channel_create(&channel, test_loop, fd, events, callback, arg), 0);
    return channel;
}

/* A pipe for each test, blocking, and a second for those that need two. */
static int ends[2], other_ends[2];

static void set_up(void)
{
    loop_fixture_set_up();
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(other_ends, O_CLOEXEC), 0);
}

static void close_end(int *end)
{
    if (*end >= 0)
        close(*end);
    *end = -1;
}

static void tear_down(void)
{
    for (int i = 0; i < 2; i++) {
        close_end(&ends[i]);
        close_end(&other_ends[i]);
    }
    loop_fixture_tear_down();
}

static void put_byte(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

static void take_byte(int fd)
{
    char byte;

    ck_assert_int_eq(read(fd, &byte, 1), 1);
}

static int turn(void)
{
    return jd_event_loop_run_once(test_loop, 0);
}

/* ---- reports ---- */

START_TEST(a_descriptor_that_is_not_ready_is_not_reported)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[0], JD_READABLE, note, &record);

    turn();

    ck_assert_uint_eq(record.count, 0);
    jd_channel_destroy(channel);
}
END_TEST

START_TEST(a_level_is_reported_each_turn_until_the_data_is_read)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[0], JD_READABLE, note, &record);
    put_byte(ends[1]);

    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_int_eq(turn(), 1);
        ck_assert_uint_eq(record.count, i);
        ck_assert_uint_eq(record.last, JD_READABLE);
    }

    take_byte(ends[0]);
    ck_assert_int_eq(turn(), 0);
    ck_assert_uint_eq(record.count, 3);
    jd_channel_destroy(channel);
}
END_TEST

START_TEST(an_edge_is_reported_once_for_each_arrival)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[0], JD_READABLE | JD_EDGE, note, &record);

    for (unsigned i = 1; i <= 3; i++) {
        put_byte(ends[1]);
        turn();
        turn();
        ck_assert_uint_eq(record.count, i);
        ck_assert_uint_eq(record.last, JD_READABLE);
    }
    jd_channel_destroy(channel);
}
END_TEST

START_TEST(a_descriptor_with_room_is_writable_until_it_is_full)
{
    static const char block[4096];
    struct record record = { 0 };
    jd_channel *channel = watch(ends[1], JD_WRITABLE, note, &record);
    turn();
    ck_assert_uint_eq(record.last, JD_WRITABLE);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], block, sizeof(block)) > 0)
        continue;

    ck_assert_int_eq(turn(), 0);

    ck_assert_uint_eq(record.count, 1);
    jd_channel_destroy(channel);
}
END_TEST

START_TEST(readable_and_writable_of_one_descriptor_are_reported_together)
{
    struct record record = { 0 };
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    jd_channel *channel = watch(pair[0], JD_READABLE | JD_WRITABLE, note, &record);
    put_byte(pair[1]);

    turn();

    ck_assert_uint_eq(record.count, 1);
    ck_assert_uint_eq(record.last, JD_READABLE | JD_WRITABLE);
    jd_channel_destroy(channel);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(the_end_of_the_data_is_readable_as_reading_it_would_not_block)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[0], JD_READABLE, note, &record);
    close_end(&ends[1]);

    turn();

    ck_assert_uint_eq(record.last, JD_READABLE | JD_HANGUP);
    jd_channel_destroy(channel);
}
END_TEST

START_TEST(a_reader_that_is_gone_is_writable_as_writing_would_not_block)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[1], JD_WRITABLE, note, &record);
    close_end(&ends[0]);

    turn();

    ck_assert_uint_eq(record.last, JD_WRITABLE | JD_HANGUP);
    jd_channel_destroy(channel);
}
END_TEST

START_TEST(a_hangup_is_reported_even_if_no_event_is_watched)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[0], 0, note, &record);
    put_byte(ends[1]);
    turn();
    ck_assert_uint_eq(record.count, 0);

    close_end(&ends[1]);
    turn();

    ck_assert_uint_eq(record.last, JD_HANGUP);
    jd_channel_destroy(channel);
}
END_TEST

START_TEST(the_callback_gets_its_channel_and_descriptor)
{
    struct ready_pipe ready;
    ready_pipe_open(&ready);

    turn();

    ck_assert_uint_eq(ready.reported, 1);
    ready_pipe_close(&ready);
}
END_TEST

START_TEST(two_loops_may_watch_one_descriptor)
{
    struct record mine = { 0 }, theirs = { 0 };
    jd_event_loop *other;
    jd_channel *channel;
    ck_assert_int_eq(jd_event_loop_create(&other, NULL), 0);
    ck_assert_int_eq(jd_channel_create(&channel, other, ends[0], JD_READABLE, note, &theirs), 0);
    jd_channel *own = watch(ends[0], JD_READABLE, note, &mine);
    put_byte(ends[1]);

    turn();
    jd_event_loop_run_once(other, 0);

    ck_assert_uint_eq(mine.count, 1);
    ck_assert_uint_eq(theirs.count, 1);
    jd_channel_destroy(own);
    jd_channel_destroy(channel);
    ck_assert_int_eq(jd_event_loop_destroy(other), 0);
}
END_TEST

START_TEST(many_ready_channels_are_all_reported)
{
    enum { MANY = 300 };
    struct record record = { 0 };
    jd_channel *channels[MANY];
    int copies[MANY];
    put_byte(ends[1]);
    for (int i = 0; i < MANY; i++) {
        copies[i] = fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
        channels[i] = watch(copies[i], JD_READABLE | JD_EDGE, note, &record);
    }

    for (int i = 0; i < 10; i++)
        turn();

    ck_assert_uint_eq(record.count, MANY);
    for (int i = 0; i < MANY; i++) {
        jd_channel_destroy(channels[i]);
        close(copies[i]);
    }
}
END_TEST

/* ---- changing what is waited for ---- */

START_TEST(what_is_waited_for_can_be_changed)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[0], 0, note, &record);
    put_byte(ends[1]);
    turn();
    ck_assert_uint_eq(record.count, 0);

    ck_assert_int_eq(jd_channel_set_events(channel, JD_READABLE), 0);
    turn();
    ck_assert_uint_eq(record.count, 1);

    ck_assert_int_eq(jd_channel_set_events(channel, 0), 0);
    turn();
    ck_assert_uint_eq(record.count, 1);
    jd_channel_destroy(channel);
}
END_TEST

START_TEST(rearming_an_edge_reports_data_that_is_there_already)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[0], JD_READABLE | JD_EDGE, note, &record);
    put_byte(ends[1]);
    turn();
    turn();
    ck_assert_uint_eq(record.count, 1);

    ck_assert_int_eq(jd_channel_set_events(channel, JD_READABLE | JD_EDGE), 0);
    turn();

    ck_assert_uint_eq(record.count, 2);
    jd_channel_destroy(channel);
}
END_TEST

/* Two channels ready in one batch; the one whose callback is first acts on the other. */
static struct both {
    jd_channel *channels[2];
    unsigned count;
} both;

static jd_channel *other_than(const jd_channel *channel)
{
    return both.channels[channel == both.channels[0] ? 1 : 0];
}

static void make_both_ready(jd_channel_callback callback)
{
    both.channels[0] = watch(ends[0], JD_READABLE, callback, NULL);
    both.channels[1] = watch(other_ends[0], JD_READABLE, callback, NULL);
    put_byte(ends[1]);
    put_byte(other_ends[1]);
}

static void silence_other(jd_channel *channel, int fd, unsigned events, void *arg)
{
    both.count++;
    ck_assert_int_eq(jd_channel_set_events(other_than(channel), 0), 0);
}

START_TEST(a_channel_that_waits_for_nothing_any_more_gets_no_event_collected_before)
{
    make_both_ready(silence_other);

    turn();

    ck_assert_uint_eq(both.count, 1);
    jd_channel_destroy(both.channels[0]);
    jd_channel_destroy(both.channels[1]);
}
END_TEST

/* ---- destroying ---- */

static void destroy_itself(jd_channel *channel, int fd, unsigned events, void *arg)
{
    note(channel, fd, events, arg);
    jd_channel_destroy(channel);
}

START_TEST(a_channel_may_be_destroyed_in_its_own_callback)
{
    struct record record = { 0 };
    watch(ends[0], JD_READABLE, destroy_itself, &record);
    put_byte(ends[1]);

    turn();
    turn();

    ck_assert_uint_eq(record.count, 1);
}
END_TEST

static void destroy_other(jd_channel *channel, int fd, unsigned events, void *arg)
{
    both.count++;
    jd_channel_destroy(other_than(channel));
    jd_channel_destroy(channel);
}

START_TEST(a_channel_destroyed_by_another_one_of_the_same_batch_gets_no_callback)
{
    make_both_ready(destroy_other);

    turn();
    turn();

    ck_assert_uint_eq(both.count, 1);
}
END_TEST

static struct record heir;

static void replace_other(jd_channel *channel, int fd, unsigned events, void *arg)
{
    int freed = fd == ends[0] ? other_ends[0] : ends[0];

    both.count++;
    jd_channel_destroy(other_than(channel));
    both.channels[0] = watch(freed, JD_READABLE, note, &heir);
    both.channels[1] = channel;
}

START_TEST(a_channel_made_in_place_of_one_with_a_collected_event_gets_its_own_events_only)
{
    make_both_ready(replace_other);

    turn();
    ck_assert_uint_eq(both.count, 1);
    ck_assert_uint_eq(heir.count, 0);

    jd_channel_destroy(both.channels[1]);
    turn();
    ck_assert_uint_eq(heir.count, 1);
    jd_channel_destroy(both.channels[0]);
}
END_TEST

START_TEST(a_destroyed_channel_leaves_its_descriptor_open_and_as_it_was)
{
    struct record record = { 0 };
    int flags = fcntl(ends[0], F_GETFL);
    jd_channel *channel = watch(ends[0], JD_READABLE, note, &record);
    ck_assert_int_eq(fcntl(ends[0], F_GETFL), flags);

    jd_channel_destroy(channel);

    ck_assert_int_eq(fcntl(ends[0], F_GETFL), flags);
    put_byte(ends[1]);
    turn();
    ck_assert_uint_eq(record.count, 0);
}
END_TEST

START_TEST(a_descriptor_may_be_watched_again_after_its_channel_is_destroyed)
{
    struct record record = { 0 };
    jd_channel_destroy(watch(ends[0], JD_READABLE, note, &record));
    put_byte(ends[1]);

    jd_channel *channel = watch(ends[0], JD_READABLE, note, &record);
    turn();

    ck_assert_uint_eq(record.count, 1);
    jd_channel_destroy(channel);
}
END_TEST

START_TEST(destroying_no_channel_does_nothing)
{
    jd_channel_destroy(NULL);
}
END_TEST

START_TEST(channels_left_over_end_with_their_loop)
{
    struct record record = { 0 };
    watch(ends[0], JD_READABLE, note, &record);
    watch(other_ends[0], JD_READABLE, note, &record);
    put_byte(ends[1]);

    ck_assert_int_eq(jd_event_loop_destroy(test_loop), 0);

    test_loop = NULL;
    ck_assert_uint_eq(record.count, 0);
}
END_TEST

/* ---- refusals ---- */

static int watch_result(int fd, unsigned events, jd_channel_callback callback)
{
    jd_channel *channel = NULL;
    int result = jd_channel_create(&channel, test_loop, fd, events, callback, NULL);

    ck_assert(result < 0);
    ck_assert_ptr_null(channel);
    return result;
}

START_TEST(a_descriptor_that_the_loop_watches_already_is_refused)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[0], JD_READABLE, note, &record);

    ck_assert_int_eq(watch_result(ends[0], JD_READABLE, note), JD_EEXIST);

    put_byte(ends[1]);
    turn();
    ck_assert_uint_eq(record.count, 1);
    jd_channel_destroy(channel);
}
END_TEST

START_TEST(a_plain_file_is_refused)
{
    FILE *file = tmpfile();

    ck_assert_int_eq(watch_result(fileno(file), JD_READABLE, note), JD_EPERM);

    fclose(file);
}
END_TEST

START_TEST(arguments_that_make_no_sense_are_refused)
{
    ck_assert_int_eq(watch_result(-1, JD_READABLE, note), JD_EINVAL);
    ck_assert_int_eq(watch_result(ends[0], JD_READABLE, NULL), JD_EINVAL);
    ck_assert_int_eq(watch_result(ends[0], JD_HANGUP, note), JD_EINVAL);
    ck_assert_int_eq(watch_result(ends[0], 16, note), JD_EINVAL);
}
END_TEST

START_TEST(a_closed_descriptor_is_refused)
{
    ck_assert_int_eq(watch_result(250, JD_READABLE, note), -EBADF);
}
END_TEST

START_TEST(events_that_make_no_sense_are_refused_and_change_nothing)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[0], JD_READABLE, note, &record);

    ck_assert_int_eq(jd_channel_set_events(channel, JD_HANGUP), JD_EINVAL);

    put_byte(ends[1]);
    turn();
    ck_assert_uint_eq(record.count, 1);
    jd_channel_destroy(channel);
}
END_TEST

static void *watch_from_outside(void *arg)
{
    ck_assert_int_eq(watch_result(other_ends[0], JD_READABLE, note), JD_EPERM);
    ck_assert_int_eq(jd_channel_set_events(arg, 0), JD_EPERM);
    return NULL;
}

START_TEST(another_thread_is_refused)
{
    struct record record = { 0 };
    jd_channel *channel = watch(ends[0], JD_READABLE, note, &record);

    run_in_thread(watch_from_outside, channel);

    jd_channel_destroy(channel);
}
END_TEST

START_TEST(a_channel_for_which_there_is_no_memory_is_not_made)
{
    /* The fixture's loop must be gone: the library holds memory of the other kind. */
    jd_event_loop_destroy(test_loop);
    checking_memory_install();
    ck_assert_int_eq(jd_event_loop_create(&test_loop, NULL), 0);

    checking_memory_fail_at(1);
    ck_assert_int_eq(watch_result(ends[0], JD_READABLE, note), JD_ENOMEM);

    ck_assert(checking_memory_has_failed());
    jd_event_loop_destroy(test_loop);
    test_loop = NULL;
    checking_memory_remove();
}
END_TEST

/* The first channel of a Proactor's loop needs memory for the loop's channels, too. */
START_TEST(a_first_channel_without_memory_is_not_made_on_a_proactor_and_a_second_attempt_succeeds)
{
    const jd_event_loop_options options = { .engine = JD_ENGINE_SIMULATED };
    struct record record = { 0 };
    jd_channel *channel;
    jd_event_loop_destroy(test_loop);
    checking_memory_install();
    ck_assert_int_eq(jd_event_loop_create(&test_loop, &options), 0);

    checking_memory_fail_at((unsigned)_i);
    ck_assert_int_eq(watch_result(ends[0], JD_READABLE, note), JD_ENOMEM);
    ck_assert(checking_memory_has_failed());

    channel = watch(ends[0], JD_READABLE, note, &record);
    put_byte(ends[1]);
    while (record.count == 0)
        ck_assert_int_ge(jd_event_loop_run_once(test_loop, -1), 0);
    jd_channel_destroy(channel);
    jd_event_loop_destroy(test_loop);
    test_loop = NULL;
    checking_memory_remove();
}
END_TEST

static int create_without_channels(struct engine **engine, jd_event_loop *loop)
{
    extern const struct backend_ops simulated_backend;

    return proactor_create(engine, loop, &simulated_engine, &simulated_backend, NULL);
}

START_TEST(a_proactor_without_channels_refuses_them)
{
    struct engine_ops without = simulated_engine;
    jd_event_loop *loop;
    jd_channel *channel;
    without.create = create_without_channels;
    ck_assert_int_eq(event_loop_create_on(&loop, NULL, &without), 0);

    ck_assert_int_eq(jd_channel_create(&channel, loop, ends[0], JD_READABLE, note, NULL), JD_ENOTSUP);

    ck_assert_int_eq(jd_event_loop_run_once(loop, 0), 0);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

static void add_refusal_tests(TCase *tests)
{
    tcase_add_test(tests, a_descriptor_that_the_loop_watches_already_is_refused);
    tcase_add_test(tests, a_plain_file_is_refused);
    tcase_add_test(tests, arguments_that_make_no_sense_are_refused);
    tcase_add_test(tests, a_closed_descriptor_is_refused);
    tcase_add_test(tests, events_that_make_no_sense_are_refused_and_change_nothing);
    tcase_add_test(tests, another_thread_is_refused);
    tcase_add_test(tests, a_channel_for_which_there_is_no_memory_is_not_made);
    tcase_add_loop_test(tests, a_first_channel_without_memory_is_not_made_on_a_proactor_and_a_second_attempt_succeeds,
                        1, 3);
    tcase_add_test(tests, a_proactor_without_channels_refuses_them);
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("channel");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_descriptor_that_is_not_ready_is_not_reported);
    tcase_add_test(tests, a_level_is_reported_each_turn_until_the_data_is_read);
    tcase_add_test(tests, an_edge_is_reported_once_for_each_arrival);
    tcase_add_test(tests, a_descriptor_with_room_is_writable_until_it_is_full);
    tcase_add_test(tests, readable_and_writable_of_one_descriptor_are_reported_together);
    tcase_add_test(tests, the_end_of_the_data_is_readable_as_reading_it_would_not_block);
    tcase_add_test(tests, a_reader_that_is_gone_is_writable_as_writing_would_not_block);
    tcase_add_test(tests, a_hangup_is_reported_even_if_no_event_is_watched);
    tcase_add_test(tests, the_callback_gets_its_channel_and_descriptor);
    tcase_add_test(tests, two_loops_may_watch_one_descriptor);
    tcase_add_test(tests, many_ready_channels_are_all_reported);
    tcase_add_test(tests, what_is_waited_for_can_be_changed);
    tcase_add_test(tests, rearming_an_edge_reports_data_that_is_there_already);
    tcase_add_test(tests, a_channel_that_waits_for_nothing_any_more_gets_no_event_collected_before);
    tcase_add_test(tests, a_channel_may_be_destroyed_in_its_own_callback);
    tcase_add_test(tests, a_channel_destroyed_by_another_one_of_the_same_batch_gets_no_callback);
    tcase_add_test(tests, a_channel_made_in_place_of_one_with_a_collected_event_gets_its_own_events_only);
    tcase_add_test(tests, a_destroyed_channel_leaves_its_descriptor_open_and_as_it_was);
    tcase_add_test(tests, a_descriptor_may_be_watched_again_after_its_channel_is_destroyed);
    tcase_add_test(tests, destroying_no_channel_does_nothing);
    tcase_add_test(tests, channels_left_over_end_with_their_loop);
    add_refusal_tests(tests);
}
