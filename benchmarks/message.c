#include "benchmarks/message.h"

#include <string.h>

/* splitmix64 (Steele, Lea and Flood 2014): its increment, and its function that mixes a counter over all 64 bits. */
#define STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void begin_message(struct message_cursor *cursor, const struct message_format *format)
{
    uint64_t range = (uint64_t)format->max_bytes - format->min_bytes + 1;

    cursor->key = mix(mix(format->seed + cursor->connection * STEP) + cursor->sequence * STEP);
    /* Scales the upper half of the key to the range. */
    cursor->bytes = format->header_bytes + format->min_bytes + (uint32_t)(((cursor->key >> 32) * range) >> 32);
    cursor->offset = 0;
    cursor->wrong = false;
}

void message_cursor_init(struct message_cursor *cursor, const struct message_format *format, uint64_t connection)
{
    *cursor = (struct message_cursor){ .connection = connection };
    begin_message(cursor, format);
}

static void advance(struct message_cursor *cursor, const struct message_format *format, size_t bytes)
{
    cursor->offset += (uint32_t)bytes;
    if (cursor->offset < cursor->bytes)
        return;
    cursor->sequence++;
    begin_message(cursor, format);
}

void message_skip(struct message_cursor *cursor, const struct message_format *format, size_t bytes)
{
    while (bytes > 0) {
        size_t piece = cursor->bytes - cursor->offset < bytes ? cursor->bytes - cursor->offset : bytes;
        advance(cursor, format, piece);
        bytes -= piece;
    }
}

static bool is_verified(const struct message_cursor *cursor, const struct message_format *format)
{
    if (format->verify == VERIFY_SAMPLE)
        return cursor->sequence % MESSAGE_SAMPLE == 0;
    return format->verify == VERIFY_ALL;
}

static void make_header(const struct message_cursor *cursor, const struct message_format *format, unsigned char *header)
{
    uint64_t value = cursor->bytes - format->header_bytes;

    for (uint32_t i = 0; i < format->header_bytes; i++)
        header[format->little_endian ? i : format->header_bytes - 1 - i] = (unsigned char)(value >> (8 * i));
}

/* The payload is a sequence of 8-byte words, key + STEP, key + 2 STEP, ...: cheap, and all words of a message
 * differ. */
static uint64_t word_at(uint64_t key, uint32_t offset)
{
    return key + (uint64_t)(offset / 8 + 1) * STEP;
}

static unsigned char byte_at(uint64_t key, uint32_t offset)
{
    uint64_t word = word_at(key, offset);
    unsigned char bytes[8];

    memcpy(bytes, &word, sizeof(bytes));
    return bytes[offset % 8];
}

static void fill_payload(uint64_t key, uint32_t offset, unsigned char *to, size_t length)
{
    uint64_t word;

    for (; offset % 8 != 0 && length > 0; length--)
        *to++ = byte_at(key, offset++);
    word = word_at(key, offset);
    for (; length >= sizeof(word); length -= sizeof(word), to += sizeof(word), word += STEP)
        memcpy(to, &word, sizeof(word));
    memcpy(to, &word, length);
}

static bool payload_is_right(uint64_t key, uint32_t offset, const unsigned char *from, size_t length)
{
    uint64_t difference = 0, word, found;

    for (; offset % 8 != 0 && length > 0; length--)
        difference |= *from++ ^ byte_at(key, offset++);
    word = word_at(key, offset);
    /* No exit at the first difference: differences are rare, and the loop without a branch is faster. */
    for (; length >= sizeof(word); length -= sizeof(word), from += sizeof(word), word += STEP) {
        memcpy(&found, from, sizeof(found));
        difference |= found ^ word;
    }
    return difference == 0 && memcmp(from, &word, length) == 0;
}

/* Returns how many of the piece bytes after the cursor belong to the header. */
static size_t header_part(const struct message_cursor *cursor, const struct message_format *format, size_t piece)
{
    size_t left;

    if (cursor->offset >= format->header_bytes)
        return 0;
    left = format->header_bytes - cursor->offset;
    return left < piece ? left : piece;
}

static void write_piece(const struct message_cursor *cursor, const struct message_format *format, unsigned char *to,
                        size_t length)
{
    size_t of_header = header_part(cursor, format, length);
    unsigned char header[MESSAGE_HEADER_BYTES_MAX];

    if (of_header > 0) {
        make_header(cursor, format, header);
        memcpy(to, header + cursor->offset, of_header);
    }
    if (is_verified(cursor, format))
        fill_payload(cursor->key, (uint32_t)(cursor->offset + of_header - format->header_bytes), to + of_header,
                     length - of_header);
}

size_t message_write(struct message_cursor *cursor, const struct message_format *format, unsigned char *buffer,
                     size_t room, uint64_t end_sequence)
{
    size_t written = 0;

    while (written < room && cursor->sequence < end_sequence) {
        size_t left = cursor->bytes - cursor->offset;
        size_t piece = left < room - written ? left : room - written;
        write_piece(cursor, format, buffer + written, piece);
        advance(cursor, format, piece);
        written += piece;
    }
    return written;
}

static bool piece_is_right(const struct message_cursor *cursor, const struct message_format *format,
                           const unsigned char *from, size_t length)
{
    size_t of_header = header_part(cursor, format, length);
    unsigned char header[MESSAGE_HEADER_BYTES_MAX];

    if (of_header > 0) {
        make_header(cursor, format, header);
        if (memcmp(from, header + cursor->offset, of_header) != 0)
            return false;
    }
    return !is_verified(cursor, format) ||
           payload_is_right(cursor->key, (uint32_t)(cursor->offset + of_header - format->header_bytes),
                            from + of_header, length - of_header);
}

static void find_fault(const struct message_cursor *cursor, const struct message_format *format,
                       const unsigned char *from, size_t length, struct message_fault *fault)
{
    unsigned char header[MESSAGE_HEADER_BYTES_MAX];

    make_header(cursor, format, header);
    for (size_t i = 0; i < length; i++) {
        uint32_t offset = cursor->offset + (uint32_t)i;
        unsigned char expected =
            offset < format->header_bytes ? header[offset] : byte_at(cursor->key, offset - format->header_bytes);
        if (from[i] != expected) {
            *fault = (struct message_fault){ cursor->sequence, offset, expected, from[i] };
            return;
        }
    }
}

uint64_t message_check(struct message_cursor *cursor, const struct message_format *format, const unsigned char *bytes,
                       size_t length, struct message_fault *fault)
{
    uint64_t wrong = 0;

    if (format->verify == VERIFY_OFF) {
        message_skip(cursor, format, length);
        return 0;
    }
    while (length > 0) {
        size_t left = cursor->bytes - cursor->offset;
        size_t piece = left < length ? left : length;
        if (!cursor->wrong && !piece_is_right(cursor, format, bytes, piece)) {
            if (wrong++ == 0)
                find_fault(cursor, format, bytes, piece, fault);
            cursor->wrong = true;
        }
        advance(cursor, format, piece);
        bytes += piece;
        length -= piece;
    }
    return wrong;
}
