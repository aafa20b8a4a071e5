/* The PROXY protocol: a connection comes up behind its header, with the client that the header names as its peer; without a
 * proper one, no callback ever sees it. */
#include "base/endpoint.h"
#include "net/filter/proxy_header.h"
#include "tests/behaviour/harness.h"
#include "tests/support/proxy_headers.h"

#include <jinduo/error.h>
#include <jinduo/length_codec.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

const char *const suite_name = "proxy";

/* What is not to happen gets a timeout that a process meets hardly ever by getting no turn. */
enum { SHORT_MS = 60, SAFE_MS = 3000, LONG_MS = 60 * 1000, NS_PER_MS = 1000000 };
enum { MUTATIONS = 2000, BATCH = 50, HEADER_ROOM = 4096 };

/* ---- the server ---- */

static char last_peer[JD_ENDPOINT_TEXT_BYTES];
static uint64_t up_turn, message_turn;

static void note_peer_of(const jd_tcp_connection *connection)
{
    jd_endpoint peer;

    ck_assert_int_eq(jd_tcp_connection_peer_endpoint(connection, &peer), 0);
    jd_endpoint_format(&peer, last_peer, sizeof(last_peer));
}

static void note_peer(jd_tcp_connection *connection, void *arg)
{
    note_peer_of(connection);
    ck_assert(jd_tcp_connection_is_connected(connection));
    up_turn = statistics().turns;
}

static void echo_and_note(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    message_turn = statistics().turns;
    echo(connection, input, received, arg);
}

/* With the deadline far away, unless a test sets another. */
static jd_tcp_server *serve_proxied(struct service service)
{
    if (service.options.proxy_sources == NULL)
        service.options.proxy_sources = "127.0.0.0/8, ::1, unix";
    if (service.options.proxy_timeout_ms == 0)
        service.options.proxy_timeout_ms = LONG_MS;
    if (service.on_up == NULL)
        service.on_up = note_peer;
    if (service.on_message == NULL)
        service.on_message = echo_and_note;
    return serve(&service);
}

static uint64_t connections_gone(void)
{
    jd_event_loop_statistics now = statistics();

    return now.connections_failed + now.connections_closed;
}

/* ---- headers ---- */

struct header {
    size_t length;
    uint8_t bytes[HEADER_ROOM];
};

enum { V1_TCP4, V1_TCP6, V1_UNKNOWN, OF_V2_TCP4, OF_V2_TCP6, OF_V2_UNIX, OF_V2_LOCAL, OF_V2_CHECKED, KINDS };

static void set_bytes(struct header *header, const void *bytes, size_t length)
{
    ck_assert_uint_le(length, sizeof(header->bytes));
    memcpy(header->bytes, bytes, length);
    header->length = length;
}

static void set_text(struct header *header, const char *text)
{
    set_bytes(header, text, strlen(text));
}

static void set_v2(struct header *header, uint8_t command, uint8_t family, bool with_records)
{
    static struct v2_header v2;

    v2_begin(&v2, command, family);
    if (with_records) {
        v2_add(&v2, 0x02, 11, 'a'); /* PP2_TYPE_AUTHORITY */
        v2_add(&v2, 0x04, 0, 0);    /* PP2_TYPE_NOOP */
        v2_add_checksum(&v2);
    }
    set_bytes(header, v2.bytes, v2.length);
}

static void make_header(struct header *header, int kind)
{
    switch (kind) {
    case V1_TCP4:
        set_text(header, "PROXY TCP4 1.2.3.4 127.0.0.9 443 8080\r\n");
        break;
    case V1_TCP6:
        set_text(header, "PROXY TCP6 2001:db8::1 2001:db8::2 443 8080\r\n");
        break;
    case V1_UNKNOWN:
        set_text(header, "PROXY UNKNOWN some more\r\n");
        break;
    case OF_V2_TCP4:
        set_v2(header, V2_PROXY_COMMAND, V2_TCP4, false);
        break;
    case OF_V2_TCP6:
        set_v2(header, V2_PROXY_COMMAND, V2_TCP6, false);
        break;
    case OF_V2_UNIX:
        set_v2(header, V2_PROXY_COMMAND, V2_UNIX, false);
        break;
    case OF_V2_LOCAL:
        set_v2(header, V2_LOCAL_COMMAND, V2_UNSPEC, false);
        break;
    default:
        set_v2(header, V2_PROXY_COMMAND, V2_TCP4, true);
    }
}

