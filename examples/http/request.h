/* Requests of HTTP/1.1 (RFC 9112), parsed by llhttp. A request stays in the connection's input until it is complete: its texts
 * are parts of the input, and only the bytes of a chunked body are copied. */
#ifndef EXAMPLES_HTTP_REQUEST_H
#define EXAMPLES_HTTP_REQUEST_H

#include <jinduo/jinduo.h>
#include <llhttp.h>

/* Characters without a zero at their end. */
struct text {
    const char *data; /* NULL: there is none */
    size_t length;
};

/* The fields that the server reads. */
enum field {
    FIELD_HOST,
    FIELD_RANGE,
    FIELD_EXPECT,
    FIELD_IF_RANGE,
    FIELD_IF_NONE_MATCH,
    FIELD_CONTENT_TYPE,
    FIELD_TRANSFER_ENCODING,
    FIELD_IF_MODIFIED_SINCE,
    FIELDS
};

struct request {
    uint8_t method; /* enum llhttp_method */
    bool is_http_1_0;
    bool keep_alive;   /* the client allows another request on the connection */
    struct text path;  /* from the first slash on, not decoded */
    struct text query; /* behind the question mark */
    struct text fields[FIELDS];
    struct text body;
};

enum {
    TARGET_MAX_BYTES = 8 * 1024, /* more: 414 */
    HEAD_MAX_BYTES = 16 * 1024,  /* of request line and fields; more: 431 */
    FIELD_LINES_MAX = 100,       /* lines, those behind a chunked body included; more: 431 */
    FIELD_NAME_BYTES = 20,       /* enough for the longest name of a field that is read */
};

/* A part of the input. */
struct part {
    uint32_t offset, length;
};

struct parser {
    llhttp_t llhttp;
    uint32_t parsed;     /* bytes of the input that llhttp has seen; they are not consumed */
    uint32_t head_bytes; /* of the head, once it is complete */
    uint32_t body_limit; /* more: 413 */

    const jd_buffer *input; /* during a run; what of it llhttp looks at, and where that is */
    const char *segment;
    uint32_t segment_offset;

    uint16_t refusal; /* the status with which the request is refused; 0: it is not */
    uint16_t lines;   /* of fields */
    uint16_t flags;   /* llhttp's, of the head */
    bool head_complete, has_body, complete, keep_alive;
    uint8_t name_length; /* of the field that is parsed; above FIELD_NAME_BYTES: too long to be one that is read */
    uint8_t field;       /* the field whose value is parsed; FIELDS: one that is not read */
    uint8_t fields_seen; /* a bit for each */
    char name[FIELD_NAME_BYTES];
    uint32_t name_end;
    struct part target, value, body, fields[FIELDS];
    jd_buffer *chunks; /* the body without its framing; NULL: none yet */
};

enum parse_progress {
    PARSE_INCOMPLETE, /* more bytes are needed */
    PARSE_HEAD,       /* the head is complete, and a body follows: reported once */
    PARSE_COMPLETE,   /* the request is complete */
    PARSE_REFUSED,    /* parser->refusal is the status of the answer; the connection must end */
};

/* body_limit: the longest body in bytes, at most BODY_LIMIT_MAX. */
#define BODY_LIMIT_MAX ((uint32_t)1 << 26)
void parser_init(struct parser *parser, uint32_t body_limit);
void parser_release(struct parser *parser);

/* Parses input, which begins with the request; bytes that it has seen in an earlier call are skipped. After PARSE_HEAD and
 * PARSE_COMPLETE *request is set; its texts are valid until input is changed. */
enum parse_progress parser_run(struct parser *parser, jd_buffer *input, struct request *request);

/* Consumes the complete request; the next one begins. */
void parser_next(struct parser *parser, jd_buffer *input);

/* The most bytes of input that an incomplete request can have. A chunk's framing may be as long as its bytes. The server's limit
 * on input is PARSER_READ_AHEAD_BYTES more: requests behind the first one may have arrived, too. */
enum { PARSER_READ_AHEAD_BYTES = 1 << 20 };
size_t parser_input_limit(uint32_t body_limit);

/* Returns whether text is word, whatever their case. */
bool text_is(struct text text, const char *word);

#endif
