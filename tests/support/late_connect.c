#include "tests/support/late_connect.h"

#include "tests/support/check_main.h"

#include <jinduo/error.h>
#include <stdlib.h>

void late_connect_add(struct late_connects *connects, struct connector *connector)
{
    struct late_connect *connect = calloc(1, sizeof(*connect));

    ck_assert_ptr_nonnull(connect);
    ck_assert_int_eq(connector->socket, SOCKET_NONE);
    connect->connector = connector;
    connect->next = connects->first;
    connects->first = connect;
    connector->engine_data = connect;
}

void late_connect_abandon(struct connector *connector)
{
    struct late_connect *connect = connector->engine_data;

    ck_assert(!connect->abandoned);
    connect->abandoned = true;
}

bool late_connect_polls(const struct late_connect *connect)
{
    return connect->state == LATE_BEGUN && !connect->abandoned;
}

static void late_connect_finish(struct late_connect *connect, int error)
{
    connect->state = LATE_FINISHED;
    connect->error = error;
}

void late_connect_polled(struct late_connect *connect)
{
    late_connect_finish(connect, socket_finish_connect(connect->connector->socket, &connect->peer));
}

bool late_connect_could(const struct late_connect *connect)
{
    return connect->abandoned || connect->state != LATE_BEGUN;
}

static void late_connect_begin(struct late_connect *connect)
{
    struct connector *connector = connect->connector;
    int error =
        socket_open_to_connect(&connector->socket, &connector->endpoint, &connector->local, &connector->options);

    if (error == 0)
        error = socket_connect(connector->socket, &connector->endpoint);
    if (error < 0)
        late_connect_finish(connect, error);
    else
        connect->state = LATE_BEGUN;
}

bool late_connect_do(struct late_connects *connects, struct late_connect *connect)
{
    struct connector *connector = connect->connector;
    struct late_connect **link = &connects->first, over = *connect;
    socket_handle socket = connector->socket;
    bool freed;

    if (over.state == LATE_ASKED && !over.abandoned) {
        late_connect_begin(connect);
        return false;
    }
    while (*link != connect)
        link = &(*link)->next;
    *link = over.next;
    free(connect);
    if (over.abandoned)
        over.error = JD_ECANCELED;
    freed = over.error < 0 && socket != SOCKET_NONE;
    if (freed)
        socket_close(socket);
    connector->engine_data = NULL;
    connector->socket = SOCKET_NONE;
    connector->connected(connector, over.error, over.error < 0 ? SOCKET_NONE : socket, &over.peer);
    return freed;
}
