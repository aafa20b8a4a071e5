#include "examples/http/request.h"

#include <string.h>
#include <strings.h>

enum { GO_ON = 0, STOP = -1 }; /* what llhttp's callbacks return, besides HPE_PAUSED */

/* All of one length are compared: keep them few. */
static const struct {
    const char *name;
    uint8_t length;
} field_names[FIELDS] = {
#define FIELD(name)                                                                                                    \
    {                                                                                                                  \
        name, sizeof(name) - 1                                                                                         \
    }
    [FIELD_HOST] = FIELD("host"),
    [FIELD_RANGE] = FIELD("range"),
    [FIELD_EXPECT] = FIELD("expect"),
    [FIELD_IF_RANGE] = FIELD("if-range"),
    [FIELD_IF_NONE_MATCH] = FIELD("if-none-match"),
    [FIELD_CONTENT_TYPE] = FIELD("content-type"),
    [FIELD_TRANSFER_ENCODING] = FIELD("transfer-encoding"),
    [FIELD_IF_MODIFIED_SINCE] = FIELD("if-modified-since"),
#undef FIELD
};

bool text_is(struct text text, const char *word)
{
    return text.data != NULL && strlen(word) == text.length && strncasecmp(text.data, word, text.length) == 0;
}

static struct parser *parser_of(llhttp_t *llhttp)
{
    return (struct parser *)((char *)llhttp - offsetof(struct parser, llhttp));
}

static int refuse(struct parser *parser, unsigned status)
{
    parser->refusal = (uint16_t)status;
    return STOP;
}

/* Adds the length characters at to a part that may have begun in an earlier segment. Returns whether they follow it. */
static bool part_extend(struct parser *parser, struct part *part, const char *at, size_t length)
{
    uint32_t offset = parser->segment_offset + (uint32_t)(at - parser->segment);

    if (part->length == 0)
        part->offset = offset;
    else if (part->offset + part->length != offset)
        return false;
    part->length += (uint32_t)length;
    return true;
}

/* ---- llhttp's callbacks ---- */

static int on_url(llhttp_t *llhttp, const char *at, size_t length)
{
    struct parser *parser = parser_of(llhttp);

    part_extend(parser, &parser->target, at, length);
    return parser->target.length <= TARGET_MAX_BYTES ? GO_ON : refuse(parser, HTTP_STATUS_URI_TOO_LONG);
}

static int on_header_field(llhttp_t *llhttp, const char *at, size_t length)
{
    struct parser *parser = parser_of(llhttp);

    parser->name_end = parser->segment_offset + (uint32_t)(at - parser->segment + (ptrdiff_t)length);
    if (length > (size_t)(FIELD_NAME_BYTES - parser->name_length)) {
        parser->name_length = FIELD_NAME_BYTES;
        return GO_ON;
    }
    memcpy(parser->name + parser->name_length, at, length);
    parser->name_length += (uint8_t)length;
    return GO_ON;
}

static int on_header_field_complete(llhttp_t *llhttp)
{
    struct parser *parser = parser_of(llhttp);
    uint8_t field = 0, length = parser->name_length;

    if (length == 0)
        return refuse(parser, HTTP_STATUS_BAD_REQUEST);
    parser->name_length = 0;
    parser->value = (struct part){ 0 };
    while (field < FIELDS &&
           (field_names[field].length != length || strncasecmp(field_names[field].name, parser->name, length) != 0))
        field++;
    if (parser->head_complete)
        field = FIELDS; /* behind a chunked body: must not change what the head has said */
    parser->field = field;
    if (++parser->lines > FIELD_LINES_MAX)
        return refuse(parser, HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE);
    if (field == FIELDS)
        return GO_ON;
    /* None of them, unless it is a list, may occur twice: which of two would the next server believe? */
    if (parser->fields_seen & 1U << field && field != FIELD_IF_NONE_MATCH)
        return refuse(parser, HTTP_STATUS_BAD_REQUEST);
    parser->fields_seen |= (uint8_t)(1U << field);
    return GO_ON;
}

