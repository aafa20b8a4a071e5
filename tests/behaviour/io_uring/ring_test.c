/* What only an engine with a ring can run out of, or mix up: io_uring's queues and its buffers. */
#include "net/loop/event_loop.h"
#include "tests/behaviour/io_uring/the_ring.h"
#include "tests/support/checking_memory.h"

#include <errno.h>
#include <jinduo/error.h>
#include <jinduo/proactor.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "ring";

enum { KIB = 1024, MIB = 1024 * 1024 };

/* ---- the buffers ---- */

enum { SENDERS = 40, SENDER_BYTES = 64 * KIB };

START_TEST(more_input_at_once_than_there_are_buffers_is_all_received_and_the_shortage_counted)
{
    unsigned char data[SENDER_BYTES];
    int senders[SENDERS];
    ck_assert_uint_gt(SENDERS * SENDER_BYTES, 2 * the_ring()->room);
    serve(&(struct service){ .on_message = NULL });
    for (int i = 0; i < SENDERS; i++)
        senders[i] = client_connect_up();
    pattern_fill(data, 0, sizeof(data));
    for (int i = 0; i < SENDERS; i++)
        ck_assert_uint_eq(client_send_some(senders[i], data, sizeof(data)), sizeof(data));

    PUMP_UNTIL(bytes_received() == SENDERS * SENDER_BYTES);

    ck_assert_uint_gt(statistics().receive_pauses, 0);
    pump_until_quiet();
    ck_assert_uint_eq(the_ring()->buffers_out, the_ring()->block_count);
}
END_TEST

/* ---- many sizes ---- */

enum { TALKERS = 30, MESSAGES = 3000, MESSAGE_MAX_BYTES = 100 * KIB };

/* Most are small, some fill blocks. */
static size_t random_size(uint64_t *random)
{
    static const size_t limits[] = { 64, 4 * KIB, 20 * KIB, MESSAGE_MAX_BYTES };

    return 1 + random_below(random, limits[random_below(random, sizeof(limits) / sizeof(limits[0]))]);
}

START_TEST(messages_of_any_size_on_many_connections_come_back_byte_for_byte)
{
    uint64_t random = test_seed();
    size_t sent[TALKERS] = { 0 }, expected[TALKERS] = { 0 };
    int talkers[TALKERS];
    serve(&(struct service){ .on_message = echo });
    for (int i = 0; i < TALKERS; i++)
        talkers[i] = client_connect_up();

    for (int message = 0; message < MESSAGES; message++) {
        unsigned i = (unsigned)random_below(&random, TALKERS);
        size_t bytes = random_size(&random);
        /* Some are waited for only when others are on their way, too. */
        if (sent[i] - expected[i] + bytes > MESSAGE_MAX_BYTES) {
            client_expect_pattern(talkers[i], expected[i], sent[i] - expected[i]);
            expected[i] = sent[i];
        }
        client_send_pattern(talkers[i], sent[i], bytes);
        sent[i] += bytes;
    }
    for (int i = 0; i < TALKERS; i++)
        client_expect_pattern(talkers[i], expected[i], sent[i] - expected[i]);

    pump_until_quiet();
    ck_assert_uint_eq(the_ring()->buffers_out, the_ring()->block_count);
    ck_assert_uint_eq(statistics().pool_blocks_used, the_ring()->block_count);
}
END_TEST

/* At a connection's end some kernels do not report that they continue to fill the block (buffer_is_used_up in
 * io_uring_buffers.c). */
START_TEST(what_an_end_leaves_of_a_block_is_used_further)
{
    enum { ENDS = 100 };
    int witness;
    size_t room;
    serve(&(struct service){ .on_message = echo });
    witness = client_connect_up();
    room = the_ring()->room;

    for (int i = 0; i < ENDS; i++) {
        int client = client_connect_up();
        client_send_pattern(client, 0, 10);
        client_expect_pattern(client, 0, 10);
        client_shutdown(client);
        client_expect_end(client);
        client_close(client);
        client_send_pattern(witness, (size_t)i * 10, 10);
        client_expect_pattern(witness, (size_t)i * 10, 10);
    }

    ck_assert_uint_eq(the_ring()->buffers_out, the_ring()->block_count);
    if (the_ring()->incremental)
        ck_assert_uint_eq(the_ring()->room, room - ENDS * 20);
    else
        ck_assert_uint_eq(the_ring()->room, room);
}
END_TEST

