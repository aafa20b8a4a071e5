/* What listening sockets and those of connections have in common: how they are opened and set up. */
#ifndef BASE_POSIX_SOCKET_OPTIONS_H
#define BASE_POSIX_SOCKET_OPTIONS_H

#include "base/platform/socket.h"

/* Opens a stream socket, non-blocking and close-on-exec. These return 0 or a negative error. */
int socket_open(int family, socket_handle *handle);

int socket_set_option(socket_handle handle, int level, int name, int value);

/* Sets the options of a connection's socket; an accepted one inherits its listener's (tcp(7)). */
int socket_set_stream_options(socket_handle handle, int family, const struct socket_options *options);

#endif
