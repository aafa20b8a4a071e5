/* Sockets before they are used: a hook for options that the library has no option for. */
#ifndef JINDUO_SOCKET_H
#define JINDUO_SOCKET_H

#include <jinduo/endpoint.h>

JD_BEGIN_DECLS

/* When a socket hook is invoked. */
typedef enum jd_socket_moment {
    JD_SOCKET_BEFORE_BIND,    /* before bind(2): a listening socket, or a client's with the option bind */
    JD_SOCKET_BEFORE_LISTEN,  /* before listen(2); a Unix-domain path has its mode and owner already */
    JD_SOCKET_BEFORE_CONNECT, /* before connect(2), for each address that is tried */
} jd_socket_moment;

/* Sets options of a socket (setsockopt(2)) before it is bound, listens or connects; sockets that a listening socket accepts
 * inherit most options of TCP. endpoint: where it is going to listen or connect. Must not close the socket, nor read from or
 * write to it, nor call the library.
 *
 * Returns 0 or more: go on. A negative error fails jd_tcp_server_start, jd_tcp_server_listen, or the attempt to connect to
 * this address, with that error; on Windows errno is not set: choose a JD_E... that fits WSAGetLastError(). Invoked in the
 * thread of the server's or client's loop.
 *
 * With TCP_FASTOPEN_CONNECT (tcp(7)) a client's connection is up before any packet is sent: its first output goes with the
 * SYN. Whoever waits for the server to speak first waits for ever, and the connection must not be shut down before the
 * server's first bytes. */
typedef int (*jd_socket_hook)(jd_socket socket, jd_socket_moment moment, const jd_endpoint *endpoint, void *arg);

JD_END_DECLS
#endif
