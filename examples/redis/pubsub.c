#include "examples/redis/pubsub.h"

#include "examples/redis/session.h"
#include "examples/redis/table.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct channel {
    struct node node;
    TAILQ_HEAD(, subscription) subscriptions;
    size_t count, name_length;
    char name[];
};

/* One subscriber's place in one channel. Found by both together, so that neither many subscribers nor many channels are slow. */
struct subscription {
    struct node node;
    struct channel *channel;
    struct subscriber *subscriber;
    jd_event_loop *loop;
    jd_connection_id id;
    TAILQ_ENTRY(subscription) of_channel, of_subscriber;
};

struct pubsub {
    pthread_mutex_t lock;
    struct table channels, subscriptions;
};

struct pubsub *pubsub_create(void)
{
    struct pubsub *pubsub = calloc(1, sizeof(*pubsub));

    if (pubsub != NULL)
        pthread_mutex_init(&pubsub->lock, NULL);
    return pubsub;
}

void pubsub_destroy(struct pubsub *pubsub)
{
    pthread_mutex_destroy(&pubsub->lock);
    table_free(&pubsub->channels);
    table_free(&pubsub->subscriptions);
    free(pubsub);
}

void subscriber_init(struct subscriber *subscriber, jd_tcp_connection *connection)
{
    subscriber->connection = connection;
    subscriber->count = 0;
    subscriber->bytes_on_way = 0;
    TAILQ_INIT(&subscriber->subscriptions);
}

/* ---- channels and subscriptions: the lock is held ---- */

static bool channel_matches(const struct node *node, const void *arg)
{
    const struct channel *channel = (const struct channel *)node;
    const struct text *name = arg;

    return channel->name_length == name->length && memcmp(channel->name, name->data, name->length) == 0;
}

static struct channel *channel_find(const struct pubsub *pubsub, struct text name)
{
    struct node **at = table_find(&pubsub->channels, table_hash(name.data, name.length), channel_matches, &name);

    return at != NULL ? (struct channel *)*at : NULL;
}

static struct channel *channel_create(struct pubsub *pubsub, struct text name)
{
    struct channel *channel = malloc(sizeof(*channel) + name.length);

    if (channel == NULL)
        return NULL;
    *channel = (struct channel){ .node.hash = table_hash(name.data, name.length), .name_length = name.length };
    TAILQ_INIT(&channel->subscriptions);
    memcpy(channel->name, name.data, name.length);
    if (table_add(&pubsub->channels, &channel->node))
        return channel;
    free(channel);
    return NULL;
}

static bool channel_is(const struct node *node, const void *channel)
{
    return node == channel;
}

static void channel_free_if_empty(struct pubsub *pubsub, struct channel *channel)
{
    if (channel->count > 0)
        return;
    table_remove(&pubsub->channels, table_find(&pubsub->channels, channel->node.hash, channel_is, channel));
    free(channel);
}

/* What a subscription is found by. */
struct pair {
    const struct channel *channel;
    const struct subscriber *subscriber;
};

static bool subscription_matches(const struct node *node, const void *arg)
{
    const struct subscription *subscription = (const struct subscription *)node;
    const struct pair *pair = arg;

    return subscription->channel == pair->channel && subscription->subscriber == pair->subscriber;
}

static struct node **subscription_find(const struct pubsub *pubsub, const struct channel *channel,
                                       const struct subscriber *subscriber)
{
    const struct pair pair = { channel, subscriber };

    return table_find(&pubsub->subscriptions, table_hash(&pair, sizeof(pair)), subscription_matches, &pair);
}

static int subscription_add(struct pubsub *pubsub, struct channel *channel, struct subscriber *subscriber)
{
    const struct pair pair = { channel, subscriber };
    struct subscription *subscription = malloc(sizeof(*subscription));

    if (subscription == NULL)
        return JD_ENOMEM;
    *subscription = (struct subscription){ .node.hash = table_hash(&pair, sizeof(pair)),
                                           .channel = channel,
                                           .subscriber = subscriber,
                                           .loop = jd_tcp_connection_loop(subscriber->connection),
                                           .id = jd_tcp_connection_id(subscriber->connection) };
    if (!table_add(&pubsub->subscriptions, &subscription->node)) {
        free(subscription);
        return JD_ENOMEM;
    }
    TAILQ_INSERT_TAIL(&channel->subscriptions, subscription, of_channel);
    TAILQ_INSERT_TAIL(&subscriber->subscriptions, subscription, of_subscriber);
    channel->count++;
    subscriber->count++;
    return 0;
}

