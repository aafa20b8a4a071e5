#include "examples/redis/command.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
const struct command commands[] = {
    { "append", command_append, 3, "write denyoom fast", 1, 1, 1, false },
    { "command", command_command, -1, "loading stale", 0, 0, 0, false },
    { "config", command_config, -2, "", 0, 0, 0, false },
    { "dbsize", command_dbsize, 1, "readonly fast", 0, 0, 0, false },
    { "decr", command_decr, 2, "write denyoom fast", 1, 1, 1, false },
    { "decrby", command_decrby, 3, "write denyoom fast", 1, 1, 1, false },
    { "del", command_del, -2, "write", 1, -1, 1, false },
    { "echo", command_echo, 2, "loading stale fast", 0, 0, 0, false },
    { "exists", command_exists, -2, "readonly fast", 1, -1, 1, false },
    { "expire", command_expire, -3, "write fast", 1, 1, 1, false },
    { "flushall", command_flushall, -1, "write", 0, 0, 0, false },
    { "get", command_get, 2, "readonly fast", 1, 1, 1, false },
    { "incr", command_incr, 2, "write denyoom fast", 1, 1, 1, false },
    { "incrby", command_incrby, 3, "write denyoom fast", 1, 1, 1, false },
    { "info", command_info, -1, "loading stale", 0, 0, 0, false },
    { "mget", command_mget, -2, "readonly fast", 1, -1, 1, false },
    { "mset", command_mset, -3, "write denyoom", 1, -1, 2, false },
    { "pexpire", command_pexpire, -3, "write fast", 1, 1, 1, false },
    { "ping", command_ping, -1, "fast", 0, 0, 0, true },
    { "pttl", command_pttl, 2, "readonly fast", 1, 1, 1, false },
    { "publish", command_publish, 3, "pubsub loading stale fast", 0, 0, 0, false },
    { "quit", command_quit, -1, "noscript loading stale fast", 0, 0, 0, true },
    { "select", command_select, 2, "loading stale fast", 0, 0, 0, false },
    { "set", command_set, -3, "write denyoom", 1, 1, 1, false },
    { "strlen", command_strlen, 2, "readonly fast", 1, 1, 1, false },
    { "subscribe", command_subscribe, -2, "pubsub noscript loading stale", 0, 0, 0, true },
    { "ttl", command_ttl, 2, "readonly fast", 1, 1, 1, false },
    { "unsubscribe", command_unsubscribe, -1, "pubsub noscript loading stale", 0, 0, 0, true },
    { 0 },
};
/* clang-format on */

/* ---- finding a command ---- */

/* Open addressing: a command is at its slot, or in one of the next. At most half of the slots are used. */
enum { SLOTS = 128 };

static const struct command *slots[SLOTS];

/* The first and the last letter and the length; letters in lower case. */
static unsigned slot_of(struct text name)
{
    enum { LOWER = 0x20, FIRST = 5, LAST = 11 };
    unsigned first = (unsigned char)name.data[0] | LOWER, last = (unsigned char)name.data[name.length - 1] | LOWER;

    return (first * FIRST + last * LAST + (unsigned)name.length) % SLOTS;
}

void command_begin(void)
{
    for (const struct command *command = commands; command->name != NULL; command++) {
        unsigned slot = slot_of((struct text){ .data = command->name, .length = strlen(command->name) });
        while (slots[slot] != NULL)
            slot = (slot + 1) % SLOTS;
        slots[slot] = command;
    }
}

const struct command *command_find(struct text name)
{
    if (name.length == 0)
        return NULL;
    for (unsigned slot = slot_of(name); slots[slot] != NULL; slot = (slot + 1) % SLOTS)
        if (text_is(name, slots[slot]->name))
            return slots[slot];
    return NULL;
}

/* ---- running it ---- */

static int shown(struct text text, int most)
{
    return text.length < (size_t)most ? (int)text.length : most;
}

static void answer_unknown(jd_tcp_connection *connection, const struct request *request)
{
    enum { SHOWN = 128 };
    struct text name = request_argument(request, 0);
    char arguments[2 * SHOWN] = "";
    int length = 0;

    for (uint32_t i = 1; i < request->count && length < SHOWN; i++) {
        struct text argument = request_argument(request, i);
        length += snprintf(arguments + length, sizeof(arguments) - (size_t)length, "'%.*s' ",
                           shown(argument, SHOWN - length), argument.data);
    }
    reply_error(connection, "ERR unknown command '%.*s', with args beginning with: %s", shown(name, SHOWN), name.data,
                arguments);
}

/* A browser that a foreign page makes send a request to this port. redis refuses that, too. */
static bool is_of_http(const struct request *request)
{
    struct text name = request_argument(request, 0);

    return text_is(name, "POST") || text_is(name, "Host:");
}

static bool has_right_count(const struct command *command, uint32_t count)
{
    return command->arity < 0 ? count >= (uint32_t)-command->arity : count == (uint32_t)command->arity;
}

void command_run(struct redis *redis, jd_tcp_connection *connection, const struct request *request, jd_timestamp now)
{
    enum { MILLISECOND = 1000000 };
    const struct command *command = command_find(request_argument(request, 0));
    struct call call = { .redis = redis,
                         .connection = connection,
                         .session = session_of(connection),
                         .request = request,
                         .command = command,
                         .now = now / MILLISECOND };

    if (command == NULL && is_of_http(request))
        jd_tcp_connection_close(connection);
    else if (command == NULL)
        answer_unknown(connection, request);
    else if (!has_right_count(command, request->count))
        reply_wrong_count(connection, command->name);
    else if (call.session->subscriber.count > 0 && !command->when_subscribed)
        reply_error(connection,
                    "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed "
                    "in this context",
                    command->name);
    else
        command->run(&call);
}
