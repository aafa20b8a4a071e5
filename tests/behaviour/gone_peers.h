/* Sending to peers that have gone: SIGPIPE, pitfall 39. */
#ifndef TESTS_GONE_PEERS_H
#define TESTS_GONE_PEERS_H

#include "tests/behaviour/harness.h"

/* A server on each kind of endpoint. */
enum { GONE_PEERS_ENDPOINTS = 2 };

/* Serves on the endpoint of that number; peers come, are sent to, go in different ways, and are sent to again and again: by
 * send, which finds a connection or NULL. The process would be killed by the signal, whose action is the default, and must
 * stay so. */
void check_that_gone_peers_raise_no_signal(int endpoint, jd_connection_task send);

#endif
