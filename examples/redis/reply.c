#include "examples/redis/reply.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { HEADER_BYTES = VALUE_ROOM_BYTES, END_BYTES = 2 };

static void check(jd_tcp_connection *connection, int result)
{
    if (result < 0 && result != JD_ENOTCONN)
        jd_tcp_connection_close(connection);
}

void reply_bytes(jd_tcp_connection *connection, const void *answer, size_t length)
{
    check(connection, jd_tcp_connection_send(connection, answer, length));
}

/* Writes type, number and line end in front of end. Returns where they begin. */
static char *write_header(char *end, char type, uint64_t number, bool negative)
{
    enum { DECIMAL = 10 };
    char *at = end;

    *--at = '\n';
    *--at = '\r';
    do
        *--at = (char)('0' + number % DECIMAL);
    while ((number /= DECIMAL) != 0);
    if (negative)
        *--at = '-';
    *--at = type;
    return at;
}

static void reply_header(jd_tcp_connection *connection, char type, uint64_t number, bool negative)
{
    char room[HEADER_BYTES], *end = room + sizeof(room);
    const char *begin = write_header(end, type, number, negative);

    reply_bytes(connection, begin, (size_t)(end - begin));
}

void reply_number(jd_tcp_connection *connection, int64_t number)
{
    reply_header(connection, ':', number < 0 ? 0 - (uint64_t)number : (uint64_t)number, number < 0);
}

void reply_array(jd_tcp_connection *connection, size_t count)
{
    reply_header(connection, '*', count, false);
}

static jd_iovec part(const char *data, size_t length)
{
    return (jd_iovec){ .data = (void *)(uintptr_t)data, .length = length };
}

void reply_bulk(jd_tcp_connection *connection, struct text text)
{
    char room[HEADER_BYTES], *end = room + sizeof(room);
    const char *begin = write_header(end, '$', text.length, false);
    const jd_iovec parts[] = { part(begin, (size_t)(end - begin)), part(text.data, text.length),
                               part("\r\n", END_BYTES) };

    check(connection, jd_tcp_connection_sendv(connection, parts, sizeof(parts) / sizeof(parts[0])));
}

void reply_word(jd_tcp_connection *connection, const char *word)
{
    reply_bulk(connection, (struct text){ .data = word, .length = strlen(word) });
}

void reply_status(jd_tcp_connection *connection, const char *word)
{
    const jd_iovec parts[] = { part("+", 1), part(word, strlen(word)), part("\r\n", END_BYTES) };

    check(connection, jd_tcp_connection_sendv(connection, parts, sizeof(parts) / sizeof(parts[0])));
}

/* A short value was read between room for its header and for its end, so that it is one send. */
static void reply_short(jd_tcp_connection *connection, struct value *value)
{
    char *text = value->bytes + VALUE_ROOM_BYTES;
    char *begin = write_header(text, '$', value->length, false);

    memcpy(text + value->length, "\r\n", END_BYTES);
    reply_bytes(connection, begin, (size_t)(text - begin) + value->length + END_BYTES);
}

void reply_value(jd_tcp_connection *connection, struct value *value)
{
    if (value->shared == NULL) {
        reply_short(connection, value);
        return;
    }
    reply_header(connection, '$', value->length, false);
    check(connection, jd_tcp_connection_send_shared(connection, value->shared, 0, value->length));
    REPLY(connection, "\r\n");
    jd_shared_unref(value->shared);
}

void reply_error(jd_tcp_connection *connection, const char *format, ...)
{
    enum { ERROR_MAX_BYTES = 1024 };
    char text[ERROR_MAX_BYTES + END_BYTES] = "-";
    va_list arguments;
    size_t length;

    va_start(arguments, format);
    vsnprintf(text + 1, ERROR_MAX_BYTES - 1, format, arguments);
    va_end(arguments);
    length = strlen(text);
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\r' || text[i] == '\n')
            text[i] = ' ';
    memcpy(text + length, "\r\n", END_BYTES);
    reply_bytes(connection, text, length + END_BYTES);
}

void reply_not_a_number(jd_tcp_connection *connection)
{
    REPLY(connection, "-ERR value is not an integer or out of range\r\n");
}

void reply_syntax_error(jd_tcp_connection *connection)
{
    REPLY(connection, "-ERR syntax error\r\n");
}

void reply_wrong_count(jd_tcp_connection *connection, const char *command)
{
    reply_error(connection, "ERR wrong number of arguments for '%s' command", command);
}

void reply_keyspace_error(jd_tcp_connection *connection, int error)
{
    switch (error) {
    case JD_EINVAL:
        reply_not_a_number(connection);
        break;
    case JD_ERANGE:
        REPLY(connection, "-ERR increment or decrement would overflow\r\n");
        break;
    case JD_EMSGSIZE:
        REPLY(connection, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
        break;
    case JD_ENOBUFS:
        REPLY(connection, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
        break;
    default:
        REPLY(connection, "-ERR out of memory\r\n");
    }
}
