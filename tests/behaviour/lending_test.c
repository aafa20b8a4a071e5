/* Sends that copy nothing: shared payloads, memory that was lent, ranges of files. All in order, each given back exactly
 * once, whatever the end. Pitfalls 33, 39, 42 (with the faults suite). */
#include "base/system_calls.h"
#include "tests/behaviour/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const suite_name = "lending";

enum {
    KIB = 1024,
    MIB = 1024 * 1024,
    PATTERN_BYTES = 5 * 1000 * 1000,
    TINY_BUFFER_BYTES = 4 * KIB,
    FILE_COUNTS_BYTES = 128,
    THINGS_MAX = 2000,
};

static unsigned char pattern[PATTERN_BYTES];
static int pattern_file;

/* ---- what is lent ---- */

/* Set while a call into the library is under way in this thread: nothing may come back from inside it. */
static _Thread_local bool is_calling;

/* By number, how often each thing came back; the thread that it came back in; how many were lent and came back in all. */
static _Atomic unsigned came_back[THINGS_MAX];
static pthread_t came_back_in;
static _Atomic unsigned lent, back, back_wrongly;

static void give_back(void *number)
{
    came_back_in = pthread_self();
    back_wrongly += is_calling;
    came_back[(uintptr_t)number]++;
    back++;
}

static void *next_number(void)
{
    ck_assert_uint_lt(lent, THINGS_MAX);
    return (void *)(uintptr_t)lent++;
}

static int called(int result)
{
    is_calling = false;
    if (result < 0)
        lent--;
    return result;
}

static int send_copy(jd_tcp_connection *connection, size_t offset, size_t length)
{
    return jd_tcp_connection_send(connection, pattern + offset, length);
}

static int send_owned(jd_tcp_connection *connection, size_t offset, size_t length)
{
    void *number = next_number();

    is_calling = true;
    return called(jd_tcp_connection_send_owned(connection, pattern + offset, length, give_back, number));
}

static int send_file(jd_tcp_connection *connection, size_t offset, size_t length)
{
    void *number = next_number();

    is_calling = true;
    return called(jd_tcp_connection_send_file(connection, pattern_file, (int64_t)offset, length, give_back, number));
}

/* A range in the middle of what is shared. Given up at once: the library's reference is the last. */
static int send_shared(jd_tcp_connection *connection, size_t offset, size_t length)
{
    size_t before = offset < 100 ? offset : 100;
    jd_shared *shared;
    int result;

    ck_assert_int_eq(
        jd_shared_create_owned(&shared, pattern + offset - before, before + length, give_back, next_number()), 0);
    is_calling = true;
    result = jd_tcp_connection_send_shared(connection, shared, before, length);
    is_calling = false;
    jd_shared_unref(shared);
    return result;
}

static int (*const sends[])(jd_tcp_connection *, size_t, size_t) = { send_copy, send_owned, send_file, send_shared };

enum { SEND_COPY, SEND_OWNED, SEND_FILE, SEND_SHARED, SENDS };

static void check_that_all_came_back(void)
{
    ck_assert_uint_eq(back, lent);
    ck_assert_uint_eq(back_wrongly, 0);
    for (unsigned i = 0; i < THINGS_MAX; i++)
        ck_assert_uint_eq(came_back[i], i < lent ? 1 : 0);
}

static void set_up(void)
{
    pattern_fill(pattern, 0, sizeof(pattern));
    pattern_file = memfd_create("jinduo-lending", MFD_CLOEXEC);
    ck_assert_int_eq(write(pattern_file, pattern, sizeof(pattern)), sizeof(pattern));
}

static void tear_down(void)
{
    system_calls_reset();
    close(pattern_file);
}

/* The late engine sends mostly single bytes. */
static size_t many_bytes(void)
{
    return engine_is("late") ? 300 * KIB : PATTERN_BYTES;
}

/* ---- order ---- */

static void send_mixed(jd_tcp_connection *connection, void *arg)
{
    static const size_t bounds[] = { 2, 100, 1000, 20 * KIB, 100 * KIB };
    uint64_t random = test_seed();

    for (size_t offset = 0, length; offset < many_bytes(); offset += length) {
        length = random_below(&random, bounds[random_below(&random, 5)]);
        if (length > many_bytes() - offset)
            length = many_bytes() - offset;
        ck_assert_int_eq(sends[random_below(&random, SENDS)](connection, offset, length), 0);
    }
}

