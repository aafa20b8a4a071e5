/* jd-chat: sends each line to all connections. Shows a delimiter codec, a context per connection, and one buffer that
 * is sent to the connections of all threads without a copy for each (jd_shared). */
#include "examples/program.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 20, LINE_MAX_BYTES = 1024, OUTPUT_LIMIT_BYTES = 1 << 20 };

static const char greeting[] = "* You are %s. Commands: /nick NAME, /quit.\n";

/* The context of a connection; used only in its loop's thread. */
struct guest {
    char name[NAME_BYTES + 1];
};

struct chat {
    jd_tcp_server *server;
    jd_codec *lines;
    atomic_uint guests; /* connections so far, over all threads; numbers the guests */
};

/* Called for each connection, in its loop's thread. */
static void send_line(jd_tcp_connection *connection, void *line)
{
    /* The output limit is reached: a peer that does not read must not keep the shared lines in memory. */
    if (jd_tcp_connection_send_shared(connection, line, 0, JD_TO_END) == JD_ENOBUFS)
        jd_tcp_connection_close(connection);
}

static void release_line(void *line)
{
    jd_shared_unref(line);
}

/* Sends a line to all connections; called in any loop's thread. The line is copied once, here, for any number of
 * receivers. Lines sent by one thread keep their order. */
static void send_to_all(const struct chat *chat, const char *before, const char *who, const char *between,
                        const char *text, size_t length)
{
    char line[LINE_MAX_BYTES + 2 * NAME_BYTES + 64];
    int bytes = snprintf(line, sizeof(line), "%s%s%s%.*s\n", before, who, between, (int)length, text);
    jd_shared *shared;

    if (jd_shared_create(&shared, line, (size_t)bytes) < 0)
        return;
    if (jd_tcp_server_for_each(chat->server, send_line, shared, release_line, shared) < 0)
        jd_shared_unref(shared);
}

static void send_text(jd_tcp_connection *connection, const char *text)
{
    jd_tcp_connection_send(connection, text, strlen(text));
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    static const char joined[] = " has joined", left[] = " has left";
    struct guest *guest = jd_tcp_connection_context(connection);
    struct chat *chat = arg;
    char text[sizeof(greeting) + NAME_BYTES];

    if (jd_tcp_connection_is_connected(connection)) {
        guest = calloc(1, sizeof(*guest));
        if (guest == NULL) {
            jd_tcp_connection_close(connection);
            return;
        }
        jd_tcp_connection_set_context(connection, guest, free);
        snprintf(guest->name, sizeof(guest->name), "guest-%u", atomic_fetch_add(&chat->guests, 1) + 1);
        snprintf(text, sizeof(text), greeting, guest->name);
        send_text(connection, text);
        send_to_all(chat, "* ", guest->name, joined, "", 0);
    } else if (guest != NULL)
        send_to_all(chat, "* ", guest->name, left, "", 0);
}

static bool is_name(const char *text, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

    return length > 0 && length <= NAME_BYTES && strspn(text, letters) == length;
}

static void change_name(const struct chat *chat, jd_tcp_connection *connection, struct guest *guest, const char *name)
{
    size_t length = strlen(name);

    if (!is_name(name, length)) {
        send_text(connection, "* /nick: a name is 1 to 20 characters from a-z, A-Z, 0-9, - and _.\n");
        return;
    }
    send_to_all(chat, "* ", guest->name, " is now ", name, length);
    memcpy(guest->name, name, length + 1);
}

/* Replaces control characters, so that a line cannot control the receivers' terminals (ECMA-48, control functions). */
static void copy_printable(char *text, const char *data, size_t length)
{
    for (size_t i = 0; i < length; i++)
        text[i] = (unsigned char)data[i] < ' ' || data[i] == 0x7f ? '?' : data[i];
    text[length] = '\0';
}

static void on_line(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    struct guest *guest = jd_tcp_connection_context(connection);
    char text[LINE_MAX_BYTES + 1];

    copy_printable(text, data, length);
    if (strncmp(text, "/nick ", 6) == 0)
        change_name(arg, connection, guest, text + 6);
    else if (strcmp(text, "/quit") == 0)
        jd_tcp_connection_shutdown(connection);
    else if (text[0] == '/')
        send_text(connection, "* Unknown command. Commands: /nick NAME, /quit.\n");
    else
        send_to_all(arg, "", guest->name, ": ", text, length);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { PROGRAM_LONG_OPTIONS, { 0 } };
    struct program program = { .name = "jd-chat", .server_options.name = "jd-chat" };
    jd_delimiter_codec_options lines = { .strip_carriage_return = true, .max_frame_bytes = LINE_MAX_BYTES };
    struct chat chat = { 0 };
    int option, status;

    program.server_options.output_limit = OUTPUT_LIMIT_BYTES;
    while ((option = program_next_option(&program, argc, argv, options)) != -1) {
        if (option == 'h') {
            printf(
                "Usage: jd-chat [OPTION]...\n"
                "Sends each line that it receives to all connections, until SIGINT or SIGTERM. Try it with nc.\n\n%s",
                program_common_help);
            return 0;
        }
        program_option(&program, option, optarg);
    }
    program_prepare(&program);
    chat.server = program.server;
    if (jd_delimiter_codec_create(&chat.lines, &lines) < 0)
        return PROGRAM_FAILED;
    jd_tcp_server_set_connection_callback(program.server, on_connection, &chat);
    jd_tcp_server_set_codec(program.server, chat.lines, on_line, &chat);
    status = program_serve(&program);
    jd_codec_destroy(chat.lines);
    return status;
}
