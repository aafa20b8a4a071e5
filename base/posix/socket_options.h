/* Opening sockets and setting options, for listening sockets and for those of connections. All return 0 or a negative
 * error. */
#ifndef BASE_POSIX_SOCKET_OPTIONS_H
#define BASE_POSIX_SOCKET_OPTIONS_H

#include "base/platform/socket.h"

/* Opens a stream socket, non-blocking and close-on-exec. */
int socket_open(int family, socket_handle *handle);

/* setsockopt(2) with an int. */
int socket_set_option(socket_handle handle, int level, int name, int value);

/* Sets the options of a connection. Set on a listener, its accepted sockets inherit them (tcp(7)). */
int socket_set_stream_options(socket_handle handle, int family, const struct socket_options *options);

#endif
