/* A server's life: created, stopped, destroyed. */
#include "base/log.h"
#include "base/memory.h"
#include "base/platform/thread.h"
#include "net/connection/connection_callbacks.h"
#include "net/server/server.h"

#include <assert.h>
#include <inttypes.h>
#include <jinduo/error.h>

enum {
    IO_THREADS_MAX = 128,
    UNIX_MODE_MAX = 0777,
};

/* ---- creation ---- */

static void server_link(jd_tcp_server *server)
{
    jd_event_loop *loop = server->loop;

    server->next = loop->servers;
    if (server->next != NULL)
        server->next->previous = server;
    loop->servers = server;
}

static void server_unlink(jd_tcp_server *server)
{
    if (server->previous != NULL)
        server->previous->next = server->next;
    else
        server->loop->servers = server->next;
    if (server->next != NULL)
        server->next->previous = server->previous;
}

static void server_free(jd_tcp_server *server)
{
    server_free_endpoints(server);
    server_proxy_free(server->proxy);
    connection_profile_release(server->profile);
    thread_mutex_destroy(&server->threads_lock);
    thread_mutex_destroy(&server->admission.lock);
    memory_release(server, sizeof(*server));
}

/* Each loop may pass the limit by a step. */
static int total_limit_check(const char *name, const char *option, size_t limit, unsigned io_threads)
{
    size_t least = (size_t)2 * TOTAL_STEP_BYTES * (io_threads > 0 ? io_threads : 1);

    return limit == 0 || limit >= least
               ? 0
               : log_invalid("%s: %s of %zu bytes is too small; it must be at least %zu, 128 KiB for each loop", name,
                             option, limit, least);
}

static int server_options_check(const jd_tcp_server_options *options, const char *name,
                                const struct connection_options *connection_options)
{
    jd_endpoint endpoint;
    struct host_port host;

    if (options->io_threads > IO_THREADS_MAX)
        return log_invalid("%s: io_threads %u is too many; it must be at most %d", name, options->io_threads,
                           IO_THREADS_MAX);
    if ((unsigned)options->load_balance > JD_LOAD_BALANCE_PEER_ADDRESS)
        return log_invalid("%s: load_balance %d is none of the values of jd_load_balance", name,
                           (int)options->load_balance);
    if (options->unix_mode > UNIX_MODE_MAX)
        return log_invalid("%s: unix_mode 0%o has other bits than permissions; it must be at most 0777", name,
                           options->unix_mode);
    if (options->unix_uid == UINT32_MAX || options->unix_gid == UINT32_MAX)
        return log_invalid("%s: %s %" PRIu32 " is none (chown(2))", name,
                           options->unix_uid == UINT32_MAX ? "unix_uid" : "unix_gid", UINT32_MAX);
    if (options->listen != NULL && server_listen_parse(name, options->listen, &endpoint, &host) < 0)
        return JD_EINVAL;
    if (total_limit_check(name, "total_output_limit", options->total_output_limit, options->io_threads) < 0 ||
        total_limit_check(name, "total_input_limit", options->total_input_limit, options->io_threads) < 0)
        return JD_EINVAL;
    if (server_proxy_check(options, name) < 0)
        return JD_EINVAL;
    return connection_options_check(name, connection_options);
}

static void server_run_finish(struct task_node *task);
static void server_loop_run_drain(struct task_node *task);
static void server_loop_run_close(struct task_node *task);

void server_loop_init(struct server_loop *slot, jd_tcp_server *server)
{
    slot->server = server;
    slot->update.run = server_loop_run_update;
    slot->drain.run = server_loop_run_drain;
    slot->close.run = server_loop_run_close;
}

