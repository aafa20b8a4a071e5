/* What jd-redis keeps for each connection: its context. */
#ifndef EXAMPLES_REDIS_SESSION_H
#define EXAMPLES_REDIS_SESSION_H

#include "examples/redis/pubsub.h"
#include "examples/redis/request.h"

struct session {
    struct request request;
    struct subscriber subscriber;
};

static inline struct session *session_of(jd_tcp_connection *connection)
{
    return jd_tcp_connection_context(connection);
}

#endif
