/* The internals of a client, shared by the files of net/client/.
 *
 * - tcp_client.c: life, from create to destroy; start and disconnect; the proceed task
 * - client_attempt.c: one attempt, from the name to the connection's end
 * - client_schedule.c: the wait before the next attempt
 * - resolver.c: name look-up in threads
 *
 * At most one of these is in flight at any time: a lookup, a connector owned by the engine, a connection, or the wait
 * for the next attempt. Its end queues the proceed task, a task of the client on its loop, which decides what comes
 * next. So no user callback is invoked inside a call into the library.
 *
 * Thread rule: every function here must be called in the client's loop thread. */
#ifndef NET_CLIENT_TCP_CLIENT_H
#define NET_CLIENT_TCP_CLIENT_H

#include "net/client/client_schedule.h"
#include "net/client/resolver.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/tcp_client.h>

enum client_phase {
    CLIENT_IDLE,
    CLIENT_RESOLVING,
    CLIENT_CONNECTING,
    CLIENT_ADDRESS_FAILED, /* the proceed task reports it and tries the next address */
    CLIENT_CONNECTED,      /* the connection exists: before up, up, or down and not gone */
    CLIENT_WAITING,        /* for the next attempt */
};

struct jd_tcp_client {
    jd_event_loop *loop;
    jd_tcp_client *next, *previous; /* in the loop's list of clients */
    struct connection_owner owner;  /* of the client's connection */
    struct connection_profile *profile;
    jd_connect_callback on_connect;
    void *on_connect_arg;
    jd_endpoint numeric;   /* the target, if it is an endpoint */
    struct host_port name; /* the target, if numeric has length 0 */
    uint32_t connect_timeout_ms;
    bool reconnect;
    char *target; /* the option connect, for reports */
    size_t target_bytes;

    bool started;       /* from start to disconnect, or until no further attempt is made */
    bool disconnecting; /* from disconnect until nothing is in flight */
    enum client_phase phase;
    struct timer timer; /* of the phase; while CONNECTED: drain_ms */
    struct client_schedule schedule;
    jd_timestamp deadline;         /* of the attempt */
    struct lookup *lookup;         /* of the attempt's name; holds its addresses */
    unsigned next_address;         /* index of the next address to try */
    struct connector connector;    /* of the address tried last */
    bool connecting;               /* the engine owns connector */
    bool abandoned;                /* the engine was asked to abandon it */
    bool timed_out;                /* because its time had passed */
    int error;                     /* why the address tried last failed */
    bool open;                     /* the connection is not gone */
    bool up;                       /* the last connection came up */
    bool lost;                     /* it went down, and reconnect asks for another */
    jd_tcp_connection *connection; /* between up and down; the library's reference keeps it */
    jd_timestamp up_at;

    struct task_node proceed, destroy;
    bool proceeding; /* the proceed task is queued */
    jd_done_callback stopped, destroyed;
    void *stopped_arg, *destroyed_arg;
    _Atomic bool destroying;           /* jd_tcp_client_destroy was called */
    bool destroy_begun;                /* and has reached the loop's thread */
    _Atomic unsigned pending_commands; /* of other threads, in the loop's queue */
};

extern const struct loop_service client_service;

/* Queues the proceed task, unless it is queued. */
void client_queue_proceed(jd_tcp_client *client);

/* ---- client_attempt.c ---- */

/* Begins an attempt. From tasks and timers only, because it may invoke the connect callback. */
void client_begin_attempt(jd_tcp_client *client);

/* Reports the failure of the current address and tries the next one, or ends the attempt. From tasks only, because it
 * invokes the connect callback. */
void client_try_next_address(jd_tcp_client *client);

/* Ends the lookup and the wait now, and asks the engine to abandon the connector, which may report its end later. The
 * connection stays. */
void client_end_attempt(jd_tcp_client *client);

/* Starts the client's only timer, or moves it, to after_ms milliseconds from now. */
void client_start_timer(jd_tcp_client *client, uint64_t after_ms);

/* The timer has expired: acts by the phase. */
void client_timer_expired(struct timer *timer);

/* struct connector, connected: the engine's report. Owns socket if error is 0. */
void client_connected(struct connector *connector, int error, socket_handle socket, const struct peer_address *peer);

/* struct connection_owner, up_changed and gone. */
void client_connection_up_changed(struct connection_owner *owner, jd_tcp_connection *connection, int change);
void client_connection_gone(struct connection_owner *owner, jd_event_loop *loop, int error);

#endif
