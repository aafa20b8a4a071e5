/* Subscribing and publishing. */
#include "examples/redis/command.h"

void command_publish(const struct call *call)
{
    size_t receivers = 0;
    int result = pubsub_publish(call->redis->pubsub, jd_tcp_connection_loop(call->connection), call_argument(call, 1),
                                call_argument(call, 2), &receivers);

    if (result < 0)
        reply_keyspace_error(call->connection, result);
    else
        reply_number(call->connection, (int64_t)receivers);
}

/* A client that waits for messages is not idle: as with redis, its connection has no such timeout. */
static void set_idle_timeout(const struct call *call)
{
    enum { MS_PER_S = 1000 };
    jd_connection_timeouts timeouts = { .idle_ms = call->redis->idle_s * MS_PER_S };

    if (call->session->subscriber.count > 0)
        timeouts.idle_ms = 0;
    jd_tcp_connection_set_timeouts(call->connection, &timeouts);
}

static void answer_change(const struct call *call, struct text channel)
{
    reply_array(call->connection, 3);
    reply_word(call->connection, call->command->name);
    reply_bulk(call->connection, channel);
    reply_number(call->connection, (int64_t)call->session->subscriber.count);
}

void command_subscribe(const struct call *call)
{
    for (uint32_t i = 1; i < call->request->count; i++) {
        struct text channel = call_argument(call, i);
        if (pubsub_subscribe(call->redis->pubsub, &call->session->subscriber, channel) < 0) {
            reply_keyspace_error(call->connection, JD_ENOMEM);
            break;
        }
        answer_change(call, channel);
    }
    set_idle_timeout(call);
}

/* The answer names the channel: it is sent first, with the number of those that are left. */
static void unsubscribe_all(const struct call *call)
{
    struct subscriber *subscriber = &call->session->subscriber;

    while (subscriber->count > 0) {
        struct text channel = pubsub_first(subscriber);
        reply_array(call->connection, 3);
        reply_word(call->connection, call->command->name);
        reply_bulk(call->connection, channel);
        pubsub_unsubscribe(call->redis->pubsub, subscriber, channel);
        reply_number(call->connection, (int64_t)subscriber->count);
    }
}

void command_unsubscribe(const struct call *call)
{
    if (call->request->count > 1) {
        for (uint32_t i = 1; i < call->request->count; i++) {
            pubsub_unsubscribe(call->redis->pubsub, &call->session->subscriber, call_argument(call, i));
            answer_change(call, call_argument(call, i));
        }
    } else if (call->session->subscriber.count > 0) {
        unsubscribe_all(call);
    } else {
        reply_array(call->connection, 3);
        reply_word(call->connection, call->command->name);
        REPLY_NULL(call->connection);
        REPLY(call->connection, ":0\r\n");
    }
    set_idle_timeout(call);
}
