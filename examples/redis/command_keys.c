/* The commands that read and write keys. */
#include "examples/redis/command.h"

static void answer_number(const struct call *call, int result, int64_t number)
{
    if (result < 0)
        reply_keyspace_error(call->connection, result);
    else
        reply_number(call->connection, number);
}

void command_get(const struct call *call)
{
    struct value value;

    if (keyspace_get(call->redis->keyspace, call_argument(call, 1), call->now, &value))
        reply_value(call->connection, &value);
    else
        REPLY_NULL(call->connection);
}

/* ---- SET ---- */

struct set_options {
    enum keyspace_condition condition;
    int64_t expires;
    bool has_expiry;
};

/* Reads a duration in units of that many milliseconds. Returns whether it is valid; else the error has been answered. */
static bool read_expiry(const struct call *call, struct text text, int64_t unit_ms, int64_t *expires)
{
    if (!number_parse(text, expires)) {
        reply_not_a_number(call->connection);
        return false;
    }
    if (__builtin_mul_overflow(*expires, unit_ms, expires) || __builtin_add_overflow(*expires, call->now, expires)) {
        reply_error(call->connection, "ERR invalid expire time in '%s' command", call->command->name);
        return false;
    }
    return true;
}

enum { SECOND_MS = 1000 };

static bool read_set_expiry(const struct call *call, uint32_t i, struct set_options *options)
{
    int64_t unit_ms = text_is(call_argument(call, i), "EX") ? SECOND_MS : 1;

    options->has_expiry = true;
    if (!read_expiry(call, call_argument(call, i + 1), unit_ms, &options->expires))
        return false;
    if (options->expires > call->now)
        return true;
    reply_error(call->connection, "ERR invalid expire time in '%s' command", call->command->name);
    return false;
}

/* The order of the options is free. redis reports a wrong word before a wrong number. */
static bool read_set_options(const struct call *call, struct set_options *options)
{
    uint32_t duration = 0;

    for (uint32_t i = 3; i < call->request->count; i++) {
        struct text word = call_argument(call, i);
        if (text_is(word, "NX") && options->condition != KEYSPACE_IF_PRESENT) {
            options->condition = KEYSPACE_IF_ABSENT;
        } else if (text_is(word, "XX") && options->condition != KEYSPACE_IF_ABSENT) {
            options->condition = KEYSPACE_IF_PRESENT;
        } else if ((text_is(word, "EX") || text_is(word, "PX")) && duration == 0 && i + 1 < call->request->count) {
            duration = i++;
        } else if (text_is(word, "KEEPTTL") && duration == 0) {
            options->expires = KEYSPACE_KEEP_EXPIRY;
        } else {
            reply_syntax_error(call->connection);
            return false;
        }
    }
    if (duration != 0 && options->expires == KEYSPACE_KEEP_EXPIRY) {
        reply_syntax_error(call->connection);
        return false;
    }
    return duration == 0 || read_set_expiry(call, duration, options);
}

void command_set(const struct call *call)
{
    struct set_options options = { .condition = KEYSPACE_ALWAYS };
    int result;

    if (call->request->count > 3 && !read_set_options(call, &options))
        return;
    result = keyspace_set(call->redis->keyspace, call_argument(call, 1), call_argument(call, 2), call->now,
                          options.expires, options.condition);
    if (result < 0)
        reply_keyspace_error(call->connection, result);
    else if (result == 0)
        REPLY_NULL(call->connection);
    else
        REPLY_OK(call->connection);
}

/* ---- several keys ---- */

/* Each key is set by itself: other connections may see some of them set and others not yet. */
void command_mset(const struct call *call)
{
    if (call->request->count % 2 == 0) {
        reply_wrong_count(call->connection, call->command->name);
        return;
    }
    for (uint32_t i = 1; i < call->request->count; i += 2) {
        int result = keyspace_set(call->redis->keyspace, call_argument(call, i), call_argument(call, i + 1), call->now,
                                  0, KEYSPACE_ALWAYS);
        if (result < 0) {
            reply_keyspace_error(call->connection, result);
            return;
        }
    }
    REPLY_OK(call->connection);
}

