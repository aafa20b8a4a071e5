/* What the servers written by hand share: how they are started, where they listen, how they say so. */
#ifndef BENCHMARKS_RAW_SERVER_H
#define BENCHMARKS_RAW_SERVER_H

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>

enum { RAW_CONNECTIONS_MAX = 65536 };

struct raw_server {
    const char *name, *engine;
    const char *help; /* of its own options */
    struct option option;
    /* The value of its own option; false: it makes no sense. */
    bool (*take_option)(const char *value);
    /* Returns when raw_server_stopped is set, or with the error (an errno) that prevents it from serving. raw_server_ready
     * once it serves. */
    int (*serve)(int listener, bool spin);
};

extern volatile sig_atomic_t raw_server_stopped;

void raw_server_ready(int listener);

/* All of a main function. */
int raw_server_main(const struct raw_server *server, int argc, char **argv);

#endif
