/* The parser of jd-http: what a stream of requests means does not depend on how it is split, and no request passes that two
 * servers could read differently. The model is the parser itself, which gets the stream at once. */
#include "examples/http/request.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* What a stream means: all requests, by a checksum, and how it ends. */
struct meaning {
    unsigned requests;
    uint64_t checksum;
    unsigned refusal;  /* 0: none */
    size_t left_bytes; /* of an incomplete request */
};

static void add(struct meaning *meaning, const void *data, size_t length)
{
    const uint64_t prime = 1099511628211; /* FNV-1a */
    const uint8_t *bytes = data;

    meaning->checksum = (meaning->checksum ^ length) * prime;
    for (size_t i = 0; i < length; i++)
        meaning->checksum = (meaning->checksum ^ bytes[i]) * prime;
}

static void add_text(struct meaning *meaning, struct text text)
{
    REQUIRE(text.length == 0 || text.data != NULL);
    add(meaning, text.data, text.length);
}

static bool contains(struct text text, char character)
{
    return text.length > 0 && memchr(text.data, character, text.length) != NULL;
}

static void add_request(struct meaning *meaning, const struct request *request, uint32_t body_limit)
{
    struct text coding = request->fields[FIELD_TRANSFER_ENCODING];

    REQUIRE(request->path.length > 0 && (*request->path.data == '/' || *request->path.data == '*'));
    REQUIRE(request->body.length <= body_limit);
    REQUIRE(request->is_http_1_0 || request->fields[FIELD_HOST].data != NULL);
    REQUIRE(coding.data == NULL || (text_is(coding, "chunked") && !request->is_http_1_0));
    meaning->requests++;
    add(meaning, &request->method, sizeof(request->method));
    add(meaning, &request->keep_alive, sizeof(request->keep_alive));
    add_text(meaning, request->path);
    add_text(meaning, request->query);
    add_text(meaning, request->body);
    for (unsigned i = 0; i < FIELDS; i++) {
        REQUIRE(!contains(request->fields[i], '\n') && !contains(request->fields[i], '\r') &&
                !contains(request->fields[i], '\0'));
        add_text(meaning, request->fields[i]);
    }
}

/* Parses what has arrived, as a session does. Returns whether more is wanted. */
static bool parse(struct parser *parser, jd_buffer *input, struct meaning *meaning)
{
    struct request request;

    while (jd_buffer_readable(input) > parser->parsed) {
        switch (parser_run(parser, input, &request)) {
        case PARSE_INCOMPLETE:
            return true;
        case PARSE_HEAD:
            REQUIRE(parser->parsed <= HEAD_MAX_BYTES);
            break;
        case PARSE_COMPLETE:
            REQUIRE(parser->parsed <= jd_buffer_readable(input));
            add_request(meaning, &request, parser->body_limit);
            if (!request.keep_alive)
                return false;
            parser_next(parser, input);
            break;
        case PARSE_REFUSED:
            REQUIRE(parser->refusal >= 400 && parser->refusal <= 505);
            meaning->refusal = parser->refusal;
            return false;
        }
    }
    return true;
}

/* Gives the parser the stream in pieces of at most piece bytes. */
static struct meaning parse_in_pieces(const uint8_t *data, size_t length, size_t piece, uint32_t body_limit)
{
    struct meaning meaning = { 0 };
    struct parser parser;
    jd_buffer *input;
    bool goes_on = true;

    REQUIRE(jd_buffer_create(&input) == 0);
    parser_init(&parser, body_limit);
    for (size_t at = 0; at < length && goes_on; at += piece) {
        size_t size = length - at < piece ? length - at : piece;
        uint8_t *copy = fuzz_copy(data + at, size);
        REQUIRE(jd_buffer_append(input, copy, size) == 0);
        free(copy);
        goes_on = parse(&parser, input, &meaning);
    }
    meaning.left_bytes = goes_on ? parser.parsed : 0;
    parser_release(&parser);
    jd_buffer_destroy(input);
    return meaning;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    size_t piece = 1 + (size_t)fuzz_byte(&input) % 64;
    uint32_t body_limit = (uint32_t)fuzz_byte(&input) * 8;
    struct meaning whole = parse_in_pieces(input.next, input.left, input.left + 1, body_limit);
    struct meaning split = parse_in_pieces(input.next, input.left, piece, body_limit);

    REQUIRE(whole.requests == split.requests);
    REQUIRE(whole.checksum == split.checksum);
    REQUIRE(whole.refusal == split.refusal);
    REQUIRE(whole.left_bytes == split.left_bytes);
    return 0;
}
