/* Where a server listens: addresses, and host names, which each start looks up. */
#include "base/log.h"
#include "base/memory.h"
#include "base/platform/name_lookup.h"
#include "net/server/server.h"

#include <jinduo/error.h>

enum {
    NAME_ADDRESSES_MAX = 16, /* of one name; the rest is ignored */
    PORT_TRIES = 16,         /* the port that the system chose for one address may be taken at the next */
};

/* ---- the list ---- */

static struct server_endpoint *endpoint_create(const jd_endpoint *asked)
{
    struct server_endpoint *endpoint = memory_allocate_zeroed(sizeof(*endpoint));

    if (endpoint != NULL)
        endpoint->asked = *asked;
    return endpoint;
}

static void endpoint_free(struct server_endpoint *endpoint)
{
    if (endpoint->name != NULL)
        memory_release(endpoint->name, sizeof(*endpoint->name));
    memory_release(endpoint, sizeof(*endpoint));
}

static struct server_endpoint *endpoint_create_name(const struct host_port *name)
{
    static const jd_endpoint none;
    struct server_endpoint *endpoint = endpoint_create(&none);

    if (endpoint == NULL)
        return NULL;
    endpoint->name = memory_allocate(sizeof(*endpoint->name));
    if (endpoint->name == NULL) {
        endpoint_free(endpoint);
        return NULL;
    }
    *endpoint->name = *name;
    return endpoint;
}

static void endpoint_append(jd_tcp_server *server, struct server_endpoint *endpoint)
{
    struct server_endpoint **link = &server->endpoints;

    while (*link != NULL)
        link = &(*link)->next;
    *link = endpoint;
}

/* Removes the addresses that a start has found for a name. */
static void name_drop_addresses(struct server_endpoint *name)
{
    while (name->next != NULL && name->next->is_of_name) {
        struct server_endpoint *address = name->next;
        name->next = address->next;
        endpoint_free(address);
    }
}

void server_free_endpoints(jd_tcp_server *server)
{
    while (server->endpoints != NULL) {
        struct server_endpoint *endpoint = server->endpoints;
        server->endpoints = endpoint->next;
        endpoint_free(endpoint);
    }
}

void server_forget_bound(jd_tcp_server *server)
{
    for (struct server_endpoint *endpoint = server->endpoints; endpoint != NULL; endpoint = endpoint->next) {
        endpoint->bound.length = 0;
        if (endpoint->name != NULL)
            name_drop_addresses(endpoint);
    }
}

void server_keep_bound(jd_tcp_server *server)
{
    for (struct server_endpoint *endpoint = server->endpoints; endpoint != NULL; endpoint = endpoint->next) {
        if (endpoint->name == NULL)
            endpoint->asked = endpoint->bound;
        else
            host_port_set_port(endpoint->name, jd_endpoint_port(&endpoint->next->bound));
    }
}

/* ---- opening ---- */

/* The host has no such address, or no such kind of address: a name may have it for other hosts. */
static bool is_address_of_others(int error)
{
    return error == JD_EADDRNOTAVAIL || error == -EAFNOSUPPORT;
}

static void name_log_skipped(const jd_tcp_server *server, const struct host_port *name, const jd_endpoint *address,
                             int error)
{
    char text[JD_ENDPOINT_TEXT_BYTES];

    jd_endpoint_format(address, text, sizeof(text));
    log_message(JD_LOG_INFO, "%s: listen '%s:%s': %s is left out: %s", server->profile->name, name->host, name->port,
                text, jd_strerror(error));
}

