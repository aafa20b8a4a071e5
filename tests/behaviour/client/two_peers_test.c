/* Two well-behaved peers, a server and a client of the library, never stall each other: what one sends arrives at the
 * other, whatever their sizes, pauses, watermarks and options are. Only both ends may not pause reading above their
 * watermarks: if each waits until the other reads, both wait for ever. Pitfall 33. */
#include "tests/behaviour/client/client_fixture.h"

#include <jinduo/error.h>
#include <stdlib.h>

const char *const suite_name = "two_peers";

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
    SHARE_MAX = 64 * KIB, /* bytes that a callback takes, or sends, in one step */
    FACTOR_MAX = 3,
    OWN_MAX = 4 * MIB, /* bytes that a peer sends by itself */
    STEPS_MAX = 1024,
};

/* One end. The bytes that it sends are the pattern from 0 on: own_bytes by itself, and factor bytes for each that it
 * receives. */
struct peer {
    uint64_t random;
    struct peer *other;
    jd_tcp_connection *connection; /* while it is up */
    const jd_codec *codec;
    size_t own_bytes, own_sent, sent, received;
    unsigned factor;
    bool is_tight;    /* small buffers and watermarks, much data: whoever pauses makes the other wait */
    size_t share;     /* the most bytes of a step */
    bool is_paced;    /* sends its own bytes only while it is below the watermark, then at the low one */
    bool stops_above; /* takes no input while it is above */
    bool shuts_down;  /* when it has sent its own bytes */
    unsigned pauses, nested_pauses, agains; /* in a hundred calls */
    bool is_paused;
};

/* All own bytes are sent, and all that either sent has arrived. */
static bool peer_is_done(const struct peer *peer)
{
    return peer->own_sent == peer->own_bytes && peer->sent == peer->own_bytes + peer->factor * peer->received &&
           peer->received == peer->other->sent;
}

static bool chance(struct peer *peer, unsigned percent)
{
    return random_below(&peer->random, 100) < percent;
}

static void peer_send(struct peer *peer, size_t length)
{
    static char data[SHARE_MAX];
    int result;

    pattern_fill(data, peer->sent, length);
    result = peer->codec != NULL ? jd_codec_send(peer->codec, peer->connection, data, length)
                                 : jd_tcp_connection_send(peer->connection, data, length);
    ck_assert_int_eq(result, 0);
    peer->sent += length;
}

static void peer_send_own(struct peer *peer)
{
    while (peer->own_sent < peer->own_bytes &&
           !(peer->is_paced && jd_tcp_connection_is_above_watermark(peer->connection))) {
        size_t left = peer->own_bytes - peer->own_sent;
        size_t length = 1 + (size_t)random_below(&peer->random, peer->share);
        length = length < left ? length : left;
        peer_send(peer, length);
        peer->own_sent += length;
    }
    if (peer->shuts_down && peer->own_sent == peer->own_bytes)
        jd_tcp_connection_shutdown(peer->connection);
}

static void on_up(jd_tcp_connection *connection, void *arg)
{
    struct peer *peer = arg;

    peer->connection = connection;
    peer_send_own(peer);
}

static void on_down(jd_tcp_connection *connection, void *arg)
{
    struct peer *peer = arg;

    ck_assert_int_eq(jd_tcp_connection_error(connection), 0);
    peer->connection = NULL;
}

static void on_low(jd_tcp_connection *connection, size_t queued, void *arg)
{
    struct peer *peer = arg;

    if (peer->own_sent < peer->own_bytes)
        peer_send_own(peer);
}

static void resume(void *arg)
{
    struct peer *peer = arg;

    peer->is_paused = false;
    if (peer->connection != NULL)
        jd_tcp_connection_resume_reading(peer->connection);
}

/* Whatever a callback may do to its own delivery. Returns whether it should leave the rest. */
static bool peer_interrupts_itself(struct peer *peer)
{
    bool leaves = false;

    if (chance(peer, peer->nested_pauses)) {
        jd_tcp_connection_pause_reading(peer->connection);
        jd_tcp_connection_pause_reading(peer->connection);
        if (!peer->is_paused)
            jd_tcp_connection_resume_reading(peer->connection);
        leaves = true;
    }
    if (!peer->is_paused && chance(peer, peer->pauses)) {
        ck_assert_int_eq(jd_tcp_connection_pause_reading(peer->connection), 0);
        ck_assert_int_eq(jd_event_loop_run_after(the_loop, random_below(&peer->random, 3), resume, peer, NULL), 0);
        peer->is_paused = leaves = true;
    }
    if (chance(peer, peer->agains)) {
        ck_assert_int_eq(jd_tcp_connection_deliver_again(peer->connection), 0);
        leaves = true;
    }
    return leaves;
}

