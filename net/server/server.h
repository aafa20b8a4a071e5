/* The internals of a server, shared by the files of net/server/.
 *
 * - tcp_server.c: life, from create to destroy
 * - server_start.c: start
 * - server_endpoints.c: addresses and host names to listen on
 * - server_listeners.c: listening sockets, pausing and resuming accept
 * - server_balance.c: which loop an accepted connection lives on
 * - server_admission.c: the limit on connections (max_connections)
 * - server_visit.c: jd_tcp_server_for_each
 * - server_statistics.c: counts and statistics over all loops
 * - server_run.c: jd_tcp_server_run
 * - server_proxy.c: the options of the PROXY protocol
 *
 * The server's base loop is the loop that it was created on. Its io loops, if io_threads > 0, have a thread each.
 *
 * Thread rule: a function that takes a server_loop slot must be called in that loop's thread, any other in the base
 * loop's thread, unless its comment says otherwise. */
#ifndef NET_SERVER_SERVER_H
#define NET_SERVER_SERVER_H

#include "base/platform/thread.h"
#include "net/connection/tcp_connection.h"
#include "net/loop/loop_threads.h"

#include <jinduo/tcp_server.h>

extern const struct loop_service server_service;

enum server_state {
    SERVER_CREATED, /* not started, or stopped again */
    SERVER_STARTED,
    SERVER_STOPPING,
    SERVER_STOPPED, /* and about to be freed */
};

/* An entry of the list of endpoints: an address to listen on; or a host name, behind which the addresses follow that the
 * last start has found for it. */
struct server_endpoint {
    struct server_endpoint *next;
    jd_endpoint asked;      /* after a start with the port that was bound, for the next one; of a name: none */
    jd_endpoint bound;      /* length 0: never open, or a name */
    struct host_port *name; /* NULL: an address */
    bool is_of_name;        /* an address of the name before it */
};

/* What a start has opened, or why it has failed. */
struct start_attempt {
    struct server_listener *opened;
    jd_endpoint failed; /* length 0: no endpoint */
    bool is_logged;     /* the failure is in the log already, with the host's name */
};

/* A listening socket on one of the server's loops. Each opening makes a new record, as the engine may own the previous
 * one for a while after its end (listener_closed). */
struct server_listener {
    struct listener listener;
    struct server_loop *slot;
    struct server_listener *next;      /* in its slot's list */
    struct task_node task;             /* begins listening on an io loop's thread; later frees the listener */
    bool starving;                     /* out of descriptors or memory since it last accepted */
    jd_timestamp starvation_logged_at; /* 0: never */
};

/* A slot of the server: one loop that it works on, the base loop or an io loop. Once the server is started, a slot is
 * used in its loop's thread only, except update_queued. */
struct server_loop {
    jd_tcp_server *server;
    jd_event_loop *loop;
    struct server_listener *listeners;
    size_t connections; /* base loop: accepted for it and not gone; while > 0 they own one reference to the server */
    bool accepting;     /* the last setting passed to the listeners */
    unsigned pressure_changes; /* of connection_totals, applied to the connections */
    bool ending;               /* listeners and connections were asked to close, in the way that closing says */
    enum closing closing;
    struct task_node update, drain, close;
    _Atomic bool update_queued;
};

/* An accepted socket in flight to the loop that it will live on. It owns the socket. */
struct handover {
    struct task_node task;
    struct handover *next; /* in the admission's waiting list */
    struct server_loop *to;
    socket_handle socket;
    struct peer_address peer;
};

/* The limit on connections. The lock guards admitted, closed and the list; limit and refuses never change. */
struct server_admission {
    thread_mutex lock;
    size_t limit; /* max_connections; 0: none, and nothing else here is used */
    size_t admitted;
    bool refuses; /* connections above the limit are refused; otherwise they wait */
    bool closed;  /* the server is stopping */
    /* Connections that the engine had accepted before it could be paused at the limit. */
    struct handover *waiting, **waiting_link;
};

/* A jd_tcp_server_run in progress: of its caller. */
struct server_run {
    jd_tcp_server *server;
    uint64_t drain_ms;
    bool ended; /* the server has stopped, and may have been freed */
};

