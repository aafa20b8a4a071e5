/* A broadcast server with jinduo: sends each received message of 1 KiB to all connections, as references to one copy
 * (jd_shared). */
#include "examples/program.h"

#include <stdlib.h>

enum { MESSAGE_BYTES = 1024, CONNECTIONS_MAX = 65536 };

static jd_tcp_connection *connections[CONNECTIONS_MAX];
static size_t connection_count;

static void broadcast(const void *message)
{
    jd_shared *shared;

    if (jd_shared_create(&shared, message, MESSAGE_BYTES) < 0)
        abort();
    for (size_t i = 0; i < connection_count; i++)
        jd_tcp_connection_send_shared(connections[i], shared, 0, (size_t)JD_TO_END);
    jd_shared_unref(shared);
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    while (jd_buffer_readable(input) >= MESSAGE_BYTES) {
        broadcast(jd_buffer_peek(input, MESSAGE_BYTES));
        jd_buffer_consume(input, MESSAGE_BYTES);
    }
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    if (jd_tcp_connection_is_connected(connection)) {
        if (connection_count == CONNECTIONS_MAX)
            abort();
        connections[connection_count++] = connection;
        return;
    }
    for (size_t i = 0; i < connection_count; i++)
        if (connections[i] == connection)
            connections[i--] = connections[--connection_count];
}

int main(int argc, char **argv)
{
    static const struct option options[] = { PROGRAM_LONG_OPTIONS, { 0 } };
    struct program program = { .name = "broadcast-jinduo" };
    int option;

    while ((option = program_next_option(&program, argc, argv, options)) != -1)
        if (option != 'h')
            program_option(&program, option, optarg);
    program_prepare(&program);
    jd_tcp_server_set_connection_callback(program.server, on_connection, NULL);
    jd_tcp_server_set_message_callback(program.server, on_message, NULL);
    return program_serve(&program);
}
