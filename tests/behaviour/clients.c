#include "tests/behaviour/clients.h"

#include "base/endpoint.h"
#include "tests/behaviour/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS_MAX = 4096, CHUNK_BYTES = 64 * 1024 };

static int clients[CLIENTS_MAX];
static unsigned client_count;

void client_adopt(int client)
{
    ck_assert_uint_lt(client_count, CLIENTS_MAX);
    clients[client_count++] = client;
}

/* source: an endpoint to bind to before; NULL: none. */
static int connect_with(const jd_endpoint *endpoint, int receive_buffer_bytes, const jd_endpoint *source)
{
    const struct sockaddr *address = endpoint_sockaddr(endpoint);
    int client = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_msg(client >= 0, "socket: %s", strerror(errno));
    if (receive_buffer_bytes > 0)
        ck_assert_int_eq(setsockopt(client, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes)),
                         0);
    if (source != NULL)
        ck_assert_int_eq(bind(client, endpoint_sockaddr(source), source->length), 0);
    ck_assert_msg(connect(client, address, endpoint->length) == 0, "connect: %s", strerror(errno));
    ck_assert_int_eq(fcntl(client, F_SETFL, O_NONBLOCK), 0);
    client_adopt(client);
    return client;
}

int client_connect(void)
{
    return connect_with(server_endpoint(), 0, NULL);
}

int client_connect_to(const jd_endpoint *endpoint)
{
    return connect_with(endpoint, 0, NULL);
}

int client_connect_from(const jd_endpoint *source, const jd_endpoint *endpoint)
{
    return connect_with(endpoint, 0, source);
}

int client_connect_up(void)
{
    unsigned before = connections_up();
    int client = client_connect();

    PUMP_UNTIL(connections_up() == before + 1);
    return client;
}

int client_connect_with_receive_buffer(int bytes)
{
    return connect_with(server_endpoint(), bytes, NULL);
}

/* ---- sending ---- */

size_t client_send_some(int client, const void *data, size_t length)
{
    ssize_t sent = send(client, data, length, MSG_NOSIGNAL);

    ck_assert_msg(sent >= 0 || errno == EAGAIN, "send: %s", strerror(errno));
    return sent < 0 ? 0 : (size_t)sent;
}

void client_send(int client, const void *data, size_t length)
{
    size_t sent = 0;

    PUMP_UNTIL((sent += client_send_some(client, (const char *)data + sent, length - sent)) == length);
}

void client_send_pattern(int client, size_t offset, size_t length)
{
    unsigned char data[CHUNK_BYTES];

    for (size_t sent = 0; sent < length;) {
        size_t count = length - sent < sizeof(data) ? length - sent : sizeof(data);
        pattern_fill(data, offset + sent, count);
        client_send(client, data, count);
        sent += count;
    }
}

/* ---- receiving ---- */

ssize_t client_receive_some(int client, void *data, size_t size)
{
    ssize_t received = recv(client, data, size, 0);

    return received < 0 ? -errno : received;
}

/* At least one byte, or 0 at the end. */
static size_t receive_some(int client, void *data, size_t size)
{
    ssize_t received;

    PUMP_UNTIL((received = client_receive_some(client, data, size)) != -EAGAIN);
    ck_assert_msg(received >= 0, "recv: %s", strerror((int)-received));
    return (size_t)received;
}

void client_receive(int client, void *data, size_t length)
{
    for (size_t received = 0; received < length;) {
        size_t count = receive_some(client, (char *)data + received, length - received);
        ck_assert_msg(count > 0, "the end after %zu bytes instead of %zu", received, length);
        received += count;
    }
}

void client_expect(int client, const void *data, size_t length)
{
    unsigned char received[CHUNK_BYTES];

    for (size_t offset = 0; offset < length;) {
        size_t count = length - offset < sizeof(received) ? length - offset : sizeof(received);
        client_receive(client, received, count);
        ck_assert_mem_eq(received, (const char *)data + offset, count);
        offset += count;
    }
}

