/* The code that the example servers share: common options, ready lines and graceful shutdown. */
#ifndef EXAMPLES_PROGRAM_H
#define EXAMPLES_PROGRAM_H

#include <getopt.h>
#include <jinduo/jinduo.h>
#include <stdio.h>

enum {
    PROGRAM_FAILED = 1,     /* exit status: a system or library call failed */
    PROGRAM_USAGE = 2,      /* exit status: wrong command line */
    PROGRAM_ENDPOINTS = 16, /* of --listen, at most */
};

struct program {
    const char *name;          /* of the executable, for error messages */
    const char *short_options; /* for getopt_long; NULL: PROGRAM_SHORT_OPTIONS */
    bool takes_operand;        /* the command line may have one argument that is not an option */
    bool is_proactor;          /* uses asynchronous operations: JD_ENGINE_AUTO means JD_ENGINE_PROACTOR */
    jd_event_loop_options loop_options;
    jd_tcp_server_options server_options;
    jd_endpoint endpoints[PROGRAM_ENDPOINTS];
    size_t endpoint_count;
    unsigned processes; /* server processes; 0 or 1: no fork */
    bool forked;        /* this is a child of program_fork; the parent does not serve */
    jd_event_loop *loop;
    jd_tcp_server *server;

    void (*release)(struct program *program); /* if not NULL, called before the loop is destroyed */
    void *extension;                          /* release's own data */
    bool stopping;
    bool prints_statistics; /* print the loop's counters at exit */
};

/* Values of the options that have no short form. */
enum {
    PROGRAM_OPTION_LOAD_BALANCE = 27,
    PROGRAM_OPTION_REUSE_PORT,
    PROGRAM_OPTION_PROCESSES,
    PROGRAM_OPTION_ZERO_COPY,
    PROGRAM_OPTION_PROXY_PROTOCOL
};

/* The common options for getopt_long. A program's own options use the values 1 to 26. With the leading colon
 * getopt_long prints no message, and returns ':' for a missing value instead of '?' (getopt(3)). */
#define PROGRAM_SHORT_OPTIONS ":he:l:t:b:s"
/* clang-format off */
#define PROGRAM_LONG_OPTIONS                                            \
    { "help", no_argument, NULL, 'h' },                                 \
    { "engine", required_argument, NULL, 'e' },                         \
    { "listen", required_argument, NULL, 'l' },                         \
    { "threads", required_argument, NULL, 't' },                        \
    { "busy-poll", required_argument, NULL, 'b' },                      \
    { "statistics", no_argument, NULL, 's' },                           \
    { "load-balance", required_argument, NULL, PROGRAM_OPTION_LOAD_BALANCE }, \
    { "reuse-port", no_argument, NULL, PROGRAM_OPTION_REUSE_PORT },     \
    { "processes", required_argument, NULL, PROGRAM_OPTION_PROCESSES }, \
    { "zero-copy", required_argument, NULL, PROGRAM_OPTION_ZERO_COPY }, \
    { "proxy-protocol", optional_argument, NULL, PROGRAM_OPTION_PROXY_PROTOCOL }
/* clang-format on */

/* The lines of --help that describe the common options. */
extern const char program_common_help[];

/* Returns the next option of the command line, or -1 at its end; optarg is its value. Exits with an error line at an
 * unknown option, a missing value or an unexpected argument. */
int program_next_option(const struct program *program, int argc, char **argv, const struct option *options);

/* Applies a common option. Exits with an error line if the value is not allowed. */
void program_option(struct program *program, int option, const char *value);

/* Returns value as a whole number from least to most. Exits with an error line if it is not one. */
unsigned long long program_number(const struct program *program, const char *option, const char *value,
                                  unsigned long long least, unsigned long long most);

/* The formats that the compiler checks: C11's, also where the system's own differ (mingw's <stdio.h>). */
#ifdef __MINGW_PRINTF_FORMAT
#define PROGRAM_PRINTF __MINGW_PRINTF_FORMAT
#else
#define PROGRAM_PRINTF printf
#endif

/* Prints "NAME: message; see NAME --help" and exits with PROGRAM_USAGE. */
__attribute__((noreturn, format(PROGRAM_PRINTF, 2, 3))) void program_usage_error(const struct program *program,
                                                                                 const char *format, ...);

/* Creates the loop, and adds the default endpoint if none was given. With --processes this forks and returns in each
 * child, so the program must not have started a thread before. */
void program_make_loop(struct program *program);

/* Calls program_make_loop, then creates the server. Set the server's callbacks after it. */
void program_prepare(struct program *program);

/* Prints the ready line for endpoint: "listening on ENDPOINT engine=NAME threads=N". */
void program_print_ready(const struct program *program, const jd_endpoint *endpoint);

/* Prints "NAME: what: text of the error" and exits with PROGRAM_FAILED. */
__attribute__((noreturn)) void program_fail(const struct program *program, const char *what, int error);

/* Starts the server, prints a ready line for each endpoint, serves until SIGINT or SIGTERM, then drains the
 * connections. Returns the exit status. */
int program_serve(struct program *program);

/* The signal by which the parent stops its children (processes.c). */
extern const int program_forked_signal;

/* Forks program->processes children and returns in each of them. It does not return in the parent, which forwards
 * signals to the children and exits after the last of them. Call before the program has a loop or a thread: fork(2)
 * copies only the calling thread. */
void program_fork(struct program *program);

/* Sets the option reuse_port. It does not return where the system has no such. */
void program_reuse_port(struct program *program);

/* Unblocks program_forked_signal, which program_fork blocks; call once the loop watches for it. */
void program_unblock_forked_signal(void);

#endif
