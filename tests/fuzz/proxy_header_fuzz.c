/* Headers of the PROXY protocol: any bytes, any limit, any split. The model looks at the whole header at once, and at a checksum
 * bit by bit. */
#include "net/filter/proxy_header.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/proxy_headers.h"

#include <jinduo/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t v2_signature[] = { '\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n' };

/* Splits the text at each space. Returns the number of pieces, most + 1 if there are more than that. */
static int split(char *text, char *pieces[], int most)
{
    int count = 0;

    for (char *next = text; next != NULL; count++) {
        char *space = strchr(next, ' ');
        if (count == most)
            return most + 1;
        pieces[count] = next;
        if (space != NULL)
            *space++ = '\0';
        next = space;
    }
    return count;
}

/* A number that is written as the shortest decimal number. */
static bool is_port(const char *text)
{
    char again[16];
    unsigned long value = strtoul(text, NULL, 10);

    snprintf(again, sizeof(again), "%lu", value < 70000 ? value : 70000);
    return strcmp(text, again) == 0 && value <= UINT16_MAX;
}

/* The bytes of the header, or 0 if there is none. */
static size_t model_v1(const uint8_t *data, size_t length, struct peer_address *peer)
{
    enum { WORDS = 6 };
    char line[PROXY_V1_MAX_BYTES + 1], *words[WORDS];
    const uint8_t *end = memchr(data, '\n', length < PROXY_V1_MAX_BYTES ? length : PROXY_V1_MAX_BYTES);
    size_t bytes = end != NULL ? (size_t)(end - data) + 1 : 0;
    int family, count;

    if (bytes < 2 || data[bytes - 2] != '\r')
        return 0;
    memcpy(line, data, bytes - 2);
    line[bytes - 2] = '\0';
    if (strlen(line) != bytes - 2 || strchr(line, '\r') != NULL)
        return 0;
    if (strcmp(line, "PROXY UNKNOWN") == 0 || strncmp(line, "PROXY UNKNOWN ", 14) == 0)
        return bytes;
    count = split(line, words, WORDS);
    if (count != WORDS || strcmp(words[0], "PROXY") != 0)
        return 0;
    family = strcmp(words[1], "TCP4") == 0 ? AF_INET : strcmp(words[1], "TCP6") == 0 ? AF_INET6 : AF_UNSPEC;
    if (family == AF_UNSPEC || inet_pton(family, words[3], peer->bytes) != 1 || !is_port(words[4]) ||
        !is_port(words[5]))
        return 0;
    memset(peer->bytes, 0, sizeof(peer->bytes));
    if (inet_pton(family, words[2], peer->bytes) != 1)
        return 0;
    peer->family = (uint16_t)family;
    peer->port = (uint16_t)strtoul(words[4], NULL, 10);
    return bytes;
}

/* Whether records fill the length bytes at `at` of the header exactly. Notes where a checksum is. */
static bool model_records(const uint8_t *header, size_t at, size_t length, size_t *checksum_at)
{
    size_t value_bytes;

    if (length == 0)
        return true;
    if (length < 3)
        return false;
    value_bytes = (size_t)header[at + 1] * 256 + header[at + 2];
    if (3 + value_bytes > length)
        return false;
    if (header[at] == 3) {
        if (value_bytes != 4 || *checksum_at != 0)
            return false;
        *checksum_at = at + 3;
    }
    return model_records(header, at + 3 + value_bytes, length - 3 - value_bytes, checksum_at);
}

static bool model_checksum(const uint8_t *header, size_t bytes, size_t at)
{
    uint8_t *copy = fuzz_copy(header, bytes);
    uint32_t crc, claimed = 0;

    memset(copy + at, 0, 4);
    crc = crc32c(copy, bytes);
    free(copy);
    for (int i = 0; i < 4; i++)
        claimed = claimed << 8 | header[at + (size_t)i];
    return crc == claimed;
}

