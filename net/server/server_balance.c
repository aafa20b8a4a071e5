/* Load balancing: which loop an accepted connection lives on, and how it gets there. */
#include "base/log.h"
#include "base/memory.h"
#include "base/platform/thread.h"
#include "net/server/server.h"

#include <string.h>

/* ---- which loop ---- */

static unsigned balance_next_index(const jd_tcp_server *server, unsigned index)
{
    return index + 1 < server->io_threads ? index + 1 : 0;
}

static struct server_loop *balance_take(jd_tcp_server *server, unsigned index)
{
    server->next_io_loop = balance_next_index(server, index);
    return &server->io_loops[index];
}

static uint32_t balance_connections(const struct server_loop *slot)
{
    return atomic_load_explicit(&slot->loop->shared.committed, memory_order_relaxed);
}

/* Of loops with equally few connections, the next in round-robin order. Connections in flight to a loop are included,
 * as they are counted when the loop is chosen. */
static unsigned balance_least_connections(const jd_tcp_server *server)
{
    unsigned index = server->next_io_loop, least = index;

    for (unsigned i = 1; i < server->io_threads; i++) {
        index = balance_next_index(server, index);
        if (balance_connections(&server->io_loops[index]) < balance_connections(&server->io_loops[least]))
            least = index;
    }
    return least;
}

/* The address without the port, as *bytes and the returned length. An IPv4-mapped address (::ffff:a.b.c.d, from an IPv6
 * socket) counts as the IPv4 address. */
static size_t peer_address_bytes(const struct peer_address *peer, const uint8_t **bytes)
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

/* FNV-1a (RFC 9923), then the last mixing step of MurmurHash3, because only a few low bits are used. */
static uint64_t peer_address_hash(const struct peer_address *peer)
{
    static const uint64_t offset_basis = 0xcbf29ce484222325, prime = 0x100000001b3, mix = 0xff51afd7ed558ccd;
    enum { MIX_SHIFT = 33 };
    const uint8_t *bytes;
    size_t length = peer_address_bytes(peer, &bytes);
    uint64_t hash = offset_basis ^ peer->scope;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * prime;
    hash = (hash ^ hash >> MIX_SHIFT) * mix;
    return hash ^ hash >> MIX_SHIFT;
}

static struct server_loop *balance_choose(jd_tcp_server *server, const struct peer_address *peer)
{
    bool has_address = peer->family == AF_INET || peer->family == AF_INET6;

    if (server->load_balance == JD_LOAD_BALANCE_LEAST_CONNECTIONS)
        return balance_take(server, balance_least_connections(server));
    if (server->load_balance == JD_LOAD_BALANCE_PEER_ADDRESS && has_address)
        return &server->io_loops[peer_address_hash(peer) % server->io_threads];
    return balance_take(server, server->next_io_loop);
}

/* ---- hand-over ---- */

static void handover_run(struct task_node *task)
{
    struct handover handover = *(struct handover *)task;

    memory_release(task, sizeof(handover));
    connection_open(handover.to->loop, handover.to->server->profile, handover.socket, &handover.peer);
    /* Opened after the loop's connections were closed: the update closes this one, too. */
    if (handover.to->ending)
        server_loop_queue_update(handover.to);
}

/* A connection of the base loop is added and removed in that loop's thread, so plain counting is enough. */
static void slot_add_connection(struct server_loop *to)
{
    if (to == &to->server->base_loop) {
        if (to->connections++ == 0)
            server_ref(to->server);
        return;
    }
    atomic_fetch_add_explicit(&to->loop->shared.committed, 1, memory_order_relaxed);
    server_ref(to->server);
}

void server_remove_connection(jd_tcp_server *server, jd_event_loop *loop)
{
    if (loop == server->loop) {
        if (--server->base_loop.connections == 0)
            server_unref(server);
        return;
    }
    atomic_fetch_sub_explicit(&loop->shared.committed, 1, memory_order_relaxed);
    server_unref(server);
}

void server_connection_gone(struct connection_owner *owner, jd_event_loop *loop, int error)
{
    jd_tcp_server *server = server_of_owner(owner);

    server_admission_release(server);
    server_remove_connection(server, loop);
}

void server_push_handover(struct handover *handover)
{
    /* The push cannot fail: io loops accept tasks while the server has references, and this connection owns one. */
    event_loop_push(handover->to->loop, &handover->task);
}

static struct handover *handover_create(struct server_loop *to, socket_handle socket, const struct peer_address *peer)
{
    struct handover *handover = memory_allocate(sizeof(*handover));

    if (handover != NULL)
        *handover = (struct handover){ .task.run = handover_run, .to = to, .socket = socket, .peer = *peer };
    return handover;
}

void server_drop_socket(struct server_loop *slot, socket_handle socket)
{
    socket_close(socket);
    counter_add(&slot->loop->counters.connections_failed, 1);
}

/* ---- accepted sockets ---- */

/* Closes with RST: that leaves no TIME-WAIT (RFC 9293, 3.6.1), and the peer learns of the refusal at once. */
static void server_refuse_socket(struct server_loop *slot, socket_handle socket)
{
    socket_reset_on_close(socket);
    socket_close(socket);
    counter_add(&slot->loop->counters.connections_refused, 1);
}

static void server_refuse_source(struct server_loop *slot, socket_handle socket, const struct peer_address *peer)
{
    char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint;

    if (loop_may_log(slot->loop)) {
        peer_address_to_endpoint(peer, &endpoint);
        jd_endpoint_format(&endpoint, text, sizeof(text));
        log_message(JD_LOG_WARNING, "%s: %s: connection refused: the peer is not one of proxy_sources",
                    slot->server->profile->name, text);
    }
    counter_add(&slot->loop->counters.proxy_sources_refused, 1);
    server_refuse_socket(slot, socket);
}

static void server_place_accepted(struct server_loop *slot, socket_handle socket, const struct peer_address *peer,
                                  enum admission admission)
{
    jd_tcp_server *server = slot->server;
    bool hands_over = slot == &server->base_loop && server->threads != NULL;
    struct server_loop *to = hands_over ? balance_choose(server, peer) : slot;
    struct handover *handover;

    slot_add_connection(to);
    /* Not while the slot is ending: the user may be inside jd_tcp_server_stop, from which no callback may be
     * invoked. */
    if (to == slot && admission == ADMISSION_GRANTED && !slot->ending) {
        connection_open(slot->loop, server->profile, socket, peer);
        return;
    }
    handover = handover_create(to, socket, peer);
    if (handover == NULL) {
        server_drop_socket(slot, socket);
        if (admission == ADMISSION_GRANTED)
            server_admission_release(server);
        server_remove_connection(server, to->loop);
    } else if (admission == ADMISSION_GRANTED) {
        server_push_handover(handover);
    } else {
        server_admission_wait(slot, handover);
    }
}

void server_take_accepted(struct server_loop *slot, socket_handle socket, const struct peer_address *peer)
{
    enum admission admission;

    if (slot->ending && slot->closing != CLOSING_DRAINED) {
        server_drop_socket(slot, socket);
        return;
    }
    if (slot->server->proxy != NULL && !proxy_trusts(slot->server->proxy, peer)) {
        server_refuse_source(slot, socket, peer);
        return;
    }
    admission = server_admission_take(slot);
    if (admission == ADMISSION_REFUSED)
        server_refuse_socket(slot, socket);
    else
        server_place_accepted(slot, socket, peer, admission);
    if (slot->server->admission.limit > 0)
        server_loop_update(slot);
}
