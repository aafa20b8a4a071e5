#include "examples/http/routes.h"

#include "examples/http/files.h"
#include "examples/http/response.h"
#include "examples/http/status.h"

#include <string.h>

enum { GET = 1, POST = 2 }; /* HEAD is a GET whose body is not sent */

static unsigned method_bit(const struct request *request)
{
    switch (request->method) {
    case HTTP_GET:
    case HTTP_HEAD:
        return GET;
    case HTTP_POST:
        return POST;
    default:
        return 0;
    }
}

/* POST /echo: the body comes back. */
static void echo(struct session *session)
{
    struct text type = session->request.fields[FIELD_CONTENT_TYPE], body = session->request.body;
    struct head head;

    head_begin(&head, session, HTTP_STATUS_OK);
    if (type.data != NULL && type.length <= HEAD_ROOM / 2) {
        HEAD_ADD(&head, "Content-Type: ");
        head_add(&head, type.data, type.length);
        HEAD_ADD(&head, "\r\n");
    }
    head_add_length(&head, body.length);
    respond_with_head(session, &head, body.data, body.length);
}

static void health(struct session *session)
{
    static const char serves[] = "serves\n";

    respond(session, HTTP_STATUS_OK, "Cache-Control: no-store\r\n", "text/plain", serves, sizeof(serves) - 1);
}

static const struct route {
    const char *path;
    unsigned methods;
    void (*answer)(struct session *session);
} routes[] = {
    { "/", GET, respond_hello }, /* without --root */
    { "/echo", POST, echo },
    { "/health", GET, health },
    { "/metrics", GET, status_metrics },
    { "/status", GET, status_page },
    { "/status/events", GET, status_events },
};
static const struct route files = { "", GET, files_serve }; /* with --root, for all other paths */

static const struct route *find(const struct session *session)
{
    struct text path = session->request.path;
    bool has_files = session->service->root >= 0;

    for (size_t i = has_files ? 1 : 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (strlen(routes[i].path) == path.length && memcmp(routes[i].path, path.data, path.length) == 0)
            return &routes[i];
    return has_files ? &files : NULL;
}

bool route_takes_body(const struct session *session)
{
    const struct route *route = find(session);

    return route != NULL && (route->methods & method_bit(&session->request)) != 0;
}

void route_request(struct session *session)
{
    const struct route *route = find(session);

    if (route == NULL)
        respond_status(session, HTTP_STATUS_NOT_FOUND, "");
    else if (route->methods & method_bit(&session->request))
        route->answer(session);
    else
        respond_status(session, HTTP_STATUS_METHOD_NOT_ALLOWED,
                       route->methods & GET ? "Allow: GET, HEAD\r\n" : "Allow: POST\r\n");
}