static size_t model_v2(const uint8_t *data, size_t length, size_t limit, struct peer_address *peer)
{
    size_t bytes = length >= 16 ? 16 + (size_t)data[14] * 256 + data[15] : 0, checksum_at = 0, addresses;
    int kind;

    if (bytes == 0 || bytes > limit || bytes > length || (data[12] != 0x20 && data[12] != 0x21))
        return 0;
    if (data[12] == 0x20 || data[13] == 0)
        return bytes;
    kind = data[13] >> 4;
    if (kind < 1 || kind > 3 || (data[13] & 15) < 1 || (data[13] & 15) > 2)
        return 0;
    addresses = kind == 1 ? 12 : kind == 2 ? 36 : 216;
    if (bytes < 16 + addresses || !model_records(data, 16 + addresses, bytes - 16 - addresses, &checksum_at))
        return 0;
    if (checksum_at != 0 && !model_checksum(data, bytes, checksum_at))
        return 0;
    peer->family = kind == 1 ? AF_INET : kind == 2 ? AF_INET6 : AF_UNIX;
    if (kind < 3) {
        memcpy(peer->bytes, data + 16, kind == 1 ? 4 : 16);
        peer->port = (uint16_t)(data[16 + addresses - 4] * 256 + data[16 + addresses - 3]);
    }
    return bytes;
}

static size_t model(const uint8_t *data, size_t length, size_t limit, struct peer_address *peer)
{
    *peer = (struct peer_address){ 0 };
    if (length >= sizeof(v2_signature) && memcmp(data, v2_signature, sizeof(v2_signature)) == 0)
        return model_v2(data, length, limit, peer);
    if (length >= 6 && memcmp(data, "PROXY ", 6) == 0)
        return model_v1(data, length, peer);
    return 0;
}

static int parse(const uint8_t *data, size_t length, size_t limit, struct proxy_header *header)
{
    uint8_t *copy = fuzz_copy(data, length);
    const char *reason = NULL;
    int result = proxy_header_parse(header, copy, length, limit, &reason);

    free(copy);
    REQUIRE(result == 1 || result == 0 || result == JD_EPROTO || result == JD_EMSGSIZE);
    REQUIRE((result < 0) == (reason != NULL));
    return result;
}

/* Sets the checksum that the header has, so that libFuzzer need not compute one. */
static void mend_checksum(uint8_t *data, size_t length)
{
    size_t bytes = length >= 16 ? 16 + (size_t)data[14] * 256 + data[15] : 0, at = 0;
    size_t begin = length >= 16 && data[13] >> 4 == 1 ? 28 : length >= 16 && data[13] >> 4 == 2 ? 52 : 232;
    uint32_t crc;

    if (bytes < begin || bytes > length || !model_records(data, begin, bytes - begin, &at) || at == 0)
        return;
    memset(data + at, 0, 4);
    crc = crc32c(data, bytes);
    for (int i = 0; i < 4; i++)
        data[at + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
}

/* The same is found however much has come; what is refused stays refused. */
static void check_splits(const uint8_t *data, size_t length, size_t limit, int result, size_t bytes)
{
    struct proxy_header header;
    bool refused = false;

    for (size_t cut = 0; cut <= length; cut += cut < 256 || cut + 8 > length || cut + 1 == bytes ? 1 : 8) {
        int part = parse(data, cut, limit, &header);
        REQUIRE(!refused || part < 0);
        refused = part < 0;
        if (result == 1)
            REQUIRE(cut < bytes ? part == 0 : part == 1 && header.bytes == bytes);
        else
            REQUIRE(part == 0 || part == result);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    uint8_t choice = fuzz_byte(&input);
    size_t limit = PROXY_V2_LEAST_LIMIT + (choice >> 1) * 32, length = input.left, bytes;
    uint8_t *stream = fuzz_copy(fuzz_take(&input, &length), length);
    struct proxy_header header;
    struct peer_address peer;
    int result;

    if (choice & 1)
        mend_checksum(stream, length);
    result = parse(stream, length, limit, &header);
    bytes = model(stream, length, limit, &peer);
    REQUIRE((result == 1) == (bytes > 0));
    if (result == 1) {
        REQUIRE(header.bytes == bytes && header.has_peer == (peer.family != AF_UNSPEC));
        REQUIRE(memcmp(&header.peer, &peer, sizeof(peer)) == 0);
    }
    check_splits(stream, length, limit, result, header.bytes);
    free(stream);
    return 0;
}
