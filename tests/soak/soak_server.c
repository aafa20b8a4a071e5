/* soak-server ENGINE: an echo server for ./dev soak, at a free port of 127.0.0.1. It prints "listening on ENDPOINT"; then, for
 * each line that it reads, its connections and the memory that the library holds, as a JSON object. It ends when its
 * standard input ends. */
#include <jinduo/jinduo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, DRAIN_MS = 2000 };

struct soak {
    jd_event_loop *loop;
    jd_tcp_server *server;
    jd_channel *input;
};

static void require(const char *what, int result)
{
    if (result >= 0)
        return;
    fprintf(stderr, "soak-server: %s: %s\n", what, jd_strerror(result));
    exit(EXIT_FAILURE);
}

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    if (jd_tcp_connection_send_buffer(connection, input) == JD_ENOBUFS)
        jd_tcp_connection_close(connection);
}

static void on_stopped(void *arg)
{
    jd_event_loop_quit(arg);
}

static void on_input(jd_channel *channel, jd_handle handle, unsigned events, void *arg)
{
    struct soak *soak = arg;
    char lines[64];
    ssize_t length = read(handle, lines, sizeof(lines));

    if (length <= 0) {
        jd_channel_destroy(soak->input);
        require("stop", jd_tcp_server_stop(soak->server, DRAIN_MS, on_stopped, soak->loop));
        return;
    }
    for (ssize_t i = 0; i < length; i++)
        if (lines[i] == '\n')
            printf("{\"connections\": %zu, \"held_bytes\": %zu}\n", jd_tcp_server_connection_count(soak->server),
                   jd_memory_in_use());
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const jd_tcp_server_options server_options = { .listen = "127.0.0.1:0" };
    jd_event_loop_options loop_options = { 0 };
    char text[JD_ENDPOINT_TEXT_BYTES];
    struct soak soak = { 0 };
    jd_endpoint endpoint;

    if (argc != 2 || jd_engine_parse(&loop_options.engine, argv[1]) < 0) {
        fprintf(stderr, "Usage: soak-server ENGINE\nENGINE: auto, reactor, proactor, io_uring or simulated\n");
        return EXIT_USAGE;
    }
    require("loop", jd_event_loop_create(&soak.loop, &loop_options));
    require("server", jd_tcp_server_create(&soak.server, soak.loop, &server_options));
    jd_tcp_server_set_message_callback(soak.server, on_message, NULL);
    require("start", jd_tcp_server_start(soak.server, NULL));
    require("input", jd_channel_create(&soak.input, soak.loop, STDIN_FILENO, JD_READABLE, on_input, &soak));
    require("endpoint", jd_tcp_server_endpoint(soak.server, 0, &endpoint));
    jd_endpoint_format(&endpoint, text, sizeof(text));
    printf("listening on %s engine=%s\n", text, jd_engine_name(jd_event_loop_engine(soak.loop)));
    fflush(stdout);
    require("run", jd_event_loop_run(soak.loop));
    require("destroy", jd_event_loop_destroy(soak.loop));
    return EXIT_SUCCESS;
}
