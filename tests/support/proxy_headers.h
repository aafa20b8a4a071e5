/* Headers of the PROXY protocol for tests, made without the library. */
#ifndef TESTS_PROXY_HEADERS_H
#define TESTS_PROXY_HEADERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As long as its length field can say. */
enum { V2_FIXED_BYTES = 16, V2_HEADER_ROOM = V2_FIXED_BYTES + 0xffff };

/* Of family and protocol, as in the header. */
enum { V2_UNSPEC = 0x00, V2_TCP4 = 0x11, V2_UDP4 = 0x12, V2_TCP6 = 0x21, V2_UNIX = 0x31 };
enum { V2_LOCAL_COMMAND = 0x20, V2_PROXY_COMMAND = 0x21 };

struct v2_header {
    size_t length;
    uint8_t bytes[V2_HEADER_ROOM];
};

/* Begins a header: 1.2.3.4 port 443 or [2001:db8::1]:443 is the client, the destination is another. */
void v2_begin(struct v2_header *header, uint8_t command, uint8_t family);

/* Appends a TLV with length bytes, all value. Appends a right checksum, which must come last. */
void v2_add(struct v2_header *header, uint8_t type, size_t length, uint8_t value);
void v2_add_checksum(struct v2_header *header);

/* Appends a checksum of zero, to which another TLV may follow; makes the one at `at` right. */
size_t v2_add_room_for_checksum(struct v2_header *header);
void v2_set_checksum(struct v2_header *header, size_t at);

/* Sets the length field to what there is. */
void v2_end(struct v2_header *header);

uint32_t crc32c(const uint8_t *data, size_t length);

#endif