static void server_init(jd_tcp_server *server, jd_event_loop *loop, const jd_tcp_server_options *options,
                        const struct connection_options *connection_options)
{
    server->loop = loop;
    server->io_threads = options->io_threads;
    server->load_balance = options->load_balance;
    server->finish.run = server_run_finish;
    server->socket_options = connection_options->socket;
    server->socket_options.backlog = options->backlog;
    server->socket_options.reuse_port = options->reuse_port;
    server->socket_options.unix_mode = options->unix_mode;
    server->socket_options.unix_uid = options->unix_uid;
    server->socket_options.unix_gid = options->unix_gid;
    server->admission.limit = options->max_connections;
    server->admission.refuses = options->refuse_above_max;
    server->admission.waiting_link = &server->admission.waiting;
    thread_mutex_init(&server->admission.lock);
    thread_mutex_init(&server->threads_lock);
    server_loop_init(&server->base_loop, server);
    server->base_loop.loop = loop;
    atomic_init(&server->refs, 1);
}

int jd_tcp_server_create(jd_tcp_server **out, jd_event_loop *loop, const jd_tcp_server_options *options)
{
    static const jd_tcp_server_options defaults;
    struct connection_options connection_options;
    jd_tcp_server *server;
    const char *name;
    int result;

    if (options == NULL)
        options = &defaults;
    name = options->name != NULL ? options->name : "server";
    connection_options = (struct connection_options)CONNECTION_OPTIONS_OF(options, JD_ABOVE_WATERMARK_PAUSE_READING);
    connection_options.max_age_ms = options->max_age_ms;
    connection_options.max_age_drain_ms = options->max_age_drain_ms;
    connection_options.total_output_limit = options->total_output_limit;
    connection_options.total_input_limit = options->total_input_limit;
    if (!event_loop_is_in_loop_thread(loop))
        return JD_EPERM;
    if (loop->destroying)
        return JD_ECANCELED;
    if (server_options_check(options, name, &connection_options) < 0)
        return JD_EINVAL;
    server = memory_allocate_zeroed(sizeof(*server));
    if (server == NULL)
        return JD_ENOMEM;
    server->owner =
        (struct connection_owner){ server_connection_up_changed, server_connection_gone, server_pressure_changed };
    server->profile = connection_profile_create(&server->owner, name, &connection_options);
    if (server->profile == NULL) {
        memory_release(server, sizeof(*server));
        return JD_ENOMEM;
    }
    server_init(server, loop, options, &connection_options);
    result = server_proxy_create(options, name, &server->proxy);
    server->profile->proxy = server->proxy;
    if (result == 0 && options->listen != NULL)
        result = jd_tcp_server_listen_text(server, options->listen);
    if (result < 0) {
        server_free(server);
        return result;
    }
    server_link(server);
    *out = server;
    return 0;
}

/* Callbacks may be set before start only. */
static struct connection_profile *server_profile(jd_tcp_server *server)
{
    assert(server->state == SERVER_CREATED && event_loop_is_in_loop_thread(server->loop));
    return server->profile;
}

DEFINE_SET_CALLBACKS(server)
DEFINE_SET_CALLBACK(server, asked_to_end, jd_asked_to_end_callback)

void jd_tcp_server_set_thread_init_callback(jd_tcp_server *server, jd_thread_init_callback callback, void *arg)
{
    assert(server->state == SERVER_CREATED && event_loop_is_in_loop_thread(server->loop));
    server->on_thread_init = callback;
    server->on_thread_init_arg = arg;
}

void jd_tcp_server_set_thread_exit_callback(jd_tcp_server *server, jd_thread_exit_callback callback, void *arg)
{
    assert(server->state == SERVER_CREATED && event_loop_is_in_loop_thread(server->loop));
    server->on_thread_exit = callback;
    server->on_thread_exit_arg = arg;
}

jd_event_loop *jd_tcp_server_loop(const jd_tcp_server *server)
{
    return server->loop;
}

/* ---- stop and destroy ---- */