static void peer_take(struct peer *peer, const void *data, size_t length)
{
    pattern_expect(data, peer->received, length);
    peer->received += length;
    for (unsigned i = 0; i < peer->factor; i++)
        peer_send(peer, length);
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    struct peer *peer = arg;

    while (jd_buffer_readable(input) > 0 && !(peer->stops_above && jd_tcp_connection_is_above_watermark(connection))) {
        size_t length = 1 + (size_t)random_below(&peer->random, peer->share);
        length = length < jd_buffer_readable(input) ? length : jd_buffer_readable(input);
        peer_take(peer, jd_buffer_peek(input, length), length);
        jd_buffer_consume(input, length);
        if (peer_interrupts_itself(peer))
            return;
    }
}

static void on_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    struct peer *peer = arg;

    peer_take(peer, data, length);
    peer_interrupts_itself(peer);
}

/* ---- the peers and their options, at random ---- */

/* Small sizes are as likely as large ones. */
static size_t any_size(uint64_t *random, size_t least, size_t most)
{
    unsigned doublings = 0;
    size_t size;

    while (least << doublings < most)
        doublings++;
    size = least << random_below(random, doublings + 1);
    size += (size_t)random_below(random, size);
    return size < most ? size : most;
}

static int any_buffer(struct peer *peer)
{
    /* Small buffers with zero_copy wait for the kernel's timers, step by step: docs/io_uring.md. */
    if (option_is("zero_copy"))
        return 0;
    if (peer->is_tight)
        return 16 * KIB;
    return chance(peer, 25) ? 0 : (int)any_size(&peer->random, 16 * KIB, MIB);
}

#define CHOOSE_OPTIONS(options, peer, above)                                                                           \
    do {                                                                                                               \
        (options)->above_watermark = (above);                                                                          \
        (options)->high_watermark = any_size(&(peer)->random, KIB, (peer)->is_tight ? 32 * KIB : MIB);                 \
        (options)->low_watermark = (size_t)random_below(&(peer)->random, (options)->high_watermark);                   \
        (options)->send_buffer_bytes = any_buffer(peer);                                                               \
        (options)->receive_buffer_bytes = any_buffer(peer);                                                            \
        (options)->budget_bytes = any_size(&(peer)->random, 4 * KIB, MIB);                                             \
        (options)->nagle = random_below(&(peer)->random, 4) == 0;                                                      \
        (options)->allow_half_open = random_below(&(peer)->random, 2) == 0;                                            \
    } while (0)

static struct peer any_peer(uint64_t *random, bool is_tight, bool answers, const jd_codec *codec)
{
    struct peer peer = { .random = random_next(random), .is_tight = is_tight, .codec = codec };

    peer.share = any_size(&peer.random, is_tight ? 4 * KIB : 16, SHARE_MAX);
    peer.factor = answers ? 1 + (unsigned)random_below(&peer.random, FACTOR_MAX) : 0;
    peer.own_bytes = any_size(&peer.random, is_tight ? MIB : KIB, OWN_MAX);
    if (answers && random_below(&peer.random, 2) == 0)
        peer.own_bytes = 0;
    peer.is_paced = random_below(&peer.random, 2) == 0;
    peer.stops_above = answers && random_below(&peer.random, 3) != 0;
    peer.pauses = random_below(&peer.random, 2) == 0 ? (unsigned)random_below(&peer.random, 30) : 0;
    peer.nested_pauses = random_below(&peer.random, 2) == 0 ? (unsigned)random_below(&peer.random, 50) : 0;
    peer.agains = random_below(&peer.random, 2) == 0 ? (unsigned)random_below(&peer.random, 50) : 0;
    return peer;
}

/* A test of many small steps takes long: after some of them a peer pauses for a millisecond or two. */
static void limit_steps(struct peer *sender, const struct peer *receiver)
{
    size_t share = sender->share < receiver->share ? sender->share : receiver->share;

    if (sender->own_bytes > STEPS_MAX * share)
        sender->own_bytes = STEPS_MAX * share;
}

static void on_half_close(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_shutdown(connection);
}

