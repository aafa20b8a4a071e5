/* Requests of jd-redis: any stream in any pieces. What is decoded piece by piece must be what the model finds in the whole. The model
 * knows nothing of pieces: it reads each line from its beginning. */
#include "examples/redis/request.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BULK_MAX = 300, ARGUMENTS = 4096 };

/* An array as the model sees it. */
struct model {
    size_t whole;
    uint32_t count;
    size_t offsets[ARGUMENTS], lengths[ARGUMENTS];
};

/* Reads the number behind the type byte at *position. Returns 1, 0 (incomplete) or JD_EPROTO. */
static int model_line(const uint8_t *data, size_t length, size_t *position, long long *number)
{
    size_t begin = *position + 1, end = begin;
    char text[24], again[32];

    while (end < length && data[end] != '\r')
        end++;
    if (end == length)
        return length - *position > REQUEST_LINE_MAX_BYTES ? JD_EPROTO : 0;
    if (end + 1 == length)
        return 0;
    *position = end + 2;
    if (end - begin > (data[begin] == '-' ? 19 : 18) || end == begin)
        return JD_EPROTO;
    memcpy(text, data + begin, end - begin);
    text[end - begin] = '\0';
    *number = strtoll(text, NULL, 10);
    snprintf(again, sizeof(again), "%lld", *number);
    return strlen(text) == end - begin && strcmp(text, again) == 0 ? 1 : JD_EPROTO;
}

static int model_array(const uint8_t *data, size_t length, struct model *model)
{
    long long count = 0, bytes = 0;
    int result = model_line(data, length, &model->whole, &count);

    if (result <= 0 || count > INT32_MAX)
        return result <= 0 ? result : JD_EPROTO;
    while (model->count < count) {
        if (model->whole == length)
            return 0;
        if (data[model->whole] != '$')
            return JD_EPROTO;
        result = model_line(data, length, &model->whole, &bytes);
        if (result <= 0)
            return result;
        if (bytes < 0 || bytes > BULK_MAX)
            return JD_EPROTO;
        if (length - model->whole < (size_t)bytes + 2)
            return 0;
        REQUIRE(model->count < ARGUMENTS);
        model->offsets[model->count] = model->whole;
        model->lengths[model->count++] = (size_t)bytes;
        model->whole += (size_t)bytes + 2;
    }
    return 1;
}

static void compare_array(const struct request *request, const struct model *model, const uint8_t *data)
{
    REQUIRE(request->position == model->whole);
    REQUIRE(request->count == model->count);
    for (uint32_t i = 0; i < model->count; i++) {
        struct text argument = request_argument(request, i);
        REQUIRE(argument.length == model->lengths[i]);
        REQUIRE(argument.data == (const char *)data + model->offsets[i]);
    }
}

/* What any inline request must be: behind the first line feed, with arguments that are no longer than the line. */
static void check_inline(const struct request *request, const uint8_t *data, size_t length)
{
    const uint8_t *end = memchr(data, '\n', length);
    size_t sum = 0;

    REQUIRE(end != NULL && request->position == (size_t)(end - data) + 1);
    for (uint32_t i = 0; i < request->count; i++)
        sum += request_argument(request, i).length;
    REQUIRE(sum < request->position);
}

/* The result of one decode, with the bytes that have arrived in memory of exactly their length. */
static int check(struct request *request, const uint8_t *stream, size_t length)
{
    static struct model model;
    uint8_t *data = fuzz_copy(stream, length);
    const char *reason;
    uint64_t claimed;
    size_t needed;
    int result = request_decode(request, data, length, BULK_MAX, &needed, &claimed, &reason);

    REQUIRE(result == 1 || result == 0 || (result == JD_EPROTO && reason != NULL));
    REQUIRE(result != 0 || needed == 0 || needed > length);
    memset(&model, 0, offsetof(struct model, offsets));
    if (data[0] == '*') {
        REQUIRE(result == model_array(data, length, &model));
        if (result == 1)
            compare_array(request, &model, data);
    } else if (result == 1) {
        check_inline(request, data, length);
    } else if (result == 0) {
        REQUIRE(memchr(data, '\n', length) == NULL);
    }
    free(data);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    size_t piece = 1 + fuzz_byte(&input), length = 0;
    struct request request = { 0 };
    const uint8_t *stream = input.next;
    size_t left = input.left;

    while (length < left) {
        int result;
        length = length + piece < left ? length + piece : left;
        result = check(&request, stream, length);
        if (result < 0)
            break;
        if (result == 1) {
            stream += request.position;
            left -= request.position;
            length = 0;
            request_clear(&request);
        }
    }
    request_clear(&request);
    return 0;
}