static void subscription_remove(struct pubsub *pubsub, struct node **at)
{
    struct subscription *subscription = (struct subscription *)table_remove(&pubsub->subscriptions, at);

    TAILQ_REMOVE(&subscription->channel->subscriptions, subscription, of_channel);
    TAILQ_REMOVE(&subscription->subscriber->subscriptions, subscription, of_subscriber);
    subscription->channel->count--;
    subscription->subscriber->count--;
    channel_free_if_empty(pubsub, subscription->channel);
    free(subscription);
}

/* ---- subscribing ---- */

int pubsub_subscribe(struct pubsub *pubsub, struct subscriber *subscriber, struct text name)
{
    struct channel *channel;
    int result = 0;

    pthread_mutex_lock(&pubsub->lock);
    channel = channel_find(pubsub, name);
    if (channel == NULL)
        channel = channel_create(pubsub, name);
    if (channel == NULL) {
        result = JD_ENOMEM;
    } else if (subscription_find(pubsub, channel, subscriber) == NULL) {
        result = subscription_add(pubsub, channel, subscriber);
        channel_free_if_empty(pubsub, channel);
    }
    pthread_mutex_unlock(&pubsub->lock);
    return result;
}

void pubsub_unsubscribe(struct pubsub *pubsub, struct subscriber *subscriber, struct text name)
{
    struct channel *channel;
    struct node **at;

    pthread_mutex_lock(&pubsub->lock);
    channel = channel_find(pubsub, name);
    at = channel != NULL ? subscription_find(pubsub, channel, subscriber) : NULL;
    if (at != NULL)
        subscription_remove(pubsub, at);
    pthread_mutex_unlock(&pubsub->lock);
}

struct text pubsub_first(const struct subscriber *subscriber)
{
    const struct channel *channel = TAILQ_FIRST(&subscriber->subscriptions)->channel;

    return (struct text){ .data = channel->name, .length = channel->name_length };
}

/* ---- publishing ---- */

/* A message on its way to a connection of another loop. */
struct delivery {
    struct pubsub *pubsub;
    jd_shared *message;
    size_t name_length;
    char name[]; /* of the channel */
};

static struct delivery *delivery_create(struct pubsub *pubsub, const struct channel *channel, jd_shared *message)
{
    struct delivery *delivery = malloc(sizeof(*delivery) + channel->name_length);

    if (delivery == NULL)
        return NULL;
    delivery->pubsub = pubsub;
    delivery->message = jd_shared_ref(message);
    delivery->name_length = channel->name_length;
    memcpy(delivery->name, channel->name, channel->name_length);
    return delivery;
}

/* What it keeps in memory. The message may be others', too. */
static size_t delivery_bytes(const struct delivery *delivery)
{
    return sizeof(*delivery) + delivery->name_length + jd_shared_length(delivery->message);
}

static void delivery_free(struct delivery *delivery)
{
    jd_shared_unref(delivery->message);
    free(delivery);
}

/* A subscriber that does not read must not keep the messages in memory: it is closed, as redis does. */
enum { SUBSCRIBER_BYTES = 32 * 1024 * 1024 }; /* redis.conf, client-output-buffer-limit pubsub */

static void send_message(jd_tcp_connection *connection, jd_shared *message)
{
    int result = jd_tcp_connection_queued_bytes(connection) > SUBSCRIBER_BYTES
                     ? JD_ENOBUFS
                     : jd_tcp_connection_send_shared(connection, message, 0, JD_TO_END);

    if (result < 0 && result != JD_ENOTCONN)
        jd_tcp_connection_close(connection);
}

/* Notes that a delivery has arrived. Returns whether the subscriber still is one: it may have unsubscribed meanwhile, and must not
 * get a message behind the answer to that. */
static bool note_arrival(struct subscriber *subscriber, const struct delivery *delivery)
{
    struct text name = { .data = delivery->name, .length = delivery->name_length };
    struct pubsub *pubsub = delivery->pubsub;
    const struct channel *channel;
    bool subscribed;

    pthread_mutex_lock(&pubsub->lock);
    channel = channel_find(pubsub, name);
    subscribed = channel != NULL && subscription_find(pubsub, channel, subscriber) != NULL;
    subscriber->bytes_on_way -= delivery_bytes(delivery);
    pthread_mutex_unlock(&pubsub->lock);
    return subscribed;
}