START_TEST(sends_of_all_kinds_keep_their_order)
{
    serve(&(struct service){ .options.send_buffer_bytes = _i == 0 ? 0 : TINY_BUFFER_BYTES, .on_up = send_mixed });

    int client = _i == 0 ? client_connect() : client_connect_with_receive_buffer(TINY_BUFFER_BYTES);

    client_expect_pattern(client, 0, many_bytes());
    PUMP_UNTIL(back == lent);
    check_that_all_came_back();
    ck_assert_uint_gt(lent, 10);
}
END_TEST

static size_t file_bytes(void)
{
    return many_bytes() - 2000;
}

static void send_file_between(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_copy(connection, 0, 1000), 0);
    ck_assert_int_eq(send_file(connection, 1000, file_bytes()), 0);
    ck_assert_int_eq(send_copy(connection, 1000 + file_bytes(), 1000), 0);
}

static unsigned completions;

static void count_completion(jd_tcp_connection *connection, void *arg)
{
    completions++;
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 0);
}

static ssize_t refuse_sendfile(int socket, int fd, off_t *offset, size_t size)
{
    errno = EINVAL;
    return -1;
}

/* The last time by an engine that cannot send this kind of file as such (sendfile(2)). */
START_TEST(a_file_arrives_to_the_byte_between_header_and_trailer)
{
    static const char *const endpoints[] = { "127.0.0.1:0", "unix:@jinduo-test-lending", "127.0.0.1:0" };
    if (_i == 2)
        system_calls.sendfile = refuse_sendfile;
    serve(&(struct service){
        .options.listen = endpoints[_i], .on_up = send_file_between, .on_write_complete = count_completion });

    int client = client_connect();

    client_expect_pattern(client, 0, 2000 + file_bytes());
    PUMP_UNTIL(completions > 0);
    pump_until_quiet();
    check_that_all_came_back();
    ck_assert_uint_eq(completions, 1);
    ck_assert_uint_eq(statistics().bytes_sent, 2000 + file_bytes());
    ck_assert_int_eq(lseek(pattern_file, 0, SEEK_CUR), PATTERN_BYTES);
}
END_TEST

static int flags_before_file;

static ssize_t note_flags(int fd, const void *data, size_t size, int flags)
{
    if (size == 1000 && memcmp(data, pattern, size) == 0)
        flags_before_file = flags;
    return send(fd, data, size, flags);
}

/* So that a small file takes one segment, not two (send(2), MSG_MORE). */
START_TEST(a_header_waits_for_the_file_behind_it)
{
    system_calls.send = note_flags;
    serve(&(struct service){ .on_up = send_file_between });

    int client = client_connect();

    client_expect_pattern(client, 0, 2000 + file_bytes());
    ck_assert_int_ne(flags_before_file & MSG_MORE, 0);
}
END_TEST

static void send_to_the_end(jd_tcp_connection *connection, void *arg)
{
    jd_shared *shared;
    int file = memfd_create("jinduo-lending", MFD_CLOEXEC);

    ck_assert_int_eq(write(file, pattern, 2000), 2000);
    ck_assert_int_eq(
        jd_tcp_connection_send_file(connection, file, 1000, JD_TO_END, jd_close_descriptor, (void *)(intptr_t)file), 0);
    ck_assert_int_eq(jd_shared_create(&shared, pattern, 3000), 0);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 2000, JD_TO_END), 0);
    jd_shared_unref(shared);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

/* That the descriptor is closed and the shared memory freed sees the harness at the end. */
START_TEST(to_the_end_means_all_that_there_is_from_the_offset_on)
{
    serve(&(struct service){ .on_up = send_to_the_end });
    unsigned char received[4000];

    int client = client_connect();

    ck_assert_uint_eq(client_receive_to_end(client, received, sizeof(received)), 2000);
    pattern_expect(received, 1000, 2000);
}
END_TEST

/* ---- one payload for many ---- */

enum { RECEIVERS = 40, SHARED_BYTES = 300 * KIB };

static void send_to(jd_tcp_connection *connection, void *arg)
{
    ck_assert_ptr_nonnull(connection);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, arg, 0, JD_TO_END), 0);
}

