/* The buffer: any sequence of calls of <jinduo/buffer.h>, with allocations that fail, beside a plain array. */
#include "tests/fuzz/fuzz.h"

#include <jinduo/buffer.h>
#include <jinduo/error.h>
#include <jinduo/memory.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_MAX_BYTES = 4096, INTEGER_MAX_BYTES = 8 };

/* A buffer, and what it should be. */
struct subject {
    jd_buffer *buffer;
    uint8_t bytes[MODEL_MAX_BYTES];
    size_t length;
    uint8_t *room;   /* the reservation */
    size_t reserved; /* its length; 0: there is none */
    size_t empty_memory;
};

/* ---- memory that can be made to fail ---- */

static bool allocations_fail;

static void *allocate(size_t size, void *arg)
{
    return allocations_fail ? NULL : malloc(size);
}

static void *reallocate(void *block, size_t old_size, size_t new_size, void *arg)
{
    return allocations_fail ? NULL : realloc(block, new_size);
}

static void release(void *block, size_t size, void *arg)
{
    free(block);
}

/* ---- the model ---- */

static size_t room_of(const struct subject *subject)
{
    return MODEL_MAX_BYTES - subject->length;
}

static void insert(struct subject *subject, size_t offset, const uint8_t *bytes, size_t length)
{
    memmove(subject->bytes + offset + length, subject->bytes + offset, subject->length - offset);
    if (length > 0)
        memcpy(subject->bytes + offset, bytes, length);
    subject->length += length;
    if (length > 0)
        subject->reserved = 0;
}

static ptrdiff_t find(const struct subject *subject, const uint8_t *needle, size_t length, size_t from)
{
    if (length == 0)
        return JD_EINVAL;
    for (size_t i = from; i <= subject->length && length <= subject->length - i; i++)
        if (memcmp(subject->bytes + i, needle, length) == 0)
            return (ptrdiff_t)i;
    return JD_ENOENT;
}

/* The buffer has the model's bytes, in at most two segments. */
static void check_content(const struct subject *subject)
{
    jd_iovec segments[2];
    size_t offset = 0;
    int count = jd_buffer_peek_iov(subject->buffer, segments);

    REQUIRE(jd_buffer_readable(subject->buffer) == subject->length);
    REQUIRE(count >= 0 && count <= 2);
    for (int i = 0; i < count; i++) {
        REQUIRE(segments[i].length > 0 && segments[i].length <= subject->length - offset);
        REQUIRE(memcmp(segments[i].data, subject->bytes + offset, segments[i].length) == 0);
        offset += segments[i].length;
    }
    REQUIRE(offset == subject->length);
}

/* An empty buffer keeps no memory for bytes. */
static void check_empty_memory(const struct subject *subject)
{
    if (subject->length == 0)
        REQUIRE(jd_memory_in_use() == subject->empty_memory);
}

/* ---- the calls ---- */

/* A length of up to a quarter more than limit, mostly short. */
static size_t read_length(struct fuzz_input *input, size_t limit)
{
    uint8_t byte = fuzz_byte(input);
    size_t length = byte < 224 ? byte : (size_t)fuzz_number(input, 2);

    return length % (limit + limit / 4 + 2);
}

/* Bytes in memory of exactly *length bytes: those of the input, and "a" behind its end. */
static uint8_t *read_bytes(struct fuzz_input *input, size_t *length, size_t limit)
{
    size_t taken;
    const uint8_t *from;
    uint8_t *bytes;

    *length = read_length(input, limit);
    if (*length > limit)
        *length = limit;
    taken = *length;
    from = fuzz_take(input, &taken);
    bytes = malloc(*length > 0 ? *length : 1);
    REQUIRE(bytes != NULL);
    memset(bytes, 'a', *length);
    if (taken > 0)
        memcpy(bytes, from, taken);
    return bytes;
}

/* A call that adds bytes has succeeded, or failed for want of memory. */
static bool is_added(int result)
{
    REQUIRE(result == 0 || (result == JD_ENOMEM && allocations_fail));
    return result == 0;
}

static void try_append(struct subject *subject, struct fuzz_input *input)
{
    size_t length;
    uint8_t *bytes = read_bytes(input, &length, room_of(subject));

    if (is_added(jd_buffer_append(subject->buffer, bytes, length)))
        insert(subject, subject->length, bytes, length);
    free(bytes);
}

