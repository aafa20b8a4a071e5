/* The commands about the server and the connection. */
#include "examples/redis/command.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The redis whose protocol and texts are spoken here; clients choose their commands by it. */
#define REDIS_VERSION "7.0.0"

void command_ping(const struct call *call)
{
    if (call->request->count > 2) {
        reply_wrong_count(call->connection, call->command->name);
    } else if (call->session->subscriber.count > 0) {
        reply_array(call->connection, 2);
        reply_word(call->connection, "pong");
        reply_bulk(call->connection,
                   call->request->count == 2 ? call_argument(call, 1) : (struct text){ .data = "", .length = 0 });
    } else if (call->request->count == 2) {
        reply_bulk(call->connection, call_argument(call, 1));
    } else {
        REPLY(call->connection, "+PONG\r\n");
    }
}

void command_echo(const struct call *call)
{
    reply_bulk(call->connection, call_argument(call, 1));
}

/* There is one database. */
void command_select(const struct call *call)
{
    int64_t number;

    if (!number_parse(call_argument(call, 1), &number) || number < INT32_MIN || number > INT32_MAX)
        reply_not_a_number(call->connection);
    else if (number != 0)
        REPLY(call->connection, "-ERR DB index is out of range\r\n");
    else
        REPLY_OK(call->connection);
}

void command_quit(const struct call *call)
{
    REPLY_OK(call->connection);
    jd_tcp_connection_close_after_output(call->connection, 0);
}

/* ---- INFO ---- */

/* A part of the answer: in it, if it is the one that is asked for, or all are. */
static bool wants(const struct call *call, const char *section)
{
    struct text wanted;

    if (call->request->count == 1)
        return true;
    wanted = call_argument(call, 1);
    return text_is(wanted, section) || text_is(wanted, "all") || text_is(wanted, "default") ||
           text_is(wanted, "everything");
}

static void add_server(const struct call *call, jd_buffer *info)
{
    enum { SECOND = 1000000000 };
    jd_event_loop *loop = jd_tcp_connection_loop(call->connection);

    jd_buffer_append_format(info,
                            "# Server\r\nredis_version:" REDIS_VERSION "\r\njinduo_version:%s\r\nengine:%s\r\n"
                            "process_id:%ld\r\nuptime_in_seconds:%" PRId64 "\r\n",
                            jd_version(), jd_engine_name(jd_event_loop_engine(loop)), (long)getpid(),
                            (jd_event_loop_now(loop) - call->redis->started) / SECOND);
}

static void add_clients(const struct call *call, jd_buffer *info)
{
    jd_buffer_append_format(info, "# Clients\r\nconnected_clients:%zu\r\n",
                            jd_tcp_server_connection_count(call->redis->server));
}

static void add_memory(const struct call *call, jd_buffer *info)
{
    struct keyspace_statistics statistics;

    keyspace_get_statistics(call->redis->keyspace, &statistics);
    jd_buffer_append_format(info,
                            "# Memory\r\nused_memory:%zu\r\nused_memory_library:%zu\r\nmaxmemory:%zu\r\n"
                            "maxmemory_policy:noeviction\r\n",
                            statistics.memory, jd_memory_in_use(), call->redis->memory_max);
}

static void add_statistics(const struct call *call, jd_buffer *info)
{
    jd_event_loop_statistics statistics;

    jd_tcp_server_get_statistics(call->redis->server, &statistics);
    jd_buffer_append_format(info,
                            "# Stats\r\ntotal_connections_received:%" PRIu64 "\r\ntotal_net_input_bytes:%" PRIu64
                            "\r\ntotal_net_output_bytes:%" PRIu64 "\r\n",
                            statistics.connections_opened, statistics.bytes_received, statistics.bytes_sent);
}

static void add_keyspace(const struct call *call, jd_buffer *info)
{
    struct keyspace_statistics statistics;

    keyspace_get_statistics(call->redis->keyspace, &statistics);
    jd_buffer_append_format(info, "# Keyspace\r\n");
    if (statistics.keys > 0)
        jd_buffer_append_format(info, "db0:keys=%zu,expires=%zu,avg_ttl=0\r\n", statistics.keys, statistics.expiring);
}

void command_info(const struct call *call)
{
    static const struct {
        const char *name;
        void (*add)(const struct call *call, jd_buffer *info);
    } sections[] = { { "server", add_server },
                     { "clients", add_clients },
                     { "memory", add_memory },
                     { "stats", add_statistics },
                     { "keyspace", add_keyspace } };
    jd_buffer *info;
    size_t length;

    if (jd_buffer_create(&info) < 0) {
        reply_keyspace_error(call->connection, JD_ENOMEM);
        return;
    }
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
        if (wants(call, sections[i].name)) {
            if (jd_buffer_readable(info) > 0)
                jd_buffer_append_format(info, "\r\n");
            sections[i].add(call, info);
        }
    length = jd_buffer_readable(info);
    reply_bulk(call->connection, (struct text){ .data = jd_buffer_peek(info, length), .length = length });
    jd_buffer_destroy(info);
}

/* ---- CONFIG GET ---- */

enum { CONFIG_VALUE_BYTES = 24 };

