/* The life of a client: what is under way is at most one of a lookup, a connector at the engine, a connection, and the wait
 * for the next attempt. When it ends, or somebody wants something else, a task of the client's own (proceed) decides what
 * comes next. So no callback of the user's comes from inside a call, and the client is freed nowhere else. */
#include "net/client/tcp_client.h"

#include "base/memory.h"
#include "net/connection/connection_callbacks.h"

#include <assert.h>
#include <jinduo/error.h>

enum {
    CONNECT_TIMEOUT_MS = 10 * 1000,
    RECONNECT_INITIAL_MS = 500,
    RECONNECT_MAX_MS = 30 * 1000,
};

static const uint64_t drain_max_ms = (uint64_t)1 << 46; /* 2 000 years: the sum with any time does not overflow */

/* ---- creation ---- */

static bool read_target(jd_tcp_client *client, const char *connect)
{
    if (connect == NULL)
        return false;
    if (jd_endpoint_parse(&client->numeric, connect, NULL) < 0)
        return host_port_parse(&client->name, connect) == 0;
    return endpoint_sockaddr(&client->numeric)->sa_family == AF_UNIX ||
           (jd_endpoint_port(&client->numeric) != 0 && !(client->numeric.flags & ENDPOINT_ALL));
}

static bool read_local(jd_tcp_client *client, const char *bind)
{
    jd_endpoint *local = &client->connector.local;

    if (bind == NULL)
        return true;
    return jd_endpoint_parse(local, bind, NULL) == 0 && !(local->flags & ENDPOINT_ALL) &&
           endpoint_sockaddr(local)->sa_family != AF_UNIX;
}

static uint32_t or_default(uint32_t value, uint32_t default_value)
{
    return value != 0 ? value : default_value;
}

static bool read_times(jd_tcp_client *client, const jd_tcp_client_options *options)
{
    struct client_schedule *schedule = &client->schedule;

    client->connect_timeout_ms = or_default(options->connect_timeout_ms, CONNECT_TIMEOUT_MS);
    client->reconnect = options->reconnect;
    schedule->initial_ms = or_default(options->reconnect_initial_ms, RECONNECT_INITIAL_MS);
    schedule->max_ms = or_default(options->reconnect_max_ms,
                                  schedule->initial_ms > RECONNECT_MAX_MS ? schedule->initial_ms : RECONNECT_MAX_MS);
    /* For chance nobody relies on: clients differ in where they lie and when they were made. */
    schedule->random = (uint64_t)(uintptr_t)client ^ (uint64_t)event_loop_clock(client->loop);
    return client->connect_timeout_ms <= CONNECTION_TIMEOUT_MAX_MS && schedule->max_ms <= CONNECTION_TIMEOUT_MAX_MS &&
           schedule->initial_ms <= schedule->max_ms;
}

static void link_client(jd_tcp_client *client)
{
    jd_event_loop *loop = client->loop;

    client->next = loop->clients;
    if (client->next != NULL)
        client->next->previous = client;
    loop->clients = client;
}

static void unlink_client(jd_tcp_client *client)
{
    if (client->previous != NULL)
        client->previous->next = client->next;
    else
        client->loop->clients = client->next;
    if (client->next != NULL)
        client->next->previous = client->previous;
}

static void run_proceed(struct task_node *task);

static int fill(jd_tcp_client *client, const jd_tcp_client_options *options)
{
    struct connection_options connection_options = CONNECTION_OPTIONS_OF(options);
    const char *name = options->name != NULL ? options->name : "client";

    client->owner = (struct connection_owner){ client_connection_seen, client_connection_gone };
    client->timer.kind = TIMER_CLIENT;
    client->proceed.run = run_proceed;
    client->connector.connected = client_connected;
    client->connector.options = connection_options.socket;
    client->connector.socket = SOCKET_NONE;
    if (!read_target(client, options->connect) || !read_local(client, options->bind) || !read_times(client, options) ||
        !connection_options_make_sense(name, &connection_options))
        return JD_EINVAL;
    client->profile = connection_profile_create(&client->owner, name, &connection_options);
    return client->profile != NULL ? 0 : JD_ENOMEM;
}

