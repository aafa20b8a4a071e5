/* The filter that waits for a PROXY header. */
#include "net/filter/proxy_filter.h"

#include "base/memory.h"
#include "net/filter/proxy_header.h"

struct proxy_filter {
    struct filter filter;
    size_t header_limit;
};

static ptrdiff_t proxy_input(struct filter *filter, const uint8_t *data, size_t length, struct peer_address *peer,
                             const char **reason)
{
    const struct proxy_filter *proxy = (const struct proxy_filter *)filter;
    struct proxy_header header;
    int result = proxy_header_parse(&header, data, length, proxy->header_limit, reason);

    if (result <= 0)
        return result;
    if (header.has_peer)
        *peer = header.peer;
    return (ptrdiff_t)header.bytes;
}

static void proxy_end(struct filter *filter)
{
    memory_release(filter, sizeof(struct proxy_filter));
}

struct filter *proxy_filter_create(const struct proxy_settings *settings)
{
    struct proxy_filter *proxy = memory_allocate(sizeof(*proxy));

    if (proxy == NULL)
        return NULL;
    *proxy = (struct proxy_filter){ .filter = { proxy_input, proxy_end }, .header_limit = settings->header_limit };
    return &proxy->filter;
}
