/* jd-echo with an idle timeout and a heartbeat, to measure the memory of a connection with both. The heartbeat callback
 * is invoked while the connections are idle. It sends nothing, because the load counts unexpected bytes as a wrong
 * reply. */
#include "examples/program.h"

enum { IDLE_TIMEOUT_MS = 60000, HEARTBEAT_MS = 200 };

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_tcp_connection_send_buffer(connection, input);
}

static void on_heartbeat(jd_tcp_connection *connection, void *arg)
{
}

int main(int argc, char **argv)
{
    static const struct option options[] = { PROGRAM_LONG_OPTIONS, { 0 } };
    struct program program = {
        .name = "idle-jinduo",
        .server_options = { .idle_timeout_ms = IDLE_TIMEOUT_MS, .heartbeat_ms = HEARTBEAT_MS },
    };
    int option;

    while ((option = program_next_option(&program, argc, argv, options)) != -1)
        if (option != 'h')
            program_option(&program, option, optarg);
    program_prepare(&program);
    jd_tcp_server_set_message_callback(program.server, on_message, NULL);
    jd_tcp_server_set_heartbeat_callback(program.server, on_heartbeat, NULL);
    return program_serve(&program);
}
