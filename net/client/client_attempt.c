/* One attempt to connect: looks the name up, tries its addresses one after the other, and follows the connection until
 * it is gone. */
#include "net/client/tcp_client.h"

#include <jinduo/error.h>

enum { NS_PER_MS = 1000000 };

/* The current time is rounded up to the millisecond: the timer is never early. */
void client_start_timer(jd_tcp_client *client, uint64_t after_ms)
{
    uint64_t now_ms = ((uint64_t)event_loop_clock(client->loop) + NS_PER_MS - 1) / NS_PER_MS;

    timer_start(&client->loop->timers.wheel, &client->timer, now_ms + after_ms);
}

static void client_stop_timer(jd_tcp_client *client)
{
    timer_cancel(&client->loop->timers.wheel, &client->timer);
}

static void client_release_lookup(jd_tcp_client *client)
{
    if (client->lookup != NULL)
        lookup_release(client->lookup);
    client->lookup = NULL;
}

/* Invokes the connect callback. Returns false if the client is being disconnected or destroyed afterwards: the attempt
 * must not continue. */
static bool client_report(jd_tcp_client *client, const jd_connect_report *report)
{
    flush_before_callback(client->loop);
    if (client->on_connect != NULL)
        client->on_connect(client, report, client->on_connect_arg);
    return !client->disconnecting && !client->destroy_begun;
}

static void client_count_failed(jd_tcp_client *client, int error)
{
    counter_add(&client->loop->counters.connects_failed, 1);
    counters_add_error(&client->loop->counters, error);
}

/* ---- an attempt ---- */

/* With reconnect, starts the wait for the next attempt and returns its length in milliseconds; otherwise the client is
 * idle, and -1 is returned. */
static int64_t client_schedule_retry(jd_tcp_client *client)
{
    uint32_t wait_ms;

    if (!client->reconnect) {
        client->phase = CLIENT_IDLE;
        client->started = false;
        return -1;
    }
    wait_ms = client_schedule_wait_ms(&client->schedule);
    client->phase = CLIENT_WAITING;
    client_start_timer(client, wait_ms);
    return wait_ms;
}

/* Ends the attempt and reports it. endpoint: the address tried last; NULL if the name was not found. */
static void client_fail_attempt(jd_tcp_client *client, int error, const char *reason, const jd_endpoint *endpoint)
{
    jd_connect_report report = {
        .event = JD_CONNECT_FAILED,
        .error = error,
        .reason = reason,
        .target = client->target,
        .attempt = client->schedule.attempt,
    };

    if (endpoint != NULL)
        report.endpoint = *endpoint;
    client_count_failed(client, error);
    client_release_lookup(client);
    report.retry_after_ms = client_schedule_retry(client);
    client_report(client, &report);
}

static unsigned client_address_count(const jd_tcp_client *client)
{
    return client->lookup != NULL ? client->lookup->count : 1;
}

/* Reports that the current address failed. Returns whether another address must be tried; if not, the attempt has
 * failed. */
static bool client_fail_address(jd_tcp_client *client, int error)
{
    const jd_connect_report report = {
        .event = JD_CONNECT_ADDRESS_FAILED,
        .error = error,
        .reason = jd_strerror(error),
        .endpoint = client->connector.endpoint,
        .target = client->target,
        .attempt = client->schedule.attempt,
    };

    if (client->next_address == client_address_count(client) || event_loop_clock(client->loop) >= client->deadline) {
        client_fail_attempt(client, error, report.reason, &report.endpoint);
        return false;
    }
    client_count_failed(client, error);
    return client_report(client, &report);
}

/* The time that the next address may take: an equal share of what is left of the attempt's. */
static uint64_t client_address_time_ms(const jd_tcp_client *client)
{
    int64_t left_ns = client->deadline - event_loop_clock(client->loop);
    uint64_t left_ms = left_ns > 0 ? (uint64_t)left_ns / NS_PER_MS : 0;

    return left_ms / (client_address_count(client) - client->next_address);
}

