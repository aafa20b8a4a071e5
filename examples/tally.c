/* jd-tally: adds up what each connection sends. Shows sessions: an object for each connection, with its callbacks and its
 * destructor; and a codec that is left and taken up again in the middle of a connection. */
#include "examples/program.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 256, BODY_MAX_BYTES = 1 << 30 };

/* What all sessions share. */
struct tally {
    jd_codec *lines;
};

/* Of one connection; used only in its loop's thread. */
struct session {
    const struct tally *tally;
    long long sum;
    unsigned long long numbers;
    size_t body; /* bytes of it that are still to come */
};

static void *session_create(jd_tcp_connection *connection, void *tally)
{
    struct session *session = calloc(1, sizeof(*session));

    if (session != NULL)
        session->tally = tally;
    return session;
}

static void send_sum(jd_tcp_connection *connection, const struct session *session)
{
    char text[64];
    int length = snprintf(text, sizeof(text), "%lld", session->sum);

    /* The output limit is reached: the peer sends but does not read. */
    if (jd_codec_send(session->tally->lines, connection, text, (size_t)length) == JD_ENOBUFS)
        jd_tcp_connection_close(connection);
}

/* The bytes of a body: each counts with its value. What is behind the body are lines again. */
static void session_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    struct session *session = arg;

    while (session->body > 0 && jd_buffer_readable(input) > 0) {
        jd_iovec segments[2];
        size_t length;

        jd_buffer_peek_iov(input, segments);
        length = segments[0].length < session->body ? segments[0].length : session->body;
        for (size_t i = 0; i < length; i++)
            session->sum += ((const unsigned char *)segments[0].data)[i];
        jd_buffer_consume(input, length);
        session->body -= length;
    }
    if (session->body > 0)
        return;
    send_sum(connection, session);
    if (jd_tcp_connection_set_codec(connection, session->tally->lines, NULL, NULL) < 0)
        jd_tcp_connection_close(connection); /* no memory */
}

/* "body N": the next N bytes are no lines. */
static void begin_body(jd_tcp_connection *connection, struct session *session, const char *number)
{
    char *end;
    unsigned long length = strtoul(number, &end, 10);

    if (*end != '\0' || length == 0 || length > BODY_MAX_BYTES)
        jd_codec_send(session->tally->lines, connection, "no length", strlen("no length"));
    else if (jd_tcp_connection_set_codec(connection, NULL, NULL, NULL) < 0)
        jd_tcp_connection_close(connection); /* no memory */
    else
        session->body = length;
}

static void session_line(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                         void *arg)
{
    static const char body[] = "body ";
    struct session *session = arg;
    char line[LINE_MAX_BYTES + 1], *end;
    long long number, sum;

    memcpy(line, data, length); /* at most the codec's maximum */
    line[length] = '\0';
    if (strncmp(line, body, strlen(body)) == 0) {
        begin_body(connection, session, line + strlen(body));
        return;
    }
    number = strtoll(line, &end, 10);
    if (*end != '\0' || end == line || __builtin_add_overflow(session->sum, number, &sum)) {
        jd_codec_send(session->tally->lines, connection, "no number", strlen("no number"));
        return;
    }
    session->sum = sum;
    session->numbers++;
    send_sum(connection, session);
}

static void session_connection(jd_tcp_connection *connection, void *arg)
{
    const struct session *session = arg;

    if (!jd_tcp_connection_is_connected(connection))
        printf("%llu numbers, sum %lld\n", session->numbers, session->sum);
}

static const jd_session_callbacks session_callbacks = {
    .create = session_create,
    .destroy = free,
    .connection = session_connection,
    .frame = session_line,
    .message = session_message,
};

static void print_help(void)
{
    printf(
        "Usage: jd-tally [OPTION]...\n"
        "Adds up the numbers that a connection sends, one on each line, and sends the sum after each, until SIGINT or\n"
        "SIGTERM. After a line \"body N\" the next N bytes are added, each with its value. Prints a line for each\n"
        "connection that ends.\n\n%s",
        program_common_help);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { PROGRAM_LONG_OPTIONS, { 0 } };
    static const jd_delimiter_codec_options line_options = { .strip_carriage_return = true,
                                                             .max_frame_bytes = LINE_MAX_BYTES };
    struct program program = { .name = "jd-tally", .server_options.name = "jd-tally" };
    struct tally tally = { 0 };
    int option, status;

    while ((option = program_next_option(&program, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help();
            return 0;
        }
        program_option(&program, option, optarg);
    }
    status = jd_delimiter_codec_create(&tally.lines, &line_options);
    if (status < 0)
        program_fail(&program, "codec", status);
    program_prepare(&program);
    jd_tcp_server_set_session(program.server, &session_callbacks, &tally);
    jd_tcp_server_set_codec(program.server, tally.lines, NULL, NULL);
    status = program_serve(&program);
    jd_codec_destroy(tally.lines);
    return status;
}
