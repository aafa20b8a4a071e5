/* What the example servers share: the common options, the ready lines, an end in good order. */
#ifndef EXAMPLES_PROGRAM_H
#define EXAMPLES_PROGRAM_H

#include <getopt.h>
#include <jinduo/jinduo.h>

enum {
    PROGRAM_FAILED = 1, /* exit status: the system refused */
    PROGRAM_USAGE = 2,  /* exit status: an option makes no sense */
    PROGRAM_ENDPOINTS = 16,
};

struct program {
    const char *name;   /* of the executable, for messages */
    bool takes_operand; /* one word that is not an option */
    bool is_proactor;   /* no Reactor will do: JD_ENGINE_AUTO is JD_ENGINE_PROACTOR */
    jd_event_loop_options loop_options;
    jd_tcp_server_options server_options;
    jd_endpoint endpoints[PROGRAM_ENDPOINTS];
    size_t endpoint_count;
    unsigned processes; /* 0, 1: this one */
    bool forked;        /* this is one of several; their parent serves nothing */
    jd_event_loop *loop;
    jd_tcp_server *server;

    /* Called at the first signal, if not NULL: ends the program's own work and then calls program_stop. */
    void (*finish)(struct program *program);
    void (*release)(struct program *program); /* if not NULL, called before the loops are destroyed */
    void *extension;                          /* theirs */
    bool stopping;
    bool prints_statistics; /* when it ends */
};

/* Values of the options without a letter. */
enum {
    PROGRAM_OPTION_LOAD_BALANCE = 27,
    PROGRAM_OPTION_REUSE_PORT,
    PROGRAM_OPTION_PROCESSES,
    PROGRAM_OPTION_SQPOLL,
    PROGRAM_OPTION_ZERO_COPY
};

/* For getopt_long: the common options; a program's own follow with values up to 26. The colon in front: it prints
 * nothing itself, and tells a missing value apart from an unknown option (getopt(3)). */
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
    { "sqpoll", required_argument, NULL, PROGRAM_OPTION_SQPOLL },         \
    { "zero-copy", required_argument, NULL, PROGRAM_OPTION_ZERO_COPY }
/* clang-format on */

/* The lines of --help for them. */
extern const char program_common_help[];

/* The next option of the command line, or -1 at its end; its value is in optarg. Ends the program with a line of
 * explanation for what is no option. */
int program_next_option(const struct program *program, int argc, char **argv, const struct option *options);

/* Takes a common option; ends the program with a line of explanation when its value makes no sense. */
void program_option(struct program *program, int option, const char *value);

/* A whole number from least to most, or the end of the program as above. */
unsigned long program_number(const struct program *program, const char *option, const char *value, unsigned long least,
                             unsigned long most);

/* Ends the program: usage errors with a pointer to --help, others without. */
__attribute__((noreturn, format(printf, 2, 3))) void program_usage_error(const struct program *program,
                                                                         const char *format, ...);

/* Makes the loop; the default endpoint if none was given. With --processes this returns in each of them; so no threads
 * before it. */
void program_make_loop(struct program *program);

/* The same and the server; set the server's callbacks then. */
void program_prepare(struct program *program);

/* Prints that the program is ready at endpoint. */
void program_print_ready(const struct program *program, const jd_endpoint *endpoint);

/* Ends the program: the system refused. */
__attribute__((noreturn)) void program_fail(const struct program *program, const char *what, int error);

/* Starts, prints a line for each endpoint, serves until SIGINT or SIGTERM, drains. Returns the exit status. */
int program_serve(struct program *program);

/* Drains and ends. In the loop's thread. */
void program_stop(struct program *program);

/* What tells one of several processes to end (processes.c). */
#define PROGRAM_FORKED_SIGNAL SIGUSR1

/* Makes program->processes of this process and returns in each of them, not in their parent, which passes signals on to
 * them and ends when they have. Before there is a loop or a thread: fork(2) copies only the one that calls it. */
void program_fork(struct program *program);

/* The signal is held back from the beginning until it is watched for. */
void program_unblock_forked_signal(void);

#endif