START_TEST(one_payload_goes_to_many_without_a_copy_and_comes_back_after_the_last)
{
    int clients[RECEIVERS];
    jd_shared *shared;
    size_t before;
    serve(&(struct service){ .options.send_buffer_bytes = TINY_BUFFER_BYTES });
    for (unsigned i = 0; i < RECEIVERS; i++)
        clients[i] = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    PUMP_UNTIL(connections_up() == RECEIVERS);
    pump_until_quiet();
    before = jd_memory_in_use();

    ck_assert_int_eq(jd_shared_create_owned(&shared, pattern, SHARED_BYTES, give_back, next_number()), 0);
    for (unsigned i = 0; i < RECEIVERS; i++)
        ck_assert_int_eq(jd_tcp_connection_post(connection_id(i), send_to, shared), 0);
    pump_turns(20);
    ck_assert_uint_eq(jd_shared_length(shared), SHARED_BYTES);
    ck_assert_ptr_eq(jd_shared_data(shared), pattern);
    jd_shared_unref(shared);

    ck_assert_uint_le(jd_memory_in_use(), before + 64 * KIB);
    for (unsigned i = 0; i < RECEIVERS; i++) {
        ck_assert_uint_eq(back, 0);
        client_expect_pattern(clients[i], 0, SHARED_BYTES);
    }
    PUMP_UNTIL(back == 1);
    ck_assert_uint_eq(back_wrongly, 0);
}
END_TEST

/* ---- when it comes back ---- */

static void send_much(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_owned(connection, 0, 100 * KIB), 0); /* flushed in the call */
    ck_assert_uint_eq(back, 0);
    ck_assert_int_eq(send_owned(connection, 100 * KIB, 10), 0);
    ck_assert_uint_eq(back, 0);
}

START_TEST(nothing_comes_back_from_inside_the_call)
{
    serve(&(struct service){ .on_up = send_much });

    int client = client_connect();

    client_expect_pattern(client, 0, 100 * KIB + 10);
    PUMP_UNTIL(back == 2);
    check_that_all_came_back();
}
END_TEST

enum { STREAM_PIECE = 10 * KIB };

static size_t streamed;

static void stream_on(void *connection)
{
    size_t offset = streamed;

    back_wrongly += is_calling;
    if (streamed >= many_bytes())
        return;
    streamed += STREAM_PIECE;
    is_calling = true;
    ck_assert_int_eq(jd_tcp_connection_send_owned(connection, pattern + offset, STREAM_PIECE, stream_on, connection),
                     0);
    is_calling = false;
}

static void begin_to_stream(jd_tcp_connection *connection, void *arg)
{
    stream_on(connection);
}

START_TEST(what_comes_back_may_be_sent_on_from_there)
{
    serve(&(struct service){ .on_up = begin_to_stream });

    int client = client_connect();

    client_expect_pattern(client, 0, many_bytes() / STREAM_PIECE * STREAM_PIECE);
    ck_assert_uint_eq(back_wrongly, 0);
}
END_TEST

static void lend_nothing(void *connection)
{
    ck_assert_int_eq(send_owned(connection, 0, 0), 0);
    ck_assert_int_eq(send_file(connection, 0, 0), 0);
}

static void take(jd_tcp_connection *connection, void *arg)
{
    *(jd_tcp_connection **)arg = connection;
}

/* The loop would wait for ever if it did not know of them. */
START_TEST(a_range_of_no_length_comes_back_without_anything_else_to_happen)
{
    jd_tcp_connection *connection = NULL;
    serve(&(struct service){ .on_up = take, .arg = &connection });
    client_connect_up();
    pump_until_quiet();

    lend_nothing(connection);
    ck_assert_uint_eq(back, 0);
    ck_assert_int_ge(jd_event_loop_run_once(the_loop, -1), 0);

    check_that_all_came_back();
    ck_assert_uint_eq(lent, 2);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 0);
}
END_TEST

/* ---- rough ends ---- */

enum { EACH_BYTES = 1000 * KIB };

static unsigned back_at_down;
static int down_error;

static void note_down(jd_tcp_connection *connection, void *arg)
{
    back_at_down = back;
    down_error = jd_tcp_connection_error(connection);
}

static void send_each(jd_tcp_connection *connection, void *arg)
{
    for (unsigned i = 0; i < SENDS; i++)
        ck_assert_int_eq(sends[i](connection, i * EACH_BYTES, EACH_BYTES), 0);
}

static void close_it(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_close(connection);
}

static void reset_it(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_reset(connection);
}