/* ---- blocks that are held ---- */

static struct {
    jd_tcp_connection *slow; /* its peer reads nothing */
    size_t passed_on;
} hoard;

/* Single bytes come back, all others go to the slow one. */
static void hoard_or_echo(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    if (hoard.slow == NULL)
        hoard.slow = connection;
    if (jd_buffer_readable(input) == 1) {
        echo(connection, input, received, arg);
        return;
    }
    hoard.passed_on += jd_buffer_readable(input);
    if (jd_tcp_connection_send_buffer(hoard.slow, input) < 0)
        jd_buffer_consume(input, SIZE_MAX); /* a short rest, for whose copy there is no memory */
}

/* Until the connection of the first client, whose peer reads nothing, holds bytes in the blocks in which they came. */
static void fill_hoard(int feeder, size_t bytes)
{
    static unsigned char data[64 * KIB];

    while (hoard.passed_on < bytes) {
        client_send_some(feeder, data, sizeof(data));
        ck_assert_int_ge(jd_event_loop_run_once(the_loop, 1), 0);
    }
}

START_TEST(blocks_that_receivers_keep_are_replaced_and_others_are_served)
{
    enum { HOARD_BYTES = 8 * MIB };
    uint64_t overflows;
    serve(&(struct service){ .options.send_buffer_bytes = 4096,
                             .options.above_watermark = JD_ABOVE_WATERMARK_KEEP_READING,
                             .on_message = hoard_or_echo });
    int slow = client_connect_with_receive_buffer(4096);
    client_send(slow, "x", 1);
    client_expect(slow, "x", 1);
    int feeder = client_connect_up();
    int other = client_connect_up();
    overflows = statistics().block_overflows;

    fill_hoard(feeder, HOARD_BYTES);

    ck_assert_uint_gt(statistics().block_overflows, overflows);
    ck_assert_uint_eq(the_ring()->buffers_out, the_ring()->block_count);
    client_send(other, "y", 1);
    client_expect(other, "y", 1);
}
END_TEST

/* Each block that is kept leaves a hole in the ring, until no block is left and no connection can receive. */
START_TEST(without_memory_the_ring_shrinks_and_when_there_is_some_again_all_are_served)
{
    enum { NO_MORE = 1 << 30, SOME_BYTES = 256 * KIB };
    static unsigned char data[64 * KIB];
    struct pump pump;
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    checking_memory_install();
    the_loop = make_loop(NULL);
    serve(&(struct service){ .options.send_buffer_bytes = 4096,
                             .options.above_watermark = JD_ABOVE_WATERMARK_KEEP_READING,
                             .on_message = hoard_or_echo });
    int slow = client_connect_with_receive_buffer(4096);
    client_send(slow, "x", 1);
    client_expect(slow, "x", 1);
    int feeder = client_connect_up();
    int other = client_connect_up();
    client_send(other, "y", 1);
    client_expect(other, "y", 1);

    fill_hoard(feeder, SOME_BYTES); /* there is memory to keep slices, but not for further blocks */
    checking_memory_fail(1, NO_MORE);
    pump = pump_begin("no buffer is left", __FILE__, __LINE__);
    while (the_ring()->buffers_out > 0 || statistics().receive_pauses == 0) {
        client_send_some(feeder, data, sizeof(data));
        pump_once(&pump);
    }
    ck_assert_uint_gt(the_ring()->missing_count, 0);
    client_send(other, "z", 1);
    pump_turns(3);

    checking_memory_fail(1, 0);
    client_expect(other, "z", 1);
    pump_until_quiet();
    ck_assert_uint_eq(the_ring()->missing_count, 0);
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
    checking_memory_remove();
}
END_TEST

/* ---- the queues ---- */

static void allow_descriptors(rlim_t count)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_ge(limit.rlim_max, count);
    limit.rlim_cur = count;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