/* In the loop of the subscriber. */
static void deliver(jd_tcp_connection *connection, void *arg)
{
    struct delivery *delivery = arg;

    if (connection != NULL && note_arrival(&session_of(connection)->subscriber, delivery))
        send_message(connection, delivery->message);
    delivery_free(delivery);
}

/* Instead of deliver, for a message that would be too much. */
static void close_subscriber(jd_tcp_connection *connection, void *arg)
{
    struct delivery *delivery = arg;

    if (connection != NULL) {
        note_arrival(&session_of(connection)->subscriber, delivery);
        jd_tcp_connection_close(connection);
    }
    delivery_free(delivery);
}

static jd_shared *message_create(struct text channel, struct text message)
{
    enum { HEADERS_BYTES = 128 };
    char *bytes = malloc(HEADERS_BYTES + channel.length + message.length), *at = bytes;
    jd_shared *shared = NULL;

    if (bytes == NULL)
        return NULL;
    at += snprintf(at, HEADERS_BYTES / 2, "*3\r\n$7\r\nmessage\r\n$%zu\r\n", channel.length);
    memcpy(at, channel.data, channel.length);
    at += channel.length;
    at += snprintf(at, HEADERS_BYTES / 2, "\r\n$%zu\r\n", message.length);
    memcpy(at, message.data, message.length);
    at += message.length;
    *at++ = '\r';
    *at++ = '\n';
    if (jd_shared_create_owned(&shared, bytes, (size_t)(at - bytes), free, bytes) < 0)
        free(bytes);
    return shared;
}

/* Sends by a task, to a connection of another loop. That may be busy: then messages wait in memory, up to a limit. The lock is
 * held. */
static int post_message(struct pubsub *pubsub, const struct subscription *subscription, jd_shared *message)
{
    struct subscriber *subscriber = subscription->subscriber;
    struct delivery *delivery;
    int result;

    if (subscriber->bytes_on_way > SUBSCRIBER_BYTES) /* it is about to be closed */
        return 0;
    delivery = delivery_create(pubsub, subscription->channel, message);
    if (delivery == NULL)
        return JD_ENOMEM;
    subscriber->bytes_on_way += delivery_bytes(delivery);
    result = jd_tcp_connection_post(subscription->id,
                                    subscriber->bytes_on_way > SUBSCRIBER_BYTES ? close_subscriber : deliver, delivery);
    if (result < 0) {
        subscriber->bytes_on_way -= delivery_bytes(delivery);
        delivery_free(delivery);
    }
    return result == JD_ENOENT ? 0 : result; /* its loop ends */
}

/* Sends to a channel's subscribers. The lock is held. */
static int channel_send(struct pubsub *pubsub, jd_event_loop *loop, const struct channel *channel, jd_shared *message)
{
    const struct subscription *subscription;
    int result = 0;

    TAILQ_FOREACH(subscription, &channel->subscriptions, of_channel)
    {
        if (subscription->loop == loop)
            send_message(subscription->subscriber->connection, message);
        else if (result == 0)
            result = post_message(pubsub, subscription, message);
    }
    return result;
}

static bool has_subscribers(struct pubsub *pubsub, struct text name)
{
    bool found;

    pthread_mutex_lock(&pubsub->lock);
    found = channel_find(pubsub, name) != NULL;
    pthread_mutex_unlock(&pubsub->lock);
    return found;
}

int pubsub_publish(struct pubsub *pubsub, jd_event_loop *loop, struct text name, struct text text, size_t *receivers)
{
    const struct channel *channel;
    jd_shared *message;
    int result = 0;

    *receivers = 0;
    if (!has_subscribers(pubsub, name))
        return 0;
    message = message_create(name, text); /* of up to a gigabyte: without the lock */
    if (message == NULL)
        return JD_ENOMEM;
    pthread_mutex_lock(&pubsub->lock);
    channel = channel_find(pubsub, name);
    if (channel != NULL) {
        *receivers = channel->count;
        result = channel_send(pubsub, loop, channel, message);
    }
    pthread_mutex_unlock(&pubsub->lock);
    jd_shared_unref(message);
    return result;
}
