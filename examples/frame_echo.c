/* jd-frame-echo: sends back each length-prefixed frame. Shows a length codec, the same as a codec of the program's own
 * functions, and frames handled either in the loop or by a thread pool (frame_pool.h). */
#include "examples/frame_pool.h"

#include <stdio.h>
#include <string.h>

enum { OPTION_HEADER_BYTES = 1, OPTION_LITTLE_ENDIAN, OPTION_MAX_FRAME, OPTION_WORK_US, OPTION_POOL, OPTION_OWN_CODEC };

enum { WORK_MAX_US = 1000000, POOL_MAX = 1024 };

struct frame_echo {
    jd_codec *codec;
    uint32_t work_us;
};

static void on_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    const struct frame_echo *echo = arg;

    if (echo->work_us != 0)
        frame_work(echo->work_us);
    /* The output limit is reached: the peer sends but does not read. */
    if (jd_codec_send(echo->codec, connection, data, length) == JD_ENOBUFS)
        jd_tcp_connection_close(connection);
}

/* ---- a codec of the program's own: a length of four bytes, big-endian, which is stripped ---- */

enum { HEADER = sizeof(uint32_t) };

static int decode(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    if (length < HEADER) {
        frame->needed_bytes = HEADER;
        return 0;
    }
    frame->frame_bytes = HEADER + ((size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3]);
    if (length < frame->frame_bytes) {
        frame->needed_bytes = frame->frame_bytes;
        return 0;
    }
    frame->data = data + HEADER;
    frame->length = frame->frame_bytes - HEADER;
    return 1;
}

static int encode(void *arg, const jd_iovec *parts, int count, size_t length, jd_frame_addition *addition)
{
    const uint8_t body[HEADER] = { (uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                                   (uint8_t)length };

    if (length > UINT32_MAX)
        return JD_EMSGSIZE;
    memcpy(addition->header, body, HEADER);
    addition->header_bytes = HEADER;
    return 0;
}

static int codec_create(jd_codec **codec, const jd_length_codec_options *options, bool is_own)
{
    const jd_codec_options own = { .decode = decode, .encode = encode, .max_frame_bytes = options->max_frame_bytes };

    return is_own ? jd_codec_create(codec, &own) : jd_length_codec_create(codec, options);
}

static void print_help(void)
{
    printf(
        "Usage: jd-frame-echo [OPTION]...\n"
        "Sends back each length-prefixed frame that it receives, on each connection, until SIGINT or SIGTERM. A frame\n"
        "longer than the maximum closes its connection.\n\n"
        "      --header-bytes N      bytes of the length field: 1, 2, 3, 4, 8 or varint (default 4)\n"
        "      --little-endian       byte order of the length field (default: big-endian)\n"
        "      --max-frame BYTES     maximum length of a frame, length field included (default 16777216)\n"
        "      --own-codec           decode and encode by functions of this program (jd_codec_create); 4 bytes, "
        "big-endian\n"
        "      --work-us US          CPU time spent on each frame, in microseconds, 0 to 1000000 (default 0)\n"
        "      --pool N              threads of a pool that does this work instead of the loops, 0 to 1024; with a "
        "pool at\n"
        "                            most %d connections are accepted; 0: no pool (default 0)\n%s",
        FRAME_POOL_CONNECTIONS, program_common_help);
}

static size_t field_bytes(const jd_length_codec_options *options)
{
    enum { DEFAULT_BYTES = 4 };

    if (options->length_bytes == JD_LENGTH_VARINT)
        return 1;
    return options->length_bytes != 0 ? options->length_bytes : DEFAULT_BYTES;
}

static unsigned header_bytes(const struct program *program, const char *value)
{
    static const struct {
        const char *name;
        unsigned bytes;
    } widths[] = { { "1", 1 }, { "2", 2 }, { "3", 3 }, { "4", 4 }, { "8", 8 }, { "varint", JD_LENGTH_VARINT } };

    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
        if (strcmp(value, widths[i].name) == 0)
            return widths[i].bytes;
    program_usage_error(program, "--header-bytes '%s': must be 1, 2, 3, 4, 8 or varint", value);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { PROGRAM_LONG_OPTIONS,
                                             { "header-bytes", required_argument, NULL, OPTION_HEADER_BYTES },
                                             { "little-endian", no_argument, NULL, OPTION_LITTLE_ENDIAN },
                                             { "max-frame", required_argument, NULL, OPTION_MAX_FRAME },
                                             { "work-us", required_argument, NULL, OPTION_WORK_US },
                                             { "own-codec", no_argument, NULL, OPTION_OWN_CODEC },
                                             { "pool", required_argument, NULL, OPTION_POOL },
                                             { 0 } };
    struct program program = { .name = "jd-frame-echo", .server_options.name = "jd-frame-echo" };
    jd_length_codec_options codec_options = { .strip_bytes = JD_STRIP_HEADER };
    struct frame_echo echo = { 0 };
    struct frame_pool *pool = NULL;
    unsigned pool_threads = 0;
    bool own_codec = false;
    int option, status;

    while ((option = program_next_option(&program, argc, argv, options)) != -1) {
        switch (option) {
        case 'h':
            print_help();
            return 0;
        case OPTION_HEADER_BYTES:
            codec_options.length_bytes = header_bytes(&program, optarg);
            break;
        case OPTION_LITTLE_ENDIAN:
            codec_options.byte_order = JD_LITTLE_ENDIAN;
            break;
        case OPTION_MAX_FRAME:
            codec_options.max_frame_bytes = program_number(&program, "--max-frame", optarg, 1, SIZE_MAX / 2);
            break;
        case OPTION_OWN_CODEC:
            own_codec = true;
            break;
        case OPTION_WORK_US:
            echo.work_us = (uint32_t)program_number(&program, "--work-us", optarg, 0, WORK_MAX_US);
            break;
        case OPTION_POOL:
            pool_threads = (unsigned)program_number(&program, "--pool", optarg, 0, POOL_MAX);
            break;
        default:
            program_option(&program, option, optarg);
        }
    }
    if (own_codec && (codec_options.length_bytes != 0 || codec_options.byte_order != JD_BIG_ENDIAN))
        program_usage_error(&program, "--own-codec: must not be combined with --header-bytes or --little-endian");
    if (codec_options.max_frame_bytes != 0 && codec_options.max_frame_bytes < field_bytes(&codec_options))
        program_usage_error(&program, "--max-frame '%zu': must not be shorter than the length field",
                            codec_options.max_frame_bytes);
    status = codec_create(&echo.codec, &codec_options, own_codec);
    if (status < 0)
        program_fail(&program, "codec", status);
    if (pool_threads > 0)
        program.server_options.max_connections = FRAME_POOL_CONNECTIONS;
    program_prepare(&program);
    if (pool_threads > 0)
        pool = frame_pool_create(&program, echo.codec, pool_threads, echo.work_us);
    else
        jd_tcp_server_set_codec(program.server, echo.codec, on_frame, &echo);
    status = program_serve(&program);
    frame_pool_destroy(pool);
    jd_codec_destroy(echo.codec);
    return status;
}
