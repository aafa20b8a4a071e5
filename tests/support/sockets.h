/* Endpoints and connected sockets for tests. Each function fails the test instead of returning an error. */
#ifndef TESTS_SOCKETS_H
#define TESTS_SOCKETS_H

#include "base/platform/socket.h"

/* The endpoint that text names. */
jd_endpoint parsed(const char *text);

/* The endpoint's text; valid until the next call. */
const char *formatted(const jd_endpoint *endpoint);

socket_handle listen_on(const jd_endpoint *endpoint, const struct socket_options *options, jd_endpoint *bound);

/* A client as any other program has one: blocking, made without the library. */
int connect_client(const jd_endpoint *endpoint);

/* Waits until fd is ready for events (poll(2)). */
void wait_for(int fd, short events);

/* Waits for a connection. */
socket_handle accept_one(socket_handle listener, struct peer_address *peer);

struct socket_pair {
    jd_endpoint bound;
    struct socket_path path;
    socket_handle listener, server;
    int client;
    struct peer_address peer; /* the client, as the server sees it */
};

struct socket_pair connect_pair(const jd_endpoint *endpoint, const struct socket_options *options);

/* By TCP over 127.0.0.1. */
struct socket_pair connect_loopback(void);

bool is_nonblocking_and_closed_on_exec(int fd);

/* Descriptors open in this process (of the first 256). */
int open_descriptors(void);

#endif