/* Opens the addresses at one port: if the system chooses it, it does so for the first. */
static int name_open_addresses(jd_tcp_server *server, struct server_endpoint *name, const jd_endpoint *addresses,
                               unsigned count, struct start_attempt *attempt)
{
    struct server_endpoint **link = &name->next;
    uint16_t port = jd_endpoint_port(&addresses[0]);
    int skipped = JD_EADDRNOTAVAIL;

    for (unsigned i = 0; i < count; i++) {
        struct server_endpoint *address = endpoint_create(&addresses[i]);
        int result = address != NULL ? 0 : JD_ENOMEM;
        if (result < 0)
            return result;
        endpoint_set_port(&address->asked, port);
        attempt->failed = address->asked;
        result = server_open_endpoint(server, address, &attempt->opened);
        if (result < 0)
            endpoint_free(address);
        if (is_address_of_others(result)) {
            name_log_skipped(server, name->name, &attempt->failed, result);
            skipped = result;
            continue;
        }
        if (result < 0)
            return result;
        port = jd_endpoint_port(&address->bound);
        address->is_of_name = true;
        address->next = *link;
        *link = address;
        link = &address->next;
    }
    return link != &name->next ? 0 : skipped;
}

static bool addresses_contain(const jd_endpoint *addresses, unsigned count, const jd_endpoint *wanted)
{
    for (unsigned i = 0; i < count; i++)
        if (jd_endpoint_equal(&addresses[i], wanted))
            return true;
    return false;
}

/* The system may give an address more than once (hosts(5) with several lines for a name). */
static unsigned addresses_unite(jd_endpoint *addresses, unsigned count)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++)
        if (!addresses_contain(addresses, kept, &addresses[i]))
            addresses[kept++] = addresses[i];
    return kept;
}

static int name_look_up(const jd_tcp_server *server, const struct host_port *name,
                        jd_endpoint addresses[NAME_ADDRESSES_MAX], unsigned *count)
{
    const char *reason;
    int result = name_lookup(name, addresses, NAME_ADDRESSES_MAX, count, &reason);

    if (result < 0)
        log_message(JD_LOG_ERROR, "%s: listen '%s:%s': %s", server->profile->name, name->host, name->port, reason);
    else
        *count = addresses_unite(addresses, *count);
    return result;
}

static void name_log_failed(const jd_tcp_server *server, const struct host_port *name, const jd_endpoint *address,
                            int error)
{
    char text[JD_ENDPOINT_TEXT_BYTES];

    jd_endpoint_format(address, text, sizeof(text));
    log_message(JD_LOG_ERROR, "%s: listen '%s:%s': %s: %s", server->profile->name, name->host, name->port, text,
                jd_strerror(error));
}

/* Closes what name_open_addresses has opened. */
static void name_abandon_addresses(struct server_endpoint *name, struct start_attempt *attempt,
                                   struct server_listener *opened_before)
{
    struct server_listener *opened = attempt->opened, **link = &opened;

    while (*link != opened_before)
        link = &(*link)->next;
    *link = NULL;
    server_abandon_listeners(opened);
    attempt->opened = opened_before;
    name_drop_addresses(name);
}

static int name_open(jd_tcp_server *server, struct server_endpoint *name, struct start_attempt *attempt)
{
    struct server_listener *opened_before = attempt->opened;
    jd_endpoint addresses[NAME_ADDRESSES_MAX];
    unsigned count, tries = 0;
    int result;

    name_drop_addresses(name);
    attempt->is_logged = true;
    result = name_look_up(server, name->name, addresses, &count);
    if (result < 0)
        return result;
    do {
        result = name_open_addresses(server, name, addresses, count, attempt);
        if (result < 0)
            name_abandon_addresses(name, attempt, opened_before);
    } while (result == JD_EADDRINUSE && jd_endpoint_port(&addresses[0]) == 0 && ++tries < PORT_TRIES);
    if (result < 0)
        name_log_failed(server, name->name, &attempt->failed, result);
    return result;
}

static int endpoint_open(jd_tcp_server *server, struct server_endpoint *endpoint, struct start_attempt *attempt)
{
    attempt->is_logged = false;
    attempt->failed = endpoint->asked; /* none, if it is a name */
    return endpoint->name != NULL ? name_open(server, endpoint, attempt)
                                  : server_open_endpoint(server, endpoint, &attempt->opened);
}