/* The peer that the server must see behind a header of this kind. */
static void expect_peer(int kind, int client)
{
    static const char *const peers[KINDS] = {
        [V1_TCP4] = "1.2.3.4:443",          [V1_TCP6] = "[2001:db8::1]:443", [OF_V2_TCP4] = "1.2.3.4:443",
        [OF_V2_TCP6] = "[2001:db8::1]:443", [OF_V2_CHECKED] = "1.2.3.4:443", [OF_V2_UNIX] = "unix:"
    };
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint own;

    if (peers[kind] != NULL) {
        ck_assert_str_eq(last_peer, peers[kind]);
        return;
    }
    ck_assert_int_eq(getsockname(client, (struct sockaddr *)&address, &length), 0);
    endpoint_from_sockaddr(&own, (const struct sockaddr *)&address, length);
    jd_endpoint_format(&own, text, sizeof(text));
    ck_assert_str_eq(last_peer, text);
}

static void send_header(int client, int kind)
{
    struct header header;

    make_header(&header, kind);
    client_send(client, header.bytes, header.length);
}

/* Sends the bytes and waits until the server has them. */
static void send_and_arrive(int client, const void *data, size_t length)
{
    uint64_t before = statistics().bytes_received;

    client_send(client, data, length);
    PUMP_UNTIL(statistics().bytes_received == before + length);
}

static void wait_ms(unsigned ms)
{
    jd_timestamp begun = jd_event_loop_now(the_loop);

    PUMP_UNTIL(jd_event_loop_now(the_loop) - begun > (jd_timestamp)ms * NS_PER_MS);
}

/* ---- headers that name a client ---- */

START_TEST(the_peer_is_the_client_that_the_header_names)
{
    int client;

    serve_proxied((struct service){ 0 });
    client = client_connect();
    send_header(client, _i);
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
    expect_peer(_i, client);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up message down");
    ck_assert_uint_eq(statistics().connections_failed, 0);
}
END_TEST

START_TEST(the_up_callback_comes_after_the_header_and_without_a_message)
{
    int client;

    serve_proxied((struct service){ 0 });
    client = client_connect();
    pump_until_quiet();
    ck_assert_uint_eq(connections_up(), 0);
    ck_assert_uint_eq(statistics().connections_accepted, 1);
    ck_assert_uint_eq(statistics().connections_open, 0);
    send_header(client, _i);
    PUMP_UNTIL(connections_up() == 1);
    expect_peer(_i, client);
    pump_until_quiet();
    ck_assert_str_eq(story(0), "up");
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
}
END_TEST

START_TEST(a_header_may_be_split_at_every_byte)
{
    struct header header;
    unsigned before;

    serve_proxied((struct service){ 0 });
    make_header(&header, _i);
    for (size_t cut = 1; cut < header.length; cut++) {
        int client = client_connect();
        uint8_t rest[HEADER_ROOM];
        size_t rest_bytes = header.length - cut;

        before = connections_up();
        send_and_arrive(client, header.bytes, cut);
        pump_turns(1);
        ck_assert_uint_eq(connections_up(), before);
        memcpy(rest, header.bytes + cut, rest_bytes);
        memcpy(rest + rest_bytes, "hello", 5);
        client_send(client, rest, rest_bytes + 5);
        client_expect(client, "hello", 5);
        expect_peer(_i, client);
        client_close(client);
    }
    PUMP_UNTIL(connections_down() == header.length - 1);
}
END_TEST

START_TEST(a_header_may_come_byte_by_byte)
{
    struct header header;
    int client;

    serve_proxied((struct service){ 0 });
    client = client_connect();
    make_header(&header, _i);
    for (size_t i = 0; i < header.length; i++) {
        ck_assert_uint_eq(connections_up(), 0);
        send_and_arrive(client, header.bytes + i, 1);
    }
    PUMP_UNTIL(connections_up() == 1);
    expect_peer(_i, client);
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
}
END_TEST

