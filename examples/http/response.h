/* Answers: the head, and bodies that are in memory. A file's body is files.c's. */
#ifndef EXAMPLES_HTTP_RESPONSE_H
#define EXAMPLES_HTTP_RESPONSE_H

#include "examples/http/session.h"

enum { HEAD_ROOM = 1024 }; /* for a head of the server's own */

/* A head as it is written. More than its room is cut off: head_begin and the server's own fields fit. */
struct head {
    size_t length;
    char text[HEAD_ROOM];
};

/* Writes the status line and the fields of every answer. */
void head_begin(struct head *head, const struct session *session, unsigned status);

/* Adds characters; a number in decimal; a field whose value is one. */
void head_add(struct head *head, const char *text, size_t length);
void head_add_number(struct head *head, uint64_t number);
void head_add_length(struct head *head, uint64_t content_length);

/* As head_add, for a string literal. */
#define HEAD_ADD(head, literal) head_add(head, literal, sizeof(literal) - 1)

/* Sends the head, the empty line and, unless the request is HEAD, length bytes of body. */
void respond_with_head(struct session *session, struct head *head, const void *body, size_t length);

/* Answers with a body of this type in memory. fields: further fields with their line ends, or "". */
void respond(struct session *session, unsigned status, const char *fields, const char *type, const void *body,
             size_t length);

/* Answers with a line of text that is the status itself: "404 Not Found". */
void respond_status(struct session *session, unsigned status, const char *fields);

/* Answers "Hello, World!": the answer to a request of HTTP/1.1 is made once a second. */
void respond_hello(struct session *session);

/* Returns the reason phrase of a status that the server uses. */
const char *status_reason(unsigned status);

#endif
