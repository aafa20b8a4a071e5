/* jd-echo: returns the bytes it gets. */
#include "examples/program.h"

#include <stdio.h>

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    /* A peer that sends but never reads fills the output limit: it has had its chance. */
    if (jd_tcp_connection_send_buffer(connection, input) == JD_ENOBUFS)
        jd_tcp_connection_close(connection);
}

static void print_help(void)
{
    printf("Usage: jd-echo [OPTION]...\n"
           "Returns the bytes it gets, on every connection, until SIGINT or SIGTERM.\n\n%s",
           program_common_help);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { PROGRAM_LONG_OPTIONS, { 0 } };
    struct program program = { .name = "jd-echo", .server_options.name = "jd-echo" };
    int option;

    while ((option = program_next_option(&program, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help();
            return 0;
        }
        program_option(&program, option, optarg);
    }
    program_prepare(&program);
    jd_tcp_server_set_message_callback(program.server, on_message, NULL);
    return program_serve(&program);
}