/* Before the first byte, within each of the four. */
START_TEST(all_comes_back_once_and_before_down_however_the_connection_ends)
{
    static const size_t received[] = { 1, EACH_BYTES + 10, 2 * EACH_BYTES + 10, 3 * EACH_BYTES + 10 };
    size_t bytes = engine_is("late") ? 1000 : received[_i % 4];
    serve(&(struct service){ .options = { .send_buffer_bytes = TINY_BUFFER_BYTES, .high_watermark = 8 * MIB },
                             .on_up = send_each,
                             .on_down = note_down });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    client_expect_pattern(client, 0, bytes);

    if (_i / 4 == 0)
        client_reset(client);
    else
        ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), _i / 4 == 1 ? close_it : reset_it, NULL), 0);

    PUMP_UNTIL(connections_down() == 1);
    check_that_all_came_back();
    ck_assert_uint_eq(back_at_down, SENDS - 1);
    ck_assert_uint_eq(statistics().bytes_sent + statistics().bytes_dropped, SENDS * EACH_BYTES);
    ck_assert_uint_gt(statistics().bytes_dropped, 0);
    ck_assert_str_eq(story(0), "up down");
}
END_TEST

START_TEST(what_is_queued_when_the_loop_is_destroyed_comes_back)
{
    serve(&(struct service){ .options.send_buffer_bytes = TINY_BUFFER_BYTES, .on_up = send_each });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    client_expect_pattern(client, 0, 10);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);

    the_loop = NULL;
    check_that_all_came_back();
}
END_TEST

static void truncate_it(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_copy(connection, 0, 10), 0);
    ck_assert_int_eq(send_file(connection, 10, PATTERN_BYTES - 10), 0);
    ck_assert_int_eq(send_copy(connection, 0, 10), 0);
}

START_TEST(a_file_that_has_become_shorter_ends_the_connection)
{
    size_t left = _i == 0 ? 0 : 500 * KIB;
    size_t received;
    serve(&(struct service){
        .options.send_buffer_bytes = TINY_BUFFER_BYTES, .on_up = truncate_it, .on_down = note_down });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    client_expect_pattern(client, 0, 1000);

    ck_assert_int_eq(ftruncate(pattern_file, (off_t)left), 0);
    received = 1000 + client_receive_to_end(client, NULL, 0);

    ck_assert_uint_le(received, _i == 0 ? 500 * KIB : left);
    ck_assert_uint_ge(received, left);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_ENODATA);
    check_that_all_came_back();
    ck_assert_uint_eq(statistics().bytes_sent + statistics().bytes_dropped, PATTERN_BYTES + 10);
}
END_TEST

/* As if the peer took everything as fast as it is sent. */
static ssize_t send_file_to_nowhere(int socket, int fd, off_t *offset, size_t size)
{
    return (ssize_t)size;
}

static void close_behind_endless_file(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(ftruncate(pattern_file, (off_t)1 << 40), 0);
    ck_assert_int_eq(send_file(connection, 0, (size_t)1 << 40), 0);
    jd_tcp_connection_close(connection);
}

START_TEST(closing_does_not_go_on_with_a_long_file_for_a_peer_that_keeps_up)
{
    system_calls.sendfile = send_file_to_nowhere;
    serve(&(struct service){ .on_up = close_behind_endless_file });

    client_connect();

    PUMP_UNTIL(connections_down() == 1);
    check_that_all_came_back();
    ck_assert_uint_gt(statistics().bytes_sent, 0);
    ck_assert_uint_le(statistics().bytes_sent, 32 * MIB);
    ck_assert_uint_eq(statistics().bytes_sent + statistics().bytes_dropped, (uint64_t)1 << 40);
}
END_TEST

/* ---- half-close ---- */

static void answer_and_shut_down(jd_tcp_connection *connection, void *arg)
{
    send_file_between(connection, arg);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
    ck_assert_int_eq(send_file(connection, 0, 1000), JD_ENOTCONN);
}

START_TEST(a_file_is_sent_whole_to_a_peer_that_has_ended_its_side)
{
    serve(&(struct service){ .options.allow_half_open = true, .on_half_close = answer_and_shut_down });
    int client = client_connect_up();

    client_shutdown(client);

    client_expect_pattern(client, 0, 2000 + file_bytes());
    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    check_that_all_came_back();
    ck_assert_str_eq(story(0), "up half-close down");
}
END_TEST

