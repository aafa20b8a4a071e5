/* Endpoints and connected sockets for tests. Each function fails the test instead of returning an error. */
#ifndef TESTS_SOCKETS_H
#define TESTS_SOCKETS_H

#include "base/platform/socket.h"

/* Parses text, such as "127.0.0.1:0". */
jd_endpoint parsed(const char *text);

/* The endpoint as text; valid until the next call. */
const char *formatted(const jd_endpoint *endpoint);

socket_handle listen_on(const jd_endpoint *endpoint, const struct socket_options *options, jd_endpoint *bound);

/* A blocking client socket that does not use the library. */
int connect_client(const jd_endpoint *endpoint);

/* Waits until fd is ready for events (poll(2)). */
void wait_for(int fd, short events);

/* Waits for a connection and accepts it. */
socket_handle accept_one(socket_handle listener, struct peer_address *peer);

struct socket_pair {
    jd_endpoint bound;
    struct socket_path path;
    socket_handle listener, server;
    int client;
    struct peer_address peer; /* the client, as the server sees it */
};

struct socket_pair connect_pair(const jd_endpoint *endpoint, const struct socket_options *options);

/* A TCP connection over 127.0.0.1. */
struct socket_pair connect_loopback(void);

bool is_nonblocking_and_closed_on_exec(int fd);

/* The number of open descriptors of this process, among the first 256; on Windows of all handles. */
int open_descriptors(void);

#endif
