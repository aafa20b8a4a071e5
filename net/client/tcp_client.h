/* The client's inside, shared by the files that make it up: tcp_client.c (life, what is asked of it), client_attempt.c (an
 * attempt, from the name to the connection's end), client_schedule.c (when to try again). */
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
    CLIENT_ADDRESS_FAILED, /* proceed goes on from there */
    CLIENT_CONNECTED,      /* a connection exists, the user's up and down or not */
    CLIENT_WAITING,        /* for the time of the next attempt */
};

struct jd_tcp_client {
    jd_event_loop *loop;
    jd_tcp_client *next, *previous; /* on the loop's list of clients */
    struct connection_owner owner;  /* of the connection: this client */
    struct connection_profile *profile;
    jd_connect_callback on_connect;
    void *on_connect_arg;
    jd_endpoint numeric; /* where to, unless it has no length: then by */
    struct host_port name;
    uint32_t connect_timeout_ms;
    bool reconnect;

    bool wanted;        /* between start and disconnect */
    bool disconnecting; /* and until what was under way has ended */
    enum client_phase phase;
    struct timer timer; /* of the phase */
    struct client_schedule schedule;
    jd_timestamp deadline;      /* of the attempt */
    struct lookup *lookup;      /* of the attempt's name; holds its addresses */
    unsigned next_address;      /* to be tried */
    struct connector connector; /* of the address tried last */
    bool connecting;            /* the connector is the engine's, */
    bool abandoned, timed_out;  /* which has been told so, because of the time */
    int error;                  /* why that address failed */
    bool open;                  /* the connection is not gone yet */
    bool seen;                  /* and has come up */
    bool lost;                  /* it is down and to be made again */
    jd_tcp_connection *connection;
    jd_timestamp up_at;

    struct task_node proceed, destroy;
    bool proceeding; /* that task is queued */
    jd_done_callback stopped, destroyed;
    void *stopped_arg, *destroyed_arg;
    _Atomic bool destroying;         /* asked for */
    bool destroy_begun;              /* in the loop */
    _Atomic unsigned pending_orders; /* given by other threads, in the loop's queue */
};

extern const struct loop_service client_service;

/* Queues the client's task, which decides what comes next. */
void client_queue_proceed(jd_tcp_client *client);

/* ---- client_attempt.c ---- */

/* From tasks and timers only, as they call the user: begins an attempt; goes on where an address has failed. */
void client_begin_attempt(jd_tcp_client *client);
void client_address_failed(jd_tcp_client *client);

/* Ends lookup, connecting and waiting; the last may take its time. The connection stays. */
void client_end_attempt(jd_tcp_client *client);

/* The client's one timer. */
void client_start_timer(jd_tcp_client *client, uint64_t after_ms);
void client_timer_expired(struct timer *timer);

/* What the engine and the connection report. */
void client_connected(struct connector *connector, int error, socket_handle socket, const struct peer_address *peer);
void client_connection_seen(struct connection_owner *owner, jd_tcp_connection *connection, int change);
void client_connection_gone(struct connection_owner *owner, jd_event_loop *loop, int error);

#endif