bool server_ref(jd_tcp_server *server)
{
    size_t refs = atomic_load_explicit(&server->refs, memory_order_relaxed);

    while (refs > 0)
        if (atomic_compare_exchange_weak_explicit(&server->refs, &refs, refs + 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    return false;
}

void server_unref(jd_tcp_server *server)
{
    /* The last reference: only the finish task uses the server now. If this is an io thread, that task joins it: so
     * this push has returned before the server can be freed. */
    if (atomic_fetch_sub_explicit(&server->refs, 1, memory_order_acq_rel) == 1)
        event_loop_push(server->loop, &server->finish);
}

static void server_loop_stop(struct server_loop *slot, enum closing closing)
{
    slot->closing = closing;
    server_loop_end_listening(slot);
    connections_close(slot->loop, &slot->server->owner, closing);
}

static void server_loop_run_drain(struct task_node *task)
{
    server_loop_stop((struct server_loop *)((char *)task - offsetof(struct server_loop, drain)), CLOSING_DRAINED);
}

static void server_loop_run_close(struct task_node *task)
{
    struct server_loop *slot = (struct server_loop *)((char *)task - offsetof(struct server_loop, close));

    server_loop_stop(slot, slot->ending ? CLOSING_OVERDUE : CLOSING_NOW);
}

/* The base loop first: connections that its listeners still accept are handed over before the io loops end theirs. */
static void server_stop_loops(jd_tcp_server *server, enum closing closing)
{
    server_loop_stop(&server->base_loop, closing);
    for (unsigned i = 0; server->threads != NULL && i < server->io_threads; i++) {
        struct server_loop *slot = &server->io_loops[i];
        event_loop_push(slot->loop, closing == CLOSING_DRAINED ? &slot->drain : &slot->close);
    }
}

static void server_drain_expired(void *arg)
{
    jd_tcp_server *server = arg;

    server->drain_timer = 0;
    server_stop_loops(server, CLOSING_OVERDUE);
}

static int server_stop_in_loop(jd_tcp_server *server, uint64_t drain_ms, jd_done_callback done, void *arg)
{
    bool drain = drain_ms > 0;
    int result;

    if (server->state != SERVER_STARTED)
        return JD_EALREADY;
    /* The timer comes first because it can fail: without it nothing would end the drain. */
    result =
        drain ? jd_event_loop_run_after(server->loop, drain_ms, server_drain_expired, server, &server->drain_timer) : 0;
    if (result < 0)
        return result;
    server->state = SERVER_STOPPING;
    server->stopped = done;
    server->stopped_arg = arg;
    server_admission_close(server);
    server_stop_loops(server, drain ? CLOSING_DRAINED : CLOSING_NOW);
    server_unref(server);
    return 0;
}

static void server_end_drain(jd_tcp_server *server)
{
    if (server->drain_timer == 0)
        return;
    jd_event_loop_cancel_timer(server->loop, server->drain_timer);
    server_drain_expired(server);
}

/* Without memory for the timer, the server stops without a drain. */
static int server_stop_surely(jd_tcp_server *server, uint64_t drain_ms, jd_done_callback done, void *arg)
{
    int result = server_stop_in_loop(server, drain_ms, done, arg);

    return result == JD_ENOMEM ? server_stop_in_loop(server, 0, done, arg) : result;
}

void server_stop_or_end_drain(jd_tcp_server *server, uint64_t drain_ms)
{
    if (server_stop_surely(server, drain_ms, NULL, NULL) < 0)
        server_end_drain(server);
}

/* A stop from another thread, perhaps from a callback in an io thread. */
struct stop_task {
    struct task_node task;
    jd_tcp_server *server;
    uint64_t drain_ms;
    jd_done_callback done;
    void *arg;
};

static void stop_task_run(struct task_node *task)
{
    struct stop_task stop = *(struct stop_task *)task;
    int result;

    memory_release(task, sizeof(stop));
    atomic_fetch_sub(&stop.server->pending_commands, 1);
    /* The call has returned 0 already. */
    result = server_stop_surely(stop.server, stop.drain_ms, stop.done, stop.arg);
    /* The server is stopping already or was never started: done comes at once. */
    if (result < 0 && stop.done != NULL)
        stop.done(stop.arg);
}

int jd_tcp_server_stop(jd_tcp_server *server, uint64_t drain_ms, jd_done_callback done, void *arg)
{
    struct stop_task *stop;
    bool locked;
    int result;

    if (event_loop_begin_work(server->loop, &locked)) {
        result = server_stop_in_loop(server, drain_ms, done, arg);
        event_loop_end_work(server->loop, locked);
        return result;
    }
    stop = memory_allocate(sizeof(*stop));
    if (stop == NULL)
        return JD_ENOMEM;
    *stop = (struct stop_task){ { .run = stop_task_run }, server, drain_ms, done, arg };
    atomic_fetch_add(&server->pending_commands, 1);
    if (event_loop_push_with_ref(server->loop, &stop->task))
        return 0;
    atomic_fetch_sub(&server->pending_commands, 1);
    memory_release(stop, sizeof(*stop));
    return JD_ECANCELED;
}

/* Everything of the service has ended. A server that is not being destroyed is as it was before its start. */
static void server_end_service(jd_tcp_server *server)
{
    bool served = server->serves;

    if (server->drain_timer != 0)
        jd_event_loop_cancel_timer(server->loop, server->drain_timer);
    server->drain_timer = 0;
    server->serves = false;
    server_free_threads(server);
    if (served && server->io_threads == 0 && server->on_thread_exit != NULL)
        server->on_thread_exit(server->loop, server->on_thread_exit_arg);
    if (server->destroy_begun) {
        server->state = SERVER_STOPPED;
    } else {
        server->state = SERVER_CREATED;
        atomic_store(&server->refs, 1);
    }
}

static void server_run_finish(struct task_node *task)
{
    jd_tcp_server *server = (jd_tcp_server *)((char *)task - offsetof(jd_tcp_server, finish));
    jd_done_callback stopped = server->stopped, destroyed;
    bool is_last, has_ended = server->state == SERVER_STOPPING;
    void *destroyed_arg;

    if (has_ended)
        server_end_service(server);
    is_last = server->state == SERVER_STOPPED;
    server->stopped = NULL;
    if (stopped != NULL)
        stopped(server->stopped_arg); /* may start the server again, or destroy it */
    if (has_ended && server->state != SERVER_STARTED)
        server_end_run(server);
    if (!is_last)
        return;
    /* Commands that io threads queued before they ended are behind this task: run them before the server is freed. */
    if (atomic_load(&server->pending_commands) > 0) {
        event_loop_push(server->loop, &server->finish);
        return;
    }
    destroyed = server->destroyed;
    destroyed_arg = server->destroyed_arg;
    server_unlink(server);
    server_free(server);
    if (destroyed != NULL)
        destroyed(destroyed_arg);
}

static void server_destroy_in_loop(jd_tcp_server *server)
{
    server->destroy_begun = true;
    if (server->state == SERVER_STARTED) {
        server_stop_in_loop(server, 0, NULL, NULL);
    } else if (server->state == SERVER_CREATED) {
        server->state = SERVER_STOPPING;
        server_unref(server);
    } else {
        server_end_drain(server);
    }
}

static void server_run_destroy(struct task_node *task)
{
    server_destroy_in_loop((jd_tcp_server *)((char *)task - offsetof(jd_tcp_server, destroy)));
}

void jd_tcp_server_destroy(jd_tcp_server *server, jd_done_callback done, void *arg)
{
    bool locked;

    if (server == NULL) {
        if (done != NULL)
            done(arg);
        return;
    }
    if (atomic_exchange(&server->destroying, true))
        return;
    server->destroyed = done;
    server->destroyed_arg = arg;
    server->destroy.run = server_run_destroy;
    if (event_loop_begin_work(server->loop, &locked)) {
        jd_event_loop *loop = server->loop; /* after end_work, another thread may run the loop and free the server */
        server_destroy_in_loop(server);
        event_loop_end_work(loop, locked);
    } else {
        event_loop_push_with_ref(server->loop, &server->destroy);
    }
}

static bool servers_are_all_gone(const jd_event_loop *loop)
{
    return loop->servers == NULL;
}

static int servers_destroy_all(jd_event_loop *loop)
{
    for (jd_tcp_server *server = loop->servers; server != NULL; server = server->next)
        jd_tcp_server_destroy(server, NULL, NULL);
    return event_loop_turn_until(loop, servers_are_all_gone);
}

const struct loop_service server_service = { .end_all = servers_destroy_all };
