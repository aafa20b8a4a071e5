#include "tests/support/proxy_headers.h"

#include <string.h>

enum { LENGTH_AT = 14, CHECKSUM_TYPE = 3, CHECKSUM_BYTES = 4, UNIX_BYTES = 108 };

static const uint8_t tcp4[] = { 1, 2, 3, 4, 127, 0, 0, 9, 443 >> 8, 443 & 0xff, 0x1f, 0x90 };
static const uint8_t tcp6[] = {
    0x20,     1,          0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, /* source */
    0x20,     1,          0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, /* destination */
    443 >> 8, 443 & 0xff, 0x1f, 0x90,
};

/* A bit at a time: not the library's way. */
uint32_t crc32c(const uint8_t *data, size_t length)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static void v2_append(struct v2_header *header, const void *bytes, size_t length)
{
    memcpy(header->bytes + header->length, bytes, length);
    header->length += length;
}

void v2_end(struct v2_header *header)
{
    size_t length = header->length - V2_FIXED_BYTES;

    header->bytes[LENGTH_AT] = (uint8_t)(length >> 8);
    header->bytes[LENGTH_AT + 1] = (uint8_t)length;
}

void v2_begin(struct v2_header *header, uint8_t command, uint8_t family)
{
    const uint8_t head[V2_FIXED_BYTES] = { '\r', '\n', '\r', '\n', 0,       '\r',   '\n', 'Q',
                                           'U',  'I',  'T',  '\n', command, family, 0,    0 };
    uint8_t paths[2 * UNIX_BYTES] = "/run/client";

    header->length = 0;
    v2_append(header, head, sizeof(head));
    memcpy(paths + UNIX_BYTES, "/run/server", sizeof("/run/server"));
    if (family == V2_TCP4 || family == V2_UDP4)
        v2_append(header, tcp4, sizeof(tcp4));
    else if (family == V2_TCP6)
        v2_append(header, tcp6, sizeof(tcp6));
    else if (family == V2_UNIX)
        v2_append(header, paths, sizeof(paths));
    v2_end(header);
}

void v2_add(struct v2_header *header, uint8_t type, size_t length, uint8_t value)
{
    const uint8_t head[] = { type, (uint8_t)(length >> 8), (uint8_t)length };

    v2_append(header, head, sizeof(head));
    memset(header->bytes + header->length, value, length);
    header->length += length;
    v2_end(header);
}

size_t v2_add_room_for_checksum(struct v2_header *header)
{
    v2_add(header, CHECKSUM_TYPE, CHECKSUM_BYTES, 0);
    return header->length - CHECKSUM_BYTES;
}

void v2_set_checksum(struct v2_header *header, size_t at)
{
    uint32_t crc;

    memset(header->bytes + at, 0, CHECKSUM_BYTES);
    crc = crc32c(header->bytes, header->length);
    for (int i = 0; i < CHECKSUM_BYTES; i++)
        header->bytes[at + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
}

void v2_add_checksum(struct v2_header *header)
{
    v2_set_checksum(header, v2_add_room_for_checksum(header));
}
