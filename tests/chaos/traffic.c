#include "tests/chaos/traffic.h"

#include "tests/chaos/random.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *const protocol_names[PROTOCOLS] = { "bytes", "discard", "frames", "varint",
                                                "lines", "files",   "http",   "redis" };
const uint64_t file_bytes[FILES] = { 0, 100, 150000, 3000000 };

enum { FRAME_MAX_BYTES = 16 * 1024 * 1024, LINE_MAX_BYTES = 1024, REQUEST_MAX_BYTES = 4096, INVALID_ONE_IN = 30 };

uint8_t file_byte(unsigned number, uint64_t offset)
{
    enum { PRIME = 251 };

    return (uint8_t)((offset + number) % PRIME);
}

/* Mostly short lengths, sometimes up to max. */
static size_t some_length(uint64_t *random, size_t max)
{
    static const size_t bounds[] = { 4, 64, 64, 1500, 1500, 16384, SIZE_MAX };
    size_t bound = bounds[chaos_below(random, sizeof(bounds) / sizeof(bounds[0]))];

    return (size_t)chaos_below(random, (bound < max ? bound : max) + 1);
}

static void fill(uint64_t *random, uint8_t *buffer, size_t length)
{
    memset(buffer, (int)chaos_random(random) & 0xff, length);
    for (size_t i = 0; i < length; i += 1 + (size_t)chaos_below(random, 64))
        buffer[i] = (uint8_t)chaos_random(random);
}

size_t traffic_header(enum protocol protocol, uint32_t length, uint8_t *buffer)
{
    size_t bytes = 0;

    if (protocol == PROTOCOL_REDIS)
        return (size_t)snprintf((char *)buffer, TRAFFIC_HEADER_MAX_BYTES,
                                "*3\r\n$3\r\nSET\r\n$9\r\nannounced\r\n$%" PRIu32 "\r\n", length);
    if (protocol == PROTOCOL_VARINT) {
        for (; length >= 0x80; length >>= 7)
            buffer[bytes++] = (uint8_t)(length | 0x80);
        buffer[bytes++] = (uint8_t)length;
        return bytes;
    }
    for (; bytes < sizeof(length); bytes++)
        buffer[bytes] = (uint8_t)(length >> (8 * (sizeof(length) - 1 - bytes)));
    return bytes;
}

static size_t frame(enum protocol protocol, uint64_t *random, uint8_t *buffer)
{
    enum { HEADER_MAX_BYTES = 10 };
    size_t length = some_length(random, MESSAGE_MAX_BYTES - HEADER_MAX_BYTES), header;

    if (chaos_below(random, INVALID_ONE_IN) == 0) { /* an impossible length field, of bytes that are mostly large */
        fill(random, buffer, HEADER_MAX_BYTES);
        memset(buffer, 0xff, (size_t)chaos_below(random, HEADER_MAX_BYTES + 1));
        return HEADER_MAX_BYTES;
    }
    header = traffic_header(protocol, (uint32_t)length, buffer);
    fill(random, buffer + header, length);
    return header + length;
}

static size_t line(uint64_t *random, uint8_t *buffer)
{
    static const char *const commands[] = { "/nick abc\n", "/nick !!\r\n", "/quit\n", "/\n", "\n", "\r\n" };
    size_t length;

    if (chaos_below(random, 4) == 0)
        return (size_t)snprintf((char *)buffer, MESSAGE_MAX_BYTES, "%s",
                                commands[chaos_below(random, sizeof(commands) / sizeof(commands[0]))]);
    length = (size_t)chaos_below(random, chaos_below(random, INVALID_ONE_IN) == 0 ? 2 * LINE_MAX_BYTES : 80);
    fill(random, buffer, length);
    buffer[length] = '\n';
    return length + 1;
}

