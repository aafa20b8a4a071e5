/* The life of a client: created, started, disconnected, destroyed; and the proceed task (tcp_client.h), the only place
 * where a client is freed. */
#include "net/client/tcp_client.h"

#include "base/log.h"
#include "base/memory.h"
#include "net/connection/connection_callbacks.h"

#include <assert.h>
#include <inttypes.h>
#include <jinduo/error.h>
#include <string.h>

enum {
    CONNECT_TIMEOUT_MS = 10 * 1000,
    RECONNECT_INITIAL_MS = 500,
    RECONNECT_MAX_MS = 30 * 1000,
};

static const uint64_t drain_max_ms = (uint64_t)1 << 46; /* 2 000 years: added to any time it does not overflow */

/* ---- creation ---- */

static int client_read_target(jd_tcp_client *client, const char *name, const char *connect)
{
    if (connect == NULL)
        return log_invalid("%s: the option connect is missing", name);
    if (jd_endpoint_parse(&client->numeric, connect, NULL) < 0) {
        if (host_port_parse(&client->name, connect) == 0 && strcmp(client->name.port, "0") != 0)
            return 0;
        return log_invalid(
            "%s: connect '%s': must be NAME:PORT or an endpoint, such as 127.0.0.1:80, [::1]:80 or unix:/path", name,
            connect);
    }
    if (client->numeric.flags & ENDPOINT_ALL)
        return log_invalid("%s: connect '%s': \"*\" is no address to connect to", name, connect);
    if (endpoint_sockaddr(&client->numeric)->sa_family != AF_UNIX && jd_endpoint_port(&client->numeric) == 0)
        return log_invalid("%s: connect '%s': port 0 is no port to connect to", name, connect);
    return 0;
}

static int client_read_local(jd_tcp_client *client, const char *name, const char *bind)
{
    jd_endpoint *local = &client->connector.local;
    const char *reason;

    if (bind == NULL)
        return 0;
    if (jd_endpoint_parse(local, bind, &reason) < 0)
        return log_invalid("%s: bind '%s': %s", name, bind, reason);
    if (local->flags & ENDPOINT_ALL || endpoint_sockaddr(local)->sa_family == AF_UNIX)
        return log_invalid("%s: bind '%s': must be an IP address with a port; port 0 lets the system choose", name,
                           bind);
    return 0;
}

static uint32_t or_default(uint32_t value, uint32_t default_value)
{
    return value != 0 ? value : default_value;
}

static int client_read_times(jd_tcp_client *client, const char *name, const jd_tcp_client_options *options)
{
    struct client_schedule *schedule = &client->schedule;

    client->connect_timeout_ms = or_default(options->connect_timeout_ms, CONNECT_TIMEOUT_MS);
    client->reconnect = options->reconnect;
    schedule->initial_ms = or_default(options->reconnect_initial_ms, RECONNECT_INITIAL_MS);
    schedule->max_ms = or_default(options->reconnect_max_ms,
                                  schedule->initial_ms > RECONNECT_MAX_MS ? schedule->initial_ms : RECONNECT_MAX_MS);
    /* A seed that differs between clients is enough: their addresses in memory and creation times differ. */
    schedule->random = (uint64_t)(uintptr_t)client ^ (uint64_t)event_loop_clock(client->loop);
    if (connection_timeout_check(name, "connect_timeout_ms", client->connect_timeout_ms) < 0 ||
        connection_timeout_check(name, "reconnect_initial_ms", schedule->initial_ms) < 0 ||
        connection_timeout_check(name, "reconnect_max_ms", schedule->max_ms) < 0)
        return JD_EINVAL;
    if (schedule->initial_ms > schedule->max_ms)
        return log_invalid("%s: reconnect_initial_ms %" PRIu32 " is above reconnect_max_ms %" PRIu32, name,
                           schedule->initial_ms, schedule->max_ms);
    return 0;
}

static void client_link(jd_tcp_client *client)
{
    jd_event_loop *loop = client->loop;

    client->next = loop->clients;
    if (client->next != NULL)
        client->next->previous = client;
    loop->clients = client;
}

static void client_unlink(jd_tcp_client *client)
{
    if (client->previous != NULL)
        client->previous->next = client->next;
    else
        client->loop->clients = client->next;
    if (client->next != NULL)
        client->next->previous = client->previous;
}

static void client_run_proceed(struct task_node *task);