enum { CROWD = URING_COMPLETIONS + URING_COMPLETIONS / 4 };

static struct {
    jd_tcp_connection *members[CROWD];
    unsigned count;
    bool reported, overflowed;
} crowd;

static void join_crowd(jd_tcp_connection *connection, void *arg)
{
    crowd.members[crowd.count++] = connection;
}

/* Each gets a send of its own, and most go to the kernel from here, as the submission queue is full again and again. */
static void tell_crowd(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    if (jd_tcp_connection_context(connection) != NULL)
        return;
    jd_buffer_consume(input, SIZE_MAX);
    for (unsigned i = 0; i < crowd.count; i++)
        ck_assert_int_eq(jd_tcp_connection_send(crowd.members[i], "!", 1), 0);
    crowd.reported = true;
}

/* The turn's flush comes behind all callbacks: what it made of the queues is seen by a task of the next turn. */
static void look_at_queue(void *arg)
{
    crowd.overflowed |= (IO_URING_READ_ONCE(*the_ring()->ring.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
}

static void look_on_write(jd_tcp_connection *connection, void *arg)
{
    look_at_queue(NULL);
}

START_TEST(a_broadcast_overflows_both_queues_and_reaches_all_peers)
{
    const jd_event_loop_options options = {
        .flush_connections = 2 * CROWD,
        .flush_age_us = 10 * 1000 * 1000,
    };
    static int clients[CROWD];
    char byte;
    allow_descriptors(3 * CROWD);
    remake_the_loop(&options);
    serve(&(struct service){ .on_up = join_crowd, .on_message = tell_crowd, .on_write_complete = look_on_write });
    for (unsigned i = 0; i < CROWD; i++)
        clients[i] = client_connect_up();

    client_send(clients[0], "tell", 4);
    PUMP_UNTIL(crowd.reported);
    look_at_queue(NULL);

    for (unsigned i = 0; i < CROWD; i++)
        client_expect(clients[i], "!", 1);
    ck_assert(crowd.overflowed);
    ck_assert(statistics().queue_overflows > 0);
    for (unsigned i = 0; i < CROWD; i++)
        ck_assert_int_eq(client_receive_some(clients[i], &byte, 1), -EAGAIN);
}
END_TEST

/* ---- completions that are gathered ---- */

enum { GATHERED = 64 };

static int gathered[GATHERED];

static bool can_gather(void)
{
    return (the_ring()->ring.features & IORING_FEAT_MIN_TIMEOUT) != 0;
}

/* As if all were a few of many. */
static void connect_gathered(void)
{
    proactor_of_loop(the_loop)->budget.gathering_share = 1;
    for (int i = 0; i < GATHERED; i++)
        gathered[i] = client_connect_up();
    pump_until_quiet();
}

START_TEST(answers_and_the_messages_that_follow_them_are_one_call)
{
    enum { ROUNDS = 20, ACTIVE = 16 }; /* one pass makes no more than 20 completions (Linux 6.13) */
    uint64_t before;
    remake_the_loop(&(jd_event_loop_options){ .flush_age_us = 10 * 1000 * 1000 });
    serve(&(struct service){ .on_message = echo });
    connect_gathered();
    before = statistics().enters;

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < ACTIVE; i++)
            client_send(gathered[i], "!", 1);
        ck_assert_int_ge(jd_event_loop_run_once(the_loop, -1), ACTIVE);
    }

    if (can_gather())
        ck_assert_uint_le(statistics().enters - before, ROUNDS + 2);
    ck_assert_uint_eq(the_ring()->gathering_pause, 0);
}
END_TEST

START_TEST(messages_far_between_are_soon_not_waited_for)
{
    enum { ROUNDS = 12, ACTIVE = 3 };
    serve(&(struct service){ .on_message = echo });
    connect_gathered();

    for (int round = 0; round < ROUNDS; round++) {
        client_send(gathered[round % ACTIVE], "!", 1);
        client_expect(gathered[round % ACTIVE], "!", 1);
    }

    if (can_gather())
        ck_assert_uint_gt(the_ring()->gathering_pause, 0);
}
END_TEST

