/* An attempt to connect: the name is looked up, its addresses are tried in turn, the connection comes and goes. */
#include "net/client/tcp_client.h"

#include <jinduo/error.h>

enum { NS_PER_MS = 1000000 };

/* Rounded up: never early. */
void client_start_timer(jd_tcp_client *client, uint64_t after_ms)
{
    uint64_t now_ms = ((uint64_t)event_loop_clock(client->loop) + NS_PER_MS - 1) / NS_PER_MS;

    timer_start(&client->loop->timers.wheel, &client->timer, now_ms + after_ms);
}

static void stop_timer(jd_tcp_client *client)
{
    timer_cancel(&client->loop->timers.wheel, &client->timer);
}

static void release_lookup(jd_tcp_client *client)
{
    if (client->lookup != NULL)
        lookup_release(client->lookup);
    client->lookup = NULL;
}

/* Returns whether the user still wants what was under way. */
static bool tell(jd_tcp_client *client, const jd_connect_report *report)
{
    flush_before_callback(client->loop);
    if (client->on_connect != NULL)
        client->on_connect(client, report, client->on_connect_arg);
    return !client->disconnecting && !client->destroy_begun;
}

/* ---- an attempt ---- */

/* Waits for the next attempt if there is to be one. Returns how long, or -1. */
static int64_t retry(jd_tcp_client *client)
{
    uint32_t wait_ms;

    if (!client->reconnect) {
        client->phase = CLIENT_IDLE;
        client->wanted = false;
        return -1;
    }
    wait_ms = client_schedule_wait_ms(&client->schedule);
    client->phase = CLIENT_WAITING;
    client_start_timer(client, wait_ms);
    return wait_ms;
}

/* endpoint: NULL if the name was not found. */
static void attempt_failed(jd_tcp_client *client, int error, const char *reason, const jd_endpoint *endpoint)
{
    jd_connect_report report = {
        .event = JD_CONNECT_FAILED,
        .error = error,
        .reason = reason,
        .attempt = client->schedule.attempt,
    };

    if (endpoint != NULL)
        report.endpoint = *endpoint;
    counter_add(&client->loop->counters.connects_failed, 1);
    release_lookup(client);
    report.retry_after_ms = retry(client);
    tell(client, &report);
}

static unsigned address_count(const jd_tcp_client *client)
{
    return client->lookup != NULL ? client->lookup->count : 1;
}

/* Returns whether another address is to be tried. */
static bool address_failed(jd_tcp_client *client, int error)
{
    const jd_connect_report report = {
        .event = JD_CONNECT_ADDRESS_FAILED,
        .error = error,
        .reason = jd_strerror(error),
        .endpoint = client->connector.endpoint,
        .attempt = client->schedule.attempt,
    };

    if (client->next_address == address_count(client) || event_loop_clock(client->loop) >= client->deadline) {
        attempt_failed(client, error, report.reason, &report.endpoint);
        return false;
    }
    counter_add(&client->loop->counters.connects_failed, 1);
    return tell(client, &report);
}

/* The next one's. */
static uint64_t share_of_time_ms(const jd_tcp_client *client)
{
    int64_t left_ns = client->deadline - event_loop_clock(client->loop);
    uint64_t left_ms = left_ns > 0 ? (uint64_t)left_ns / NS_PER_MS : 0;

    return left_ms / (address_count(client) - client->next_address);
}

static int try_address(jd_tcp_client *client)
{
    struct connector *connector = &client->connector;
    const struct lookup *lookup = client->lookup;
    uint64_t share_ms = share_of_time_ms(client);
    int result;

    connector->endpoint = lookup != NULL ? lookup->addresses[client->next_address] : client->numeric;
    client->next_address++;
    result = client->loop->ops->connect(client->loop->engine, connector);
    if (result < 0)
        return result;
    client->phase = CLIENT_CONNECTING;
    client->connecting = true;
    client->abandoned = client->timed_out = false;
    client_start_timer(client, share_ms);
    return 0;
}

static void try_addresses(jd_tcp_client *client)
{
    int result;

    do
        result = try_address(client);
    while (result < 0 && address_failed(client, result));
}

void client_address_failed(jd_tcp_client *client)
{
    if (address_failed(client, client->error))
        try_addresses(client);
}

static void on_looked_up(struct lookup *lookup)
{
    jd_tcp_client *client = lookup->arg;

    stop_timer(client);
    if (lookup->error < 0)
        attempt_failed(client, lookup->error, lookup->reason, NULL);
    else
        try_addresses(client);
}

