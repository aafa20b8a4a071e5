/* What the rest of the core asks of a server. */
#ifndef NET_TCP_SERVER_H
#define NET_TCP_SERVER_H

#include <jinduo/tcp_server.h>

/* A connection has been seen by the user (1), has been told down (-1). From its loop's thread. */
void server_connection_seen(jd_tcp_server *server, int change);

/* One that was accepted is gone, whether seen or not. From its loop's thread; the server may end any time after. */
void server_connection_gone(jd_tcp_server *server);

/* Destroys the loop's servers and runs turns until they are gone. */
void servers_destroy_all(jd_event_loop *loop);

#endif
