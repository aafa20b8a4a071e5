/* Sends of several parts: whole or not at all, from any thread; and whether a send would be taken. */
#include "tests/behaviour/harness.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

const char *const suite_name = "gathered";

enum { KIB = 1024, MANY = 1000 };

static jd_iovec part_of(const char *text)
{
    return (jd_iovec){ .data = (void *)(uintptr_t)text, .length = strlen(text) };
}

static void send_parts(jd_tcp_connection *connection, void *arg)
{
    jd_iovec parts[] = { part_of("a"), part_of(""), part_of("gathered"), { NULL, 0 }, part_of(" message") };

    ck_assert_int_eq(jd_tcp_connection_sendv(connection, parts, 5), 0);
    ck_assert_int_eq(jd_tcp_connection_sendv(connection, NULL, 0), 0);
    ck_assert_int_eq(jd_tcp_connection_sendv(connection, parts + 3, 1), 0);
    ck_assert_int_eq(jd_tcp_connection_sendv(connection, parts, -1), JD_EINVAL);
}

START_TEST(the_parts_arrive_in_their_order)
{
    serve(&(struct service){ .on_up = send_parts });
    int client = client_connect_up();

    client_expect(client, "agathered message", 17);

    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

/* More parts than the library keeps on its stack, over many blocks. */
static void send_many_parts(jd_tcp_connection *connection, void *arg)
{
    static unsigned char bytes[MANY * 100];
    jd_iovec parts[MANY];

    pattern_fill(bytes, 0, sizeof(bytes));
    for (int i = 0; i < MANY; i++)
        parts[i] = (jd_iovec){ .data = bytes + i * 100, .length = 100 };
    ck_assert_int_eq(jd_tcp_connection_sendv(connection, parts, MANY), 0);
}

START_TEST(there_may_be_any_number_of_parts)
{
    serve(&(struct service){ .on_up = send_many_parts });
    int client = client_connect_up();

    client_expect_pattern(client, 0, MANY * 100);

    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

enum { LIMIT = 100 * KIB };

static char zeroes[LIMIT];

static void send_beyond_the_limit(jd_tcp_connection *connection, void *arg)
{
    jd_iovec parts[] = { { zeroes, LIMIT - 1 }, { zeroes, 2 } };
    jd_iovec huge[] = { { zeroes, SIZE_MAX }, { zeroes, 2 } };

    ck_assert(jd_tcp_connection_can_send(connection, LIMIT));
    ck_assert(!jd_tcp_connection_can_send(connection, LIMIT + 1));
    ck_assert(!jd_tcp_connection_can_send(connection, SIZE_MAX));
    ck_assert_int_eq(jd_tcp_connection_sendv(connection, parts, 2), JD_ENOBUFS);
    ck_assert_int_eq(jd_tcp_connection_sendv(connection, huge, 2), JD_ENOBUFS);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 0);
    parts[1].length = 1;
    ck_assert_int_eq(jd_tcp_connection_sendv(connection, parts, 2), 0);
    for (size_t length = 0; length < LIMIT; length += KIB) /* it predicts what the kernel has left queued */
        ck_assert_int_eq(jd_tcp_connection_can_send(connection, length),
                         length <= LIMIT - jd_tcp_connection_queued_bytes(connection));
}

START_TEST(beyond_the_limit_none_of_the_parts_is_queued)
{
    static char received[LIMIT];
    serve(&(struct service){ .on_up = send_beyond_the_limit,
                             .options = { .output_limit = LIMIT, .send_buffer_bytes = 4096 } });
    int client = client_connect_with_receive_buffer(4096);

    client_receive(client, received, sizeof(received));
    pump_until_quiet();
    ck_assert_int_eq(client_receive_some(client, received, 1), -EAGAIN);

    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

static jd_codec *codec;

/* The length field belongs behind the first three bytes: in the middle of a part, and between two. */
static void send_framed_parts(jd_tcp_connection *connection, void *arg)
{
    jd_iovec parts[] = { part_of("ab"), part_of("cd"), part_of("e") }, others[] = { part_of("abc"), part_of("de") };
    jd_iovec first[] = { part_of(""), part_of("abc") }, little[] = { part_of("ab"), part_of("") };

    ck_assert_int_eq(jd_codec_sendv(codec, connection, parts, 3), 0);
    ck_assert_int_eq(jd_codec_sendv(codec, connection, others, 2), 0);
    ck_assert_int_eq(jd_codec_sendv(codec, connection, first, 2), 0);
    ck_assert_int_eq(jd_codec_sendv(codec, connection, little, 2), JD_EINVAL);
    parts[2] = (jd_iovec){ zeroes, LIMIT };
    ck_assert_int_eq(jd_codec_sendv(codec, connection, parts, 3), JD_EMSGSIZE);
}

START_TEST(a_frame_may_be_made_of_parts)
{
    ck_assert_int_eq(
        jd_length_codec_create(
            &codec, &(jd_length_codec_options){ .length_offset = 3, .length_bytes = 1, .max_frame_bytes = 200 }),
        0);
    serve(&(struct service){ .on_up = send_framed_parts });
    int client = client_connect_up();

    client_expect(client, "abc\2deabc\2deabc\0", 16);

    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

static jd_tcp_connection *kept;

static void keep(jd_tcp_connection *connection, void *arg)
{
    kept = jd_tcp_connection_ref(connection);
}

static void *send_from_elsewhere(void *arg)
{
    jd_iovec parts[] = { part_of("hello"), { NULL, 0 }, part_of(" world") }, huge = { zeroes, LIMIT };

    ck_assert(jd_tcp_connection_can_send(kept, LIMIT));
    ck_assert_int_eq(jd_tcp_connection_sendv(kept, parts, 3), 0);
    ck_assert(!jd_tcp_connection_can_send(kept, LIMIT + 1));
    ck_assert(jd_tcp_connection_can_send(kept, KIB));
    ck_assert_int_eq(jd_tcp_connection_sendv(kept, (jd_iovec[]){ huge, parts[0] }, 2), JD_ENOBUFS);
    return NULL;
}

START_TEST(other_threads_send_parts_too)
{
    pthread_t thread;
    serve(&(struct service){ .on_up = keep, .options.output_limit = LIMIT });
    int client = client_connect_up();

    ck_assert_int_eq(pthread_create(&thread, NULL, send_from_elsewhere, NULL), 0);
    client_expect(client, "hello world", 11);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    pump_until_quiet();

    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert(!jd_tcp_connection_can_send(kept, 0));
    ck_assert_int_eq(jd_tcp_connection_sendv(kept, (jd_iovec[]){ part_of("late") }, 1), JD_ENOTCONN);
    jd_tcp_connection_unref(kept);
}
END_TEST

static void shut_down(jd_tcp_connection *connection, void *arg)
{
    ck_assert(jd_tcp_connection_can_send(connection, 0));
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
    ck_assert(!jd_tcp_connection_can_send(connection, 0));
    ck_assert_int_eq(jd_tcp_connection_sendv(connection, (jd_iovec[]){ part_of("late") }, 1), JD_ENOTCONN);
}

START_TEST(behind_a_shutdown_nothing_can_be_sent)
{
    serve(&(struct service){ .on_up = shut_down });
    int client = client_connect_up();

    client_expect_end(client);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "gathered");

    tcase_add_test(tests, the_parts_arrive_in_their_order);
    tcase_add_test(tests, there_may_be_any_number_of_parts);
    tcase_add_test(tests, beyond_the_limit_none_of_the_parts_is_queued);
    tcase_add_test(tests, a_frame_may_be_made_of_parts);
    tcase_add_test(tests, other_threads_send_parts_too);
    tcase_add_test(tests, behind_a_shutdown_nothing_can_be_sent);
}
