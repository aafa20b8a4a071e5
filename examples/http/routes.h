/* Which function answers which request. */
#ifndef EXAMPLES_HTTP_ROUTES_H
#define EXAMPLES_HTTP_ROUTES_H

#include "examples/http/session.h"

/* Answers session->request, which is complete, or of which only the head has arrived and route_takes_body said no. */
void route_request(struct session *session);

/* Returns whether the request's path and method are such that its body is wanted. */
bool route_takes_body(const struct session *session);

#endif
