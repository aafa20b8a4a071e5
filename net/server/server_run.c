/* jd_tcp_server_run: a server's service from start to stop, with the signals that end it. */
#include "base/log.h"
#include "base/platform/signal_catch.h"
#include "net/loop/signal_watch.h"
#include "net/server/server.h"

#include <jinduo/error.h>

static const int end_signals[] = { SIGNALS_TO_END };

enum { END_SIGNALS = sizeof(end_signals) / sizeof(end_signals[0]) };

/* The first signal drains. Another one, or one during a drain that something else has begun, ends it. */
static void run_on_signal(int number, void *arg)
{
    struct server_run *run = arg;

    if (!run->ended)
        server_stop_or_end_drain(run->server, run->drain_ms);
}

static void run_unwatch_signals(jd_event_loop *loop)
{
    for (unsigned i = 0; i < END_SIGNALS; i++)
        if (loop_signal_callback(loop, end_signals[i]) == run_on_signal)
            jd_event_loop_watch_signal(loop, end_signals[i], NULL, NULL);
}

/* A signal that the program watches on this loop already keeps its callback. */
static int run_watch_signals(struct server_run *run, jd_event_loop *loop)
{
    for (unsigned i = 0; i < END_SIGNALS; i++) {
        int result = loop_signal_callback(loop, end_signals[i]) == NULL
                         ? jd_event_loop_watch_signal(loop, end_signals[i], run_on_signal, run)
                         : 0;
        if (result < 0)
            return result;
    }
    return 0;
}

static int run_start(jd_tcp_server *server)
{
    struct start_attempt attempt = { 0 };
    char endpoint[JD_ENDPOINT_TEXT_BYTES];
    int result = server_start(server, &attempt);

    jd_endpoint_format(&attempt.failed, endpoint, sizeof(endpoint));
    if (result == 0 || attempt.is_logged)
        return result;
    if (attempt.failed.length > 0)
        log_message(JD_LOG_ERROR, "%s: cannot listen on %s: %s", server->profile->name, endpoint, jd_strerror(result));
    else if (result != JD_EINVAL) /* that has a message of its own */
        log_message(JD_LOG_ERROR, "%s: cannot start: %s", server->profile->name, jd_strerror(result));
    return result;
}

/* The server may be freed inside, when the loop has run. */
static int run_serve(struct server_run *run)
{
    jd_tcp_server *server = run->server;
    jd_event_loop *loop = server->loop;
    int result = server->state == SERVER_CREATED ? run_start(server) : 0;

    if (result < 0)
        return result;
    server->run = run;
    result = jd_event_loop_run(loop);
    if (run->ended)
        return result;
    server->run = NULL;
    if (result < 0)
        log_message(JD_LOG_ERROR, "%s: waiting for events failed: %s", server->profile->name, jd_strerror(result));
    return result;
}

int jd_tcp_server_run(jd_tcp_server *server, uint64_t drain_ms)
{
    struct server_run run = { .server = server, .drain_ms = drain_ms };
    jd_event_loop *loop = server->loop;
    int result;

    if (!event_loop_is_in_loop_thread(loop))
        return JD_EPERM;
    if (event_loop_is_the_parents(loop))
        return JD_EFORKED;
    if (loop->running)
        return JD_EBUSY;
    result = run_watch_signals(&run, loop);
    if (result == 0)
        result = run_serve(&run);
    else
        log_message(JD_LOG_ERROR, "%s: cannot watch the signals that end it: %s", server->profile->name,
                    jd_strerror(result));
    run_unwatch_signals(loop);
    return result;
}

void server_end_run(jd_tcp_server *server)
{
    if (server->run == NULL)
        return;
    server->run->ended = true;
    server->run = NULL;
    jd_event_loop_quit(server->loop);
}
