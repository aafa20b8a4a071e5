/* A server with jinduo that sends a file on each connection, then closes it. */
#include "examples/program.h"

#include <fcntl.h>

enum { OPTION_FILE = 1 };

static int file = -1;

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    if (!jd_tcp_connection_is_connected(connection))
        return;
    if (jd_tcp_connection_send_file(connection, file, 0, JD_TO_END, NULL, NULL) < 0)
        jd_tcp_connection_reset(connection);
    else
        jd_tcp_connection_shutdown(connection);
}

static void take_option(struct program *program, int option)
{
    if (option == OPTION_FILE)
        file = open(optarg, O_RDONLY | O_CLOEXEC);
    else if (option != 'h')
        program_option(program, option, optarg);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { PROGRAM_LONG_OPTIONS,
                                             { "file", required_argument, NULL, OPTION_FILE },
                                             { 0 } };
    struct program program = { .name = "file-jinduo" };
    int option;

    while ((option = program_next_option(&program, argc, argv, options)) != -1)
        take_option(&program, option);
    if (file < 0)
        program_usage_error(&program, "--file PATH is missing, or the file cannot be opened");
    program_prepare(&program);
    jd_tcp_server_set_connection_callback(program.server, on_connection, NULL);
    return program_serve(&program);
}