/* Whether there is a line end between the colon and the value. */
static bool begins_on_another_line(const struct parser *parser)
{
    enum { COLON_AND_SPACE = 2 };
    uint32_t offset = parser->name_end;

    if (parser->value.offset <= offset + COLON_AND_SPACE)
        return false;
    for (char character; offset < parser->value.offset; offset++)
        if (jd_buffer_copy_out(parser->input, offset, &character, 1) < 0 || character == '\r' || character == '\n')
            return true;
    return false;
}

/* RFC 9112 (5.2) lets a server refuse values that are folded over lines: servers do not agree what they mean. */
static int on_header_value(llhttp_t *llhttp, const char *at, size_t length)
{
    struct parser *parser = parser_of(llhttp);
    bool is_first = parser->value.length == 0;

    if (length == 0)
        return GO_ON;
    if (!part_extend(parser, &parser->value, at, length) || (is_first && begins_on_another_line(parser)))
        return refuse(parser, HTTP_STATUS_BAD_REQUEST);
    return GO_ON;
}

/* Spaces behind a value do not belong to it (RFC 9110, 5.5). */
static void trim_value(struct parser *parser)
{
    struct part *value = &parser->value;
    char last;

    while (value->length > 0 && jd_buffer_copy_out(parser->input, value->offset + value->length - 1, &last, 1) == 0 &&
           (last == ' ' || last == '\t'))
        value->length--;
}

