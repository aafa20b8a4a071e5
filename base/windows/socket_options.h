/* Opening sockets and setting options, for listening sockets and for those of connections. All return 0 or a negative
 * error. From any thread. */
#ifndef BASE_WINDOWS_SOCKET_OPTIONS_H
#define BASE_WINDOWS_SOCKET_OPTIONS_H

#include "base/platform/socket.h"

/* Starts the socket library of the process (WSAStartup), once. It is not ended: the system does that. */
int socket_library_start(void);

/* Opens a stream socket for overlapped operations: non-blocking, not inherited by child processes. JD_ENOTSUP for a
 * Unix-domain socket. */
int socket_open(int family, socket_handle *handle);

/* setsockopt with an int. */
int socket_set_option(socket_handle handle, int level, int name, int value);

/* Whether bytes can be received at once; false at the end of the stream, too. */
bool socket_has_input(socket_handle handle);

/* Sets the options of a connection. */
int socket_set_stream_options(socket_handle handle, int family, const struct socket_options *options);

/* Makes a socket that AcceptEx has connected one like those of accept: with the listener as its origin, so that
 * getpeername and shutdown work (SO_UPDATE_ACCEPT_CONTEXT), and with its options. */
int socket_finish_accept(socket_handle accepted, socket_handle listener);

/* The same for a socket that ConnectEx has connected (SO_UPDATE_CONNECT_CONTEXT). */
int socket_update_connected(socket_handle connected);

#endif
