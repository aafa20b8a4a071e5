/* Clients of the library for behaviour tests: their connections are recorded as the servers' are (harness.h), and the
 * connect callback's reports are kept. For the raw sockets that act as clients of a server under test see clients.h. */
#ifndef TESTS_CLIENT_FIXTURE_H
#define TESTS_CLIENT_FIXTURE_H

#include "tests/behaviour/harness.h"

/* A client's callbacks, all with arg, and its options; what is NULL or zero is left at its default. */
struct client_use {
    jd_tcp_client_options options; /* connect: default the server last made */
    jd_connect_callback on_connect;
    jd_connection_callback on_up, on_down;
    jd_message_callback on_message; /* NULL: input is dropped */
    jd_write_complete_callback on_write_complete;
    jd_half_close_callback on_half_close;
    jd_watermark_callback on_high_watermark, on_low_watermark;
    jd_heartbeat_callback on_heartbeat;
    const jd_codec *codec;
    jd_frame_callback on_frame;
    jd_frame_error_callback on_frame_error;
    void *arg;
};

/* A case of harness_case that forgets the clients of the test before. */
TCase *client_case(Suite *suite, const char *name);

/* Makes one on the_loop; starts it, too. Destroyed with the loop at the latest. */
jd_tcp_client *make_client(const struct client_use *use);
jd_tcp_client *start_client(const struct client_use *use);

/* Up and down callbacks of clients' connections, counted when they begin. */
unsigned clients_up(void);
unsigned clients_down(void);

/* Bytes that clients' message callbacks used up, and the first of them. */
size_t client_bytes(void);

/* The reports of the connect callbacks, in order; with the endpoint's text, and a copy of the target. */
struct noted_report {
    jd_connect_report report;
    char endpoint[JD_ENDPOINT_TEXT_BYTES];
    char target[JD_ENDPOINT_TEXT_BYTES];
};
unsigned reports_noted(void);
const struct noted_report *noted_report(unsigned index);

/* The endpoint's text; valid until the next call but one. */
const char *text_of_endpoint(const jd_endpoint *endpoint);

/* "HOST:PORT" of the server last made, or of a port where nobody listens. Valid until the next call of either. */
const char *at_server_port(const char *host);
const char *at_dead_port(const char *host);

#endif
