/* Starting a server: its io threads, its listening sockets, then its service. */
#include "base/log.h"
#include "base/memory.h"
#include "base/platform/thread.h"
#include "net/server/server.h"

#include <jinduo/error.h>

void server_free_threads(jd_tcp_server *server)
{
    struct loop_threads *threads = server_detach_threads(server);

    if (threads != NULL)
        loop_threads_stop(threads);
    memory_release(server->io_loops, server->io_threads * sizeof(*server->io_loops));
    server->io_loops = NULL;
}

static int server_create_io_loops(jd_tcp_server *server)
{
    if (server->io_threads == 0)
        return 0;
    server->io_loops = memory_allocate_zeroed(server->io_threads * sizeof(*server->io_loops));
    if (server->io_loops == NULL)
        return JD_ENOMEM;
    for (unsigned i = 0; i < server->io_threads; i++)
        server_loop_init(&server->io_loops[i], server);
    return 0;
}

static int server_start_threads(jd_tcp_server *server)
{
    const struct loop_threads_setup setup = {
        .name = server->profile->name,
        .options = &server->loop->options,
        .ops = server->loop->engine->ops,
        .on_init = server->on_thread_init,
        .on_init_arg = server->on_thread_init_arg,
        .on_exit = server->on_thread_exit,
        .on_exit_arg = server->on_thread_exit_arg,
    };
    struct loop_threads *threads;
    int result;

    if (server->io_threads == 0)
        return 0;
    result = loop_threads_start(&threads, server->io_threads, &setup);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < server->io_threads; i++)
        server->io_loops[i].loop = threads->threads[i].loop;
    thread_mutex_lock(&server->threads_lock);
    server->threads = threads;
    thread_mutex_unlock(&server->threads_lock);
    return 0;
}

static void server_undo_start(jd_tcp_server *server, struct server_listener *opened)
{
    server_abandon_listeners(opened);
    server_forget_bound(server);
    server_free_threads(server);
}

static void server_loop_reopen(struct server_loop *slot, bool accepting)
{
    slot->accepting = accepting;
    slot->ending = false;
}

/* A server that was stopped has left its marks: what an end sets, a start clears. */
static void server_begin_service(jd_tcp_server *server)
{
    bool accepting = !atomic_load(&server->accepting_paused);

    server->state = SERVER_STARTED;
    server->serves = true;
    server_admission_open(server);
    server_loop_reopen(&server->base_loop, accepting);
    for (unsigned i = 0; i < server->io_threads; i++)
        server_loop_reopen(&server->io_loops[i], accepting);
    server_keep_bound(server);
}

/* Accepting begins when nothing can fail any more. A listener that has not accepted is closed at once on every engine,
 * so that after an error the same endpoints are free for another start. */
int server_start(jd_tcp_server *server, struct start_attempt *attempt)
{
    int result;

    if (!event_loop_is_in_loop_thread(server->loop))
        return JD_EPERM;
    if (server->state != SERVER_CREATED || atomic_load(&server->destroying))
        return JD_EALREADY;
    if (server->endpoints == NULL)
        return log_invalid("%s: start: there is no endpoint; set the option listen, or call jd_tcp_server_listen",
                           server->profile->name);
    result = server_create_io_loops(server);
    if (result == 0)
        result = server_open_endpoints(server, attempt);
    if (result == 0)
        result = server_start_threads(server);
    if (result < 0) {
        server_undo_start(server, attempt->opened);
        return result;
    }
    server_begin_service(server);
    server_begin_listening(attempt->opened);
    /* Last: the callback may stop or destroy the server. */
    if (server->io_threads == 0 && server->on_thread_init != NULL)
        server->on_thread_init(server->loop, server->on_thread_init_arg);
    return 0;
}

int jd_tcp_server_start(jd_tcp_server *server, jd_endpoint *failed)
{
    struct start_attempt attempt = { 0 };
    int result = server_start(server, &attempt);

    if (result < 0 && failed != NULL && attempt.failed.length > 0)
        *failed = attempt.failed;
    return result;
}
