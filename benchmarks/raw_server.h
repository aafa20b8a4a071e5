/* The code that raw-epoll and raw-uring share: command line, listening socket, ready line. */
#ifndef BENCHMARKS_RAW_SERVER_H
#define BENCHMARKS_RAW_SERVER_H

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>

enum { RAW_CONNECTIONS_MAX = 65536 };

struct raw_server {
    const char *name, *engine;
    const char *help;     /* what the server is, and the lines of its own options */
    struct option option; /* its own option, if it has one */
    const char *allowed;  /* the values of this option, for the error line */
    /* Applies the value of its own option. Returns false if the value is not allowed. */
    bool (*take_option)(const char *value);
    /* Calls raw_server_ready once it serves. Returns 0 after raw_server_stopped was set, or the errno why it cannot
     * serve. */
    int (*serve)(int listener, bool spin);
};

/* Set by SIGINT and SIGTERM. */
extern volatile sig_atomic_t raw_server_stopped;

/* The option --discard: received bytes are dropped. */
extern bool raw_server_discards;

/* Prints the ready line: "listening on ENDPOINT engine=NAME threads=0". */
void raw_server_ready(int listener);

/* The main function of both servers. */
int raw_server_main(const struct raw_server *server, int argc, char **argv);

#endif
