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
    jd_event_loop_options loop_options;
    jd_tcp_server_options server_options;
    jd_endpoint endpoints[PROGRAM_ENDPOINTS];
    size_t endpoint_count;
    jd_event_loop *loop;
    jd_tcp_server *server;
    bool prints_statistics; /* when it ends */
};

/* For getopt_long: the common options; a program's own follow with values up to 31. The colon in front: it prints
 * nothing itself, and tells a missing value apart from an unknown option (getopt(3)). */
#define PROGRAM_SHORT_OPTIONS ":he:l:t:b:s"
#define PROGRAM_LONG_OPTIONS                                                                                           \
    { "help", no_argument, NULL, 'h' }, { "engine", required_argument, NULL, 'e' },                                    \
        { "listen", required_argument, NULL, 'l' }, { "statistics", no_argument, NULL, 's' },                          \
        { "threads", required_argument, NULL, 't' },                                                                   \
    {                                                                                                                  \
        "busy-poll", required_argument, NULL, 'b'                                                                      \
    }

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

/* Makes the loop; the default endpoint if none was given. */
void program_make_loop(struct program *program);

/* Makes the loop and the server; set the server's callbacks then. */
void program_prepare(struct program *program);

/* Prints that the program is ready at endpoint. */
void program_print_ready(const struct program *program, const jd_endpoint *endpoint);

/* Ends the program: the system refused. */
__attribute__((noreturn)) void program_fail(const struct program *program, const char *what, int error);

/* Starts, prints a line for each endpoint, serves until SIGINT or SIGTERM, drains. Returns the exit status. */
int program_serve(struct program *program);

#endif
