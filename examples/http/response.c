#include "examples/http/response.h"

#include "examples/http/counts.h"
#include "examples/http/date.h"

#include <stdio.h>
#include <string.h>

static const struct {
    unsigned status;
    const char *reason;
} reasons[] = {
    { 200, "OK" },
    { 206, "Partial Content" },
    { 301, "Moved Permanently" },
    { 304, "Not Modified" },
    { 400, "Bad Request" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 416, "Range Not Satisfiable" },
    { 417, "Expectation Failed" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 503, "Service Unavailable" },
    { 505, "HTTP Version Not Supported" },
};

const char *status_reason(unsigned status)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

void head_add(struct head *head, const char *text, size_t length)
{
    if (length > sizeof(head->text) - head->length)
        length = sizeof(head->text) - head->length;
    memcpy(head->text + head->length, text, length);
    head->length += length;
}

static void add_text(struct head *head, const char *text)
{
    head_add(head, text, strlen(text));
}

void head_add_number(struct head *head, uint64_t number)
{
    enum { DIGITS = 20, BASE = 10 };
    char digits[DIGITS];
    size_t first = DIGITS;

    do
        digits[--first] = (char)('0' + number % BASE);
    while ((number /= BASE) > 0);
    head_add(head, digits + first, DIGITS - first);
}

void head_add_length(struct head *head, uint64_t content_length)
{
    HEAD_ADD(head, "Content-Length: ");
    head_add_number(head, content_length);
    HEAD_ADD(head, "\r\n");
}

void head_begin(struct head *head, const struct session *session, unsigned status)
{
    counts_add(status);
    head->length = 0;
    HEAD_ADD(head, "HTTP/1.1 ");
    head_add_number(head, status);
    HEAD_ADD(head, " ");
    add_text(head, status_reason(status));
    HEAD_ADD(head, "\r\nServer: jd-http\r\nDate: ");
    head_add(head, date_now_text(jd_tcp_connection_loop(session->connection)), DATE_BYTES);
    HEAD_ADD(head, "\r\n");
    if (!session->keep_alive)
        HEAD_ADD(head, "Connection: close\r\n");
    else if (session->request.is_http_1_0)
        HEAD_ADD(head, "Connection: keep-alive\r\n");
}

void respond_with_head(struct session *session, struct head *head, const void *body, size_t length)
{
    jd_iovec parts[2];

    HEAD_ADD(head, "\r\n");
    parts[0] = (jd_iovec){ head->text, head->length };
    parts[1] = (jd_iovec){ (void *)(uintptr_t)body, session->request.method == HTTP_HEAD ? 0 : length };
    session_sent(session, jd_tcp_connection_sendv(session->connection, parts, 2));
}

void respond(struct session *session, unsigned status, const char *fields, const char *type, const void *body,
             size_t length)
{
    struct head head;

    head_begin(&head, session, status);
    add_text(&head, fields);
    HEAD_ADD(&head, "Content-Type: ");
    add_text(&head, type);
    HEAD_ADD(&head, "\r\n");
    head_add_length(&head, length);
    respond_with_head(session, &head, body, length);
}

void respond_status(struct session *session, unsigned status, const char *fields)
{
    enum { TEXT_BYTES = 64 };
    char text[TEXT_BYTES];
    int length = snprintf(text, sizeof(text), "%u %s\n", status, status_reason(status));

    respond(session, status, fields, "text/plain", text, (size_t)length);
}

/* An answer to HTTP/1.1 that is the same for a second. */
static _Thread_local struct {
    struct head answer;
    size_t head_bytes;
    time_t second;
} hello;

static void make_hello(const struct session *session)
{
    head_begin(&hello.answer, session, HTTP_STATUS_OK);
    HEAD_ADD(&hello.answer, "Content-Type: text/plain\r\n");
    head_add_length(&hello.answer, sizeof("Hello, World!") - 1);
    HEAD_ADD(&hello.answer, "\r\n");
    hello.head_bytes = hello.answer.length;
    HEAD_ADD(&hello.answer, "Hello, World!");
}

void respond_hello(struct session *session)
{
    bool is_plain = session->keep_alive && !session->request.is_http_1_0;
    time_t second = date_now(jd_tcp_connection_loop(session->connection));

    if (!is_plain || second != hello.second) {
        make_hello(session);
        hello.second = is_plain ? second : 0;
    } else {
        counts_add(HTTP_STATUS_OK);
    }
    session_sent(session,
                 jd_tcp_connection_send(session->connection, hello.answer.text,
                                        session->request.method == HTTP_HEAD ? hello.head_bytes : hello.answer.length));
}