/* The loop sleeps without end: what has to be gone on with must wake it. */
START_TEST(a_short_write_continues_while_other_sends_are_gathered)
{
    enum { BYTES = 200 * KIB };
    static unsigned char data[BYTES];
    size_t received = 0, sent = 0;
    serve(&(struct service){ .options.send_buffer_bytes = 4096, .on_message = echo });
    connect_gathered();
    int slow = client_connect_with_receive_buffer(4096);
    client_send(slow, "x", 1);
    client_expect(slow, "x", 1);

    while (received < BYTES) {
        int result;
        for (int i = 0; i < GATHERED / 2; i++)
            client_send(gathered[i], "!", 1);
        sent += client_send_some(slow, data + sent, BYTES - sent);
        ck_assert_int_ge(jd_event_loop_run_once(the_loop, -1), 0);
        result = client_receive_some(slow, data, sizeof(data));
        ck_assert(result > 0 || result == -EAGAIN);
        received += result > 0 ? (size_t)result : 0;
    }
    ck_assert_uint_eq(received, BYTES);
}
END_TEST

START_TEST(what_a_look_has_handed_over_is_not_waited_for_any_more)
{
    serve(&(struct service){ .on_message = echo });
    connect_gathered();
    client_send(gathered[0], "!", 1);
    PUMP_UNTIL(the_ring()->optional_sends + the_ring()->unsignaled_count == 1);

    ck_assert_int_ge(jd_event_loop_run_once(the_loop, 0), 0);

    ck_assert_uint_eq(the_ring()->optional_sends + the_ring()->unsignaled_count, 0);
    client_expect(gathered[0], "!", 1);
}
END_TEST

/* ---- receives that wait ---- */

static void pause_reading(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_pause_reading(connection);
}

static void resume_reading(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_resume_reading(connection);
}

static void note_time(void *arg)
{
    *(bool *)arg = true;
}

/* Entries that are parked, as the kernel takes none for a while, are not tried yet. */
START_TEST(a_receive_that_waits_until_others_are_tried_does_not_make_the_loop_spin)
{
    enum { WAITED_MS = 30 };
    struct proactor_engine *proactor = proactor_of_loop(the_loop);
    bool is_time = false;
    unsigned turns = 0;
    serve(&(struct service){ .on_up = pause_reading, .on_message = echo });
    int client = client_connect_up();
    pump_until_quiet();
    proactor->receiving.waiters_untried = true;
    proactor->receiving.untried_until = proactor->backend->ops->submitted(proactor->backend) + 1000;
    proactor->receiving.untried_turn = proactor->turn;
    jd_tcp_connection_post(connection_id(0), resume_reading, NULL);
    client_send(client, "!", 1);

    jd_event_loop_run_after(the_loop, WAITED_MS, note_time, &is_time, NULL);
    while (!is_time) {
        ck_assert_int_ge(jd_event_loop_run_once(the_loop, -1), 0);
        turns++;
    }

    ck_assert_uint_lt(turns, 10 * WAITED_MS); /* it would be thousands */
    ck_assert_uint_eq(bytes_received(), 0);
    proactor->receiving.waiters_untried = false;
    client_expect(client, "!", 1);
}
END_TEST

/* ---- timeouts ---- */

static char received_late[16];
static int64_t late_result;
static jd_operation late_receive;
static int late_ends[2];

static void note_late(jd_operation *operation, int64_t result, void *arg)
{
    ck_assert_int_eq(late_result, 0);
    late_result = result;
}

static void receive_late(void *arg)
{
    jd_async_receive(the_loop, &late_receive, late_ends[0], received_late, sizeof(received_late), 20, note_late, NULL);
}