void client_begin_attempt(jd_tcp_client *client)
{
    int result;

    client->schedule.attempt++;
    client->deadline = event_loop_clock(client->loop) + (int64_t)client->connect_timeout_ms * NS_PER_MS;
    client->next_address = 0;
    if (client->numeric.length > 0) {
        try_addresses(client);
        return;
    }
    result = lookup_start(&client->lookup, client->loop, &client->name, on_looked_up, client);
    if (result < 0) {
        attempt_failed(client, result, jd_strerror(result), NULL);
        return;
    }
    client->phase = CLIENT_RESOLVING;
    client_start_timer(client, client->connect_timeout_ms);
}

static void abandon(jd_tcp_client *client)
{
    if (client->abandoned)
        return;
    client->abandoned = true;
    client->loop->ops->abandon(client->loop->engine, &client->connector);
}

void client_end_attempt(jd_tcp_client *client)
{
    stop_timer(client);
    release_lookup(client);
    if (client->connecting)
        abandon(client);
}

void client_timer_expired(struct timer *timer)
{
    jd_tcp_client *client = (jd_tcp_client *)((char *)timer - offsetof(jd_tcp_client, timer));

    switch (client->phase) {
    case CLIENT_RESOLVING:
        attempt_failed(client, JD_ETIMEDOUT, "looking the name up timed out", NULL);
        break;
    case CLIENT_CONNECTING:
        client->timed_out = true;
        abandon(client);
        break;
    case CLIENT_CONNECTED: /* the time to drain is over */
        if (client->connection != NULL)
            jd_tcp_connection_close(client->connection);
        break;
    case CLIENT_WAITING:
        client_begin_attempt(client);
        break;
    case CLIENT_IDLE:
    case CLIENT_ADDRESS_FAILED:
        break;
    }
}

/* ---- the connection ---- */

void client_connected(struct connector *connector, int error, socket_handle socket, const struct peer_address *peer)
{
    jd_tcp_client *client = (jd_tcp_client *)((char *)connector - offsetof(jd_tcp_client, connector));

    client->connecting = false;
    stop_timer(client);
    if (error == 0) {
        client->phase = CLIENT_CONNECTED;
        client->open = true;
        client->seen = client->lost = false;
        connection_open(client->loop, client->profile, socket, peer);
        return;
    }
    client->phase = CLIENT_ADDRESS_FAILED;
    client->error = client->timed_out ? JD_ETIMEDOUT : error;
    client_queue_proceed(client);
}

void client_connection_seen(struct connection_owner *owner, jd_tcp_connection *connection, int change)
{
    jd_tcp_client *client = (jd_tcp_client *)((char *)owner - offsetof(jd_tcp_client, owner));

    if (change > 0) {
        release_lookup(client);
        client->connection = connection;
        client->seen = true;
        client->up_at = jd_event_loop_now(client->loop);
        return;
    }
    client->connection = NULL;
    if (client->disconnecting)
        return;
    /* Not wanted any more unless the down callback starts it again. */
    client->lost = client->reconnect;
    client->wanted = client->reconnect;
}

static void connection_lost(jd_tcp_client *client, int error)
{
    struct client_schedule *schedule = &client->schedule;
    int64_t lasted_ms = (jd_event_loop_now(client->loop) - client->up_at) / NS_PER_MS;
    jd_connect_report report = {
        .event = JD_CONNECT_LOST,
        .error = error,
        .reason = jd_strerror(error),
        .endpoint = client->connector.endpoint,
        .attempt = schedule->attempt,
    };

    if (lasted_ms >= client_schedule_longest_ms(schedule))
        schedule->attempt = 0;
    report.retry_after_ms = retry(client);
    tell(client, &report);
}

void client_connection_gone(struct connection_owner *owner, jd_event_loop *loop, int error)
{
    jd_tcp_client *client = (jd_tcp_client *)((char *)owner - offsetof(jd_tcp_client, owner));

    client->open = false;
    stop_timer(client);
    if (client->lost && client->wanted) {
        connection_lost(client, error);
        return;
    }
    /* It never came up, or has ended in whatever way nobody wants to be made up for. */
    client->phase = client->seen ? CLIENT_IDLE : CLIENT_ADDRESS_FAILED;
    client->error = error;
    client_queue_proceed(client);
}