void client_expect_pattern(int client, size_t offset, size_t length)
{
    unsigned char expected[CHUNK_BYTES];

    for (size_t done = 0; done < length;) {
        size_t count = length - done < sizeof(expected) ? length - done : sizeof(expected);
        pattern_fill(expected, offset + done, count);
        client_expect(client, expected, count);
        done += count;
    }
}

size_t client_receive_to_end(int client, void *data, size_t size)
{
    unsigned char received[CHUNK_BYTES];
    size_t total = 0, count;

    while ((count = receive_some(client, received, sizeof(received))) > 0) {
        if (data != NULL) {
            ck_assert_uint_le(total + count, size);
            memcpy((char *)data + total, received, count);
        }
        total += count;
    }
    return total;
}

void client_expect_end(int client)
{
    unsigned char byte;

    ck_assert_uint_eq(receive_some(client, &byte, 1), 0);
}

void client_expect_reset(int client)
{
    unsigned char received[CHUNK_BYTES];
    ssize_t result;

    do
        PUMP_UNTIL((result = client_receive_some(client, received, sizeof(received))) != -EAGAIN);
    while (result > 0);
    ck_assert_int_eq(result, -ECONNRESET);
}

bool client_is_over(int client)
{
    unsigned char byte;
    ssize_t result = recv(client, &byte, 1, MSG_PEEK);

    return result == 0 || (result < 0 && errno != EAGAIN);
}

/* ---- the end ---- */

void client_shutdown(int client)
{
    ck_assert_msg(shutdown(client, SHUT_WR) == 0, "shutdown: %s", strerror(errno));
}

void client_close(int client)
{
    unsigned index = 0;

    while (index < client_count && clients[index] != client)
        index++;
    ck_assert_msg(index < client_count, "no client");
    clients[index] = clients[--client_count];
    ck_assert_int_eq(close(client), 0);
}

void client_reset(int client)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    ck_assert_int_eq(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    client_close(client);
}

void clients_close_all(void)
{
    while (client_count > 0)
        client_close(clients[0]);
}

/* ---- the pattern ---- */

/* Its period is a prime: bytes a block apart differ. Copied and compared in long pieces, as a sanitizer checks each access. */
enum { PERIOD = 1048573 };

static unsigned char period[PERIOD];

__attribute__((constructor, no_instrument_function, no_sanitize("thread", "address", "undefined"))) static void
make_period(void)
{
    for (uint32_t i = 0; i < PERIOD; i++)
        period[i] = (unsigned char)(i * 2654435761u >> 24); /* Knuth's multiplicative hash: neighbours differ */
}

/* How many bytes from offset on are in one piece, at most so many. */
static size_t piece_from(size_t offset, size_t most)
{
    size_t left = PERIOD - offset % PERIOD;

    return left < most ? left : most;
}

unsigned char pattern_byte(size_t offset)
{
    return period[offset % PERIOD];
}

void pattern_fill(void *data, size_t offset, size_t length)
{
    for (size_t done = 0, piece; done < length; done += piece) {
        piece = piece_from(offset + done, length - done);
        memcpy((char *)data + done, period + (offset + done) % PERIOD, piece);
    }
}

static size_t first_difference(const unsigned char *data, size_t offset, size_t length)
{
    size_t i = 0;

    while (i < length && data[i] == pattern_byte(offset + i))
        i++;
    return i;
}

void pattern_expect(const void *data, size_t offset, size_t length)
{
    for (size_t done = 0, piece; done < length; done += piece) {
        const unsigned char *begin = (const unsigned char *)data + done;
        piece = piece_from(offset + done, length - done);
        if (memcmp(begin, period + (offset + done) % PERIOD, piece) != 0)
            ck_abort_msg("byte %zu is wrong", offset + done + first_difference(begin, offset + done, piece));
    }
}