struct jd_tcp_server {
    jd_event_loop *loop;
    jd_tcp_server *next, *previous; /* in the loop's list of servers */
    struct connection_owner owner;  /* of the server's connections */
    struct connection_profile *profile;
    struct proxy_settings *proxy; /* NULL: connections begin without a PROXY header */
    struct socket_options socket_options;
    struct server_endpoint *endpoints;
    unsigned io_threads;
    jd_load_balance load_balance;
    jd_thread_init_callback on_thread_init;
    void *on_thread_init_arg;
    jd_thread_exit_callback on_thread_exit;
    void *on_thread_exit_arg;
    struct server_loop base_loop;
    struct loop_threads *threads; /* NULL: no io threads, not yet, or ended; changed under threads_lock */
    struct server_loop *io_loops; /* one per io thread */
    thread_mutex threads_lock;
    unsigned next_io_loop; /* round-robin */
    struct server_admission admission;
    _Atomic bool accepting_paused; /* by the user */
    enum server_state state;
    bool serves;             /* from a start to the end of the service: on_thread_exit is due */
    struct server_run *run;  /* NULL: none */
    jd_timer_id drain_timer; /* 0: not started */
    jd_done_callback stopped, destroyed;
    void *stopped_arg, *destroyed_arg;
    _Atomic bool destroying; /* jd_tcp_server_destroy was called */
    bool destroy_begun;      /* and has reached the base loop's thread */
    struct task_node finish, destroy;
    _Atomic unsigned pending_commands;         /* tasks of other threads' calls, queued on the base loop */
    jd_event_loop_statistics ended_statistics; /* totals of the io loops whose threads have ended */
    /* Connections that are up. Only the base loop's thread writes the first, with plain stores. */
    loop_counter connections_on_base_loop;
    _Atomic size_t connections_on_io_loops;
    /* References that keep the server from finishing: connections accepted and not gone (those of the base loop share
     * one), listeners, visits, and 1 until the server stops. */
    _Atomic size_t refs;
};

static inline jd_tcp_server *server_of_owner(struct connection_owner *owner)
{
    return (jd_tcp_server *)((char *)owner - offsetof(jd_tcp_server, owner));
}

/* Takes a reference. Returns false when there is none any more: then the server is finishing or has stopped. From any
 * thread. */
bool server_ref(jd_tcp_server *server);

/* Gives a reference back; the last one queues the task that finishes the server. From any thread. */
void server_unref(jd_tcp_server *server);

/* Stops the server if it is started. If it drains already, the drain ends at once. */
void server_stop_or_end_drain(jd_tcp_server *server, uint64_t drain_ms);

void server_loop_init(struct server_loop *slot, jd_tcp_server *server);

/* Whether the io loops have listening sockets of their own. From any thread. */
static inline bool server_listens_on_io_loops(const jd_tcp_server *server)
{
    return server->socket_options.reuse_port && server->io_threads > 0;
}

/* ---- server_start.c ---- */

/* jd_tcp_server_start. attempt must be zero; after an error, failed and is_logged are set. */
int server_start(jd_tcp_server *server, struct start_attempt *attempt);

/* Ends the io threads, if there are any. */
void server_free_threads(jd_tcp_server *server);

/* ---- server_endpoints.c ---- */

/* Opens all endpoints, after looking up host names, which blocks. After an error attempt->opened is what was opened
 * before. */
int server_open_endpoints(jd_tcp_server *server, struct start_attempt *attempt);

/* All endpoints are open: a port that the system has chosen is kept for the next start. */
void server_keep_bound(jd_tcp_server *server);

/* Nothing is open: the start has failed. */
void server_forget_bound(jd_tcp_server *server);

void server_free_endpoints(jd_tcp_server *server);

/* Parses the text of an endpoint, or of a host name with a port (endpoint->length is 0). Returns 0, or logs and returns
 * JD_EINVAL. */
int server_listen_parse(const char *server_name, const char *text, jd_endpoint *endpoint, struct host_port *name);

/* ---- server_listeners.c ---- */

/* Opens the endpoint's listening socket, or one for each io loop, and sets endpoint->bound. Each is added in front of
 * the list *opened, also those opened before an error. Nothing is accepted yet. Returns 0 or a negative error. */
int server_open_endpoint(jd_tcp_server *server, struct server_endpoint *endpoint, struct server_listener **opened);

