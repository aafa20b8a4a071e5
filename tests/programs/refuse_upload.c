/* A server that refuses each upload with "413", without reading it to its end: the program under test of
 * refused_uploads_test.py. The environment variable JINDUO_ENGINE selects the engine. */
#include <jinduo/jinduo.h>
#include <signal.h>
#include <stdio.h>

static const char refusal[] = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    (void)received, (void)arg;
    if (jd_buffer_find(input, "\r\n\r\n", 4, 0) < 0)
        return;
    jd_tcp_connection_send(connection, refusal, sizeof(refusal) - 1);
    jd_tcp_connection_close_after_output(connection, 0);
}

static void on_signal(int number, void *arg)
{
    (void)number;
    jd_event_loop_quit(arg);
}

int main(void)
{
    const jd_tcp_server_options options = { .listen = "127.0.0.1:0" };
    char endpoint_text[JD_ENDPOINT_TEXT_BYTES];
    jd_event_loop *loop = NULL;
    jd_tcp_server *server;
    jd_endpoint endpoint;
    int error = jd_event_loop_create(&loop, NULL);

    if (error == 0)
        error = jd_tcp_server_create(&server, loop, &options);
    if (error == 0) {
        jd_tcp_server_set_message_callback(server, on_message, NULL);
        error = jd_tcp_server_start(server, NULL);
    }
    if (error == 0)
        error = jd_event_loop_watch_signal(loop, SIGTERM, on_signal, loop);
    if (error == 0) {
        jd_tcp_server_endpoint(server, 0, &endpoint);
        jd_endpoint_format(&endpoint, endpoint_text, sizeof(endpoint_text));
        printf("listening on %s engine=%s threads=0\n", endpoint_text, jd_engine_name(jd_event_loop_engine(loop)));
        fflush(stdout);
        error = jd_event_loop_run(loop);
    }
    if (error < 0)
        fprintf(stderr, "%s: %s\n", options.listen, jd_strerror(error));
    jd_event_loop_destroy(loop);
    return error < 0;
}
