/* Channels: PUBLISH sends a message to all connections that have subscribed to a channel, on all loops. The message's bytes exist
 * once, for any number of receivers (jd_shared). */
#ifndef EXAMPLES_REDIS_PUBSUB_H
#define EXAMPLES_REDIS_PUBSUB_H

#include "examples/redis/request.h"

#include <sys/queue.h>

struct subscription;
struct pubsub;

/* A connection as a subscriber: part of its context. Used in the connection's loop, but for the list's links. */
struct subscriber {
    jd_tcp_connection *connection;
    TAILQ_HEAD(, subscription) subscriptions; /* in the order in which they were made */
    size_t count;
    size_t bytes_on_way; /* of messages that other loops' threads have posted, and are not delivered; under the lock */
};

struct pubsub *pubsub_create(void);
void pubsub_destroy(struct pubsub *pubsub);

void subscriber_init(struct subscriber *subscriber, jd_tcp_connection *connection);

/* Subscribes to a channel. Returns 0, also if it is subscribed already; or JD_ENOMEM. */
int pubsub_subscribe(struct pubsub *pubsub, struct subscriber *subscriber, struct text channel);

/* Ends a subscription, if there is one: no message of the channel is sent to the connection from now on. */
void pubsub_unsubscribe(struct pubsub *pubsub, struct subscriber *subscriber, struct text channel);

/* Returns the oldest subscription's channel; valid until it is unsubscribed. There must be one. */
struct text pubsub_first(const struct subscriber *subscriber);

/* Sends a message to a channel's subscribers. loop: of the calling thread. *receivers is their number. Returns 0 or JD_ENOMEM. */
int pubsub_publish(struct pubsub *pubsub, jd_event_loop *loop, struct text channel, struct text message,
                   size_t *receivers);

#endif
