/* The sources from which a server takes PROXY headers. */
#include "base/log.h"
#include "net/filter/proxy_filter.h"

#include <jinduo/error.h>
#include <string.h>

enum { IPV4_BYTES = 4, MAPPED_BYTES = 12, MAPPED_BITS = 96, ADDRESS_BITS = 128, BYTE_BITS = 8 };

static const char separators[] = " \t,";

/* The address as 16 bytes. Returns false for a peer without one. */
static bool address_bytes(const struct peer_address *peer, uint8_t bytes[16])
{
    if (peer->family == AF_INET6) {
        memcpy(bytes, peer->bytes, sizeof(peer->bytes));
        return true;
    }
    memset(bytes, 0, MAPPED_BYTES);
    bytes[MAPPED_BYTES - 1] = bytes[MAPPED_BYTES - 2] = 0xff;
    memcpy(bytes + MAPPED_BYTES, peer->bytes, IPV4_BYTES);
    return peer->family == AF_INET;
}

/* The mask of byte i of a prefix. */
static uint8_t prefix_mask(unsigned bits, unsigned i)
{
    unsigned before = i * BYTE_BITS;

    if (bits >= before + BYTE_BITS)
        return UINT8_MAX;
    return bits <= before ? 0 : (uint8_t)(UINT8_MAX << (before + BYTE_BITS - bits));
}

static bool source_has(const struct proxy_source *source, const uint8_t bytes[16])
{
    for (unsigned i = 0; i < sizeof(source->bytes); i++)
        if ((bytes[i] ^ source->bytes[i]) & prefix_mask(source->bits, i))
            return false;
    return true;
}

bool proxy_trusts(const struct proxy_settings *settings, const struct peer_address *peer)
{
    uint8_t bytes[16];

    if (peer->family == AF_UNIX)
        return settings->trusts_unix;
    if (!address_bytes(peer, bytes))
        return false;
    for (unsigned i = 0; i < settings->sources_count; i++)
        if (source_has(&settings->sources[i], bytes))
            return true;
    return false;
}

/* ---- parsing ---- */

/* "/8": at most `most`. Returns false if it is none. */
static bool prefix_parse(const char *text, unsigned most, unsigned *bits)
{
    enum { DECIMAL = 10, DIGITS = 3 };
    size_t digits = strspn(text, "0123456789");

    *bits = 0;
    if (digits == 0 || digits > DIGITS || text[digits] != '\0')
        return false;
    for (size_t i = 0; i < digits; i++)
        *bits = *bits * DECIMAL + (unsigned)(text[i] - '0');
    return *bits <= most;
}

static bool source_has_bits_behind_prefix(const struct proxy_source *source)
{
    for (unsigned i = 0; i < sizeof(source->bytes); i++)
        if (source->bytes[i] & (uint8_t)~prefix_mask(source->bits, i))
            return true;
    return false;
}

/* Sets *source to the address, or network, that word names. Returns NULL, or what is wrong. */
static const char *source_parse(struct proxy_source *source, char *word)
{
    struct peer_address peer = { .family = strchr(word, ':') != NULL ? AF_INET6 : AF_INET };
    unsigned bits = peer.family == AF_INET ? ADDRESS_BITS - MAPPED_BITS : ADDRESS_BITS;
    char *slash = strchr(word, '/');

    if (slash != NULL) {
        *slash = '\0';
        if (!prefix_parse(slash + 1, bits, &bits))
            return "the prefix must be a number from 0 to 32, or to 128 for IPv6";
    }
    if (inet_pton(peer.family, word, peer.bytes) != 1)
        return "it is none of an address, a network as 10.0.0.0/8, \"unix\" and \"all\"";
    address_bytes(&peer, source->bytes);
    source->bits = peer.family == AF_INET ? bits + MAPPED_BITS : bits;
    return source_has_bits_behind_prefix(source) ? "the address has bits behind its prefix" : NULL;
}

static void trust_all(struct proxy_settings *settings)
{
    settings->sources[0] = (struct proxy_source){ .bits = 0 };
    settings->sources_count = 1;
    settings->trusts_unix = true;
}

static const char *settings_add(struct proxy_settings *settings, const char *text, size_t length)
{
    char word[64];

    if (length >= sizeof(word))
        return "it is too long";
    memcpy(word, text, length);
    word[length] = '\0';
    if (strcmp(word, "unix") == 0) {
        settings->trusts_unix = true;
        return NULL;
    }
    if (strcmp(word, "all") == 0) {
        trust_all(settings);
        return NULL;
    }
    if (settings->sources_count == PROXY_SOURCES_MAX)
        return "there may be at most 64 sources";
    return source_parse(&settings->sources[settings->sources_count++], word);
}

int proxy_sources_parse(struct proxy_settings *settings, const char *server_name, const char *text)
{
    const char *word = text + strspn(text, separators), *wrong;
    size_t length;

    for (; *word != '\0'; word += length + strspn(word + length, separators)) {
        length = strcspn(word, separators);
        wrong = settings_add(settings, word, length);
        if (wrong != NULL)
            return log_invalid("%s: proxy_sources '%s': '%.*s': %s", server_name, text, (int)length, word, wrong);
    }
    if (settings->sources_count == 0 && !settings->trusts_unix)
        return log_invalid("%s: proxy_sources '%s' names no source; \"all\" trusts all", server_name, text);
    return 0;
}