void command_mget(const struct call *call)
{
    uint32_t count = call->request->count;

    reply_array(call->connection, count - 1);
    for (uint32_t i = 1; i < count && jd_tcp_connection_is_connected(call->connection); i++) {
        struct value value;
        if (keyspace_get(call->redis->keyspace, call_argument(call, i), call->now, &value))
            reply_value(call->connection, &value);
        else
            REPLY_NULL(call->connection);
    }
}

/* Answers with the number of keys of which the function is true. */
static void answer_count(const struct call *call,
                         bool (*is_true)(struct keyspace *keyspace, struct text key, int64_t now))
{
    int64_t count = 0;

    for (uint32_t i = 1; i < call->request->count; i++)
        count += is_true(call->redis->keyspace, call_argument(call, i), call->now);
    reply_number(call->connection, count);
}

void command_del(const struct call *call)
{
    answer_count(call, keyspace_delete);
}

void command_exists(const struct call *call)
{
    answer_count(call, keyspace_exists);
}

/* ---- numbers and texts ---- */

static void add(const struct call *call, int64_t number)
{
    int result = keyspace_add(call->redis->keyspace, call_argument(call, 1), call->now, &number);

    answer_number(call, result, number);
}

void command_incr(const struct call *call)
{
    add(call, 1);
}

void command_decr(const struct call *call)
{
    add(call, -1);
}

void command_incrby(const struct call *call)
{
    int64_t number;

    if (number_parse(call_argument(call, 2), &number))
        add(call, number);
    else
        reply_not_a_number(call->connection);
}

void command_decrby(const struct call *call)
{
    int64_t number;

    if (!number_parse(call_argument(call, 2), &number))
        reply_not_a_number(call->connection);
    else if (number == INT64_MIN)
        REPLY(call->connection, "-ERR decrement would overflow\r\n");
    else
        add(call, -number);
}

void command_append(const struct call *call)
{
    size_t length = 0;
    int result =
        keyspace_append(call->redis->keyspace, call_argument(call, 1), call_argument(call, 2), call->now, &length);

    answer_number(call, result, (int64_t)length);
}

void command_strlen(const struct call *call)
{
    struct value value = { .length = 0 };
    bool exists = keyspace_get(call->redis->keyspace, call_argument(call, 1), call->now, &value);

    reply_number(call->connection, exists ? (int64_t)value.length : 0);
    jd_shared_unref(value.shared);
}

/* ---- expiry ---- */

static void expire(const struct call *call, int64_t unit_ms)
{
    int64_t expires;

    if (call->request->count > 3) {
        struct text option = call_argument(call, 3);
        enum { SHOWN = 128 };
        reply_error(call->connection, "ERR Unsupported option %.*s", option.length < SHOWN ? (int)option.length : SHOWN,
                    option.data);
        return;
    }
    if (read_expiry(call, call_argument(call, 2), unit_ms, &expires))
        reply_number(call->connection,
                     keyspace_expire(call->redis->keyspace, call_argument(call, 1), call->now, expires));
}

void command_expire(const struct call *call)
{
    expire(call, SECOND_MS);
}

void command_pexpire(const struct call *call)
{
    expire(call, 1);
}

void command_pttl(const struct call *call)
{
    reply_number(call->connection, keyspace_time_left(call->redis->keyspace, call_argument(call, 1), call->now));
}

/* Rounded to whole seconds. */
void command_ttl(const struct call *call)
{
    int64_t left = keyspace_time_left(call->redis->keyspace, call_argument(call, 1), call->now);

    reply_number(call->connection, left < 0 ? left : (left + SECOND_MS / 2) / SECOND_MS);
}

/* ---- all keys ---- */

void command_flushall(const struct call *call)
{
    bool has_mode = call->request->count == 2 &&
                    (text_is(call_argument(call, 1), "SYNC") || text_is(call_argument(call, 1), "ASYNC"));

    if (call->request->count > 1 && !has_mode) {
        reply_syntax_error(call->connection);
        return;
    }
    keyspace_flush(call->redis->keyspace);
    REPLY_OK(call->connection);
}

void command_dbsize(const struct call *call)
{
    struct keyspace_statistics statistics;

    keyspace_get_statistics(call->redis->keyspace, &statistics);
    reply_number(call->connection, (int64_t)statistics.keys);
}