static void answer(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    send_file_between(connection, arg);
}

START_TEST(a_file_is_sent_whole_before_the_end_that_answers_the_peers)
{
    serve(&(struct service){ .options.send_buffer_bytes = TINY_BUFFER_BYTES, .on_message = answer });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);

    client_send(client, "?", 1);
    client_shutdown(client);

    client_expect_pattern(client, 0, 2000 + file_bytes());
    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    check_that_all_came_back();
}
END_TEST

/* ---- limits ---- */

static unsigned high_marks;

static void count_high_mark(jd_tcp_connection *connection, size_t queued, void *arg)
{
    high_marks++;
}

static void send_file_over_the_limit(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_file(connection, 0, PATTERN_BYTES), 0);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), FILE_COUNTS_BYTES);
    ck_assert_int_eq(send_file(connection, 0, PATTERN_BYTES), 0);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 2 * FILE_COUNTS_BYTES);
    ck_assert_int_eq(send_owned(connection, 0, 10 * KIB), JD_ENOBUFS);
    ck_assert_int_eq(send_shared(connection, 0, 10 * KIB), JD_ENOBUFS);
}

START_TEST(a_file_for_a_peer_that_never_reads_takes_no_memory_and_stops_nothing)
{
    serve(&(struct service){
        .options = { .output_limit = 10 * KIB, .high_watermark = 5 * KIB, .send_buffer_bytes = TINY_BUFFER_BYTES },
        .on_up = send_file_over_the_limit,
        .on_high_watermark = count_high_mark });
    size_t before = jd_memory_in_use();
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    PUMP_UNTIL(connections_up() == 1);

    client_send(client, "still heard", 11);

    PUMP_UNTIL(bytes_received() == 11);
    ck_assert_uint_eq(high_marks, 0);
    /* The late engine reads the file in parts, a block at a time. */
    ck_assert_uint_le(jd_memory_in_use(), before + 1024 * KIB);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    check_that_all_came_back();
}
END_TEST

static void send_memory_over_the_mark(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_owned(connection, 0, 40 * KIB), 0);
    ck_assert_int_eq(send_shared(connection, 40 * KIB, 40 * KIB), 0);
}

START_TEST(memory_that_is_lent_counts_like_copies)
{
    remake_the_loop(&(jd_event_loop_options){ .flush_bytes = MIB });
    serve(&(struct service){ .options = { .high_watermark = 64 * KIB, .send_buffer_bytes = TINY_BUFFER_BYTES },
                             .on_up = send_memory_over_the_mark,
                             .on_high_watermark = count_high_mark });

    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);

    PUMP_UNTIL(high_marks == 1);
    client_expect_pattern(client, 0, 80 * KIB);
    PUMP_UNTIL(back == 2);
}
END_TEST

/* ---- refusals ---- */

static void try_wrong_files(jd_tcp_connection *connection, void *arg)
{
    int write_only = open("/dev/shm", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int ends[2];
    bool piped = pipe(ends) == 0;
    const struct {
        int fd;
        int64_t offset;
        uint64_t length;
        int result;
    } wrong[] = {
        { ends[0], 0, 10, JD_EINVAL },
        { directory, 0, 10, JD_EINVAL },
        { write_only, 0, 0, JD_EINVAL },
        { -1, 0, 10, -EBADF },
        { pattern_file, -1, 10, JD_EINVAL },
        { pattern_file, 0, PATTERN_BYTES + 1, JD_ERANGE },
        { pattern_file, 10, PATTERN_BYTES - 9, JD_ERANGE },
        { pattern_file, PATTERN_BYTES + 1, 0, JD_ERANGE },
        { pattern_file, INT64_MAX, JD_TO_END, JD_ERANGE },
        { pattern_file, 1, UINT64_MAX - 1, JD_ERANGE },
    };

    ck_assert(piped && write_only >= 0 && directory >= 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_int_eq(
            jd_tcp_connection_send_file(connection, wrong[i].fd, wrong[i].offset, wrong[i].length, give_back, NULL),
            wrong[i].result);
    close(write_only);
    close(directory);
    close(ends[0]);
    close(ends[1]);
}

static void try_wrong_ranges(jd_tcp_connection *connection, void *arg)
{
    jd_shared *shared;

    ck_assert_int_eq(jd_shared_create(&shared, pattern, 1000), 0);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 1001, 0), JD_ERANGE);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 1001, JD_TO_END), JD_ERANGE);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 0, 1001), JD_ERANGE);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 500, SIZE_MAX - 1), JD_ERANGE);
    ck_assert_int_eq(jd_tcp_connection_send_shared(connection, shared, 1000, JD_TO_END), 0);
    jd_shared_unref(shared);
}

