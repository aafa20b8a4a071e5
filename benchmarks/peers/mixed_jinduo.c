/* A server with jinduo with two endpoints: on the first it echoes, on the second it sends a file on each connection, then
 * closes it. To see what a file that is not in memory does to the echo. */
#include "examples/program.h"

#include <fcntl.h>

enum { OPTION_FILE = 1 };

static int file = -1;

static bool sends_file(jd_tcp_server *server, jd_tcp_connection *connection)
{
    jd_endpoint own, second;

    return jd_tcp_connection_local_endpoint(connection, &own) == 0 && jd_tcp_server_endpoint(server, 1, &second) == 0 &&
           jd_endpoint_port(&own) == jd_endpoint_port(&second);
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    const struct program *program = arg;

    if (!jd_tcp_connection_is_connected(connection) || !sends_file(program->server, connection))
        return;
    if (jd_tcp_connection_send_file(connection, file, 0, JD_TO_END, NULL, NULL) < 0)
        jd_tcp_connection_reset(connection);
    else
        jd_tcp_connection_shutdown(connection);
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_tcp_connection_send_buffer(connection, input);
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
    struct program program = { .name = "mixed-jinduo" };
    int option;

    while ((option = program_next_option(&program, argc, argv, options)) != -1)
        take_option(&program, option);
    if (file < 0 || program.endpoint_count != 2)
        program_usage_error(&program, "two --listen ENDPOINT and --file PATH are needed");
    program_prepare(&program);
    jd_tcp_server_set_connection_callback(program.server, on_connection, &program);
    jd_tcp_server_set_message_callback(program.server, on_message, NULL);
    return program_serve(&program);
}
