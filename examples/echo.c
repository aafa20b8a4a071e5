/* jd-echo: sends back every byte that it receives, or drops it (--discard). Shows a message callback, and a server built
 * with examples/program.h. */
#include "examples/program.h"

#include <stdio.h>

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    /* The output limit is reached: the peer sends but does not read. */
    if (jd_tcp_connection_send_buffer(connection, input) == JD_ENOBUFS)
        jd_tcp_connection_close(connection);
}

static void drop_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
}

/* Behind a proxy (--proxy-protocol), the peer is the proxy's client. */
static void print_peer(jd_tcp_connection *connection, void *arg)
{
    bool is_up = jd_tcp_connection_is_connected(connection);
    char peer[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint;

    jd_tcp_connection_peer_endpoint(connection, &endpoint);
    jd_endpoint_format(&endpoint, peer, sizeof(peer));
    printf("%s %s\n", is_up ? "up" : "down", peer);
    fflush(stdout);
}

static void print_help(void)
{
    printf("Usage: jd-echo [OPTION]...\n"
           "Sends back every byte that it receives, on each connection, until SIGINT or SIGTERM.\n\n"
           "  --discard              drop the bytes instead\n"
           "  --verbose              print a line with the peer's address when a connection comes up, and when it goes "
           "down\n"
           "%s",
           program_common_help);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        PROGRAM_LONG_OPTIONS, { "discard", no_argument, NULL, 'd' }, { "verbose", no_argument, NULL, 'v' }, { 0 }
    };
    struct program program = { .name = "jd-echo", .server_options.name = "jd-echo" };
    bool discards = false, is_verbose = false;
    int option;

    while ((option = program_next_option(&program, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help();
            return 0;
        }
        if (option == 'd')
            discards = true;
        else if (option == 'v')
            is_verbose = true;
        else
            program_option(&program, option, optarg);
    }
    program_prepare(&program);
    if (is_verbose)
        jd_tcp_server_set_connection_callback(program.server, print_peer, NULL);
    jd_tcp_server_set_message_callback(program.server, discards ? drop_message : on_message, NULL);
    return program_serve(&program);
}
