#include "tests/support/sockets.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* Much longer than any operation on this host; only a failing test waits so long. */
enum { PATIENCE_MS = 3000 };

jd_endpoint parsed(const char *text)
{
    const char *reason = "";
    jd_endpoint endpoint;
    int result = jd_endpoint_parse(&endpoint, text, &reason);

    ck_assert_msg(result == 0, "%s: %s", text, reason);
    return endpoint;
}

const char *formatted(const jd_endpoint *endpoint)
{
    static char text[JD_ENDPOINT_TEXT_BYTES];

    ck_assert_uint_eq(jd_endpoint_format(endpoint, text, sizeof(text)), strlen(text));
    return text;
}

static struct socket_path last_path;

socket_handle listen_on(const jd_endpoint *endpoint, const struct socket_options *options, jd_endpoint *bound)
{
    socket_handle listener = SOCKET_NONE;

    ck_assert_int_eq(socket_listen(&listener, endpoint, options, bound, &last_path), 0);
    ck_assert_int_ge(listener, 0);
    return listener;
}

int connect_client(const jd_endpoint *endpoint)
{
    int client = socket(endpoint_sockaddr(endpoint)->sa_family, SOCK_STREAM, 0);

    ck_assert_int_ge(client, 0);
    ck_assert_int_eq(connect(client, endpoint_sockaddr(endpoint), endpoint->length), 0);
    return client;
}

void wait_for(int fd, short events)
{
    struct pollfd poll_fd = { .fd = fd, .events = events };

    ck_assert_int_eq(poll(&poll_fd, 1, PATIENCE_MS), 1);
}

socket_handle accept_one(socket_handle listener, struct peer_address *peer)
{
    socket_handle accepted = SOCKET_NONE;

    wait_for(listener, POLLIN);
    ck_assert_int_eq(socket_accept(listener, &accepted, peer), 0);
    return accepted;
}

struct socket_pair connect_pair(const jd_endpoint *endpoint, const struct socket_options *options)
{
    struct socket_pair pair;

    pair.listener = listen_on(endpoint, options, &pair.bound);
    pair.path = last_path;
    pair.client = connect_client(&pair.bound);
    pair.server = accept_one(pair.listener, &pair.peer);
    return pair;
}

struct socket_pair connect_loopback(void)
{
    jd_endpoint endpoint = parsed("127.0.0.1:0");

    return connect_pair(&endpoint, &(struct socket_options){ 0 });
}

bool is_nonblocking_and_closed_on_exec(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}
