/* The options of the PROXY protocol (net/filter/proxy_filter.h). */
#include "base/log.h"
#include "base/memory.h"
#include "net/filter/proxy_header.h"
#include "net/server/server.h"

#include <jinduo/error.h>

enum { PROXY_TIMEOUT_MS = 5000, PROXY_HEADER_BYTES = 4096 };

/* An option that would have no effect is a mistake. */
static int proxy_check_off(const jd_tcp_server_options *options, const char *name)
{
    if (options->proxy_timeout_ms == 0 && options->proxy_header_limit == 0)
        return 0;
    return log_invalid("%s: %s has no effect without proxy_sources", name,
                       options->proxy_timeout_ms != 0 ? "proxy_timeout_ms" : "proxy_header_limit");
}

int server_proxy_check(const jd_tcp_server_options *options, const char *name)
{
    struct proxy_settings settings = { 0 };

    if (options->proxy_sources == NULL)
        return proxy_check_off(options, name);
    if (options->load_balance == JD_LOAD_BALANCE_PEER_ADDRESS)
        return log_invalid("%s: load_balance JD_LOAD_BALANCE_PEER_ADDRESS does not go with proxy_sources: the loop is "
                           "chosen before the client's address is known",
                           name);
    if (options->proxy_header_limit != 0 &&
        (options->proxy_header_limit < PROXY_V2_LEAST_LIMIT || options->proxy_header_limit > PROXY_V2_MAX_BYTES))
        return log_invalid("%s: proxy_header_limit of %zu bytes must be from %d to %d", name,
                           options->proxy_header_limit, PROXY_V2_LEAST_LIMIT, PROXY_V2_MAX_BYTES);
    if (connection_timeout_check(name, "proxy_timeout_ms", options->proxy_timeout_ms) < 0)
        return JD_EINVAL;
    return proxy_sources_parse(&settings, name, options->proxy_sources);
}

int server_proxy_create(const jd_tcp_server_options *options, const char *name, struct proxy_settings **proxy)
{
    *proxy = NULL;
    if (options->proxy_sources == NULL)
        return 0;
    *proxy = memory_allocate_zeroed(sizeof(**proxy));
    if (*proxy == NULL)
        return JD_ENOMEM;
    (*proxy)->timeout_ms = options->proxy_timeout_ms != 0 ? options->proxy_timeout_ms : PROXY_TIMEOUT_MS;
    (*proxy)->header_limit = options->proxy_header_limit != 0 ? options->proxy_header_limit : PROXY_HEADER_BYTES;
    return proxy_sources_parse(*proxy, name, options->proxy_sources);
}

void server_proxy_free(struct proxy_settings *proxy)
{
    if (proxy != NULL)
        memory_release(proxy, sizeof(*proxy));
}
