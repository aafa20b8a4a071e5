/* Where the parts are put together: the engines of this build, each Proactor from the engine, a backend and channels
 * by epoll; and the services of a loop. */
#include "net/client/tcp_client.h"
#include "net/connection/tcp_connection.h"
#include "net/engine/listen_socket.h"
#include "net/server/server.h"
#include "proactor/engine/proactor_engine.h"
#include "proactor/engines.h"

#if JD_WITH_EPOLL
#include "net/reactor/reactor.h"
#include "proactor/channels/proactor_channels.h"

#include <poll.h>
#include <sys/epoll.h>

/* The backends below pass poll events to the kernel and back unchanged. */
_Static_assert(READY_INPUT == POLLIN && READY_ERROR == POLLERR && READY_HANGUP == POLLHUP &&
                   READY_PEER_ENDED == POLLRDHUP,
               "operation_readiness must have the bits of poll(2)");
_Static_assert(POLLIN == (int)EPOLLIN && POLLERR == (int)EPOLLERR && POLLHUP == (int)EPOLLHUP,
               "epoll(7) must have the bits of poll(2)");
#endif

/* Defines the engine NAME_engine over the backend NAME_backend (struct backend_ops). channels: NULL if the backend's
 * system has none. */
#define PROACTOR_ENGINE(backend_name, engine_id, unflushed, channels)                                                  \
    extern const struct backend_ops backend_name##_backend;                                                            \
    static int backend_name##_create(struct engine **engine, jd_event_loop *loop)                                      \
    {                                                                                                                  \
        return proactor_create(engine, loop, &backend_name##_engine, &backend_name##_backend, channels);               \
    }                                                                                                                  \
    static int backend_name##_available(const char **reason)                                                           \
    {                                                                                                                  \
        return backend_name##_backend.available(reason);                                                               \
    }                                                                                                                  \
    const struct engine_ops backend_name##_engine = {                                                                  \
        .id = (engine_id),                                                                                             \
        .name = #backend_name,                                                                                         \
        .stream = &proactor_stream_ops,                                                                                \
        .is_proactor = true,                                                                                           \
        .flush_connections = (unflushed),                                                                              \
        .available = backend_name##_available,                                                                         \
        .create = backend_name##_create,                                                                               \
        .destroy = proactor_destroy,                                                                                   \
        .wait = proactor_wait,                                                                                         \
        .pollable = proactor_pollable,                                                                                 \
        .prepare_wait = proactor_prepare_wait,                                                                         \
        .wake = proactor_wake,                                                                                         \
        .push = proactor_push,                                                                                         \
        .now = proactor_now,                                                                                           \
        .end_operations = proactor_end_operations,                                                                     \
        .listen = listen_socket_open,                                                                                  \
        .accept = proactor_accept,                                                                                     \
        .pause_accept = proactor_pause_accept,                                                                         \
        .unlisten = proactor_unlisten,                                                                                 \
        .connect = proactor_connect,                                                                                   \
        .abandon = proactor_abandon,                                                                                   \
        .adopt = proactor_adopt,                                                                                       \
        .watch = proactor_watch,                                                                                       \
        .unwatch = proactor_unwatch,                                                                                   \
    }

#if JD_WITH_IO_URING
/* Flush early once 128 connections are unflushed (flush_connections). Sends are submitted together with the next
 * wait: submitting them earlier costs a system call, and their completions end that wait at once. The
 * number is close to that of the blocks to receive into meanwhile: with many more, receives would end for want of
 * blocks. */
PROACTOR_ENGINE(io_uring, JD_ENGINE_IO_URING, 128, &epoll_channels);
#endif

#if JD_WITH_EPOLL
PROACTOR_ENGINE(simulated, JD_ENGINE_SIMULATED, 0, &epoll_channels);
#endif

#if JD_WITH_IOCP
PROACTOR_ENGINE(iocp, JD_ENGINE_IOCP, 0, NULL);
#endif

const struct engine_ops *const engines_compiled_in[] = {
#if JD_WITH_EPOLL
    &reactor_engine,
#endif
#if JD_WITH_IO_URING
    &io_uring_engine,
#endif
#if JD_WITH_EPOLL
    &simulated_engine,
#endif
#if JD_WITH_IOCP
    &iocp_engine,
#endif
    NULL,
};

const struct loop_service *const loop_services[LOOP_SERVICES] = {
    [SERVICE_CLIENTS] = &client_service,
    [SERVICE_SERVERS] = &server_service,
    [SERVICE_CONNECTIONS] = &connection_service,
};