static size_t request(uint64_t *random, uint8_t *buffer)
{
    static const char *const strange[] = { "../0\n", "\n", "/etc/passwd\n", "no such file\n", "0\r\n", ".\n" };

    if (chaos_below(random, 4) == 0)
        return (size_t)snprintf((char *)buffer, MESSAGE_MAX_BYTES, "%s",
                                strange[chaos_below(random, sizeof(strange) / sizeof(strange[0]))]);
    if (chaos_below(random, INVALID_ONE_IN) == 0) {
        fill(random, buffer, 2 * REQUEST_MAX_BYTES);
        return 2 * REQUEST_MAX_BYTES;
    }
    return (size_t)snprintf((char *)buffer, MESSAGE_MAX_BYTES, "%u\n", (unsigned)chaos_below(random, FILES));
}

/* A request with a body that comes back, by length or as one chunk. */
static size_t http_echo(uint64_t *random, uint8_t *buffer)
{
    enum { HEAD_ROOM = 128 };
    size_t length = some_length(random, MESSAGE_MAX_BYTES - 2 * HEAD_ROOM);
    bool is_chunked = chaos_below(random, 2) == 0;
    const char *format = is_chunked ? "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n"
                                    : "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n";
    size_t head = (size_t)snprintf((char *)buffer, HEAD_ROOM, format, length);

    fill(random, buffer + head, length);
    if (!is_chunked)
        return head + length;
    return head + length +
           (size_t)snprintf((char *)buffer + head + length, HEAD_ROOM, length > 0 ? "\r\n0\r\n\r\n" : "\r\n");
}

static size_t http_request(uint64_t *random, uint8_t *buffer)
{
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /2 HTTP/1.1\r\nHost: x\r\nRange: bytes=1000-\r\n\r\n",
        "HEAD /3 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /status/events HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /../x HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "PUT /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    };

    if (chaos_below(random, INVALID_ONE_IN) == 0) {
        fill(random, buffer, REQUEST_MAX_BYTES);
        return REQUEST_MAX_BYTES;
    }
    if (chaos_below(random, 2) == 0)
        return http_echo(random, buffer);
    return (size_t)snprintf((char *)buffer, MESSAGE_MAX_BYTES, "%s",
                            requests[chaos_below(random, sizeof(requests) / sizeof(requests[0]))]);
}

enum { KEYS = 40, CHANNELS = 300 };

/* A few keys, so that the server's memory is the same whatever it has served, and many channels, so that a message does not
 * reach all connections. */
static size_t redis_command(uint64_t *random, uint8_t *buffer)
{
    static const char *const formats[] = {
        "*2\r\n$3\r\nGET\r\n$6\r\nkey-%02u\r\n",
        "*4\r\n$4\r\nMGET\r\n$6\r\nkey-%02u\r\n$4\r\nnone\r\n$6\r\nkey-01\r\n",
        "*5\r\n$4\r\nMSET\r\n$6\r\nkey-%02u\r\n$1\r\na\r\n$6\r\nkey-01\r\n$1\r\nb\r\n",
        "*2\r\n$4\r\nINCR\r\n$6\r\nkey-%02u\r\n",
        "*2\r\n$3\r\nDEL\r\n$6\r\nkey-%02u\r\n",
        "*5\r\n$3\r\nSET\r\n$6\r\nkey-%02u\r\n$1\r\nv\r\n$2\r\nPX\r\n$2\r\n20\r\n",
        "set key-%02u \"a value\"\r\n",
        "*1\r\n$4\r\nPING\r\n",
        "*1\r\n$7\r\nCOMMAND\r\n",
        "*1\r\n$4\r\nINFO\r\n",
        "*2\r\n$4\r\nNOPE\r\n$1\r\na\r\n",
        "*0\r\n",
        "\r\n",
        "*1\r\n$11\r\nUNSUBSCRIBE\r\n",
        "*2\r\n$9\r\nSUBSCRIBE\r\n$3\r\n%03u\r\n",
        "*3\r\n$7\r\nPUBLISH\r\n$3\r\n%03u\r\n$5\r\nhello\r\n",
        "*1\r\n$4\r\nQUIT\r\n",
        "set key-%02u \"no end\r\n",
        "*1\r\n+no string\r\n",
        "*1\r\n$1x\r\n",
    };
    enum { COMMANDS = sizeof(formats) / sizeof(formats[0]), OF_CHANNELS = 14 };
    unsigned command = (unsigned)chaos_below(random, COMMANDS);
    unsigned number = (unsigned)chaos_below(random, command < OF_CHANNELS ? KEYS : CHANNELS);

    return (size_t)snprintf((char *)buffer, MESSAGE_MAX_BYTES, formats[command], number);
}