int jd_tcp_client_create(jd_tcp_client **out, jd_event_loop *loop, const jd_tcp_client_options *options)
{
    jd_tcp_client *client;
    int result;

    if (!event_loop_is_mine(loop))
        return JD_EPERM;
    if (loop->destroying)
        return JD_ECANCELED;
    if (options == NULL)
        return JD_EINVAL;
    client = memory_allocate_zeroed(sizeof(*client));
    if (client == NULL)
        return JD_ENOMEM;
    client->loop = loop;
    result = fill(client, options);
    if (result < 0) {
        memory_release(client, sizeof(*client));
        return result;
    }
    link_client(client);
    *out = client;
    return 0;
}

/* To set it up: while the client is not started. */
static struct connection_profile *client_profile(jd_tcp_client *client)
{
    assert(!client->wanted && event_loop_is_mine(client->loop));
    return client->profile;
}

DEFINE_SET_CALLBACKS(client)

void jd_tcp_client_set_connect_callback(jd_tcp_client *client, jd_connect_callback callback, void *arg)
{
    assert(!client->wanted && event_loop_is_mine(client->loop));
    client->on_connect = callback;
    client->on_connect_arg = arg;
}

jd_tcp_connection *jd_tcp_client_connection(const jd_tcp_client *client)
{
    return client->connection;
}

jd_event_loop *jd_tcp_client_loop(const jd_tcp_client *client)
{
    return client->loop;
}

/* ---- start and end ---- */

void client_queue_proceed(jd_tcp_client *client)
{
    if (client->proceeding)
        return;
    client->proceeding = true;
    event_loop_push(client->loop, &client->proceed);
}

static int start_in_loop(jd_tcp_client *client)
{
    if (client->destroy_begun || atomic_load(&client->destroying) || client->loop->destroying)
        return JD_ECANCELED;
    if (client->wanted)
        return JD_EALREADY;
    client->wanted = true;
    client->schedule.attempt = 0;
    client_queue_proceed(client);
    return 0;
}

static void drain(jd_tcp_connection *connection, jd_tcp_client *client, uint64_t drain_ms)
{
    if (drain_ms == 0) {
        jd_tcp_connection_close(connection);
        return;
    }
    jd_tcp_connection_shutdown(connection);
    client_start_timer(client, drain_ms < drain_max_ms ? drain_ms : drain_max_ms);
}

static int disconnect_in_loop(jd_tcp_client *client, uint64_t drain_ms, jd_done_callback done, void *arg)
{
    bool was_wanted = client->wanted;

    client->wanted = false;
    if (!was_wanted || client->disconnecting)
        return JD_EALREADY;
    client->disconnecting = true;
    client->stopped = done;
    client->stopped_arg = arg;
    client->lost = false;
    client_end_attempt(client);
    if (client->connection != NULL)
        drain(client->connection, client, drain_ms);
    client_queue_proceed(client);
    return 0;
}

static void destroy_in_loop(jd_tcp_client *client)
{
    client->destroy_begun = true;
    disconnect_in_loop(client, 0, NULL, NULL);
    if (client->connection != NULL) /* draining */
        jd_tcp_connection_close(client->connection);
    client_queue_proceed(client);
}

static void free_client(jd_tcp_client *client)
{
    jd_done_callback destroyed = client->destroyed;
    void *arg = client->destroyed_arg;

    unlink_client(client);
    connection_profile_release(client->profile);
    memory_release(client, sizeof(*client));
    if (destroyed != NULL)
        destroyed(arg);
}

static void end_disconnecting(jd_tcp_client *client)
{
    jd_done_callback stopped = client->stopped;

    client->disconnecting = false;
    client->phase = CLIENT_IDLE;
    client->stopped = NULL;
    if (stopped != NULL)
        stopped(client->stopped_arg);
}

