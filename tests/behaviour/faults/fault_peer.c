#include "tests/behaviour/faults/fault_peer.h"

#include "base/endpoint.h"
#include "tests/behaviour/harness.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_CHUNK_BYTES = 4 * 1024,
    READS_A_TURN = 2,
    RECEIVE_BUFFER_BYTES = 16 * 1024, /* with the server's send buffer: many sends for much output */
};

void fault_peer_connect(struct run_peer *peer, const jd_endpoint *endpoint)
{
    const struct sockaddr *address = endpoint_sockaddr(endpoint);
    int handle = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int receive_buffer = RECEIVE_BUFFER_BYTES;
    struct sockaddr_storage local;
    socklen_t length = sizeof(local);
    jd_endpoint local_endpoint;

    ck_assert_int_ge(handle, 0);
    ck_assert_int_eq(setsockopt(handle, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer)), 0);
    ck_assert_int_eq(connect(handle, address, endpoint->length), 0);
    ck_assert_int_eq(getsockname(handle, (struct sockaddr *)&local, &length), 0);
    endpoint_from_sockaddr(&local_endpoint, (const struct sockaddr *)&local, length);
    peer->port = jd_endpoint_port(&local_endpoint);
    peer->socket = handle;
}

void fault_peer_set_header(struct run_peer *peer)
{
    snprintf(peer->header, sizeof(peer->header), "PROXY TCP4 127.0.0.1 127.0.0.1 %d 80\r\n", peer->port);
}

/* In two parts, so that the server has to keep the first. Returns whether all of it is sent. */
static bool send_header(struct run_peer *peer)
{
    size_t length = strlen(peer->header), part = (length + 1) / 2;
    ssize_t sent;

    if (peer->broken || peer->header_sent == length)
        return !peer->broken;
    if (part > length - peer->header_sent)
        part = length - peer->header_sent;
    sent = send(peer->socket, peer->header + peer->header_sent, part, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0)
        peer->header_sent += (size_t)sent;
    else
        peer->broken = errno != EAGAIN;
    return false;
}

void run_send_frame(struct run_peer *peer, enum run_order order, size_t body_bytes)
{
    unsigned char *frame;

    if (peer == NULL)
        return;
    peer->script = realloc(peer->script, peer->script_bytes + FAULT_HEADER_BYTES + body_bytes);
    ck_assert_ptr_nonnull(peer->script);
    frame = peer->script + peer->script_bytes;
    for (int i = 0; i < FAULT_HEADER_BYTES; i++)
        frame[i] = (unsigned char)(body_bytes >> 8 * (FAULT_HEADER_BYTES - 1 - i));
    pattern_fill(frame + FAULT_HEADER_BYTES, peer->script_bytes, body_bytes);
    frame[FAULT_HEADER_BYTES] = (unsigned char)order;
    peer->script_bytes += FAULT_HEADER_BYTES + body_bytes;
    peer->frames++;
    peer->is_cut |= order == ORDER_RESET_NOW || order == ORDER_CLOSE_NOW;
    if (order != ORDER_RESET_NOW)
        peer->expected = peer->script_bytes;
}

static void send_script(struct run_peer *peer)
{
    ssize_t sent;

    if (!send_header(peer) || peer->sent == peer->script_bytes)
        return;
    sent = send(peer->socket, peer->script + peer->sent, peer->script_bytes - peer->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0)
        peer->sent += (size_t)sent;
    else
        peer->broken = errno != EAGAIN;
}

void fault_peer_end(struct run_peer *peer, bool with_reset)
{
    const struct linger linger = { .l_onoff = with_reset, .l_linger = 0 };

    setsockopt(peer->socket, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(peer->socket);
    peer->over = true;
}

static void receive_echo(struct run_peer *peer)
{
    unsigned char data[READ_CHUNK_BYTES];
    ssize_t received = recv(peer->socket, data, sizeof(data), MSG_DONTWAIT);

    if (received < 0 && errno == EAGAIN)
        return;
    if (received <= 0) {
        fault_peer_end(peer, false);
        return;
    }
    RUN_CHECK((size_t)received <= peer->expected - peer->received);
    RUN_CHECK(memcmp(data, peer->script + peer->received, (size_t)received) == 0);
    peer->received += (size_t)received;
    if (peer->received < peer->expected)
        return;
    if (peer->kind == PEER_SHUTS_DOWN)
        shutdown(peer->socket, SHUT_WR);
    else if (peer->kind == PEER_RESETS)
        fault_peer_end(peer, true);
}

void fault_peer_step(struct run_peer *peer, bool may_read)
{
    if (!peer->over)
        send_script(peer);
    for (int i = 0; i < READS_A_TURN && !peer->over && may_read; i++)
        receive_echo(peer);
}

bool fault_peer_has_hung_up(const struct run_peer *peer)
{
    /* A FIN only, if the server had received all of the peer's bytes before it failed. */
    struct pollfd polled = { .fd = peer->socket, .events = POLLRDHUP };

    return poll(&polled, 1, 0) == 1;
}
