/* The command line of jd-load. */
#ifndef BENCHMARKS_LOAD_OPTIONS_H
#define BENCHMARKS_LOAD_OPTIONS_H

#include "benchmarks/message.h"

#include <jinduo/endpoint.h>
#include <sys/types.h>

enum load_mode { LOAD_PING_PONG, LOAD_PIPELINE, LOAD_STREAM, LOAD_CONNECT, LOAD_IDLE };

enum { WRITE_BYTES_MAX = 65536 };

struct load_options {
    const char *server_text;
    jd_endpoint server;
    enum load_mode mode;
    unsigned connections;
    unsigned depth; /* messages in flight on a connection; 1 except in pipeline mode */
    unsigned threads;
    struct message_format format;
    double seconds, warmup_seconds, timeout_seconds;
    uint64_t messages;       /* 0: no limit */
    double rate;             /* messages per second over all connections; 0: as fast as replies arrive */
    unsigned requests;       /* connect mode: messages on each connection */
    unsigned sources;        /* addresses 127.0.0.2 and following to connect from; 0: as the kernel chooses */
    bool close_by_fin;       /* connect mode: FIN, not RST */
    uint32_t write_bytes;    /* the most that one send(2) is given */
    const char *histogram;   /* file to write the latencies to; NULL: none */
    const char *call_counts; /* file in which the server counts its calls (call_counts.h); NULL: none */
    pid_t server_pid;        /* 0: none */
    bool spin;
    bool json;
};

const char *load_mode_name(enum load_mode mode);

/* Reads the command line. Returns -1 to continue, or the exit status; help and error lines have then been printed. */
int load_options_parse(struct load_options *options, int argc, char **argv);

#endif