/* cut 0: all in one segment; else the header is split there, and the message comes with its end. */
static void expect_same_turn(size_t cut)
{
    struct header header;
    int client = client_connect();

    make_header(&header, OF_V2_CHECKED);
    memcpy(header.bytes + header.length, "hello", 5);
    if (cut > 0)
        send_and_arrive(client, header.bytes, cut);
    client_send(client, header.bytes + cut, header.length + 5 - cut);
    client_expect(client, "hello", 5);
    if (!engine_is("late")) /* which delivers a segment in pieces, each in a turn of its own */
        ck_assert_uint_eq(up_turn, message_turn);
    client_close(client);
}

START_TEST(bytes_behind_the_header_are_delivered_in_the_same_turn)
{
    serve_proxied((struct service){ 0 });
    expect_same_turn(0);
    expect_same_turn(1);
    expect_same_turn(20);
    PUMP_UNTIL(connections_down() == 3);
}
END_TEST

static void send_frame_back(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                            void *arg)
{
    ck_assert_int_eq(jd_codec_send(arg, connection, data, length), 0);
}

START_TEST(a_codec_decodes_what_is_behind_the_header)
{
    static const char frames[] = "\0\0\0\5hello\0\0\0\2hi";
    jd_length_codec_options options = { .length_bytes = 4, .strip_bytes = JD_STRIP_HEADER };
    struct header header;
    jd_codec *codec;

    ck_assert_int_eq(jd_length_codec_create(&codec, &options), 0);
    serve_proxied((struct service){ .codec = codec, .on_frame = send_frame_back, .arg = codec });
    make_header(&header, OF_V2_TCP4);
    memcpy(header.bytes + header.length, frames, sizeof(frames) - 1);
    for (size_t cut = 0; cut < header.length + sizeof(frames) - 1; cut += 7) {
        int client = client_connect();
        if (cut > 0)
            send_and_arrive(client, header.bytes, cut);
        client_send(client, header.bytes + cut, header.length + sizeof(frames) - 1 - cut);
        client_expect(client, frames, sizeof(frames) - 1);
        client_close(client);
    }
    PUMP_UNTIL(connections_down() == connections_up());
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
    jd_codec_destroy(codec);
}
END_TEST

static void *make_session(jd_tcp_connection *connection, void *arg)
{
    note_peer_of(connection);
    return arg;
}

static void session_echo(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *session)
{
    ck_assert_ptr_eq(session, last_peer);
    echo(connection, input, received, session);
}

START_TEST(a_session_is_made_behind_the_header_and_knows_the_client)
{
    static const jd_session_callbacks callbacks = { .create = make_session, .message = session_echo };
    jd_tcp_server_options options = { .listen = "127.0.0.1:0", .proxy_sources = "all" };
    jd_tcp_server *server;
    jd_endpoint endpoint;
    int client;

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &options), 0);
    jd_tcp_server_set_session(server, &callbacks, last_peer);
    ck_assert_int_eq(jd_tcp_server_start(server, NULL), 0);
    ck_assert_int_eq(jd_tcp_server_endpoint(server, 0, &endpoint), 0);
    client = client_connect_to(&endpoint);
    send_and_arrive(client, "PROXY TCP4 1.2.3.4", 18);
    ck_assert_str_eq(last_peer, "");
    client_send(client, " 1.1.1.1 443 80\r\nhello", 22);
    client_expect(client, "hello", 5);
    ck_assert_str_eq(last_peer, "1.2.3.4:443");
}
END_TEST

static void close_at_once(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_close(connection);
}

static void pause_at_once(jd_tcp_connection *connection, void *arg)
{
    note_peer(connection, arg);
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
}

START_TEST(the_up_callback_may_close_the_connection)
{
    struct header header;
    int client;

    serve_proxied((struct service){ .on_up = close_at_once });
    client = client_connect();
    make_header(&header, V1_TCP4);
    memcpy(header.bytes + header.length, "hello", 5);
    client_send(client, header.bytes, header.length + 5);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up down");
}
END_TEST

static void resume(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_resume_reading(connection), 0);
}

START_TEST(the_up_callback_may_pause_reading)
{
    struct header header;
    int client;

    serve_proxied((struct service){ .on_up = pause_at_once });
    client = client_connect();
    make_header(&header, V1_TCP4);
    memcpy(header.bytes + header.length, "hello", 5);
    client_send(client, header.bytes, header.length + 5);
    PUMP_UNTIL(connections_up() == 1);
    pump_until_quiet();
    ck_assert_str_eq(story(0), "up");
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), resume, NULL), 0);
    client_expect(client, "hello", 5);
}
END_TEST

