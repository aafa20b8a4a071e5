/* One connection of the server: reads requests, has each answered before the next one is read, and decides when the connection
 * ends. */
#ifndef EXAMPLES_HTTP_SESSION_H
#define EXAMPLES_HTTP_SESSION_H

#include "examples/http/request.h"

/* What all sessions share. */
struct service {
    jd_tcp_server *server;
    uint32_t body_limit;      /* bytes */
    uint32_t request_seconds; /* within which a request arrives whole, from its first byte on */
    int root;                 /* the folder whose files are served; -1: none */
};

struct session {
    jd_tcp_connection *connection;
    const struct service *service;
    struct parser parser;
    struct request request; /* the one that is answered */
    jd_timer_id deadline;   /* of the request that is incomplete; 0: none is */
    jd_timer_id events;     /* of /status/events; 0: it is another connection */
    bool asked_to_end;      /* by max_age_ms: no further request */
    bool keep_alive;        /* the connection stays after this answer */
};

/* Gives each connection of the server a session; service must outlive it. */
void session_serve(jd_tcp_server *server, struct service *service);

/* Ends the connection if result, what a send has returned, is an error: the answer would be incomplete. */
void session_sent(struct session *session, int result);

#endif