int server_open_endpoints(jd_tcp_server *server, struct start_attempt *attempt)
{
    for (struct server_endpoint *endpoint = server->endpoints; endpoint != NULL; endpoint = endpoint->next) {
        int result = endpoint->is_of_name ? 0 : endpoint_open(server, endpoint, attempt);
        if (result < 0)
            return result;
    }
    *attempt = (struct start_attempt){ .opened = attempt->opened };
    return 0;
}

static int endpoint_listen_now(jd_tcp_server *server, struct server_endpoint *endpoint)
{
    struct start_attempt attempt = { 0 };
    int result = endpoint_open(server, endpoint, &attempt);

    if (result < 0)
        server_abandon_listeners(attempt.opened);
    else
        server_begin_listening(attempt.opened);
    return result;
}

/* ---- the public functions ---- */

/* Whether an endpoint may be added, by the thread and the server's state. */
static int listen_check(const jd_tcp_server *server)
{
    if (!event_loop_is_in_loop_thread(server->loop))
        return JD_EPERM;
    if (server->state > SERVER_STARTED)
        return log_invalid("%s: listen: the server is stopping", server->profile->name);
    return 0;
}

/* Owns the endpoint, which may be NULL: no memory. */
static int listen_add(jd_tcp_server *server, struct server_endpoint *endpoint)
{
    int result = endpoint == NULL                  ? JD_ENOMEM
                 : server->state == SERVER_STARTED ? endpoint_listen_now(server, endpoint)
                                                   : 0;

    if (result < 0) {
        if (endpoint != NULL)
            endpoint_free(endpoint);
        return result;
    }
    endpoint_append(server, endpoint);
    if (server->state == SERVER_STARTED)
        server_keep_bound(server);
    return 0;
}

int jd_tcp_server_listen(jd_tcp_server *server, const jd_endpoint *asked, jd_endpoint *bound)
{
    struct server_endpoint *endpoint;
    int result = listen_check(server);

    if (result < 0)
        return result;
    if (asked->length == 0)
        return log_invalid("%s: listen: the endpoint is empty", server->profile->name);
    endpoint = endpoint_create(asked);
    result = listen_add(server, endpoint);
    if (result == 0 && bound != NULL)
        *bound = endpoint->bound;
    return result;
}

int server_listen_parse(const char *server_name, const char *text, jd_endpoint *endpoint, struct host_port *name)
{
    const char *reason;

    if (endpoint_or_name_parse(endpoint, name, text, &reason) == 0)
        return 0;
    return log_invalid("%s: listen '%s': %s", server_name, text != NULL ? text : "", reason);
}

int jd_tcp_server_listen_text(jd_tcp_server *server, const char *text)
{
    jd_endpoint endpoint;
    struct host_port name;
    int result = listen_check(server);

    if (result < 0)
        return result;
    if (server_listen_parse(server->profile->name, text, &endpoint, &name) < 0)
        return JD_EINVAL;
    return listen_add(server, endpoint.length > 0 ? endpoint_create(&endpoint) : endpoint_create_name(&name));
}

static const struct server_endpoint *endpoint_skip_names(const struct server_endpoint *endpoint)
{
    while (endpoint != NULL && endpoint->name != NULL)
        endpoint = endpoint->next;
    return endpoint;
}

size_t jd_tcp_server_endpoint_count(const jd_tcp_server *server)
{
    const struct server_endpoint *endpoint = endpoint_skip_names(server->endpoints);
    size_t count = 0;

    for (; endpoint != NULL; endpoint = endpoint_skip_names(endpoint->next))
        count++;
    return count;
}

int jd_tcp_server_endpoint(const jd_tcp_server *server, size_t index, jd_endpoint *out)
{
    const struct server_endpoint *endpoint = endpoint_skip_names(server->endpoints);

    while (endpoint != NULL && index-- > 0)
        endpoint = endpoint_skip_names(endpoint->next);
    if (endpoint == NULL)
        return JD_ENOENT;
    *out = endpoint->bound.length > 0 ? endpoint->bound : endpoint->asked;
    return 0;
}