START_TEST(io_threads_see_the_client_too)
{
    jd_tcp_server *server = serve_proxied((struct service){ .options.io_threads = 2, .options.reuse_port = _i == 1 });
    jd_event_loop_statistics now;

    for (int i = 0; i < 8; i++) {
        int client = client_connect();
        send_header(client, V1_TCP6);
        client_send(client, "hello", 5);
        client_expect(client, "hello", 5);
        PUMP_UNTIL(connections_up() == (unsigned)i + 1); /* counted behind the callback, which another thread called */
        ck_assert_str_eq(last_peer, "[2001:db8::1]:443");
        client_close(client);
        PUMP_UNTIL(connections_down() == (unsigned)i + 1);
    }
    client_send(client_connect(), "x", 1);
    PUMP_UNTIL((jd_tcp_server_get_statistics(server, &now), now.proxy_headers_invalid) == 1);
}
END_TEST

START_TEST(a_unix_domain_listener_trusts_a_proxy_that_is_trusted_by_name)
{
    int client;

    serve_proxied((struct service){ .options.listen = own_unix_endpoint("@proxy"), .options.proxy_sources = "unix" });
    client = client_connect();
    send_header(client, OF_V2_TCP6);
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
    ck_assert_str_eq(last_peer, "[2001:db8::1]:443");
}
END_TEST

/* ---- headers that are refused ---- */