enum parameter_number {
    APPENDONLY,
    DATABASES,
    MAXMEMORY,
    MAXMEMORY_POLICY,
    PROTO_MAX_BULK_LEN,
    SAVE,
    TCP_KEEPALIVE,
    TIMEOUT,
    CONFIG_PARAMETERS
};

struct parameter {
    const char *name;
    char value[CONFIG_VALUE_BYTES];
};

static bool matches_any(const struct call *call, const char *name)
{
    enum { PATTERN_MAX_BYTES = 64 };

    for (uint32_t i = 2; i < call->request->count; i++) {
        struct text argument = call_argument(call, i);
        char pattern[PATTERN_MAX_BYTES];
        if (argument.length >= sizeof(pattern))
            continue;
        snprintf(pattern, sizeof(pattern), "%.*s", (int)argument.length, argument.data);
        if (fnmatch(pattern, name, FNM_CASEFOLD) == 0)
            return true;
    }
    return false;
}

static void config_get(const struct call *call)
{
    struct parameter parameters[CONFIG_PARAMETERS] = {
        [APPENDONLY] = { "appendonly", "no" },
        [DATABASES] = { "databases", "1" },
        [MAXMEMORY] = { .name = "maxmemory" },
        [MAXMEMORY_POLICY] = { "maxmemory-policy", "noeviction" },
        [PROTO_MAX_BULK_LEN] = { .name = "proto-max-bulk-len" },
        [SAVE] = { .name = "save" },
        [TCP_KEEPALIVE] = { .name = "tcp-keepalive" },
        [TIMEOUT] = { .name = "timeout" },
    };
    const struct parameter *wanted[CONFIG_PARAMETERS];
    size_t count = 0;

    snprintf(parameters[MAXMEMORY].value, CONFIG_VALUE_BYTES, "%zu", call->redis->memory_max);
    snprintf(parameters[PROTO_MAX_BULK_LEN].value, CONFIG_VALUE_BYTES, "%zu", call->redis->bulk_max);
    snprintf(parameters[TCP_KEEPALIVE].value, CONFIG_VALUE_BYTES, "%u", call->redis->keepalive_s);
    snprintf(parameters[TIMEOUT].value, CONFIG_VALUE_BYTES, "%u", call->redis->idle_s);
    for (size_t i = 0; i < CONFIG_PARAMETERS; i++)
        if (matches_any(call, parameters[i].name))
            wanted[count++] = &parameters[i];
    reply_array(call->connection, 2 * count);
    for (size_t i = 0; i < count; i++) {
        reply_word(call->connection, wanted[i]->name);
        reply_word(call->connection, wanted[i]->value);
    }
}

static void answer_unknown_subcommand(const struct call *call, const char *help)
{
    enum { SHOWN = 128 };
    struct text word = call_argument(call, 1);

    reply_error(call->connection, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                word.length < SHOWN ? (int)word.length : SHOWN, word.data, help);
}

void command_config(const struct call *call)
{
    if (!text_is(call_argument(call, 1), "GET"))
        answer_unknown_subcommand(call, "CONFIG");
    else if (call->request->count < 3)
        reply_wrong_count(call->connection, "config|get");
    else
        config_get(call);
}

/* ---- COMMAND ---- */

static void answer_flags(const struct call *call, const char *flags)
{
    char copy[64], *rest = copy;
    const char *words[8];
    size_t count = 0;

    snprintf(copy, sizeof(copy), "%s", flags);
    for (const char *word; (word = strsep(&rest, " ")) != NULL;)
        if (*word != '\0')
            words[count++] = word;
    reply_array(call->connection, count);
    for (size_t i = 0; i < count; i++)
        reply_status(call->connection, words[i]);
}

static void describe(const struct call *call, const struct command *command)
{
    enum { FIELDS = 6 };

    if (command == NULL) {
        REPLY(call->connection, "*-1\r\n");
        return;
    }
    reply_array(call->connection, FIELDS);
    reply_word(call->connection, command->name);
    reply_number(call->connection, command->arity);
    answer_flags(call, command->flags);
    reply_number(call->connection, command->first_key);
    reply_number(call->connection, command->last_key);
    reply_number(call->connection, command->key_step);
}

static size_t command_count(void)
{
    size_t count = 0;

    while (commands[count].name != NULL)
        count++;
    return count;
}

void command_command(const struct call *call)
{
    if (call->request->count == 1) {
        reply_array(call->connection, command_count());
        for (const struct command *command = commands; command->name != NULL; command++)
            describe(call, command);
    } else if (text_is(call_argument(call, 1), "COUNT")) {
        reply_number(call->connection, (int64_t)command_count());
    } else if (text_is(call_argument(call, 1), "DOCS")) { /* redis-cli asks for hints: there are none */
        reply_array(call->connection, 0);
    } else if (text_is(call_argument(call, 1), "INFO")) {
        reply_array(call->connection, call->request->count - 2);
        for (uint32_t i = 2; i < call->request->count; i++)
            describe(call, command_find(call_argument(call, i)));
    } else {
        answer_unknown_subcommand(call, "COMMAND");
    }
}
