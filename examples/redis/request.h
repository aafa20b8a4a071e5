/* A request of the redis protocol (RESP2), and the codec that finds it in a stream of bytes.
 *
 * A request is an array of bulk strings, "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", or a line for people, "GET key\r\n" (inline). The
 * limits and the texts of errors are those of redis. https://redis.io/docs/latest/develop/reference/protocol-spec/ */
#ifndef EXAMPLES_REDIS_REQUEST_H
#define EXAMPLES_REDIS_REQUEST_H

#include <jinduo/jinduo.h>

enum {
    REQUEST_FEW = 8,                   /* arguments that need no memory of their own */
    REQUEST_LINE_MAX_BYTES = 64 * 1024 /* of an inline request, and of a number's line */
};

struct range {
    uint32_t offset, length; /* a frame is shorter than 4 GiB */
};

/* A request that is being decoded, or is complete: part of the context of its connection. All zero: none. */
struct request {
    const char *base;     /* the ranges' offsets begin here: in the frame, or in line */
    size_t position;      /* the frame's bytes that are decoded */
    size_t scanned;       /* the frame's bytes in which the end of the present line is known not to be */
    uint32_t count;       /* arguments so far */
    uint32_t announced;   /* arguments of the whole array; 0: its first line is not decoded yet */
    uint32_t room;        /* of ranges, if they are not few */
    struct range *ranges; /* NULL: few */
    char *line;           /* the arguments of an inline request without quotes and escapes; NULL: not inline */
    struct range few[REQUEST_FEW];
};

/* An argument; not terminated by a zero. */
struct text {
    const char *data;
    size_t length;
};

static inline struct text request_argument(const struct request *request, uint32_t index)
{
    const struct range *ranges = request->ranges != NULL ? request->ranges : request->few;

    return (struct text){ .data = request->base + ranges[index].offset, .length = ranges[index].length };
}

/* Returns whether an argument is this word, in any case of its letters. */
bool text_is(struct text text, const char *word);

/* Decodes more of the request whose first length bytes are at data. Returns 1: it is complete, and position is its length; a
 * request without arguments is an empty line or array, which is to be ignored. 0: more bytes are needed; *needed, if not 0, are
 * those that the request is known to need. JD_EPROTO: *reason says why, and *claimed is the byte or the number that is wrong.
 * JD_ENOMEM. */
int request_decode(struct request *request, const uint8_t *data, size_t length, size_t bulk_max, size_t *needed,
                   uint64_t *claimed, const char **reason);

/* Frees the request's memory, and makes it ready for the next one. */
void request_clear(struct request *request);

/* Which request belongs to the connection. */
typedef struct request *(*request_of_connection)(jd_tcp_connection *connection);

struct request_codec {
    request_of_connection of_connection;
    size_t bulk_max; /* bytes of an argument */
};

/* Creates the codec. options must outlive it. The frame callback finds the decoded request where of_connection returns it. */
int request_codec_create(jd_codec **codec, struct request_codec *options);

/* The reason if an argument does not begin with a dollar: the answer names the byte. */
extern const char request_expected_dollar[];

#endif