static void try_wrong_things(jd_tcp_connection *connection, void *arg)
{
    try_wrong_files(connection, arg);
    try_wrong_ranges(connection, arg);
    ck_assert_int_eq(send_owned(connection, 0, 10 * KIB + 1), JD_ENOBUFS);
    ck_assert_int_eq(jd_tcp_connection_send_owned(connection, pattern, SIZE_MAX, give_back, NULL), JD_ENOBUFS);
    jd_tcp_connection_close(connection);
    ck_assert_int_eq(send_owned(connection, 0, 10), JD_ENOTCONN);
    ck_assert_int_eq(send_owned(connection, 0, 0), JD_ENOTCONN);
    ck_assert_int_eq(send_file(connection, 0, 10), JD_ENOTCONN);
}

START_TEST(what_is_refused_has_not_been_taken)
{
    serve(&(struct service){ .options.output_limit = 10 * KIB, .on_up = try_wrong_things });

    int client = client_connect();

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(back, 0);
    ck_assert_uint_eq(statistics().bytes_dropped, 0);
}
END_TEST

/* ---- turns ---- */

static void send_whole_file(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_file(connection, 0, PATTERN_BYTES), 0);
}

START_TEST(a_file_takes_no_more_of_a_turn_than_its_share)
{
    enum { BUDGET = 64 * KIB };
    uint64_t sent = 0, most = 0;
    char data[64 * KIB];
    serve(&(struct service){ .options.budget_bytes = BUDGET, .on_up = send_whole_file });
    int client = client_connect();

    for (size_t received = 0; received < many_bytes();) {
        ssize_t count = client_receive_some(client, data, sizeof(data));
        received += count > 0 ? (size_t)count : 0;
        pump_turns(1);
        if (statistics().bytes_sent - sent > most)
            most = statistics().bytes_sent - sent;
        sent = statistics().bytes_sent;
    }

    ck_assert_uint_gt(most, 0);
    ck_assert_uint_le(most, BUDGET);
}
END_TEST

/* ---- from another thread ---- */

enum { ROUNDS = 300, PIECE_BYTES = 700 };

static jd_tcp_connection *_Atomic kept;
static _Atomic unsigned failures;
static pthread_t up_in;

static void keep(jd_tcp_connection *connection, void *arg)
{
    up_in = pthread_self();
    kept = jd_tcp_connection_ref(connection);
}

static void *send_from_afar(void *arg)
{
    for (size_t i = 0; i < ROUNDS; i++)
        failures += sends[i % SENDS](kept, i * PIECE_BYTES, PIECE_BYTES) != 0;
    return NULL;
}

START_TEST(another_thread_may_lend_and_it_comes_back_in_the_connections)
{
    pthread_t thread;
    serve(&(struct service){ .options.io_threads = 1, .on_up = keep });
    int client = client_connect();
    PUMP_UNTIL(kept != NULL);

    ck_assert_int_eq(pthread_create(&thread, NULL, send_from_afar, NULL), 0);
    client_expect_pattern(client, 0, ROUNDS * PIECE_BYTES);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);

    PUMP_UNTIL(back == lent);
    check_that_all_came_back();
    ck_assert_uint_eq(failures, 0);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert(pthread_equal(came_back_in, up_in));
    jd_tcp_connection_unref(kept);
}
END_TEST

static void *lend_and_look(void *arg)
{
    failures += send_owned(kept, 0, 6 * KIB) != 0;
    failures += send_file(kept, 6 * KIB, 100 * KIB) != 0;
    failures += jd_tcp_connection_queued_bytes(kept) != 6 * KIB + FILE_COUNTS_BYTES;
    failures += send_owned(kept, 0, 6 * KIB) != JD_ENOBUFS;
    failures += jd_tcp_connection_shutdown(kept) != 0;
    failures += send_file(kept, 0, 10) != JD_ENOTCONN;
    failures += send_owned(kept, 0, 10) != JD_ENOTCONN;
    return NULL;
}

