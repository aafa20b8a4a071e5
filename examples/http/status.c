#include "examples/http/status.h"

#include "examples/http/counts.h"
#include "examples/http/response.h"
#include "examples/http/status_html.h"

#include <string.h>

enum { EVENT_INTERVAL_MS = 1000, EVENTS_QUEUED_MAX_BYTES = 256 * 1024 };

/* Returns the metrics, which the caller destroys; NULL: no memory. */
static jd_buffer *metrics_create(const struct session *session)
{
    jd_buffer *text;

    if (jd_buffer_create(&text) < 0)
        return NULL;
    if (jd_statistics_format(session->service->server, text) == 0 && counts_format(text) == 0)
        return text;
    jd_buffer_destroy(text);
    return NULL;
}

void status_metrics(struct session *session)
{
    jd_buffer *text = metrics_create(session);
    size_t length = text == NULL ? 0 : jd_buffer_readable(text);
    const void *bytes = text == NULL ? NULL : jd_buffer_peek(text, length);

    if (bytes != NULL)
        respond(session, HTTP_STATUS_OK, "Cache-Control: no-store\r\n", JD_STATISTICS_CONTENT_TYPE, bytes, length);
    else
        respond_status(session, HTTP_STATUS_SERVICE_UNAVAILABLE, "");
    jd_buffer_destroy(text);
}

void status_page(struct session *session)
{
    respond(session, HTTP_STATUS_OK, "Cache-Control: no-cache\r\n", "text/html; charset=utf-8", status_html,
            status_html_bytes);
}

/* ---- server-sent events (HTML, "Server-sent events") ---- */

/* Appends an event whose data are the lines of text, except comments. */
static int add_event(jd_buffer *event, const char *text, size_t length)
{
    static const char data[] = "data: ";
    const char *end = text + length, *line_end;
    int result = 0;

    for (; text < end && result == 0; text = line_end) {
        line_end = memchr(text, '\n', (size_t)(end - text));
        line_end = line_end == NULL ? end : line_end + 1;
        if (*text == '#')
            continue;
        result = jd_buffer_append(event, data, sizeof(data) - 1);
        if (result == 0)
            result = jd_buffer_append(event, text, (size_t)(line_end - text));
    }
    return result == 0 ? jd_buffer_append(event, "\n", 1) : result;
}

/* Sends an event, unless the client has not taken the ones before: the next one says all that this one would have said. */
static void send_event(void *arg)
{
    struct session *session = arg;
    jd_buffer *text, *event;
    int result;

    if (jd_tcp_connection_queued_bytes(session->connection) > EVENTS_QUEUED_MAX_BYTES)
        return;
    text = metrics_create(session);
    result = text == NULL ? JD_ENOMEM : jd_buffer_create(&event);
    if (result == 0) {
        size_t length = jd_buffer_readable(text);
        const char *bytes = jd_buffer_peek(text, length);
        result = bytes == NULL ? JD_ENOMEM : add_event(event, bytes, length);
        if (result == 0)
            result = jd_tcp_connection_send_buffer(session->connection, event);
        jd_buffer_destroy(event);
    }
    jd_buffer_destroy(text);
    session_sent(session, result);
}

void status_events(struct session *session)
{
    jd_event_loop *loop = jd_tcp_connection_loop(session->connection);
    struct head head;

    session->keep_alive = false; /* the body ends with the connection */
    head_begin(&head, session, HTTP_STATUS_OK);
    HEAD_ADD(&head, "Content-Type: text/event-stream\r\nCache-Control: no-store\r\n");
    respond_with_head(session, &head, NULL, 0);
    if (session->request.method == HTTP_HEAD)
        return;
    /* From now on what the client sends is dropped. */
    session_sent(session, jd_tcp_connection_set_message_callback(session->connection, NULL, NULL));
    session_sent(session, jd_event_loop_run_every(loop, EVENT_INTERVAL_MS, send_event, session, &session->events));
    send_event(session);
}
