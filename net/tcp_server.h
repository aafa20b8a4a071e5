/* What the rest of the core asks of a server. */
#ifndef NET_TCP_SERVER_H
#define NET_TCP_SERVER_H

#include <jinduo/tcp_server.h>

struct connection_profile;

/* The record that the server's connections share, to set it up: before start, in the loop's thread. */
struct connection_profile *server_profile(jd_tcp_server *server);

/* A connection has been seen by the user (1), has been told down (-1). From its loop's thread. */
void server_connection_seen(jd_tcp_server *server, int change);

/* One that was accepted is gone from this loop, whether seen or not. From its thread; the server may end any time after. */
void server_connection_gone(jd_tcp_server *server, jd_event_loop *loop);

/* Destroys the loop's servers and runs turns until they are gone; a negative error as event_loop_turn_until. */
int servers_destroy_all(jd_event_loop *loop);

#endif
