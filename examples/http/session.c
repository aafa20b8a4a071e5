#include "examples/http/session.h"

#include "examples/http/response.h"
#include "examples/http/routes.h"

#include <stdlib.h>

enum { MS_PER_S = 1000 };

void session_sent(struct session *session, int result)
{
    if (result < 0)
        jd_tcp_connection_close(session->connection);
}

/* ---- the deadline of an incomplete request ---- */

static void cancel_timer(const struct session *session, jd_timer_id *timer)
{
    if (*timer != 0)
        jd_event_loop_cancel_timer(jd_tcp_connection_loop(session->connection), *timer);
    *timer = 0;
}

/* Ends the connection behind the answer. What the client still sends is dropped: closing at once would reset the connection, and
 * the client might lose the answer. */
static void end_after_output(struct session *session)
{
    cancel_timer(session, &session->deadline);
    jd_tcp_connection_close_after_output(session->connection, 0);
}

static void refuse(struct session *session, unsigned status)
{
    session->keep_alive = false;
    respond_status(session, status, "");
    end_after_output(session);
}

static void on_deadline(void *arg)
{
    struct session *session = arg;

    session->deadline = 0;
    session->request = (struct request){ 0 };
    refuse(session, HTTP_STATUS_REQUEST_TIMEOUT);
}

static void set_deadline(struct session *session)
{
    jd_event_loop *loop = jd_tcp_connection_loop(session->connection);
    uint64_t delay_ms = (uint64_t)session->service->request_seconds * MS_PER_S;

    if (session->deadline == 0 && jd_event_loop_run_after(loop, delay_ms, on_deadline, session, &session->deadline) < 0)
        jd_tcp_connection_close(session->connection);
}

/* ---- requests ---- */

/* A body is about to follow. Returns false if the request has been refused: its answer is known without the body. */
static bool admit_body(struct session *session)
{
    static const char proceed[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct text expect = session->request.fields[FIELD_EXPECT];

    if (expect.data == NULL || session->request.is_http_1_0)
        return true;
    if (!route_takes_body(session)) {
        session->keep_alive = false;
        route_request(session);
        end_after_output(session);
        return false;
    }
    session_sent(session, jd_tcp_connection_send(session->connection, proceed, sizeof(proceed) - 1));
    return true;
}

/* Answers the complete request. Returns whether another one may follow. */
static bool serve(struct session *session, jd_buffer *input)
{
    cancel_timer(session, &session->deadline);
    session->keep_alive = session->request.keep_alive && !session->asked_to_end;
    route_request(session);
    if (!session->keep_alive) {
        if (session->events == 0)
            end_after_output(session);
        return false;
    }
    parser_next(&session->parser, input);
    return !jd_tcp_connection_is_above_watermark(session->connection);
}

/* Does what follows from the progress of parsing. Returns whether to go on. */
static bool advance(struct session *session, jd_buffer *input, enum parse_progress progress)
{
    switch (progress) {
    case PARSE_HEAD:
        return admit_body(session);
    case PARSE_COMPLETE:
        return serve(session, input);
    case PARSE_REFUSED:
        cancel_timer(session, &session->deadline);
        session->request = (struct request){ 0 };
        refuse(session, session->parser.refusal);
        return false;
    default:
        return false;
    }
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    struct session *session = arg;
    enum parse_progress progress = PARSE_INCOMPLETE;
    bool goes_on = true;

    while (goes_on && jd_buffer_readable(input) > session->parser.parsed) {
        progress = parser_run(&session->parser, input, &session->request);
        goes_on = advance(session, input, progress);
    }
    if ((progress == PARSE_INCOMPLETE || (progress == PARSE_HEAD && goes_on)) && session->parser.parsed > 0)
        set_deadline(session);
}

/* ---- the connection ---- */

static void *session_create(jd_tcp_connection *connection, void *arg)
{
    struct session *session = malloc(sizeof(*session));

    if (session == NULL)
        return NULL;
    *session = (struct session){ .connection = connection, .service = arg };
    parser_init(&session->parser, session->service->body_limit);
    return session;
}

static void session_destroy(void *arg)
{
    struct session *session = arg;

    parser_release(&session->parser);
    free(session);
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    struct session *session = arg;

    if (jd_tcp_connection_is_connected(connection))
        return;
    cancel_timer(session, &session->deadline);
    cancel_timer(session, &session->events);
}

/* The connection is old. Its next answer says "Connection: close" and ends it; without a request the library does, after
 * max_age_drain_ms. Ending it at once could cross a request. */
static void on_asked_to_end(jd_tcp_connection *connection, void *arg)
{
    struct session *session = arg;

    session->asked_to_end = true;
}

void session_serve(jd_tcp_server *server, struct service *service)
{
    static const jd_session_callbacks callbacks = {
        .create = session_create,
        .destroy = session_destroy,
        .connection = on_connection,
        .message = on_message,
        .asked_to_end = on_asked_to_end,
    };

    jd_tcp_server_set_session(server, &callbacks, service);
}