static int client_init(jd_tcp_client *client, const jd_tcp_client_options *options)
{
    struct connection_options connection_options = CONNECTION_OPTIONS_OF(options, JD_ABOVE_WATERMARK_KEEP_READING);
    const char *name = options->name != NULL ? options->name : "client";

    client->owner = (struct connection_owner){ client_connection_up_changed, client_connection_gone, NULL };
    client->timer.kind = TIMER_CLIENT;
    client->proceed.run = client_run_proceed;
    client->connector.connected = client_connected;
    client->connector.options = connection_options.socket;
    client->connector.socket = SOCKET_NONE;
    if (client_read_target(client, name, options->connect) < 0 || client_read_local(client, name, options->bind) < 0 ||
        client_read_times(client, name, options) < 0 || connection_options_check(name, &connection_options) < 0)
        return JD_EINVAL;
    client->target_bytes = strlen(options->connect) + 1;
    client->target = memory_allocate(client->target_bytes);
    client->profile = connection_profile_create(&client->owner, name, &connection_options);
    if (client->target == NULL || client->profile == NULL)
        return JD_ENOMEM;
    memcpy(client->target, options->connect, client->target_bytes);
    return 0;
}

static void client_release_memory(jd_tcp_client *client)
{
    if (client->profile != NULL)
        connection_profile_release(client->profile);
    if (client->target != NULL)
        memory_release(client->target, client->target_bytes);
    memory_release(client, sizeof(*client));
}

int jd_tcp_client_create(jd_tcp_client **out, jd_event_loop *loop, const jd_tcp_client_options *options)
{
    jd_tcp_client *client;
    int result;

    if (!event_loop_is_in_loop_thread(loop))
        return JD_EPERM;
    if (loop->destroying)
        return JD_ECANCELED;
    if (options == NULL)
        return log_invalid("client: there are no options; connect is required");
    client = memory_allocate_zeroed(sizeof(*client));
    if (client == NULL)
        return JD_ENOMEM;
    client->loop = loop;
    result = client_init(client, options);
    if (result < 0) {
        client_release_memory(client);
        return result;
    }
    client_link(client);
    *out = client;
    return 0;
}

/* Callbacks may be set while the client is not started only. */
static struct connection_profile *client_profile(jd_tcp_client *client)
{
    assert(!client->started && event_loop_is_in_loop_thread(client->loop));
    return client->profile;
}

DEFINE_SET_CALLBACKS(client)