static size_t redis_request(uint64_t *random, uint8_t *buffer)
{
    size_t length, header;

    if (chaos_below(random, INVALID_ONE_IN) == 0) {
        fill(random, buffer, REQUEST_MAX_BYTES);
        return REQUEST_MAX_BYTES;
    }
    if (chaos_below(random, 2) == 0)
        return redis_command(random, buffer);
    length = some_length(random, MESSAGE_MAX_BYTES - 2 * TRAFFIC_HEADER_MAX_BYTES);
    header = (size_t)snprintf((char *)buffer, TRAFFIC_HEADER_MAX_BYTES, "*3\r\n$3\r\nSET\r\n$6\r\nkey-%02u\r\n$%zu\r\n",
                              (unsigned)chaos_below(random, KEYS), length);
    fill(random, buffer + header, length);
    memcpy(buffer + header + length, "\r\n", 2);
    return header + length + 2;
}

size_t traffic_message(enum protocol protocol, uint64_t *random, uint8_t *buffer)
{
    size_t length;

    switch (protocol) {
    case PROTOCOL_FRAMES:
    case PROTOCOL_VARINT:
        return frame(protocol, random, buffer);
    case PROTOCOL_LINES:
        return line(random, buffer);
    case PROTOCOL_FILES:
        return request(random, buffer);
    case PROTOCOL_HTTP:
        return http_request(random, buffer);
    case PROTOCOL_REDIS:
        return redis_request(random, buffer);
    default:
        length = some_length(random, MESSAGE_MAX_BYTES - 1) + 1;
        fill(random, buffer, length);
        return length;
    }
}

/* Many arguments, or a long one: just allowed, and beyond. */
static size_t redis_announcement(uint64_t *random, uint8_t *buffer)
{
    static const uint32_t lengths[] = { 16777216, 536870912, 536870913, UINT32_MAX };
    static const uint32_t counts[] = { 1048576, INT32_MAX, (uint32_t)INT32_MAX + 1, UINT32_MAX };
    unsigned which = (unsigned)chaos_below(random, sizeof(lengths) / sizeof(lengths[0]));

    if (chaos_below(random, 2) == 0)
        return traffic_header(PROTOCOL_REDIS, lengths[which], buffer);
    return (size_t)snprintf((char *)buffer, TRAFFIC_HEADER_MAX_BYTES, "*%" PRIu32 "\r\n$3\r\n", counts[which]);
}

size_t traffic_announcement(enum protocol protocol, uint64_t *random, uint8_t *buffer)
{
    /* Just allowed, just not, and far beyond. */
    static const uint32_t lengths[] = { FRAME_MAX_BYTES - 10, FRAME_MAX_BYTES, UINT32_MAX };
    enum { FOLLOWING = 10 };
    size_t header = 0;

    if (protocol == PROTOCOL_FRAMES || protocol == PROTOCOL_VARINT)
        header = traffic_header(protocol, lengths[chaos_below(random, sizeof(lengths) / sizeof(lengths[0]))], buffer);
    else if (protocol == PROTOCOL_HTTP)
        header = (size_t)snprintf((char *)buffer, MESSAGE_MAX_BYTES,
                                  "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %u\r\n\r\n",
                                  chaos_below(random, 2) == 0 ? 1048576U : lengths[0]);
    else if (protocol == PROTOCOL_REDIS)
        header = redis_announcement(random, buffer);
    memset(buffer + header, 'a', FOLLOWING);
    return header + FOLLOWING;
}
