/* The delimiter codec: any options, any stream, any split. The model looks at each byte. */
#include "tests/fuzz/codec_checks.h"

#include <jinduo/delimiter_codec.h>
#include <jinduo/error.h>
#include <jinduo/log.h>
#include <string.h>

enum { DEFAULT_MAX_BYTES = 16 * 1024 * 1024 };

static size_t max_frame(const jd_delimiter_codec_options *options)
{
    return options->max_frame_bytes != 0 ? options->max_frame_bytes : DEFAULT_MAX_BYTES;
}

static int decode(const void *model, const uint8_t *data, size_t length, struct model_frame *frame)
{
    const jd_delimiter_codec_options *options = model;
    size_t size = options->delimiter_bytes, max = max_frame(options), end = size;

    while (end <= length && end <= max && memcmp(data + end - size, options->delimiter, size) != 0)
        end++;
    if (end > length || end > max)
        return length < max ? 0 : JD_EMSGSIZE;
    *frame = (struct model_frame){ .length = options->keep_delimiter ? end : end - size, .whole = end };
    if (!options->keep_delimiter && options->strip_carriage_return && frame->length > 0 &&
        data[frame->length - 1] == '\r')
        frame->length--;
    return 1;
}

static void encode(const jd_codec *codec, const jd_delimiter_codec_options *model, struct fuzz_input *input)
{
    size_t length = fuzz_byte(input);
    const uint8_t *message = fuzz_take(input, &length);
    bool fits = length + model->delimiter_bytes <= max_frame(model);

    check_encoding(codec, decode, model, message, length, fits ? 0 : JD_EMSGSIZE);
}

/* Creates the codec with the options that the input chooses, and sets the model to them. Returns NULL if they are not
 * allowed. */
static jd_codec *create(jd_delimiter_codec_options *model, uint8_t delimiter[], struct fuzz_input *input)
{
    enum { LENGTH = 31, KEEP = 32, STRIP = 64, LIMIT = 128 };
    uint8_t choice = fuzz_byte(input);
    size_t length = (choice & LENGTH) % (JD_DELIMITER_MAX_BYTES + 2);
    jd_delimiter_codec_options options = {
        .delimiter = length > 0 ? delimiter : NULL,
        .delimiter_bytes = length,
        .keep_delimiter = (choice & KEEP) != 0,
        .strip_carriage_return = (choice & STRIP) != 0,
        .max_frame_bytes = (choice & LIMIT) != 0 ? fuzz_byte(input) : 0,
    };
    jd_codec *codec;
    int result;

    for (size_t i = 0; i < length; i++)
        delimiter[i] = fuzz_byte(input);
    *model = options;
    model->delimiter = delimiter;
    model->delimiter_bytes = length > 0 ? length : 1; /* "\n" */
    result = jd_delimiter_codec_create(&codec, &options);
    REQUIRE(result == (length <= JD_DELIMITER_MAX_BYTES && max_frame(model) >= model->delimiter_bytes ? 0 : JD_EINVAL));
    return result == 0 ? codec : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t delimiter[JD_DELIMITER_MAX_BYTES + 1] = { '\n' };
    struct fuzz_input input = { data, size };
    jd_delimiter_codec_options model;
    jd_codec *codec;

    jd_log_set_level(JD_LOG_NONE);
    codec = create(&model, delimiter, &input);
    if (codec == NULL)
        return 0;
    REQUIRE(jd_codec_max_frame(codec) == max_frame(&model));
    encode(codec, &model, &input);
    check_splits(codec, decode, &model, &input);
    jd_codec_destroy(codec);
    return 0;
}