static int on_header_value_complete(llhttp_t *llhttp)
{
    struct parser *parser = parser_of(llhttp);

    if (parser->field == FIELDS)
        return GO_ON;
    trim_value(parser);
    parser->fields[parser->field] = parser->value;
    return GO_ON;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct parser *parser = parser_of(llhttp);

    /* The server stays with HTTP/1.1 (RFC 9110, 7.8): llhttp would take what follows for another protocol. */
    if (llhttp->method != HTTP_CONNECT)
        llhttp->upgrade = 0;
    parser->head_complete = true;
    parser->has_body = (llhttp->flags & F_CHUNKED) != 0 || llhttp->content_length > 0;
    parser->keep_alive = llhttp_should_keep_alive(llhttp) != 0;
    parser->flags = llhttp->flags;
    return parser->has_body ? HPE_PAUSED : GO_ON;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t length)
{
    struct parser *parser = parser_of(llhttp);

    if (!(parser->fields_seen & 1U << FIELD_TRANSFER_ENCODING)) {
        part_extend(parser, &parser->body, at, length);
        return GO_ON;
    }
    if (parser->chunks == NULL && jd_buffer_create(&parser->chunks) < 0)
        return refuse(parser, HTTP_STATUS_SERVICE_UNAVAILABLE);
    if (length > parser->body_limit - jd_buffer_readable(parser->chunks))
        return refuse(parser, HTTP_STATUS_PAYLOAD_TOO_LARGE);
    return jd_buffer_append(parser->chunks, at, length) == 0 ? GO_ON : refuse(parser, HTTP_STATUS_SERVICE_UNAVAILABLE);
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct parser *parser = parser_of(llhttp);

    /* A "Connection: close" behind a chunked body does not count (RFC 9110, 6.5.1). With it llhttp would take no further
     * request. */
    llhttp->flags = parser->flags;
    parser->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- refusing ---- */

static bool is_token_character(char character)
{
    return character != '\0' &&
           (strchr("!#$%&'*+-.^_`|~", character) != NULL || (character >= '0' && character <= '9') ||
            (character >= 'A' && character <= 'Z') || (character >= 'a' && character <= 'z'));
}

/* llhttp knows the methods of all extensions of HTTP: another word is one that this server does not implement. What cannot be
 * a method is a bad request. */
static unsigned refusal_of_method(const struct parser *parser)
{
    return is_token_character(*llhttp_get_error_pos(&parser->llhttp)) ? HTTP_STATUS_NOT_IMPLEMENTED
                                                                      : HTTP_STATUS_BAD_REQUEST;
}

static unsigned refusal_of_error(const struct parser *parser, llhttp_errno_t error)
{
    if (parser->refusal != 0)
        return parser->refusal;
    if (!parser->head_complete && parser->parsed > HEAD_MAX_BYTES)
        return HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE;
    switch (error) {
    case HPE_INVALID_METHOD:
        return refusal_of_method(parser);
    case HPE_INVALID_TRANSFER_ENCODING:
        return parser->head_complete ? HTTP_STATUS_NOT_IMPLEMENTED : HTTP_STATUS_BAD_REQUEST;
    case HPE_INVALID_VERSION:
    case HPE_PAUSED_H2_UPGRADE:
        return HTTP_STATUS_HTTP_VERSION_NOT_SUPPORTED;
    default:
        return HTTP_STATUS_BAD_REQUEST;
    }
}

/* Whether the text behind the target is that of HTTP, not of RTSP, and the head ends with CR LF. llhttp does not check these. */
static bool has_form_of_http(const struct parser *parser, const char *input)
{
    static const char protocol[] = " HTTP/";

    return memcmp(input + parser->target.offset + parser->target.length, protocol, sizeof(protocol) - 1) == 0 &&
           input[parser->head_bytes - 2] == '\r';
}

/* What llhttp does not check. input: the head. Returns the status, or 0. */
static unsigned refusal_of_head(const struct parser *parser, const struct request *request, const char *input)
{
    const llhttp_t *llhttp = &parser->llhttp;
    struct text coding = request->fields[FIELD_TRANSFER_ENCODING], expect = request->fields[FIELD_EXPECT];

    if (parser->head_bytes > HEAD_MAX_BYTES)
        return HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE;
    if (llhttp->http_major != 1 || llhttp->http_minor > 1)
        return HTTP_STATUS_HTTP_VERSION_NOT_SUPPORTED;
    if (request->path.data == NULL || !has_form_of_http(parser, input))
        return HTTP_STATUS_BAD_REQUEST;
    /* RFC 9112, 3.2: a request of HTTP/1.1 without Host is refused; 6.1: HTTP/1.0 has no transfer codings. */
    if (!request->is_http_1_0 && request->fields[FIELD_HOST].data == NULL)
        return HTTP_STATUS_BAD_REQUEST;
    if (expect.data != NULL && !request->is_http_1_0 && !text_is(expect, "100-continue"))
        return HTTP_STATUS_EXPECTATION_FAILED;
    if (coding.data == NULL)
        return llhttp->content_length > parser->body_limit ? HTTP_STATUS_PAYLOAD_TOO_LARGE : 0;
    if (request->is_http_1_0)
        return HTTP_STATUS_BAD_REQUEST;
    /* Compressed, then chunked: llhttp undoes only the chunks. */
    return text_is(coding, "chunked") && (parser->flags & F_CHUNKED) != 0 ? 0 : HTTP_STATUS_NOT_IMPLEMENTED;
}

/* ---- the request ---- */

static struct text part_text(const char *input, struct part part)
{
    return (struct text){ input + part.offset, part.length };
}

/* Finds path and query in the target: "/path?query", "http://host/path?query" or "*". */
static void split_target(struct request *request, struct text target)
{
    const char *end = target.data + target.length, *path = target.data, *mark;
    const char *scheme = memmem(target.data, target.length, "://", 3);

    if (target.length == 0 || request->method == HTTP_CONNECT)
        return;
    if (*path != '/' && *path != '*' && scheme != NULL) {
        for (path = scheme + 3; path < end && *path != '/' && *path != '?';)
            path++;
        if (path == end || *path == '?') /* no path: the root's */
            path = "/", end = path + 1;
    }
    if (*path != '/' && *path != '*')
        return;
    mark = memchr(path, '?', (size_t)(end - path));
    if (mark != NULL)
        request->query = (struct text){ mark + 1, (size_t)(end - mark - 1) };
    request->path = (struct text){ path, (size_t)((mark != NULL ? mark : end) - path) };
}

/* begin: the request's first byte. Returns false if there is no memory. */
static bool fill_request(struct parser *parser, const char *begin, struct request *request)
{
    *request = (struct request){
        .method = parser->llhttp.method,
        .is_http_1_0 = parser->llhttp.http_minor == 0,
        .keep_alive = parser->keep_alive,
        .body = part_text(begin, parser->body),
    };
    for (unsigned i = 0; i < FIELDS; i++)
        if (parser->fields_seen & 1U << i)
            request->fields[i] = part_text(begin, parser->fields[i]);
    split_target(request, part_text(begin, parser->target));
    if (parser->chunks != NULL && parser->complete) {
        size_t length = jd_buffer_readable(parser->chunks);
        request->body = (struct text){ jd_buffer_peek(parser->chunks, length), length };
    }
    return request->body.length == 0 || request->body.data != NULL;
}

/* ---- running ---- */

void parser_init(struct parser *parser, uint32_t body_limit)
{
    *parser = (struct parser){ .body_limit = body_limit };
    llhttp_init(&parser->llhttp, HTTP_REQUEST, &settings);
}

void parser_release(struct parser *parser)
{
    jd_buffer_destroy(parser->chunks);
    parser->chunks = NULL;
}

size_t parser_input_limit(uint32_t body_limit)
{
    return 2 * ((size_t)HEAD_MAX_BYTES + body_limit);
}

/* Lets llhttp see length more bytes of the input. */
static llhttp_errno_t parse_segment(struct parser *parser, const char *data, size_t length)
{
    llhttp_errno_t error;

    parser->segment = data;
    parser->segment_offset = parser->parsed;
    error = llhttp_execute(&parser->llhttp, data, length);
    if (error != HPE_OK)
        length = (size_t)(llhttp_get_error_pos(&parser->llhttp) - data);
    parser->parsed += (uint32_t)length;
    return error;
}

/* Lets llhttp see all of the input, until it stops. */
static llhttp_errno_t parse_input(struct parser *parser, jd_buffer *input)
{
    jd_iovec segments[2];
    int count = jd_buffer_peek_iov(input, segments);
    size_t begin = 0;

    for (int i = 0; i < count; begin += segments[i].length, i++) {
        size_t seen = parser->parsed > begin ? parser->parsed - begin : 0;
        llhttp_errno_t error;
        if (seen >= segments[i].length)
            continue;
        error = parse_segment(parser, (const char *)segments[i].data + seen, segments[i].length - seen);
        if (error != HPE_OK)
            return error;
    }
    return HPE_OK;
}

static enum parse_progress refused(struct parser *parser, unsigned status)
{
    parser->refusal = (uint16_t)status;
    return PARSE_REFUSED;
}

/* llhttp has stopped behind a head or a request. */
static enum parse_progress stopped(struct parser *parser, jd_buffer *input, struct request *request)
{
    const char *begin = jd_buffer_peek(input, parser->parsed);
    unsigned status;

    if (begin == NULL || !fill_request(parser, begin, request))
        return refused(parser, HTTP_STATUS_SERVICE_UNAVAILABLE);
    if (!parser->has_body || !parser->complete)
        parser->head_bytes = parser->parsed;
    status = refusal_of_head(parser, request, begin);
    if (status != 0)
        return refused(parser, status);
    return parser->complete ? PARSE_COMPLETE : PARSE_HEAD;
}

enum parse_progress parser_run(struct parser *parser, jd_buffer *input, struct request *request)
{
    llhttp_errno_t error;

    parser->input = input;
    error = parse_input(parser, input);
    if (error == HPE_OK) {
        if (!parser->head_complete && parser->parsed > HEAD_MAX_BYTES)
            return refused(parser, HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE);
        if (parser->parsed > parser_input_limit(parser->body_limit))
            return refused(parser, HTTP_STATUS_PAYLOAD_TOO_LARGE);
        return PARSE_INCOMPLETE;
    }
    if (error == HPE_PAUSED)
        llhttp_resume(&parser->llhttp);
    else if (error == HPE_PAUSED_UPGRADE)
        llhttp_resume_after_upgrade(&parser->llhttp); /* CONNECT, which is refused */
    else
        return refused(parser, refusal_of_error(parser, error));
    return stopped(parser, input, request);
}

void parser_next(struct parser *parser, jd_buffer *input)
{
    jd_buffer_consume(input, parser->parsed);
    parser_release(parser);
    parser->parsed = 0;
    parser->lines = 0;
    parser->head_complete = parser->has_body = parser->complete = false;
    parser->fields_seen = 0;
    parser->target = parser->body = (struct part){ 0 };
}