static const struct {
    jd_above_watermark server, client;
} combinations[] = {
    { JD_ABOVE_WATERMARK_DEFAULT, JD_ABOVE_WATERMARK_DEFAULT },
    { JD_ABOVE_WATERMARK_DEFAULT, JD_ABOVE_WATERMARK_KEEP_READING },
    { JD_ABOVE_WATERMARK_PAUSE_READING, JD_ABOVE_WATERMARK_DEFAULT },
    { JD_ABOVE_WATERMARK_PAUSE_READING, JD_ABOVE_WATERMARK_KEEP_READING },
    { JD_ABOVE_WATERMARK_KEEP_READING, JD_ABOVE_WATERMARK_DEFAULT },
    { JD_ABOVE_WATERMARK_KEEP_READING, JD_ABOVE_WATERMARK_PAUSE_READING },
    { JD_ABOVE_WATERMARK_KEEP_READING, JD_ABOVE_WATERMARK_KEEP_READING },
};

enum answering { NOBODY_ANSWERS, SERVER_ANSWERS, CLIENT_ANSWERS, ANSWERING_COUNT };
enum { COMBINATIONS = sizeof(combinations) / sizeof(combinations[0]) };
enum { CASES = COMBINATIONS * ANSWERING_COUNT };

/* _i: the combination, and who answers. */
START_TEST(all_that_two_peers_send_arrives)
{
    const enum answering answering = (enum answering)(_i / COMBINATIONS);
    uint64_t random = test_seed() + (uint64_t)_i;
    const bool is_tight = random_below(&random, 2) == 0;
    struct peer server_peer, client_peer;
    struct service service = { .on_up = on_up, .on_down = on_down, .on_half_close = on_half_close };
    struct client_use use = { .on_up = on_up, .on_down = on_down, .on_half_close = on_half_close };
    jd_codec *codec = NULL;

    if (random_below(&random, 2) == 0)
        ck_assert_int_eq(jd_length_codec_create(&codec, &(jd_length_codec_options){ .strip_bytes = JD_STRIP_HEADER }),
                         0);
    server_peer = any_peer(&random, is_tight, answering == SERVER_ANSWERS, codec);
    client_peer = any_peer(&random, is_tight, answering == CLIENT_ANSWERS, codec);
    limit_steps(&server_peer, &client_peer);
    limit_steps(&client_peer, &server_peer);
    server_peer.other = &client_peer;
    client_peer.other = &server_peer;
    /* A FIN ends the other end's own sending. */
    client_peer.shuts_down = server_peer.own_bytes == 0 && random_below(&random, 2) == 0;

    CHOOSE_OPTIONS(&service.options, &server_peer, combinations[_i % COMBINATIONS].server);
    CHOOSE_OPTIONS(&use.options, &client_peer, combinations[_i % COMBINATIONS].client);
    service.arg = &server_peer;
    use.arg = &client_peer;
    service.codec = use.codec = codec;
    service.on_frame = on_frame;
    use.on_frame = on_frame;
    if (codec == NULL) {
        service.on_message = on_message;
        use.on_message = on_message;
    }
    service.on_low_watermark = use.on_low_watermark = on_low;

    serve(&service);
    start_client(&use);
    PUMP_UNTIL(peer_is_done(&server_peer) && peer_is_done(&client_peer));

    jd_event_loop_destroy(the_loop);
    the_loop = NULL;
    jd_codec_destroy(codec);
}
END_TEST

/* ---- the defaults ---- */

enum { ALL_AT_ONCE = 32 * MIB };

static void send_all_at_once(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, arg, ALL_AT_ONCE), 0);
}

START_TEST(a_client_that_sends_before_it_reads_gets_its_echo_by_default)
{
    char *data = calloc(1, ALL_AT_ONCE);

    ck_assert_ptr_nonnull(data);
    serve(&(struct service){ .on_message = echo });
    start_client(&(struct client_use){ .on_up = send_all_at_once, .arg = data });

    PUMP_UNTIL(client_bytes() == ALL_AT_ONCE);
    free(data);
}
END_TEST

/* What a default server does with a peer that does not read: watermarks_test.c. */
START_TEST(a_client_can_be_asked_to_pause_above_its_watermark)
{
    char *data = calloc(1, ALL_AT_ONCE);

    ck_assert_ptr_nonnull(data);
    serve(&(struct service){ .on_message = echo });
    start_client(&(struct client_use){
        .options.above_watermark = JD_ABOVE_WATERMARK_PAUSE_READING, .on_up = send_all_at_once, .arg = data });

    PUMP_UNTIL(clients_up() == 1);
    pump_until_quiet();
    ck_assert_uint_lt(client_bytes(), ALL_AT_ONCE);
    free(data);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = client_case(suite, "two_peers");

    tcase_add_loop_test(tests, all_that_two_peers_send_arrives, 0, CASES);
    tcase_add_test(tests, a_client_that_sends_before_it_reads_gets_its_echo_by_default);
    tcase_add_test(tests, a_client_can_be_asked_to_pause_above_its_watermark);
}