static void try_prepend(struct subject *subject, struct fuzz_input *input)
{
    size_t length;
    uint8_t *bytes = read_bytes(input, &length, room_of(subject));

    if (is_added(jd_buffer_prepend(subject->buffer, bytes, length)))
        insert(subject, 0, bytes, length);
    free(bytes);
}

/* Writes to all of the room, so that the address sanitizer sees that it is there. */
static void try_reserve(struct subject *subject, struct fuzz_input *input)
{
    size_t length = read_length(input, room_of(subject));
    uint8_t *room = jd_buffer_reserve(subject->buffer, length);

    REQUIRE(room != NULL || (length > 0 && allocations_fail));
    if (room == NULL)
        return; /* nothing has changed: an older reservation stays */
    memset(room, 'r', length);
    subject->room = room;
    subject->reserved = length;
}

static void try_commit(struct subject *subject, struct fuzz_input *input)
{
    size_t length = read_length(input, subject->reserved);

    if (length > room_of(subject))
        length = room_of(subject);
    if (length > subject->reserved) {
        REQUIRE(jd_buffer_commit(subject->buffer, length) == JD_EINVAL);
        return;
    }
    if (length > 0)
        memset(subject->room, 'c', length);
    REQUIRE(jd_buffer_commit(subject->buffer, length) == 0);
    memset(subject->bytes + subject->length, 'c', length);
    subject->length += length;
    subject->reserved = 0;
    check_empty_memory(subject);
}

static void try_consume(struct subject *subject, struct fuzz_input *input)
{
    size_t length = read_length(input, subject->length);
    size_t removed = length < subject->length ? length : subject->length;

    REQUIRE(jd_buffer_consume(subject->buffer, length) == removed);
    if (removed == 0)
        return;
    memmove(subject->bytes, subject->bytes + removed, subject->length - removed);
    subject->length -= removed;
    subject->reserved = 0;
    check_empty_memory(subject);
}

static void try_peek(struct subject *subject, struct fuzz_input *input)
{
    size_t length = read_length(input, subject->length);
    jd_iovec segments[2];
    bool wraps = jd_buffer_peek_iov(subject->buffer, segments) == 2 && length > segments[0].length;
    const uint8_t *bytes = jd_buffer_peek(subject->buffer, length);

    if (length > subject->length) {
        REQUIRE(bytes == NULL);
        return;
    }
    REQUIRE(bytes != NULL || (wraps && allocations_fail));
    if (bytes == NULL)
        return;
    REQUIRE(memcmp(bytes, subject->bytes, length) == 0);
    if (wraps)
        subject->reserved = 0;
}

static void try_copy_out(struct subject *subject, struct fuzz_input *input)
{
    size_t offset = read_length(input, subject->length), length = read_length(input, subject->length);
    bool has_bytes = offset <= subject->length && length <= subject->length - offset;
    uint8_t *copy = malloc(length + 1);

    REQUIRE(copy != NULL);
    REQUIRE(jd_buffer_copy_out(subject->buffer, offset, copy, length) == (has_bytes ? 0 : JD_EAGAIN));
    if (has_bytes)
        REQUIRE(memcmp(copy, subject->bytes + offset, length) == 0);
    REQUIRE(jd_buffer_copy_out(subject->buffer, SIZE_MAX - offset, copy, length) == JD_EAGAIN);
    free(copy);
}

static void try_find(struct subject *subject, struct fuzz_input *input)
{
    size_t from = read_length(input, subject->length), length;
    uint8_t *needle = read_bytes(input, &length, subject->length);

    REQUIRE(jd_buffer_find(subject->buffer, needle, length, from) == find(subject, needle, length, from));
    free(needle);
    /* A needle that is there, at least from an offset before it on. */
    if (from < subject->length) {
        length = (subject->length - from) / 2 + 1;
        REQUIRE(jd_buffer_find(subject->buffer, subject->bytes + from, length, from) == (ptrdiff_t)from);
        REQUIRE(jd_buffer_find(subject->buffer, subject->bytes + from, length, 0) ==
                find(subject, subject->bytes + from, length, 0));
    }
}

