/* What the rest of the core asks of a server. */
#ifndef NET_SERVER_TCP_SERVER_H
#define NET_SERVER_TCP_SERVER_H

#include <jinduo/tcp_server.h>

struct connection_profile;

/* The record that the server's connections share, to set it up: before start, in the loop's thread. */
struct connection_profile *server_profile(jd_tcp_server *server);

/* Destroys the loop's servers and runs turns until they are gone; a negative error as event_loop_turn_until. */
int servers_destroy_all(jd_event_loop *loop);

#endif
