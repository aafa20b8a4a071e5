/* What an operator looks at: the metrics for Prometheus, and a page that shows them live. */
#ifndef EXAMPLES_HTTP_STATUS_H
#define EXAMPLES_HTTP_STATUS_H

#include "examples/http/session.h"

/* GET /metrics: the library's statistics, and the requests answered. */
void status_metrics(struct session *session);

/* GET /status: the page. It needs nothing but /status/events. */
void status_page(struct session *session);

/* GET /status/events: the metrics, once a second, as server-sent events. */
void status_events(struct session *session);

#endif
