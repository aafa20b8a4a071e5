/* The server's inside, shared by the files that make it up: tcp_server.c (life), server_listeners.c (endpoints and
 * accepting), server_balance.c (on which loop an accepted connection lives), server_admission.c (whether there is a place for
 * it), server_visit.c (all connections), server_statistics.c. */
#ifndef NET_SERVER_SERVER_H
#define NET_SERVER_SERVER_H

#include "base/platform/thread.h"
#include "net/connection/tcp_connection.h"
#include "net/loop/loop_threads.h"

#include <jinduo/tcp_server.h>

extern const struct loop_service server_service;

enum server_state { SERVER_CREATED, SERVER_STARTED, SERVER_STOPPING, SERVER_FINISHING, SERVER_STOPPED };

struct server_endpoint {
    struct server_endpoint *next;
    jd_endpoint asked;
    jd_endpoint bound; /* length 0: not open */
};

/* A listening socket on one of the server's loops: a new record each time one is opened, as an engine may need a while to
 * let go of the one before. */
struct server_listener {
    struct listener listener;
    struct server_loop *at;
    struct server_listener *next;    /* at its loop */
    struct task_node task;           /* its beginning on another loop's thread; its end */
    bool starving;                   /* since it has accepted last */
    jd_timestamp starvation_told_at; /* in the log */
};

/* A loop that the server works on: its own, and those of its io threads. But for update_queued, it belongs to the loop's
 * thread once the server is started. */
struct server_loop {
    jd_tcp_server *server;
    jd_event_loop *loop;
    struct server_listener *listeners;
    size_t alive;   /* connections accepted on the server's own loop and not gone: together they hold the server once */
    bool accepting; /* what the listeners were told last */
    bool ending;    /* the listeners have been told to close, and so have the connections: */
    enum closing closing;
    struct task_node update, drain, close;
    _Atomic bool update_queued;
};

/* An accepted socket on its way to the loop it will live on. */
struct handover {
    struct task_node task;
    struct handover *next; /* of those that wait for a place */
    struct server_loop *to;
    socket_handle socket;
    struct peer_address peer;
};

/* Places for connections, when their number is limited. */
struct server_admission {
    thread_mutex lock;
    size_t limit; /* 0: none, and nothing here is used */
    size_t taken;
    bool refuses; /* those beyond the limit, which else wait */
    bool closed;  /* the server stops */
    /* Accepted before the engine could be told that there is no place. */
    struct handover *waiting, **waiting_link;
};

struct jd_tcp_server {
    jd_event_loop *loop;
    jd_tcp_server *next, *previous; /* on the loop's list of servers */
    struct connection_owner owner;  /* of the connections: this server */
    struct connection_profile *profile;
    struct socket_options socket_options;
    struct server_endpoint *endpoints, **endpoints_link;
    unsigned io_threads;
    jd_load_balance load_balance;
    jd_thread_init_callback on_thread_init;
    void *on_thread_init_arg;
    struct server_loop own;
    struct loop_threads *threads; /* NULL: none, or not now; changed under threads_lock */
    struct server_loop *io_loops; /* one for each thread */
    thread_mutex threads_lock;
    unsigned next_io_loop;
    struct server_admission places;
    _Atomic bool accepting_paused; /* by the user */
    enum server_state state;
    jd_timer_id drain_timer;
    jd_done_callback stopped, destroyed;
    void *stopped_arg, *destroyed_arg;
    _Atomic bool destroying; /* asked for */
    bool destroy_begun;      /* in the loop */
    struct task_node finish, destroy;
    _Atomic unsigned pending_orders;           /* asked for by other threads, in the loop's queue */
    jd_event_loop_statistics ended_statistics; /* of the io loops, when they are gone */
    /* Connections up and not down. One thread writes the first, with plain stores. */
    loop_counter seen_on_own_loop;
    _Atomic size_t seen_on_io_loops;
    _Atomic size_t alive; /* connections accepted and not gone, listeners, visits, and 1 until the server stops */
};

static inline jd_tcp_server *server_of_owner(struct connection_owner *owner)
{
    return (jd_tcp_server *)((char *)owner - offsetof(jd_tcp_server, owner));
}

/* One more that keeps the server from finishing. False when nothing keeps it any more. */
bool server_hold(jd_tcp_server *server);
void server_release(jd_tcp_server *server);

/* Whether the io loops listen by themselves. */
static inline bool server_listens_on_io_loops(const jd_tcp_server *server)
{
    return server->socket_options.reuse_port && server->io_threads > 0;
}

/* ---- server_listeners.c ---- */

/* Opens a listening socket, or one for each io loop; they are put on *opened. Returns 0 or a negative error. */
int server_open_endpoint(jd_tcp_server *server, struct server_endpoint *endpoint, struct server_listener **opened);

/* Opened listeners accept from now on, each on its loop; or are closed without having done so. */
void server_begin_listening(struct server_listener *opened);
void server_abandon(struct server_listener *opened);

/* Closes the loop's listeners, after accepting what waits in their queues if at->closing says to drain. */
void server_loop_end_listening(struct server_loop *at);

/* Makes a loop's listeners do what the server's state asks for: now, in its thread; or soon, from its thread, the server's
 * own or, for the server's own loop, any: then all the server's loops follow. Once the server stops, connections that came
 * late are closed as the others were. */
void server_loop_update(struct server_loop *at);
void server_loop_queue_update(struct server_loop *at);
void server_loop_run_update(struct task_node *task);

void server_free_endpoints(jd_tcp_server *server);

/* ---- server_balance.c ---- */

/* Takes an accepted socket: it is opened here, handed over, refused, or waits for a place. In at's thread. */
void server_take(struct server_loop *at, socket_handle socket, const struct peer_address *peer);

/* One of its connections is gone (struct connection_owner). */
void server_connection_gone(struct connection_owner *owner, jd_event_loop *loop, int error);

/* Sends a connection to the loop it will live on, as that loop's task. */
void server_push_handover(struct handover *handover);

/* Closes an accepted socket, and counts it as failed. */
void server_lose_socket(struct server_loop *at, socket_handle socket);

/* A connection that was counted for this loop is gone, or will not be opened. */
void server_count_out(jd_tcp_server *server, jd_event_loop *loop);

/* ---- server_admission.c ---- */

enum place { PLACE_FREE, PLACE_NONE, PLACE_LATER };

/* Takes a place if one is free. PLACE_NONE: the connection is to be refused; PLACE_LATER: it is to wait. From any thread. */
enum place server_take_place(struct server_loop *at);

/* Puts an accepted connection behind those that wait for a place. One may have become free meanwhile, or the server may have
 * stopped: then the connection goes on at once, or is closed. */
void server_wait_for_place(struct server_loop *at, struct handover *handover);

/* Whether the loop must not accept, as no place is free: then it is told when there is one. */
bool server_loop_is_full(struct server_loop *at);

/* A connection has left its place. From any thread. */
void server_release_place(jd_tcp_server *server);

/* Those that wait for a place are closed, and no more come. */
void server_close_admission(jd_tcp_server *server);

/* ---- server_statistics.c ---- */

/* One of its connections goes up or down (struct connection_owner). */
void server_connection_seen(struct connection_owner *owner, jd_tcp_connection *connection, int change);

/* The io threads, which are about to end, are the caller's; their loops' totals stay. NULL: there are none. */
struct loop_threads *server_detach_threads(jd_tcp_server *server);

#endif