static int client_try_address(jd_tcp_client *client)
{
    struct connector *connector = &client->connector;
    const struct lookup *lookup = client->lookup;
    uint64_t share_ms = client_address_time_ms(client);
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

static void client_try_addresses(jd_tcp_client *client)
{
    int result;

    do
        result = client_try_address(client);
    while (result < 0 && client_fail_address(client, result));
}

void client_try_next_address(jd_tcp_client *client)
{
    if (client_fail_address(client, client->error))
        client_try_addresses(client);
}

static void client_lookup_done(struct lookup *lookup)
{
    jd_tcp_client *client = lookup->arg;

    client_stop_timer(client);
    if (lookup->error < 0)
        client_fail_attempt(client, lookup->error, lookup->reason, NULL);
    else
        client_try_addresses(client);
}

void client_begin_attempt(jd_tcp_client *client)
{
    int result;

    client->schedule.attempt++;
    client->deadline = event_loop_clock(client->loop) + (int64_t)client->connect_timeout_ms * NS_PER_MS;
    client->next_address = 0;
    if (client->numeric.length > 0) {
        client_try_addresses(client);
        return;
    }
    result = lookup_start(&client->lookup, client->loop, &client->name, client_lookup_done, client);
    if (result < 0) {
        client_fail_attempt(client, result, jd_strerror(result), NULL);
        return;
    }
    client->phase = CLIENT_RESOLVING;
    client_start_timer(client, client->connect_timeout_ms);
}

static void client_abandon_connector(jd_tcp_client *client)
{
    if (client->abandoned)
        return;
    client->abandoned = true;
    client->loop->ops->abandon(client->loop->engine, &client->connector);
}

void client_end_attempt(jd_tcp_client *client)
{
    client_stop_timer(client);
    client_release_lookup(client);
    if (client->connecting)
        client_abandon_connector(client);
}

void client_timer_expired(struct timer *timer)
{
    jd_tcp_client *client = (jd_tcp_client *)((char *)timer - offsetof(jd_tcp_client, timer));

    switch (client->phase) {
    case CLIENT_RESOLVING:
        client_fail_attempt(client, JD_ETIMEDOUT, "name lookup timed out: no answer within connect_timeout_ms", NULL);
        break;
    case CLIENT_CONNECTING:
        client->timed_out = true;
        client_abandon_connector(client);
        break;
    case CLIENT_CONNECTED: /* drain_ms have passed */
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
    client_stop_timer(client);
    if (error == 0) {
        client->phase = CLIENT_CONNECTED;
        client->open = true;
        client->up = client->lost = false;
        connection_open(client->loop, client->profile, socket, peer);
        return;
    }
    client->phase = CLIENT_ADDRESS_FAILED;
    client->error = client->timed_out ? JD_ETIMEDOUT : error;
    client_queue_proceed(client);
}

void client_connection_up_changed(struct connection_owner *owner, jd_tcp_connection *connection, int change)
{
    jd_tcp_client *client = (jd_tcp_client *)((char *)owner - offsetof(jd_tcp_client, owner));

    if (change > 0) {
        client_release_lookup(client);
        client->connection = connection;
        client->up = true;
        client->up_at = jd_event_loop_now(client->loop);
        return;
    }
    client->connection = NULL;
    if (client->disconnecting)
        return;
    /* Without reconnect the client is no longer started, unless the down callback starts it again. */
    client->lost = client->reconnect;
    client->started = client->reconnect;
}

static void client_report_lost(jd_tcp_client *client, int error)
{
    struct client_schedule *schedule = &client->schedule;
    int64_t lasted_ms = (jd_event_loop_now(client->loop) - client->up_at) / NS_PER_MS;
    jd_connect_report report = {
        .event = JD_CONNECT_LOST,
        .error = error,
        .reason = error < 0 ? jd_strerror(error) : "the connection was closed in good order",
        .target = client->target,
        .endpoint = client->connector.endpoint,
        .attempt = schedule->attempt,
    };

    if (lasted_ms >= client_schedule_longest_ms(schedule))
        schedule->attempt = 0;
    report.retry_after_ms = client_schedule_retry(client);
    client_report(client, &report);
}

void client_connection_gone(struct connection_owner *owner, jd_event_loop *loop, int error)
{
    jd_tcp_client *client = (jd_tcp_client *)((char *)owner - offsetof(jd_tcp_client, owner));

    client->open = false;
    client_stop_timer(client);
    if (client->lost && client->started) {
        client_report_lost(client, error);
        return;
    }
    /* Never up: the address has failed. Otherwise the connection ended and must not be made again: the client is idle,
     * or was started again by the down callback. The proceed task continues. */
    client->phase = client->up ? CLIENT_IDLE : CLIENT_ADDRESS_FAILED;
    client->error = error == 0 && !client->up ? JD_ECANCELED : error; /* the session's create has closed it */
    client_queue_proceed(client);
}