static void try_read_integer(struct subject *subject, struct fuzz_input *input)
{
    uint8_t choice = fuzz_byte(input);
    unsigned bytes = choice % (INTEGER_MAX_BYTES + 2);
    jd_byte_order order = (choice & 128) != 0 ? JD_LITTLE_ENDIAN : JD_BIG_ENDIAN;
    size_t offset = (choice & 64) != 0 ? read_length(input, subject->length) : 0;
    int expected = bytes < 1 || bytes > INTEGER_MAX_BYTES                         ? JD_EINVAL
                   : offset > subject->length || bytes > subject->length - offset ? JD_EAGAIN
                                                                                  : 0;
    uint64_t value = UINT64_MAX / 3, model = expected == 0 ? 0 : value;

    for (unsigned i = 0; i < bytes && expected == 0; i++)
        model = model << 8 | subject->bytes[offset + (order == JD_BIG_ENDIAN ? i : bytes - 1 - i)];
    REQUIRE(jd_buffer_peek_uint(subject->buffer, offset, bytes, order, &value) == expected && value == model);
    if ((choice & 64) != 0)
        return;
    REQUIRE(jd_buffer_read_uint(subject->buffer, bytes, order, &value) == expected && value == model);
    if (expected < 0)
        return;
    memmove(subject->bytes, subject->bytes + bytes, subject->length - bytes);
    subject->length -= bytes;
    subject->reserved = 0;
    check_empty_memory(subject);
}

static void try_write_integer(struct subject *subject, struct fuzz_input *input)
{
    uint8_t choice = fuzz_byte(input), raw[INTEGER_MAX_BYTES];
    unsigned bytes = choice % (INTEGER_MAX_BYTES + 2);
    jd_byte_order order = (choice & 128) != 0 ? JD_LITTLE_ENDIAN : JD_BIG_ENDIAN;
    bool is_valid = bytes >= 1 && bytes <= INTEGER_MAX_BYTES;
    uint64_t value = fuzz_number(input, is_valid ? bytes : 1);
    bool appends = (choice & 64) != 0;
    int result;

    if (bytes > room_of(subject))
        return;
    if ((choice & 32) != 0 && is_valid && bytes < INTEGER_MAX_BYTES) {
        value |= UINT64_C(1) << (8 * bytes);
        REQUIRE(jd_buffer_append_uint(subject->buffer, bytes, order, value) == JD_ERANGE);
        REQUIRE(jd_buffer_prepend_uint(subject->buffer, bytes, order, value) == JD_ERANGE);
        return;
    }
    result = appends ? jd_buffer_append_uint(subject->buffer, bytes, order, value)
                     : jd_buffer_prepend_uint(subject->buffer, bytes, order, value);
    REQUIRE(is_valid || result == JD_EINVAL);
    if (!is_valid || !is_added(result))
        return;
    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (uint8_t)(value >> (8 * (order == JD_BIG_ENDIAN ? bytes - 1 - i : i)));
    insert(subject, appends ? subject->length : 0, raw, bytes);
}

static void (*const calls[])(struct subject *, struct fuzz_input *) = {
    try_append, try_prepend,  try_reserve, try_commit,       try_consume,
    try_peek,   try_copy_out, try_find,    try_read_integer, try_write_integer,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const jd_memory_functions functions = { .allocate = allocate, .reallocate = reallocate, .release = release };
    static struct subject subject;
    struct fuzz_input input = { data, size };
    enum { CALLS = sizeof(calls) / sizeof(calls[0]), FAILS = 128 };

    allocations_fail = false;
    REQUIRE(jd_memory_set_functions(&functions) == 0);
    subject = (struct subject){ 0 };
    REQUIRE(jd_buffer_create(&subject.buffer) == 0);
    subject.empty_memory = jd_memory_in_use();
    check_content(&subject);
    while (input.left > 0) {
        uint8_t choice = fuzz_byte(&input);

        allocations_fail = choice >= FAILS;
        calls[choice % FAILS % CALLS](&subject, &input);
        check_content(&subject);
    }
    jd_buffer_destroy(subject.buffer);
    REQUIRE(jd_memory_in_use() == 0);
    return 0;
}