void jd_tcp_client_set_connect_callback(jd_tcp_client *client, jd_connect_callback callback, void *arg)
{
    assert(!client->started && event_loop_is_in_loop_thread(client->loop));
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

/* ---- start, disconnect, destroy ---- */

void client_queue_proceed(jd_tcp_client *client)
{
    if (client->proceeding)
        return;
    client->proceeding = true;
    event_loop_push(client->loop, &client->proceed);
}

static int client_start_in_loop(jd_tcp_client *client)
{
    if (client->destroy_begun || atomic_load(&client->destroying) || client->loop->destroying)
        return JD_ECANCELED;
    if (client->started)
        return JD_EALREADY;
    client->started = true;
    client->schedule.attempt = 0;
    client_queue_proceed(client);
    return 0;
}

static void client_drain_connection(jd_tcp_connection *connection, jd_tcp_client *client, uint64_t drain_ms)
{
    if (drain_ms == 0) {
        jd_tcp_connection_close(connection);
        return;
    }
    jd_tcp_connection_shutdown(connection);
    client_start_timer(client, drain_ms < drain_max_ms ? drain_ms : drain_max_ms);
}

static int client_disconnect_in_loop(jd_tcp_client *client, uint64_t drain_ms, jd_done_callback done, void *arg)
{
    bool was_started = client->started;

    client->started = false;
    if (!was_started || client->disconnecting)
        return JD_EALREADY;
    client->disconnecting = true;
    client->stopped = done;
    client->stopped_arg = arg;
    client->lost = false;
    client_end_attempt(client);
    if (client->connection != NULL)
        client_drain_connection(client->connection, client, drain_ms);
    client_queue_proceed(client);
    return 0;
}

static void client_destroy_in_loop(jd_tcp_client *client)
{
    client->destroy_begun = true;
    client_disconnect_in_loop(client, 0, NULL, NULL);
    if (client->connection != NULL) /* draining */
        jd_tcp_connection_close(client->connection);
    client_queue_proceed(client);
}

static void client_free(jd_tcp_client *client)
{
    jd_done_callback destroyed = client->destroyed;
    void *arg = client->destroyed_arg;

    client_unlink(client);
    client_release_memory(client);
    if (destroyed != NULL)
        destroyed(arg);
}

static void client_end_disconnecting(jd_tcp_client *client)
{
    jd_done_callback stopped = client->stopped;

    client->disconnecting = false;
    client->phase = CLIENT_IDLE;
    client->stopped = NULL;
    if (stopped != NULL)
        stopped(client->stopped_arg);
}

static void client_run_proceed(struct task_node *task)
{
    jd_tcp_client *client = (jd_tcp_client *)((char *)task - offsetof(jd_tcp_client, proceed));

    client->proceeding = false;
    if (client->connecting || client->open) /* their end queues this task again */
        return;
    if (client->disconnecting)
        client_end_disconnecting(client);
    if (client->proceeding)
        return;
    if (client->destroy_begun) {
        /* Commands that other threads have queued meanwhile are behind this task: run them before the client is
         * freed. */
        if (atomic_load(&client->pending_commands) > 0)
            client_queue_proceed(client);
        else
            client_free(client);
        return;
    }
    if (!client->started)
        return;
    if (client->phase == CLIENT_IDLE)
        client_begin_attempt(client);
    else if (client->phase == CLIENT_ADDRESS_FAILED)
        client_try_next_address(client);
}

/* ---- from other threads ---- */

struct command_task {
    struct task_node task;
    jd_tcp_client *client;
    bool start; /* false: disconnect, with the following arguments */
    uint64_t drain_ms;
    jd_done_callback done;
    void *arg;
};

static void command_task_run(struct task_node *task)
{
    struct command_task command = *(struct command_task *)task;

    memory_release(task, sizeof(command));
    atomic_fetch_sub(&command.client->pending_commands, 1);
    if (command.start)
        client_start_in_loop(command.client);
    else if (client_disconnect_in_loop(command.client, command.drain_ms, command.done, command.arg) < 0 &&
             command.done != NULL)
        command.done(command.arg);
}

static int client_post_command(const struct command_task *command)
{
    jd_tcp_client *client = command->client;
    struct command_task *posted = memory_allocate(sizeof(*posted));

    if (posted == NULL)
        return JD_ENOMEM;
    *posted = *command;
    posted->task.run = command_task_run;
    atomic_fetch_add(&client->pending_commands, 1);
    if (event_loop_push_with_ref(client->loop, &posted->task))
        return 0;
    atomic_fetch_sub(&client->pending_commands, 1);
    memory_release(posted, sizeof(*posted));
    return JD_ECANCELED;
}

/* The following three read client->loop first: after end_work, another thread may run the loop and free the client. */

int jd_tcp_client_start(jd_tcp_client *client)
{
    jd_event_loop *loop = client->loop;
    bool locked;
    int result;

    if (!event_loop_begin_work(loop, &locked))
        return client_post_command(&(struct command_task){ .client = client, .start = true });
    result = client_start_in_loop(client);
    event_loop_end_work(loop, locked);
    return result;
}

int jd_tcp_client_disconnect(jd_tcp_client *client, uint64_t drain_ms, jd_done_callback done, void *arg)
{
    jd_event_loop *loop = client->loop;
    bool locked;
    int result;

    if (!event_loop_begin_work(loop, &locked))
        return client_post_command(
            &(struct command_task){ .client = client, .drain_ms = drain_ms, .done = done, .arg = arg });
    result = client_disconnect_in_loop(client, drain_ms, done, arg);
    event_loop_end_work(loop, locked);
    return result;
}

static void client_run_destroy(struct task_node *task)
{
    client_destroy_in_loop((jd_tcp_client *)((char *)task - offsetof(jd_tcp_client, destroy)));
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
    client->destroy.run = client_run_destroy;
    if (event_loop_begin_work(loop, &locked)) {
        client_destroy_in_loop(client);
        event_loop_end_work(loop, locked);
    } else {
        event_loop_push_with_ref(loop, &client->destroy);
    }
}

static bool clients_are_all_gone(const jd_event_loop *loop)
{
    return loop->clients == NULL;
}

static int clients_destroy_all(jd_event_loop *loop)
{
    for (jd_tcp_client *client = loop->clients; client != NULL; client = client->next)
        jd_tcp_client_destroy(client, NULL, NULL);
    return event_loop_turn_until(loop, clients_are_all_gone);
}

const struct loop_service client_service = { .timer_expired = client_timer_expired, .end_all = clients_destroy_all };
