/* A user's program, compiled outside the tree against the installed library, as C and as C++: runs an echo server on
 * loopback, connects to it as a client, and prints a line if the bytes come back. */
#include <arpa/inet.h>
#include <jinduo/jinduo.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char sent[] = "the bytes that have to come back";

static void on_message(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    (void)received;
    (void)arg;
    jd_tcp_connection_send_buffer(connection, input);
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    if (!jd_tcp_connection_is_connected(connection))
        jd_event_loop_quit((jd_event_loop *)arg);
}

/* The loop does not run yet: the kernel completes the connection and buffers the bytes. */
static int send_all(uint16_t port)
{
    struct sockaddr_in address;
    int client = socket(AF_INET, SOCK_STREAM, 0);

    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(client, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        send(client, sent, sizeof(sent), MSG_NOSIGNAL) != (ssize_t)sizeof(sent) || shutdown(client, SHUT_WR) < 0)
        return -1;
    return client;
}

static bool came_back(int client)
{
    char received[2 * sizeof(sent)];
    ssize_t length = recv(client, received, sizeof(received), MSG_WAITALL);

    close(client);
    return length == (ssize_t)sizeof(sent) && memcmp(received, sent, sizeof(sent)) == 0;
}

static int serve(jd_event_loop *loop, unsigned io_threads)
{
    static jd_tcp_server_options options;
    jd_tcp_server *server;
    jd_endpoint endpoint;
    int error, client;

    options.listen = "127.0.0.1:0";
    options.io_threads = io_threads;
    error = jd_tcp_server_create(&server, loop, &options);
    if (error < 0)
        return error;
    jd_tcp_server_set_message_callback(server, on_message, NULL);
    jd_tcp_server_set_connection_callback(server, on_connection, loop);
    error = jd_tcp_server_start(server, NULL);
    if (error == 0)
        error = jd_tcp_server_endpoint(server, 0, &endpoint);
    if (error < 0)
        return error;
    client = send_all(jd_endpoint_port(&endpoint));
    error = jd_event_loop_run(loop);
    if (error == 0 && !came_back(client))
        error = JD_EPROTO;
    return error;
}

int main(void)
{
    for (unsigned io_threads = 0; io_threads < 3; io_threads++) {
        jd_event_loop *loop = NULL;
        int error = jd_event_loop_create(&loop, NULL);

        if (error == 0)
            error = serve(loop, io_threads);
        jd_event_loop_destroy(loop);
        if (error < 0) {
            fprintf(stderr, "%u io threads: %s\n", io_threads, jd_strerror(error));
            return 1;
        }
    }
    printf("came back, jinduo %s, memory %s, %zu bytes left\n", jd_version(), jd_memory_source(), jd_memory_in_use());
    return 0;
}
