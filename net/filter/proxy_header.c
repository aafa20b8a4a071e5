/* The parser of PROXY protocol headers. Section numbers are those of the specification (proxy_header.h). */
#include "net/filter/proxy_header.h"

#include <jinduo/error.h>
#include <string.h>

static int refuse(const char **reason, const char *text)
{
    *reason = text;
    return JD_EPROTO;
}

/* ---- version 1: a line of text (2.1) ---- */

/* Cuts the next word off the line, which is behind the word then. Words are separated by one space each. */
static const char *line_take_word(char **line)
{
    const char *word = *line;
    char *end = strchr(word, ' ');

    if (end == NULL) {
        *line += strlen(word);
        return word;
    }
    *end = '\0';
    *line = end + 1;
    return word;
}

/* Decimal, without leading zeros. */
static bool port_parse(const char *word, uint16_t *port)
{
    enum { PORT_DIGITS = 5, DECIMAL = 10 };
    size_t digits = strspn(word, "0123456789");
    unsigned value = 0;

    if (digits == 0 || digits > PORT_DIGITS || word[digits] != '\0' || (word[0] == '0' && digits > 1))
        return false;
    for (size_t i = 0; i < digits; i++)
        value = value * DECIMAL + (unsigned)(word[i] - '0');
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* "SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT" */
static int v1_parse_addresses(struct proxy_header *header, char *line, int family, const char **reason)
{
    struct peer_address destination = { .family = (uint16_t)family };

    header->peer = destination;
    if (inet_pton(family, line_take_word(&line), header->peer.bytes) != 1)
        return refuse(reason, "the source is no address of the family that the header names");
    if (inet_pton(family, line_take_word(&line), destination.bytes) != 1)
        return refuse(reason, "the destination is no address of the family that the header names");
    if (!port_parse(line_take_word(&line), &header->peer.port) || !port_parse(line, &destination.port))
        return refuse(reason, "the addresses are not followed by two decimal numbers from 0 to 65535");
    header->has_peer = true;
    return 1;
}

static bool line_take_prefix(char **line, const char *prefix)
{
    size_t length = strlen(prefix);
    bool has_prefix = strncmp(*line, prefix, length) == 0;

    if (has_prefix)
        *line += length;
    return has_prefix;
}

static int v1_parse_line(struct proxy_header *header, char *line, const char **reason)
{
    if (line_take_prefix(&line, "TCP4 "))
        return v1_parse_addresses(header, line, AF_INET, reason);
    if (line_take_prefix(&line, "TCP6 "))
        return v1_parse_addresses(header, line, AF_INET6, reason);
    /* The rest of the line must be ignored. */
    if (line_take_prefix(&line, "UNKNOWN") && (*line == '\0' || *line == ' '))
        return 1;
    return refuse(reason, "the family of version 1 is none of TCP4, TCP6 and UNKNOWN");
}

static int v1_parse(struct proxy_header *header, const uint8_t *data, size_t length, size_t prefix_bytes,
                    const char **reason)
{
    size_t searched = length < PROXY_V1_MAX_BYTES ? length : PROXY_V1_MAX_BYTES;
    const uint8_t *end = memchr(data, '\n', searched);
    char line[PROXY_V1_MAX_BYTES];
    size_t text_bytes;

    if (end == NULL && searched < PROXY_V1_MAX_BYTES)
        return 0;
    if (end == NULL) {
        *reason = "a line of version 1 is longer than 107 bytes";
        return JD_EMSGSIZE;
    }
    header->bytes = (size_t)(end - data) + 1;
    text_bytes = header->bytes - 2;
    if (memchr(data, '\r', text_bytes) != NULL || data[text_bytes] != '\r' || memchr(data, '\0', text_bytes) != NULL)
        return refuse(reason, "a line of version 1 does not end with CR LF, or has a zero or another CR in it");
    memcpy(line, data + prefix_bytes, text_bytes - prefix_bytes);
    line[text_bytes - prefix_bytes] = '\0';
    return v1_parse_line(header, line, reason);
}

/* ---- version 2: binary (2.2) ---- */

enum {
    V2_COMMAND_AT = 12,
    V2_FAMILY_AT = 13,
    V2_LENGTH_AT = 14,
    V2_LOCAL = 0x20, /* version and command in one byte */
    V2_PROXY = 0x21,
    IPV4_BYTES = 4,
    IPV6_BYTES = 16,
    PORT_BYTES = 2,
    UNIX_BYTES = 108,
    TLV_CRC32C = 0x03,
    TLV_HEAD_BYTES = 3,
    CRC_BYTES = 4,
};

static uint16_t number16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint32_t number32(const uint8_t *bytes)
{
    return (uint32_t)number16(bytes) << 16 | number16(bytes + 2);
}

/* CRC32c (RFC 9260, appendix A), half a byte at a time: checksums are rare, and a table for whole bytes has a kilobyte. */
static uint32_t crc32c_add(uint32_t crc, const uint8_t *data, size_t length)
{
    static const uint32_t of_half[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    enum { HALF_BITS = 4, HALF_MASK = 15 };

    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        crc = of_half[crc & HALF_MASK] ^ crc >> HALF_BITS;
        crc = of_half[crc & HALF_MASK] ^ crc >> HALF_BITS;
    }
    return crc;
}

/* Of the whole header, in which the checksum itself counts as zero (2.2.3). */
static bool v2_checksum_is_right(const uint8_t *data, size_t length, size_t checksum_at)
{
    static const uint8_t zeros[CRC_BYTES];
    size_t behind = checksum_at + CRC_BYTES;
    uint32_t crc = crc32c_add(UINT32_MAX, data, checksum_at);

    crc = crc32c_add(crc, zeros, sizeof(zeros));
    crc = crc32c_add(crc, data + behind, length - behind);
    return ~crc == number32(data + checksum_at);
}

/* Type-length-value records behind the addresses, from `at` to the header's end. All but the checksum are ignored. */
static int v2_check_records(const uint8_t *data, size_t at, size_t end, const char **reason)
{
    size_t checksum_at = 0;

    while (at < end) {
        size_t value_at = at + TLV_HEAD_BYTES, value_bytes;
        if (value_at > end)
            return refuse(reason, "a TLV is cut off");
        value_bytes = number16(data + at + 1);
        if (value_bytes > end - value_at)
            return refuse(reason, "a TLV is longer than the rest of the header");
        if (data[at] == TLV_CRC32C) {
            if (value_bytes != CRC_BYTES || checksum_at != 0)
                return refuse(reason, "there is more than one checksum, or one that has not 4 bytes");
            checksum_at = value_at;
        }
        at = value_at + value_bytes;
    }
    if (checksum_at != 0 && !v2_checksum_is_right(data, end, checksum_at))
        return refuse(reason, "the checksum is wrong");
    return 1;
}

/* The bytes of both addresses and ports, or -1 for a byte that names no family and protocol. */
static int v2_addresses_bytes(uint8_t family)
{
    switch (family) {
    case 0x00: /* unspecified */
        return 0;
    case 0x11: /* IPv4, stream */
    case 0x12: /* IPv4, datagram: the client of a proxy that turns datagrams into a stream */
        return 2 * (IPV4_BYTES + PORT_BYTES);
    case 0x21: /* IPv6 */
    case 0x22:
        return 2 * (IPV6_BYTES + PORT_BYTES);
    case 0x31: /* Unix-domain */
    case 0x32:
        return 2 * UNIX_BYTES;
    default:
        return -1;
    }
}

static void v2_set_peer(struct proxy_header *header, const uint8_t *data, int addresses_bytes)
{
    const uint8_t *addresses = data + PROXY_V2_FIXED_BYTES;
    size_t address_bytes = addresses_bytes == 2 * (IPV4_BYTES + PORT_BYTES) ? IPV4_BYTES : IPV6_BYTES;

    header->has_peer = addresses_bytes > 0;
    if (addresses_bytes == 2 * UNIX_BYTES) {
        header->peer.family = AF_UNIX;
    } else if (header->has_peer) {
        header->peer.family = address_bytes == IPV4_BYTES ? AF_INET : AF_INET6;
        header->peer.port = number16(addresses + 2 * address_bytes);
        memcpy(header->peer.bytes, addresses, address_bytes);
    }
}

static int v2_parse(struct proxy_header *header, const uint8_t *data, size_t length, size_t limit, const char **reason)
{
    bool is_local;
    int addresses_bytes;

    if (length > V2_COMMAND_AT && data[V2_COMMAND_AT] != V2_LOCAL && data[V2_COMMAND_AT] != V2_PROXY)
        return refuse(reason, "the version is not 2, or the command is neither LOCAL nor PROXY");
    if (length < PROXY_V2_FIXED_BYTES)
        return 0;
    is_local = data[V2_COMMAND_AT] == V2_LOCAL;
    header->bytes = PROXY_V2_FIXED_BYTES + (size_t)number16(data + V2_LENGTH_AT);
    if (header->bytes > limit) {
        *reason = "it is longer than proxy_header_limit";
        return JD_EMSGSIZE;
    }
    addresses_bytes = v2_addresses_bytes(data[V2_FAMILY_AT]);
    if (!is_local && addresses_bytes < 0)
        return refuse(reason, "the family and protocol are unknown");
    if (!is_local && header->bytes < PROXY_V2_FIXED_BYTES + (size_t)addresses_bytes)
        return refuse(reason, "its length has no room for the addresses of its family");
    if (length < header->bytes)
        return 0;
    if (is_local || addresses_bytes == 0)
        return 1; /* what follows must be ignored */
    v2_set_peer(header, data, addresses_bytes);
    return v2_check_records(data, PROXY_V2_FIXED_BYTES + (size_t)addresses_bytes, header->bytes, reason);
}

/* ---- both ---- */

/* Whether the bytes are the beginning of the signature, or begin with it. */
static bool begins_with(const uint8_t *data, size_t length, const void *signature, size_t signature_bytes)
{
    return memcmp(data, signature, length < signature_bytes ? length : signature_bytes) == 0;
}

int proxy_header_parse(struct proxy_header *header, const uint8_t *data, size_t length, size_t v2_limit,
                       const char **reason)
{
    static const char v1_signature[] = { 'P', 'R', 'O', 'X', 'Y', ' ' };
    static const uint8_t v2_signature[V2_COMMAND_AT] = "\r\n\r\n\0\r\nQUIT\n";

    *header = (struct proxy_header){ 0 };
    if (length == 0)
        return 0;
    if (begins_with(data, length, v1_signature, sizeof(v1_signature)))
        return v1_parse(header, data, length, sizeof(v1_signature), reason);
    if (begins_with(data, length, v2_signature, sizeof(v2_signature)))
        return v2_parse(header, data, length, v2_limit, reason);
    return refuse(reason, "the connection does not begin with one");
}
