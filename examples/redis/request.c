#include "examples/redis/request.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char request_expected_dollar[] = "expected '$'";

/* What request_decode reports of a request that is not complete or not valid. */
struct outcome {
    size_t needed;
    uint64_t claimed;
    const char *reason;
};

bool text_is(struct text text, const char *word)
{
    return strlen(word) == text.length && strncasecmp(text.data, word, text.length) == 0;
}

static int refuse(struct outcome *outcome, uint64_t claimed, const char *reason)
{
    outcome->claimed = claimed;
    outcome->reason = reason;
    return JD_EPROTO;
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* ---- the arguments ---- */

static int add_argument(struct request *request, size_t offset, size_t length)
{
    struct range *ranges = request->ranges != NULL ? request->ranges : request->few;
    uint32_t room = request->ranges != NULL ? request->room : REQUEST_FEW;

    if (request->count == room) {
        struct range *more = realloc(request->ranges, 2 * (size_t)room * sizeof(*more));
        if (more == NULL)
            return JD_ENOMEM;
        if (request->ranges == NULL)
            memcpy(more, request->few, sizeof(request->few));
        request->ranges = ranges = more;
        request->room = 2 * room;
    }
    ranges[request->count++] = (struct range){ .offset = (uint32_t)offset, .length = (uint32_t)length };
    return 0;
}

void request_clear(struct request *request)
{
    if (request->ranges != NULL)
        free(request->ranges);
    if (request->line != NULL)
        free(request->line);
    request->ranges = NULL;
    request->line = NULL;
    request->position = 0;
    request->scanned = 0;
    request->count = 0;
    request->announced = 0;
}

/* ---- arrays ---- */

/* Reads a number as redis does: no sign but a minus, no zero in front. */
static bool read_number(const uint8_t *text, size_t length, long long *number)
{
    enum { NUMBER_MAX_DIGITS = 18 };
    bool negative = length > 0 && text[0] == '-';
    size_t at = negative ? 1 : 0;
    long long value = 0;

    if (at == length || length - at > NUMBER_MAX_DIGITS || (text[at] == '0' && length > 1))
        return false;
    for (; at < length; at++) {
        if (!is_digit(text[at]))
            return false;
        value = 10 * value + (text[at] - '0');
    }
    *number = negative ? -value : value;
    return true;
}

/* Finds the end of the line that begins at request->position. Returns 1: *end is the offset of the byte end_byte; 0: more bytes are
 * needed; JD_EPROTO. */
static int find_end(struct request *request, const uint8_t *data, size_t length, char end_byte, const char *too_long,
                    size_t *end, struct outcome *outcome)
{
    size_t begin = request->scanned > request->position ? request->scanned : request->position;
    const uint8_t *found = memchr(data + begin, end_byte, length - begin);

    if (found != NULL) {
        *end = (size_t)(found - data);
        return 1;
    }
    request->scanned = length;
    if (length - request->position > REQUEST_LINE_MAX_BYTES)
        return refuse(outcome, length - request->position, too_long);
    return 0;
}

/* Nearly every line of a type byte and a number: few digits, and all of it has arrived. Returns whether it was one. */
static bool read_short_line(struct request *request, const uint8_t *data, size_t length, long long *number)
{
    enum { DIGITS_MAX = 4, AROUND = 3 }; /* the type byte in front, the end of the line behind */
    const uint8_t *digits = data + request->position + 1;
    size_t count = 0;
    long long value = 0;

    if (length - request->position < DIGITS_MAX + AROUND)
        return false;
    for (; count < DIGITS_MAX && is_digit(digits[count]); count++)
        value = 10 * value + (digits[count] - '0');
    if (count == 0 || digits[count] != '\r' || (digits[0] == '0' && count > 1))
        return false;
    *number = value;
    request->position += count + AROUND;
    return true;
}

/* Reads the line of a type byte and a number that begins at request->position, and moves behind it. A line that cannot be a
 * number leaves *number as it is: one that no line may have. */
static int read_number_line(struct request *request, const uint8_t *data, size_t length, const char *too_long,
                            long long *number, struct outcome *outcome)
{
    size_t begin = request->position + 1, end;
    int result;

    if (read_short_line(request, data, length, number))
        return 1;
    result = find_end(request, data, length, '\r', too_long, &end, outcome);
    if (result <= 0)
        return result;
    if (end + 1 == length) /* the line feed is missing */
        return 0;
    read_number(data + begin, end - begin, number);
    request->position = end + 2;
    return 1;
}

static int read_count(struct request *request, const uint8_t *data, size_t length, struct outcome *outcome)
{
    long long count = LLONG_MAX;
    int result = read_number_line(request, data, length, "too big mbulk count string", &count, outcome);

    if (result <= 0)
        return result;
    if (count > INT_MAX)
        return refuse(outcome, (uint64_t)count, "invalid multibulk length");
    request->announced = count > 0 ? (uint32_t)count : 0;
    return 1;
}

/* Reads one argument: "$3\r\nkey\r\n". redis does not look at the last two bytes. */
static int read_bulk(struct request *request, const uint8_t *data, size_t length, size_t bulk_max,
                     struct outcome *outcome)
{
    enum { END_BYTES = 2 };
    size_t begin = request->position;
    long long bytes = -1;
    int result;

    if (begin == length)
        return 0;
    if (data[begin] != '$')
        return refuse(outcome, data[begin], request_expected_dollar);
    result = read_number_line(request, data, length, "too big bulk count string", &bytes, outcome);
    if (result <= 0)
        return result;
    if (bytes < 0 || (unsigned long long)bytes > bulk_max)
        return refuse(outcome, bytes < 0 ? 0 : (uint64_t)bytes, "invalid bulk length");
    if (length - request->position < (size_t)bytes + END_BYTES) {
        outcome->needed = request->position + (size_t)bytes + END_BYTES;
        request->position = begin; /* the number is read again with the bytes behind it */
        return 0;
    }
    if (add_argument(request, request->position, (size_t)bytes) < 0)
        return JD_ENOMEM;
    request->position += (size_t)bytes + END_BYTES;
    return 1;
}

static int decode_array(struct request *request, const uint8_t *data, size_t length, size_t bulk_max,
                        struct outcome *outcome)
{
    int result = 1;

    if (request->announced == 0)
        result = read_count(request, data, length, outcome);
    while (result == 1 && request->count < request->announced)
        result = read_bulk(request, data, length, bulk_max, outcome);
    request->base = (const char *)data;
    return result;
}

/* ---- inline requests ---- */

static int hexadecimal(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

static char unescape(char byte)
{
    switch (byte) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return byte;
    }
}

/* Copies a quoted part, from behind its quote on, to *to: double quotes with escapes, single ones with \' only. Returns the
 * position behind the closing quote; NULL: there is none, or something other than a space follows. */
static const char *copy_quoted(const char *at, const char *end, char quote, char **to)
{
    while (at < end && *at != quote) {
        bool escaped = *at == '\\' && end - at > 1 && (quote == '"' || at[1] == '\'');
        if (quote == '"' && end - at > 3 && at[0] == '\\' && at[1] == 'x' && hexadecimal(at[2]) >= 0 &&
            hexadecimal(at[3]) >= 0) {
            *(*to)++ = (char)(16 * hexadecimal(at[2]) + hexadecimal(at[3]));
            at += 4;
        } else if (escaped) {
            *(*to)++ = quote == '"' ? unescape(at[1]) : at[1];
            at += 2;
        } else {
            *(*to)++ = *at++;
        }
    }
    if (at == end || (end - at > 1 && strchr(" \t\v\f\r\n", at[1]) == NULL))
        return NULL;
    return at + 1;
}

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == '\0';
}

