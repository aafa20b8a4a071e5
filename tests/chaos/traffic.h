/* What chaos clients send: messages that the server's protocol allows, and messages that it does not. */
#ifndef TESTS_CHAOS_TRAFFIC_H
#define TESTS_CHAOS_TRAFFIC_H

#include <stddef.h>
#include <stdint.h>

enum protocol {
    PROTOCOL_BYTES,   /* any bytes, which come back (jd-echo) */
    PROTOCOL_DISCARD, /* any bytes, of which none comes back (jd-echo --discard) */
    PROTOCOL_FRAMES,  /* a length field of 4 bytes, big-endian, and the bytes that it counts (jd-frame-echo) */
    PROTOCOL_VARINT,  /* a varint as the length field (jd-frame-echo --header-bytes varint) */
    PROTOCOL_LINES,   /* lines (jd-chat) */
    PROTOCOL_FILES,   /* lines with file names (jd-async-file) */
    PROTOCOL_HTTP,    /* HTTP/1.1 (jd-http) */
    PROTOCOL_REDIS,   /* the protocol of redis (jd-redis) */
    PROTOCOLS
};

extern const char *const protocol_names[PROTOCOLS];

/* The files that jd-async-file serves: file I of the folder has the name "I" and file_bytes[I] bytes. */
enum { FILES = 4 };
extern const uint64_t file_bytes[FILES];

/* Byte offset of file number. */
uint8_t file_byte(unsigned number, uint64_t offset);

enum { MESSAGE_MAX_BYTES = 65536 };

/* Writes a message to buffer, which has room for MESSAGE_MAX_BYTES, and returns its length: mostly one that is allowed;
 * one of about thirty is not. */
size_t traffic_message(enum protocol protocol, uint64_t *random, uint8_t *buffer);

/* Writes the beginning of a frame, or of a line, that announces far more than follows. Returns its length. */
size_t traffic_announcement(enum protocol protocol, uint64_t *random, uint8_t *buffer);

/* Writes what stands before the length bytes of a frame, or of a value of jd-redis: a length field, or a SET up to its value, which
 * has room in TRAFFIC_HEADER_MAX_BYTES. Returns its length. */
enum { TRAFFIC_HEADER_MAX_BYTES = 64 };
size_t traffic_header(enum protocol protocol, uint32_t length, uint8_t *buffer);

#endif