static const struct {
    const char *bytes;
    size_t length;
} malformed[] = {
#define BYTES(text)                                                                                                    \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }
    BYTES("G"),
    BYTES("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
    BYTES("\r\n\r\n\r"),
    BYTES("PROXY TCP4 1.2.3.4 127.0.0.9 443 8080\n"),
    BYTES("PROXY TCP4 1.2.3.256 127.0.0.9 443 8080\r\nhello"),
    BYTES("PROXY TCP6 1.2.3.4 127.0.0.9 443 8080\r\nhello"),
    BYTES("PROXY UDP4 1.2.3.4 127.0.0.9 443 8080\r\nhello"),
    BYTES("PROXY TCP4 1.2.3.4 127.0.0.9 443 65536\r\nhello"),
    BYTES(
        "PROXY UNKNOWN 4567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"),
    BYTES("\r\n\r\n\0\r\nQUIT\n\x11"),
    BYTES("\r\n\r\n\0\r\nQUIT\n\x22"),
    BYTES("\r\n\r\n\0\r\nQUIT\n\x21\x41\0\0"),
    BYTES("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b"),
    BYTES("\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"),
    BYTES("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0e\1\2\3\4\1\2\3\4\0\1\0\1\x04\0"),
    BYTES("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\1\2\3\4\1\2\3\4\0\1\0\1\x03\0\4\0\0\0\0hello"),
#undef BYTES
};

START_TEST(a_malformed_header_closes_the_connection_and_no_callback_sees_it)
{
    int client;

    serve_proxied((struct service){ 0 });
    client = client_connect();
    client_send(client, malformed[_i].bytes, malformed[_i].length);
    PUMP_UNTIL(client_is_over(client));
    PUMP_UNTIL(statistics().connections_failed == 1);
    ck_assert_uint_eq(statistics().proxy_headers_invalid, 1);
    ck_assert_uint_eq(statistics().proxy_headers_missing, 0);
    ck_assert_uint_eq(statistics().connections_opened, 0);
    ck_assert_uint_eq(connections_up(), 0);
    ck_assert(was_logged("PROXY header refused: "));
}
END_TEST

START_TEST(the_limit_of_version_2_can_be_set)
{
    static struct v2_header v2;
    int client;

    serve_proxied((struct service){ .options.proxy_header_limit = PROXY_V2_MAX_BYTES });
    client = client_connect();
    v2_begin(&v2, V2_PROXY_COMMAND, V2_TCP4);
    v2_add(&v2, 0xee, V2_HEADER_ROOM - 28 - 3 - 7, 1);
    v2_add_checksum(&v2);
    ck_assert_uint_eq(v2.length, V2_HEADER_ROOM);
    client_send(client, v2.bytes, v2.length);
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
    ck_assert_str_eq(last_peer, "1.2.3.4:443");

    serve_proxied((struct service){ .options.proxy_header_limit = PROXY_V2_LEAST_LIMIT });
    client = client_connect();
    send_header(client, OF_V2_UNIX);
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
    client = client_connect();
    v2_begin(&v2, V2_PROXY_COMMAND, V2_UNIX);
    v2_add(&v2, 0x04, 0, 0);
    client_send(client, v2.bytes, v2.length);
    PUMP_UNTIL(client_is_over(client));
    PUMP_UNTIL(statistics().proxy_headers_invalid == 1);
    ck_assert(was_logged("proxy_header_limit"));
}
END_TEST

START_TEST(a_source_that_is_not_trusted_is_reset_before_it_can_say_anything)
{
    jd_tcp_server *server = serve_proxied(
        (struct service){ .options.proxy_sources = "127.0.0.2, 10.0.0.0/8", .options.max_connections = 1 });
    jd_endpoint source;
    int client = client_connect();

    client_expect_reset(client);
    ck_assert_uint_eq(statistics().proxy_sources_refused, 1);
    ck_assert_uint_eq(statistics().connections_refused, 1);
    ck_assert_uint_eq(statistics().connections_failed, 0);
    ck_assert(was_logged("not one of proxy_sources"));
    ck_assert_uint_eq(connections_up(), 0);

    ck_assert_int_eq(jd_endpoint_parse(&source, "127.0.0.2:0", NULL), 0);
    client = client_connect_from(&source, server_endpoint());
    send_header(client, V1_TCP4);
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
    ck_assert_uint_eq(jd_tcp_server_connection_count(server), 1);
}
END_TEST

START_TEST(a_header_that_does_not_come_in_time_closes_the_connection)
{
    int silent, slow;

    jd_log_set_level(JD_LOG_INFO);
    serve_proxied((struct service){ .options.proxy_timeout_ms = SHORT_MS });
    silent = client_connect();
    slow = client_connect();
    client_send(slow, "PROXY TCP4 1.", 13);
    client_expect_end(silent);
    client_expect_end(slow);
    PUMP_UNTIL(statistics().connections_failed == 2);
    ck_assert_uint_eq(statistics().proxy_headers_missing, 2);
    ck_assert_uint_eq(statistics().closed_by_first_message_timeout, 0);
    ck_assert(was_logged("proxy_timeout_ms of 60 ms expired"));
    ck_assert_uint_eq(connections_up(), 0);
}
END_TEST

/* Each byte would begin an idle timeout anew. */
START_TEST(the_deadline_is_for_the_whole_header)
{
    struct header header;
    int client;

    serve_proxied((struct service){ .options.proxy_timeout_ms = SHORT_MS * 3 });
    client = client_connect();
    make_header(&header, OF_V2_UNIX);
    for (size_t i = 0; i < header.length - 1 && statistics().connections_failed == 0; i++) {
        uint8_t byte = header.bytes[i];
        client_send_some(client, &byte, 1);
        wait_ms(SHORT_MS / 3);
        if (client_is_over(client))
            break;
    }
    PUMP_UNTIL(statistics().connections_failed == 1);
    ck_assert_uint_eq(statistics().proxy_headers_missing, 1);
    ck_assert_uint_eq(connections_up(), 0);
}
END_TEST

START_TEST(after_the_header_its_deadline_is_over)
{
    int client;

    serve_proxied((struct service){ .options.proxy_timeout_ms = SAFE_MS });
    client = client_connect();
    send_header(client, V1_TCP4);
    PUMP_UNTIL(connections_up() == 1);
    wait_ms(SAFE_MS + SHORT_MS);
    ck_assert_uint_eq(connections_down(), 0);
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
}
END_TEST

START_TEST(other_timeouts_begin_behind_the_header)
{
    int client;

    serve_proxied((struct service){ .options.first_message_timeout_ms = _i == 0 ? SHORT_MS : 0,
                                    .options.idle_timeout_ms = _i == 1 ? SHORT_MS : 0,
                                    .options.read_timeout_ms = _i == 2 ? SHORT_MS : 0,
                                    .options.max_age_ms = _i == 3 ? SHORT_MS : 0 });
    client = client_connect();
    pump_until_quiet();
    wait_ms(3 * SHORT_MS);
    ck_assert_uint_eq(connections_gone(), 0);
    send_header(client, OF_V2_TCP4);
    PUMP_UNTIL(connections_up() == 1);
    client_shutdown(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(statistics().proxy_headers_missing, 0);
}
END_TEST

START_TEST(the_header_is_no_first_message)
{
    int client;

    serve_proxied((struct service){ .options.first_message_timeout_ms = SHORT_MS });
    client = client_connect();
    send_header(client, OF_V2_TCP4);
    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(statistics().closed_by_first_message_timeout, 1);
    ck_assert_str_eq(story(0), "up down");
}
END_TEST

START_TEST(a_message_in_the_headers_segment_is_the_first_one)
{
    struct header header;
    int client;

    serve_proxied((struct service){ .options.first_message_timeout_ms = SAFE_MS });
    client = client_connect();
    make_header(&header, OF_V2_TCP4);
    memcpy(header.bytes + header.length, "hello", 5);
    client_send(client, header.bytes, header.length + 5);
    client_expect(client, "hello", 5);
    wait_ms(SAFE_MS + SHORT_MS);
    ck_assert_uint_eq(connections_down(), 0);
}
END_TEST

START_TEST(a_peer_that_ends_inside_the_header_is_closed_wherever_it_ends)
{
    struct header header;

    serve_proxied((struct service){ 0 });
    make_header(&header, OF_V2_CHECKED);
    for (size_t cut = 0; cut < header.length; cut += 3) {
        int client = client_connect();
        uint64_t gone = statistics().connections_failed;

        if (cut > 0)
            send_and_arrive(client, header.bytes, cut);
        else
            pump_until_quiet();
        if (_i == 0) {
            client_shutdown(client);
            client_expect_end(client);
        } else {
            client_reset(client);
        }
        PUMP_UNTIL(statistics().connections_failed == gone + 1);
        ck_assert_uint_eq(statistics().proxy_headers_missing, gone + 1);
    }
    ck_assert_uint_eq(connections_up(), 0);
    ck_assert_uint_eq(statistics().proxy_headers_invalid, 0);
}
END_TEST

/* ---- connections that wait for a header, and the server ---- */

START_TEST(a_connection_that_waits_for_its_header_counts_for_max_connections)
{
    int first, second;

    serve_proxied((struct service){ .options.max_connections = 1 });
    first = client_connect();
    send_and_arrive(first, "PROXY ", 6);
    second = client_connect();
    send_header(second, V1_TCP4);
    pump_until_quiet();
    ck_assert_uint_eq(connections_up(), 0);
    client_close(first);
    PUMP_UNTIL(connections_up() == 1);
    ck_assert_uint_eq(statistics().proxy_headers_missing, 1);
}
END_TEST

static unsigned visited;
static bool visit_is_done, has_stopped;

static void count_visit(jd_tcp_connection *connection, void *arg)
{
    visited++;
}

static void note_visit_done(void *arg)
{
    visit_is_done = true;
}

static void note_stopped(void *arg)
{
    has_stopped = true;
}

START_TEST(a_connection_that_waits_for_its_header_is_not_visited_or_counted)
{
    jd_tcp_server *server = serve_proxied((struct service){ 0 });
    int waiting = client_connect(), up;

    send_and_arrive(waiting, "PROXY ", 6);
    up = client_connect();
    send_header(up, V1_TCP4);
    PUMP_UNTIL(connections_up() == 1);
    ck_assert_int_eq(jd_tcp_server_for_each(server, count_visit, NULL, note_visit_done, NULL), 0);
    PUMP_UNTIL(visit_is_done);
    ck_assert_uint_eq(visited, 1);
    ck_assert_uint_eq(jd_tcp_server_connection_count(server), 1);
    ck_assert_uint_eq(statistics().connections_open, 1);
}
END_TEST

START_TEST(stopping_closes_a_connection_that_waits_for_its_header)
{
    jd_tcp_server *server = serve_proxied((struct service){ .options.io_threads = _i >= 2 ? 2 : 0 });
    int clients[4];

    for (int i = 0; i < 4; i++) {
        clients[i] = client_connect();
        client_send(clients[i], "PROXY ", 6);
    }
    pump_until_quiet();
    /* A drain that waited for them would last a minute. */
    ck_assert_int_eq(jd_tcp_server_stop(server, _i % 2 == 0 ? 0 : LONG_MS, note_stopped, NULL), 0);
    PUMP_UNTIL(has_stopped);
    for (int i = 0; i < 4; i++)
        PUMP_UNTIL(client_is_over(clients[i]));
    ck_assert_uint_eq(connections_up(), 0);
    ck_assert_uint_eq(statistics().proxy_headers_missing + statistics().proxy_headers_invalid, 0);
}
END_TEST

START_TEST(a_loop_may_be_destroyed_while_connections_wait_for_their_headers)
{
    serve_proxied((struct service){ 0 });
    for (int i = 0; i < 4; i++)
        send_and_arrive(client_connect(), "PROXY TCP4 ", 11);
}
END_TEST

/* Returns the memory in use while as many connections are up as a test has, each with its answer. */
static size_t memory_of_round(const jd_endpoint *server, const char *first, const char *rest)
{
    enum { CONNECTIONS = 8 };
    unsigned down = connections_down();
    int clients[CONNECTIONS];
    size_t memory;

    for (int i = 0; i < CONNECTIONS; i++) {
        clients[i] = client_connect_to(server);
        send_and_arrive(clients[i], first, strlen(first));
        client_send(clients[i], rest, strlen(rest));
        client_expect(clients[i], "hello", 5);
    }
    pump_until_quiet();
    memory = memory_in_use();
    for (int i = 0; i < CONNECTIONS; i++)
        client_close(clients[i]);
    PUMP_UNTIL(connections_down() == down + CONNECTIONS);
    return memory;
}

START_TEST(a_header_leaves_no_memory_behind_once_it_has_come)
{
    jd_endpoint plain = endpoint_of(serve(&(struct service){ .on_message = echo }));
    jd_endpoint proxied = endpoint_of(serve_proxied((struct service){ 0 }));
    size_t of_plain;

    memory_of_round(&plain, "h", "ello");
    of_plain = memory_of_round(&plain, "h", "ello");
    ck_assert_uint_eq(memory_of_round(&proxied, "PROXY TCP4 1.2.3.4 127", ".0.0.9 443 8080\r\nhello"), of_plain);
}
END_TEST

/* ---- mutations ---- */

static uint32_t random_state;

static uint32_t random_number(uint32_t below)
{
    random_state ^= random_state << 13; /* Marsaglia, "Xorshift RNGs" */
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % below;
}

/* Changes, doubles or cuts bytes. */
static void mutate(struct header *header)
{
    for (uint32_t i = random_number(4); i > 0; i--)
        header->bytes[random_number((uint32_t)header->length)] = (uint8_t)random_number(256);
    if (random_number(8) == 0)
        header->length = 1 + random_number((uint32_t)header->length);
    if (random_number(8) == 0) {
        uint32_t at = random_number((uint32_t)header->length);
        memmove(header->bytes + at + 1, header->bytes + at, header->length - at);
        header->length++;
    }
}

/* Returns whether the connection must come up. Sends the header in two parts, and FIN. */
static bool send_mutated(int client)
{
    struct proxy_header parsed;
    struct header header;
    const char *reason;
    size_t cut;

    make_header(&header, (int)random_number(KINDS));
    mutate(&header);
    cut = random_number((uint32_t)header.length);
    /* The server may have closed the connection before all is sent. */
    if (cut > 0)
        client_send_some(client, header.bytes, cut);
    client_send_some(client, header.bytes + cut, header.length - cut);
    return proxy_header_parse(&parsed, header.bytes, header.length, HEADER_ROOM, &reason) == 1;
}

START_TEST(mutated_headers_are_refused_or_served_and_leave_nothing)
{
    unsigned expected_up = 0;
    jd_tcp_server *server = serve_proxied((struct service){ 0 });

    random_state = 2463534242;
    for (int done = 0; done < MUTATIONS; done += BATCH) {
        int clients[BATCH];

        for (int i = 0; i < BATCH; i++) {
            clients[i] = client_connect();
            expected_up += send_mutated(clients[i]);
            shutdown(clients[i], SHUT_WR);
        }
        PUMP_UNTIL(connections_gone() == (uint64_t)done + BATCH);
        for (int i = 0; i < BATCH; i++)
            client_close(clients[i]);
    }
    ck_assert_uint_eq(connections_up(), expected_up);
    ck_assert_uint_eq(statistics().proxy_headers_invalid + statistics().proxy_headers_missing, MUTATIONS - expected_up);
    ck_assert_uint_gt(expected_up, MUTATIONS / 10);
    ck_assert_uint_gt(statistics().proxy_headers_invalid, MUTATIONS / 10);
    ck_assert_uint_eq(jd_tcp_server_connection_count(server), 0);
}
END_TEST

/* ---- options ---- */

static const struct {
    jd_tcp_server_options options;
    const char *log;
} refused[] = {
    { { .proxy_sources = "" }, "proxy_sources '' names no source" },
    { { .proxy_sources = "10.0.0.1/8" }, "bits behind its prefix" },
    { { .proxy_sources = "example.org" }, "'example.org'" },
    { { .proxy_timeout_ms = 1 }, "proxy_timeout_ms has no effect without proxy_sources" },
    { { .proxy_header_limit = 1000 }, "proxy_header_limit has no effect without proxy_sources" },
    { { .proxy_sources = "all", .proxy_timeout_ms = 1U << 30 }, "proxy_timeout_ms of 1073741824 ms is too long" },
    { { .proxy_sources = "all", .proxy_header_limit = 231 },
      "proxy_header_limit of 231 bytes must be from 232 to 65551" },
    { { .proxy_sources = "all", .proxy_header_limit = 65552 }, "must be from 232 to 65551" },
    { { .proxy_sources = "all", .load_balance = JD_LOAD_BALANCE_PEER_ADDRESS }, "JD_LOAD_BALANCE_PEER_ADDRESS" },
};

START_TEST(options_that_make_no_sense_are_refused_with_a_log_line)
{
    jd_tcp_server *server;

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &refused[_i].options), JD_EINVAL);
    ck_assert_msg(was_logged(refused[_i].log), "%s", logged());
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "proxy");

    tcase_add_loop_test(tests, the_peer_is_the_client_that_the_header_names, 0, KINDS);
    tcase_add_loop_test(tests, the_up_callback_comes_after_the_header_and_without_a_message, 0, KINDS);
    tcase_add_loop_test(tests, a_header_may_be_split_at_every_byte, 0, KINDS);
    tcase_add_loop_test(tests, a_header_may_come_byte_by_byte, 0, KINDS);
    tcase_add_test(tests, bytes_behind_the_header_are_delivered_in_the_same_turn);
    tcase_add_test(tests, a_codec_decodes_what_is_behind_the_header);
    tcase_add_test(tests, a_session_is_made_behind_the_header_and_knows_the_client);
    tcase_add_test(tests, the_up_callback_may_close_the_connection);
    tcase_add_test(tests, the_up_callback_may_pause_reading);
    tcase_add_loop_test(tests, io_threads_see_the_client_too, 0, 2);
    tcase_add_test(tests, a_unix_domain_listener_trusts_a_proxy_that_is_trusted_by_name);
    tcase_add_loop_test(tests, a_malformed_header_closes_the_connection_and_no_callback_sees_it, 0,
                        sizeof(malformed) / sizeof(malformed[0]));
    tcase_add_test(tests, the_limit_of_version_2_can_be_set);
    tcase_add_test(tests, a_source_that_is_not_trusted_is_reset_before_it_can_say_anything);
    tcase_add_test(tests, a_header_that_does_not_come_in_time_closes_the_connection);
    tcase_add_test(tests, the_deadline_is_for_the_whole_header);
    tcase_add_test(tests, after_the_header_its_deadline_is_over);
    tcase_add_loop_test(tests, other_timeouts_begin_behind_the_header, 0, 4);
    tcase_add_test(tests, the_header_is_no_first_message);
    tcase_add_test(tests, a_message_in_the_headers_segment_is_the_first_one);
    tcase_add_loop_test(tests, a_peer_that_ends_inside_the_header_is_closed_wherever_it_ends, 0, 2);
    tcase_add_test(tests, a_connection_that_waits_for_its_header_counts_for_max_connections);
    tcase_add_test(tests, a_connection_that_waits_for_its_header_is_not_visited_or_counted);
    tcase_add_loop_test(tests, stopping_closes_a_connection_that_waits_for_its_header, 0, 4);
    tcase_add_test(tests, a_loop_may_be_destroyed_while_connections_wait_for_their_headers);
    tcase_add_test(tests, a_header_leaves_no_memory_behind_once_it_has_come);
    tcase_add_test(tests, mutated_headers_are_refused_or_served_and_leave_nothing);
    tcase_add_loop_test(tests, options_that_make_no_sense_are_refused_with_a_log_line, 0,
                        sizeof(refused) / sizeof(refused[0]));
}
