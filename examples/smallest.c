#include <jinduo/jinduo.h>

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    (void)received, (void)arg;
    jd_tcp_connection_send_buffer(connection, input); /* echo: takes the bytes, leaves input empty */
}

int main(int argc, char **argv)
{
    jd_tcp_server_options options = { .listen = argc > 1 ? argv[1] : "127.0.0.1:8000" };
    jd_event_loop *loop = NULL;
    jd_tcp_server *server;
    int error = jd_event_loop_create(&loop, NULL);

    if (error == 0)
        error = jd_tcp_server_create(&server, loop, &options);
    if (error == 0) {
        jd_tcp_server_set_message_callback(server, on_message, NULL);
        error = jd_tcp_server_run(server, 5000); /* until SIGINT or SIGTERM, then drains for at most 5 s */
    }
    jd_event_loop_destroy(loop); /* and its servers */
    return error < 0;
}