/* Lets opened listeners accept, each in its loop's thread. The list is consumed. */
void server_begin_listening(struct server_listener *opened);

/* Closes opened listeners that have never accepted. The list is consumed. */
void server_abandon_listeners(struct server_listener *opened);

/* Closes the slot's listeners. With slot->closing == CLOSING_DRAINED, the connections in their queues are accepted
 * first. */
void server_loop_end_listening(struct server_loop *slot);

/* Makes the slot's listeners accept or pause, by accepting_paused and the admission. */
void server_loop_update(struct server_loop *slot);

/* Queues server_loop_update as a task, which also applies a change of pressure. For the base loop: from any thread, and the
 * task queues the update of the io loops that listen or may be under pressure; for an io loop: from its own thread or the base loop's. If the slot is ending, the task closes its
 * connections again, for those that came late. */
void server_loop_queue_update(struct server_loop *slot);

/* The task of struct server_loop's update. */
void server_loop_run_update(struct task_node *task);

/* struct connection_owner, pressure_changed. From any thread. */
void server_pressure_changed(struct connection_owner *owner);

/* ---- server_balance.c ---- */

/* Takes ownership of an accepted socket: opens the connection here, hands it over to another loop, refuses it, or lets
 * it wait for admission. */
void server_take_accepted(struct server_loop *slot, socket_handle socket, const struct peer_address *peer);

/* struct connection_owner, gone. In the thread of the connection's loop. */
void server_connection_gone(struct connection_owner *owner, jd_event_loop *loop, int error);

/* Queues an admitted connection on the loop that it will live on. From any thread. */
void server_push_handover(struct handover *handover);

/* Closes an accepted socket and counts it as connections_failed of slot's loop. */
void server_drop_socket(struct server_loop *slot, socket_handle socket);

/* A connection counted for loop is gone, or will not be opened: gives its reference to the server back. In loop's
 * thread or in the base loop's; for the base loop only in its own. */
void server_remove_connection(jd_tcp_server *server, jd_event_loop *loop);

/* ---- server_admission.c ---- */

enum admission { ADMISSION_GRANTED, ADMISSION_REFUSED, ADMISSION_WAITS };

/* Asks to admit one connection. Returns ADMISSION_GRANTED: server_admission_release must follow when it is gone;
 * ADMISSION_REFUSED; or ADMISSION_WAITS: server_admission_wait must follow. From any thread. */
enum admission server_admission_take(struct server_loop *slot);

/* Puts an accepted connection, which it owns from here on, behind those that wait. If a connection has left or the
 * server has stopped since server_admission_take, it is pushed to its loop, or closed, at once. */
void server_admission_wait(struct server_loop *slot, struct handover *handover);

/* Whether the slot's listeners must pause, because the limit is reached and does not refuse. When a connection leaves,
 * the base loop's update is queued. From any thread. */
bool server_admission_is_full(struct server_loop *slot);

/* An admitted connection is gone: admits the first that waits, if any. From any thread. */
void server_admission_release(jd_tcp_server *server);

/* Connections may wait again. */
void server_admission_open(jd_tcp_server *server);

/* Closes the connections that wait; none is admitted to wait any more. */
void server_admission_close(jd_tcp_server *server);

/* ---- server_statistics.c ---- */

/* struct connection_owner, up_changed. In the thread of the connection's loop. */
void server_connection_up_changed(struct connection_owner *owner, jd_tcp_connection *connection, int change);

/* Detaches the io threads, which are about to end: the caller owns them, and their loops' totals are added to
 * ended_statistics. Returns NULL if there are none. */
struct loop_threads *server_detach_threads(jd_tcp_server *server);

/* ---- server_proxy.c ---- */

/* Checks the options of the PROXY protocol. Returns 0; or logs and returns JD_EINVAL. From any thread. */
int server_proxy_check(const jd_tcp_server_options *options, const char *name);

/* Creates what the checked options say: *proxy is NULL if the protocol is off. Returns 0 or JD_ENOMEM. */
int server_proxy_create(const jd_tcp_server_options *options, const char *name, struct proxy_settings **proxy);
void server_proxy_free(struct proxy_settings *proxy); /* NULL: nothing */

/* ---- server_run.c ---- */

/* The server has stopped: jd_tcp_server_run, if it is in progress, returns. */
void server_end_run(jd_tcp_server *server);

#endif