/* The kernel takes the receive, but has no memory for the entry behind it: that comes alone, later. */
START_TEST(a_receive_whose_timeout_the_kernel_lost_times_out)
{
    struct __kernel_timespec never = { .tv_sec = 1000 };
    struct io_uring_sqe *lone;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, late_ends), 0);
    pump_turns(1);
    jd_event_loop_queue_in_loop(the_loop, receive_late, NULL);
    pump_turns(1);
    ck_assert_uint_eq(the_loop->timers.wheel.count, 0);
    lone = io_uring_get_sqe(&the_ring()->ring);
    io_uring_prep_link_timeout(lone, &never, 0);
    io_uring_sqe_set_data64(lone, uring_timeout_token);

    pump_turns(1);

    ck_assert_uint_eq(the_loop->timers.wheel.count, 1);
    PUMP_UNTIL(late_result == JD_ETIMEDOUT);
    ck_assert_uint_eq(the_loop->timers.wheel.count, 0);
    close(late_ends[0]);
    close(late_ends[1]);
}
END_TEST

/* ---- cancels ---- */

/* These attempts end only by the kernel's timeout, which takes minutes: the listener's queue is full. */
static struct connector attempts[2 * URING_SUBMISSIONS];
static unsigned cancelled_attempts;

enum { ATTEMPTS = sizeof(attempts) / sizeof(attempts[0]) };

static void note_cancelled(struct connector *connector, int error, socket_handle socket,
                           const struct peer_address *peer)
{
    ck_assert_int_eq(error, JD_ECANCELED);
    cancelled_attempts++;
}

/* Where connecting neither succeeds nor fails. */
static jd_endpoint full_listener(int *listener)
{
    enum { BACKLOG = 1 };
    jd_endpoint endpoint;
    ck_assert_int_eq(jd_endpoint_parse(&endpoint, "127.0.0.1:0", NULL), 0);
    ck_assert_int_eq(
        socket_listen(listener, &endpoint, &(struct socket_options){ .backlog = BACKLOG }, &endpoint, NULL), 0);
    for (int i = 0; i <= BACKLOG; i++) /* listen(2): one more than that */
        client_connect_to(&endpoint);
    return endpoint;
}

START_TEST(before_the_ring_is_enabled_no_cancel_is_lost_for_want_of_memory)
{
    enum { NO_MORE = 1 << 30 };
    int listener;
    jd_endpoint endpoint = full_listener(&listener);
    allow_descriptors(2 * ATTEMPTS);
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    checking_memory_install();
    the_loop = make_loop(NULL);
    for (int i = 0; i < ATTEMPTS; i++) {
        attempts[i] = (struct connector){ .endpoint = endpoint, .socket = SOCKET_NONE, .connected = note_cancelled };
        ck_assert_int_eq(the_loop->ops->connect(the_loop->engine, &attempts[i]), 0);
    }

    checking_memory_fail(1, NO_MORE);
    for (int i = 0; i < ATTEMPTS; i++)
        the_loop->ops->abandon(the_loop->engine, &attempts[i]);
    checking_memory_fail(1, 0);

    PUMP_UNTIL(cancelled_attempts == ATTEMPTS);
    socket_close(listener);
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
    checking_memory_remove();
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "ring");

    tcase_add_test(tests, more_input_at_once_than_there_are_buffers_is_all_received_and_the_shortage_counted);
    tcase_add_test(tests, messages_of_any_size_on_many_connections_come_back_byte_for_byte);
    tcase_add_test(tests, what_an_end_leaves_of_a_block_is_used_further);
    tcase_add_test(tests, blocks_that_receivers_keep_are_replaced_and_others_are_served);
    tcase_add_test(tests, without_memory_the_ring_shrinks_and_when_there_is_some_again_all_are_served);
    tcase_add_test(tests, answers_and_the_messages_that_follow_them_are_one_call);
    tcase_add_test(tests, messages_far_between_are_soon_not_waited_for);
    tcase_add_test(tests, a_short_write_continues_while_other_sends_are_gathered);
    tcase_add_test(tests, what_a_look_has_handed_over_is_not_waited_for_any_more);
    tcase_add_test(tests, a_broadcast_overflows_both_queues_and_reaches_all_peers);
    tcase_add_test(tests, a_receive_that_waits_until_others_are_tried_does_not_make_the_loop_spin);
    tcase_add_test(tests, a_receive_whose_timeout_the_kernel_lost_times_out);
    tcase_add_test(tests, before_the_ring_is_enabled_no_cancel_is_lost_for_want_of_memory);
}
