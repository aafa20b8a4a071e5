/* On which loop an accepted connection lives. */
#include "base/memory.h"
#include "base/platform/thread.h"
#include "net/server/server.h"

#include <string.h>

/* ---- which loop ---- */

static unsigned following(const jd_tcp_server *server, unsigned index)
{
    return index + 1 < server->io_threads ? index + 1 : 0;
}

static struct server_loop *take_turn(jd_tcp_server *server, unsigned index)
{
    server->next_io_loop = following(server, index);
    return &server->io_loops[index];
}

static uint32_t connections_on(const struct server_loop *at)
{
    return atomic_load_explicit(&at->loop->shared.committed, memory_order_relaxed);
}

/* Of those with equally few, the next in turn. Connections on their way count, as they are counted here. */
static unsigned least_connections(const jd_tcp_server *server)
{
    unsigned index = server->next_io_loop, least = index;

    for (unsigned i = 1; i < server->io_threads; i++) {
        index = following(server, index);
        if (connections_on(&server->io_loops[index]) < connections_on(&server->io_loops[least]))
            least = index;
    }
    return least;
}

/* The address without the port; one that came over an IPv6 socket as ::ffff:a.b.c.d is the IPv4 address it is. */
static size_t address_of(const struct peer_address *peer, const uint8_t **bytes)
{
    enum { IPV4_BYTES = 4, MAPPED_PREFIX_BYTES = 12 };
    struct in6_addr ipv6;

    memcpy(&ipv6, peer->bytes, sizeof(ipv6));
    *bytes = peer->bytes;
    if (peer->family == AF_INET)
        return IPV4_BYTES;
    if (!IN6_IS_ADDR_V4MAPPED(&ipv6))
        return sizeof(ipv6);
    *bytes += MAPPED_PREFIX_BYTES;
    return IPV4_BYTES;
}

/* FNV-1a (RFC 9923), and the last mixing step of MurmurHash3, as only few low bits are used. */
static uint64_t hash_of(const struct peer_address *peer)
{
    static const uint64_t offset_basis = 0xcbf29ce484222325, prime = 0x100000001b3, mix = 0xff51afd7ed558ccd;
    enum { MIX_SHIFT = 33 };
    const uint8_t *bytes;
    size_t length = address_of(peer, &bytes);
    uint64_t hash = offset_basis ^ peer->scope;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * prime;
    hash = (hash ^ hash >> MIX_SHIFT) * mix;
    return hash ^ hash >> MIX_SHIFT;
}

static struct server_loop *choose(jd_tcp_server *server, const struct peer_address *peer)
{
    bool has_address = peer->family == AF_INET || peer->family == AF_INET6;

    if (server->load_balance == JD_LOAD_BALANCE_LEAST_CONNECTIONS)
        return take_turn(server, least_connections(server));
    if (server->load_balance == JD_LOAD_BALANCE_PEER_ADDRESS && has_address)
        return &server->io_loops[hash_of(peer) % server->io_threads];
    return take_turn(server, server->next_io_loop);
}

/* ---- handing over ---- */

static void run_handover(struct task_node *task)
{
    struct handover handover = *(struct handover *)task;

    memory_release(task, sizeof(handover));
    connection_open(handover.to->loop, handover.to->server->profile, handover.socket, &handover.peer);
    /* It came too late to be stopped with the others. */
    if (handover.to->ending)
        server_loop_queue_update(handover.to);
}

/* On the server's own loop they come and go in its thread, and are counted without read-modify-write. */
static void count_in(struct server_loop *to)
{
    if (to == &to->server->own) {
        if (to->alive++ == 0)
            server_hold(to->server);
        return;
    }
    atomic_fetch_add_explicit(&to->loop->shared.committed, 1, memory_order_relaxed);
    server_hold(to->server);
}

void server_count_out(jd_tcp_server *server, jd_event_loop *loop)
{
    if (loop == server->loop) {
        if (--server->own.alive == 0)
            server_release(server);
        return;
    }
    atomic_fetch_sub_explicit(&loop->shared.committed, 1, memory_order_relaxed);
    server_release(server);
}

void server_connection_gone(struct connection_owner *owner, jd_event_loop *loop, int error)
{
    jd_tcp_server *server = server_of_owner(owner);

    server_release_place(server);
    server_count_out(server, loop);
}

void server_push_handover(struct handover *handover)
{
    /* The io loops take tasks as long as a connection is alive, and this one is. */
    event_loop_push(handover->to->loop, &handover->task);
}

static struct handover *make_handover(struct server_loop *to, socket_handle socket, const struct peer_address *peer)
{
    struct handover *handover = memory_allocate(sizeof(*handover));

    if (handover != NULL)
        *handover = (struct handover){ .task.run = run_handover, .to = to, .socket = socket, .peer = *peer };
    return handover;
}

void server_lose_socket(struct server_loop *at, socket_handle socket)
{
    socket_close(socket);
    counter_add(&at->loop->counters.connections_failed, 1);
}

/* ---- accepted ---- */

/* With RST: it costs no TIME-WAIT (RFC 9293, 3.6.1), and the peer need not find out by sending. */
static void refuse(struct server_loop *at, socket_handle socket)
{
    socket_reset_on_close(socket);
    socket_close(socket);
    counter_add(&at->loop->counters.connections_refused, 1);
}

static void take_with(struct server_loop *at, socket_handle socket, const struct peer_address *peer, enum place place)
{
    jd_tcp_server *server = at->server;
    bool hands_over = at == &server->own && server->threads != NULL;
    struct server_loop *to = hands_over ? choose(server, peer) : at;
    struct handover *handover;

    count_in(to);
    /* A stopping server may be inside a call of the user's: no callback comes from there. */
    if (to == at && place == PLACE_FREE && !at->ending) {
        connection_open(at->loop, server->profile, socket, peer);
        return;
    }
    handover = make_handover(to, socket, peer);
    if (handover == NULL) {
        server_lose_socket(at, socket);
        if (place == PLACE_FREE)
            server_release_place(server);
        server_count_out(server, to->loop);
    } else if (place == PLACE_FREE) {
        server_push_handover(handover);
    } else {
        server_wait_for_place(at, handover);
    }
}

void server_take(struct server_loop *at, socket_handle socket, const struct peer_address *peer)
{
    enum place place;

    if (at->ending && at->closing != CLOSING_DRAINED) {
        server_lose_socket(at, socket);
        return;
    }
    place = server_take_place(at);
    if (place == PLACE_NONE)
        refuse(at, socket);
    else
        take_with(at, socket, peer, place);
    if (at->server->places.limit > 0)
        server_loop_update(at);
}