/* Copies the argument that begins at at to *to. Returns the position behind it, or NULL: its quotes are wrong. */
static const char *copy_argument(const char *at, const char *end, char **to)
{
    while (at < end && !is_space(*at)) {
        if (*at == '"' || *at == '\'')
            return copy_quoted(at + 1, end, *at, to);
        *(*to)++ = *at++;
    }
    return at;
}

static int split_line(struct request *request, const char *at, const char *end, struct outcome *outcome)
{
    char *to = malloc((size_t)(end - at) + 1), *argument;

    if (to == NULL)
        return JD_ENOMEM;
    request->line = to;
    request->base = to;
    for (;;) {
        while (at < end && is_space(*at))
            at++;
        if (at == end)
            return 1;
        argument = to;
        at = copy_argument(at, end, &to);
        if (at == NULL)
            return refuse(outcome, 0, "unbalanced quotes in request");
        if (add_argument(request, (size_t)(argument - request->line), (size_t)(to - argument)) < 0)
            return JD_ENOMEM;
    }
}

static int decode_inline(struct request *request, const uint8_t *data, size_t length, struct outcome *outcome)
{
    const char *line = (const char *)data;
    size_t end;
    int result = find_end(request, data, length, '\n', "too big inline request", &end, outcome);

    if (result <= 0)
        return result;
    request->position = end + 1;
    return split_line(request, line, line + end, outcome);
}

/* ---- the codec ---- */

int request_decode(struct request *request, const uint8_t *data, size_t length, size_t bulk_max, size_t *needed,
                   uint64_t *claimed, const char **reason)
{
    struct outcome outcome = { 0 };
    int result = data[0] == '*' ? decode_array(request, data, length, bulk_max, &outcome)
                                : decode_inline(request, data, length, &outcome);

    *needed = outcome.needed;
    *claimed = outcome.claimed;
    *reason = outcome.reason;
    return result;
}

/* A request is decoded as its bytes arrive; what is decoded is kept in the connection's context, and so are the arguments, which the
 * frame callback finds there. The library's searched is 0 when a new frame begins. */
static int decode(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    const struct request_codec *options = arg;
    struct request alone = { 0 };
    struct request *request = frame->connection != NULL ? options->of_connection(frame->connection) : &alone;
    int result;

    if (*searched == 0 || frame->connection == NULL)
        request_clear(request);
    result = request_decode(request, data, length, options->bulk_max, &frame->needed_bytes, &frame->claimed_bytes,
                            &frame->reason);
    frame->frame_bytes = request->position;
    *searched = length;
    request_clear(&alone);
    return result;
}

int request_codec_create(jd_codec **codec, struct request_codec *options)
{
    enum { WITH_VALUES = 2 }; /* redis: client-query-buffer-limit is 1 GiB, proto-max-bulk-len 512 MiB */
    size_t max = WITH_VALUES * options->bulk_max + 2 * REQUEST_LINE_MAX_BYTES;

    return jd_codec_create(codec, &(jd_codec_options){
                                      .decode = decode,
                                      .arg = options,
                                      .max_frame_bytes = max < UINT32_MAX ? max : UINT32_MAX,
                                  });
}