/* The loop does not run meanwhile: nothing has been taken yet, and yet all is promised. */
START_TEST(the_answer_to_another_thread_holds_before_the_loop_knows)
{
    pthread_t thread;
    serve(&(struct service){ .options.output_limit = 10 * KIB, .on_up = keep });
    int client = client_connect();
    PUMP_UNTIL(kept != NULL);

    ck_assert_int_eq(pthread_create(&thread, NULL, lend_and_look, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(failures, 0);
    ck_assert_uint_eq(back, 0);

    if (_i == 0) {
        client_expect_pattern(client, 0, 106 * KIB);
        client_expect_end(client);
    } else {
        ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
        the_loop = NULL;
    }
    if (_i == 0)
        PUMP_UNTIL(back == 2);
    check_that_all_came_back();
    jd_tcp_connection_unref(kept);
}
END_TEST

/* ---- SIGPIPE: pitfall 39 ---- */

static void send_file_on(jd_tcp_connection *connection, void *arg)
{
    if (connection != NULL)
        send_file(connection, 0, 100 * KIB);
}

/* The test's process would be killed: the signal's action is the default. */
START_TEST(a_file_for_a_peer_that_is_gone_raises_no_signal)
{
    struct sigaction action;
    ck_assert(signal(SIGPIPE, SIG_DFL) == SIG_DFL);
    serve(&(struct service){
        .options = { .allow_half_open = true, .listen = _i == 0 ? "127.0.0.1:0" : "unix:@jinduo-test-pipe" } });

    for (unsigned i = 0; i < 20; i++) {
        int client = client_connect_up();
        ck_assert_int_eq(jd_tcp_connection_post(connection_id(i), send_file_on, NULL), 0);
        pump_turns(i % 3);
        if (i % 2 == 0)
            client_close(client);
        else
            client_reset(client);
        for (int k = 0; k < 5; k++) {
            ck_assert_int_eq(jd_tcp_connection_post(connection_id(i), send_file_on, NULL), 0);
            pump_turns(1);
        }
        PUMP_UNTIL(connections_down() == i + 1);
    }

    check_that_all_came_back();
    ck_assert_int_eq(sigaction(SIGPIPE, NULL, &action), 0);
    ck_assert(action.sa_handler == SIG_DFL);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "lending");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, sends_of_all_kinds_keep_their_order, 0, 2);
    tcase_add_loop_test(tests, a_file_arrives_to_the_byte_between_header_and_trailer, 0, 3);
    if (engine_is("reactor"))
        tcase_add_test(tests, a_header_waits_for_the_file_behind_it);
    tcase_add_test(tests, to_the_end_means_all_that_there_is_from_the_offset_on);
    tcase_add_test(tests, one_payload_goes_to_many_without_a_copy_and_comes_back_after_the_last);
    tcase_add_test(tests, nothing_comes_back_from_inside_the_call);
    tcase_add_test(tests, what_comes_back_may_be_sent_on_from_there);
    tcase_add_test(tests, a_range_of_no_length_comes_back_without_anything_else_to_happen);
    tcase_add_loop_test(tests, all_comes_back_once_and_before_down_however_the_connection_ends, 0, 12);
    tcase_add_test(tests, what_is_queued_when_the_loop_is_destroyed_comes_back);
    tcase_add_loop_test(tests, a_file_that_has_become_shorter_ends_the_connection, 0, 2);
    if (engine_is("reactor")) /* others do not send by sendfile(2) */
        tcase_add_test(tests, closing_does_not_go_on_with_a_long_file_for_a_peer_that_keeps_up);
    tcase_add_test(tests, a_file_is_sent_whole_to_a_peer_that_has_ended_its_side);
    tcase_add_test(tests, a_file_is_sent_whole_before_the_end_that_answers_the_peers);
    tcase_add_test(tests, a_file_for_a_peer_that_never_reads_takes_no_memory_and_stops_nothing);
    tcase_add_test(tests, memory_that_is_lent_counts_like_copies);
    tcase_add_test(tests, what_is_refused_has_not_been_taken);
    tcase_add_test(tests, a_file_takes_no_more_of_a_turn_than_its_share);
    tcase_add_test(tests, another_thread_may_lend_and_it_comes_back_in_the_connections);
    tcase_add_loop_test(tests, the_answer_to_another_thread_holds_before_the_loop_knows, 0, 2);
    tcase_add_loop_test(tests, a_file_for_a_peer_that_is_gone_raises_no_signal, 0, 2);
}