static void run_proceed(struct task_node *task)
{
    jd_tcp_client *client = (jd_tcp_client *)((char *)task - offsetof(jd_tcp_client, proceed));

    client->proceeding = false;
    if (client->connecting || client->open) /* whose end comes here again */
        return;
    if (client->disconnecting)
        end_disconnecting(client);
    if (client->proceeding)
        return;
    if (client->destroy_begun) {
        /* What other threads have asked for meanwhile is behind this in the queue. */
        if (atomic_load(&client->pending_orders) > 0)
            client_queue_proceed(client);
        else
            free_client(client);
        return;
    }
    if (!client->wanted)
        return;
    if (client->phase == CLIENT_IDLE)
        client_begin_attempt(client);
    else if (client->phase == CLIENT_ADDRESS_FAILED)
        client_address_failed(client);
}

/* ---- from other threads ---- */

struct order_task {
    struct task_node task;
    jd_tcp_client *client;
    bool start; /* or disconnect: */
    uint64_t drain_ms;
    jd_done_callback done;
    void *arg;
};

static void run_order(struct task_node *task)
{
    struct order_task order = *(struct order_task *)task;

    memory_release(task, sizeof(order));
    atomic_fetch_sub(&order.client->pending_orders, 1);
    if (order.start)
        start_in_loop(order.client);
    else if (disconnect_in_loop(order.client, order.drain_ms, order.done, order.arg) < 0 && order.done != NULL)
        order.done(order.arg);
}

static int post_order(const struct order_task *order)
{
    jd_tcp_client *client = order->client;
    struct order_task *posted = memory_allocate(sizeof(*posted));

    if (posted == NULL)
        return JD_ENOMEM;
    *posted = *order;
    posted->task.run = run_order;
    atomic_fetch_add(&client->pending_orders, 1);
    if (event_loop_push_last(client->loop, &posted->task))
        return 0;
    atomic_fetch_sub(&client->pending_orders, 1);
    memory_release(posted, sizeof(*posted));
    return JD_ECANCELED;
}

/* In each of the three: unlocked, another thread may run the loop, and end the client. */

int jd_tcp_client_start(jd_tcp_client *client)
{
    jd_event_loop *loop = client->loop;
    bool locked;
    int result;

    if (!event_loop_begin_work(loop, &locked))
        return post_order(&(struct order_task){ .client = client, .start = true });
    result = start_in_loop(client);
    event_loop_end_work(loop, locked);
    return result;
}

int jd_tcp_client_disconnect(jd_tcp_client *client, uint64_t drain_ms, jd_done_callback done, void *arg)
{
    jd_event_loop *loop = client->loop;
    bool locked;
    int result;

    if (!event_loop_begin_work(loop, &locked))
        return post_order(&(struct order_task){ .client = client, .drain_ms = drain_ms, .done = done, .arg = arg });
    result = disconnect_in_loop(client, drain_ms, done, arg);
    event_loop_end_work(loop, locked);
    return result;
}

static void run_destroy(struct task_node *task)
{
    destroy_in_loop((jd_tcp_client *)((char *)task - offsetof(jd_tcp_client, destroy)));
}

void jd_tcp_client_destroy(jd_tcp_client *client, jd_done_callback done, void *arg)
{
    jd_event_loop *loop;
    bool locked;

    if (client == NULL) {
        if (done != NULL)
            done(arg);
        return;
    }
    loop = client->loop;
    if (atomic_exchange(&client->destroying, true))
        return;
    client->destroyed = done;
    client->destroyed_arg = arg;
    client->destroy.run = run_destroy;
    if (event_loop_begin_work(loop, &locked)) {
        destroy_in_loop(client);
        event_loop_end_work(loop, locked);
    } else {
        event_loop_push_last(loop, &client->destroy);
    }
}

static bool no_client_is_left(const jd_event_loop *loop)
{
    return loop->clients == NULL;
}

static int clients_destroy_all(jd_event_loop *loop)
{
    for (jd_tcp_client *client = loop->clients; client != NULL; client = client->next)
        jd_tcp_client_destroy(client, NULL, NULL);
    return event_loop_turn_until(loop, no_client_is_left);
}

const struct loop_service client_service = { .timer_expired = client_timer_expired, .end_all = clients_destroy_all };
