#include "base/ring_buffer.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <string.h>

const char *const suite_name = "ring_buffer_model";

enum { BLOCK_BYTES = 512, REGION_BYTES = 4096 };

static struct block_pool pool;

static void set_up(void)
{
    checking_memory_install();
    block_pool_init(&pool, BLOCK_BYTES, REGION_BYTES, SIZE_MAX);
}

static void tear_down(void)
{
    block_pool_destroy(&pool);
    checking_memory_remove();
}

/* The model: a plain array that is moved about. */
enum { MODEL_MAX_BYTES = 2048, MODEL_OPERATIONS = 20000, ALPHABET = 3, NEEDLE_MAX_BYTES = 6 };

struct model {
    uint8_t bytes[MODEL_MAX_BYTES];
    size_t length, searched;
};

/* A buffer, what it should be, and the block it may be a view of. */
struct subject {
    jd_buffer *buffer;
    struct model model;
    struct block *block;
    uint8_t block_before[BLOCK_BYTES];
};

static struct subject subjects[2];

/* Few different bytes, so that needles are found, and found half. */
static size_t random_bytes(uint64_t *random, uint8_t *bytes, size_t max)
{
    /* Mostly short; sometimes all that fits. */
    size_t bound = random_below(random, 4) == 0 ? max : max < 40 ? max : 40;
    size_t length = random_below(random, bound + 1);

    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)('a' + random_below(random, ALPHABET));
    return length;
}

static void model_insert(struct model *model, size_t offset, const uint8_t *bytes, size_t length)
{
    memmove(model->bytes + offset + length, model->bytes + offset, model->length - offset);
    memcpy(model->bytes + offset, bytes, length);
    model->length += length;
}

static void model_consume(struct model *model, size_t length)
{
    memmove(model->bytes, model->bytes + length, model->length - length);
    model->length -= length;
    model->searched -= model->searched < length ? model->searched : length;
}

static ssize_t model_find(const struct model *model, const uint8_t *needle, size_t length, size_t from)
{
    for (size_t i = from; i + length <= model->length; i++) {
        if (memcmp(model->bytes + i, needle, length) == 0)
            return (ssize_t)i;
    }
    return JD_ENOENT;
}

static void try_append(struct subject *subject, uint64_t *random)
{
    uint8_t bytes[MODEL_MAX_BYTES];
    size_t length = random_bytes(random, bytes, MODEL_MAX_BYTES - subject->model.length);

    ck_assert_int_eq(jd_buffer_append(subject->buffer, bytes, length), 0);
    model_insert(&subject->model, subject->model.length, bytes, length);
}

static void try_prepend(struct subject *subject, uint64_t *random)
{
    uint8_t bytes[MODEL_MAX_BYTES];
    size_t length = random_bytes(random, bytes, MODEL_MAX_BYTES - subject->model.length);

    ck_assert_int_eq(jd_buffer_prepend(subject->buffer, bytes, length), 0);
    model_insert(&subject->model, 0, bytes, length);
    if (length > 0)
        subject->model.searched = 0;
}

static void try_reserve(struct subject *subject, uint64_t *random)
{
    uint8_t bytes[MODEL_MAX_BYTES];
    size_t length = random_bytes(random, bytes, MODEL_MAX_BYTES - subject->model.length);
    size_t used = random_below(random, length + 1);
    uint8_t *room = jd_buffer_reserve(subject->buffer, length);

    ck_assert_ptr_nonnull(room);
    memcpy(room, bytes, length);
    ck_assert_int_eq(jd_buffer_commit(subject->buffer, length + 1), JD_EINVAL);
    ck_assert_int_eq(jd_buffer_commit(subject->buffer, used), 0);
    model_insert(&subject->model, subject->model.length, bytes, used);
}

static void try_consume(struct subject *subject, uint64_t *random)
{
    size_t length = random_below(random, subject->model.length + 2);
    size_t dropped = length < subject->model.length ? length : subject->model.length;

    ck_assert_uint_eq(jd_buffer_consume(subject->buffer, length), dropped);
    model_consume(&subject->model, dropped);
    if (dropped > 0 && subject->model.length == 0)
        ck_assert_ptr_null(subject->buffer->data);
}

static void try_peek(struct subject *subject, uint64_t *random)
{
    size_t length = random_below(random, subject->model.length + 2);
    const void *piece = jd_buffer_peek(subject->buffer, length);

    if (length > subject->model.length) {
        ck_assert_ptr_null(piece);
        return;
    }
    ck_assert_ptr_nonnull(piece);
    ck_assert_int_eq(memcmp(piece, subject->model.bytes, length), 0);
}

static void try_copy_out(struct subject *subject, uint64_t *random)
{
    size_t offset = random_below(random, subject->model.length + 2);
    size_t length = random_below(random, subject->model.length + 2);
    uint8_t copy[MODEL_MAX_BYTES + 2];
    int result = jd_buffer_copy_out(subject->buffer, offset, copy, length);

    ck_assert_int_eq(result, offset + length <= subject->model.length ? 0 : JD_EAGAIN);
    if (result == 0)
        ck_assert_int_eq(memcmp(copy, subject->model.bytes + offset, length), 0);
}

static void try_find(struct subject *subject, uint64_t *random)
{
    size_t from = random_below(random, subject->model.length + 2);
    size_t length = 1 + random_below(random, NEEDLE_MAX_BYTES);
    uint8_t needle[NEEDLE_MAX_BYTES];

    for (size_t i = 0; i < length; i++)
        needle[i] = (uint8_t)('a' + random_below(random, ALPHABET));
    ck_assert_int_eq(jd_buffer_find(subject->buffer, needle, length, from),
                     model_find(&subject->model, needle, length, from));
}

static void try_search(struct subject *subject, uint64_t *random)
{
    subject->model.searched = random_below(random, subject->model.length + 1);
    subject->buffer->searched = subject->model.searched;
}

static void try_write_integer(struct subject *subject, uint64_t *random)
{
    unsigned bytes = 1 + (unsigned)random_below(random, 8);
    bool big = random_below(random, 2) == 0, front = random_below(random, 2) == 0;
    jd_byte_order order = big ? JD_BIG_ENDIAN : JD_LITTLE_ENDIAN;
    uint64_t value = random_next(random) >> (64 - 8 * bytes);
    uint8_t raw[8];

    if (subject->model.length + bytes > MODEL_MAX_BYTES)
        return;
    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (uint8_t)(value >> (8 * (big ? bytes - 1 - i : i)));
    if (front) {
        ck_assert_int_eq(jd_buffer_prepend_uint(subject->buffer, bytes, order, value), 0);
        subject->model.searched = 0;
    } else {
        ck_assert_int_eq(jd_buffer_append_uint(subject->buffer, bytes, order, value), 0);
    }
    model_insert(&subject->model, front ? 0 : subject->model.length, raw, bytes);
}

static void try_read_integer(struct subject *subject, uint64_t *random)
{
    unsigned bytes = 1 + (unsigned)random_below(random, 8);
    bool big = random_below(random, 2) == 0;
    uint64_t value = 0, expected = 0;
    int result = jd_buffer_read_uint(subject->buffer, bytes, big ? JD_BIG_ENDIAN : JD_LITTLE_ENDIAN, &value);

    ck_assert_int_eq(result, subject->model.length >= bytes ? 0 : JD_EAGAIN);
    if (result < 0)
        return;
    for (unsigned i = 0; i < bytes; i++)
        expected |= (uint64_t)subject->model.bytes[i] << (8 * (big ? bytes - 1 - i : i));
    ck_assert_uint_eq(value, expected);
    model_consume(&subject->model, bytes);
}

static void try_view(struct subject *subject, uint64_t *random)
{
    struct block *block = subject->block;

    jd_buffer_consume(subject->buffer, SIZE_MAX);
    block->begin = (uint32_t)random_below(random, 100);
    block->end = block->begin + (uint32_t)random_bytes(random, block->data + block->begin, block->capacity - 100);
    memcpy(subject->block_before, block, BLOCK_BYTES);
    ring_buffer_view(subject->buffer, block);
    subject->model.length = block_length(block);
    subject->model.searched = 0;
    memcpy(subject->model.bytes, block->data + block->begin, block_length(block));
}

static void try_move(struct subject *subject, uint64_t *random)
{
    struct subject *other = &subjects[subject == subjects ? 1 : 0];

    if (subject->model.length + other->model.length > MODEL_MAX_BYTES)
        return;
    ck_assert_int_eq(ring_buffer_move(subject->buffer, other->buffer), 0);
    if (subject->model.length == 0)
        subject->model.searched = other->model.searched;
    model_insert(&subject->model, subject->model.length, other->model.bytes, other->model.length);
    other->model.length = 0;
    other->model.searched = 0;
}

static void try_make_contiguous(struct subject *subject, uint64_t *random)
{
    size_t capacity = random_below(random, MODEL_MAX_BYTES);
    jd_iovec pieces[2];

    ck_assert_int_eq(ring_buffer_make_contiguous(subject->buffer, capacity), 0);
    if (jd_buffer_peek_iov(subject->buffer, pieces) > 0)
        ck_assert_uint_ge(pieces[0].length, capacity < subject->model.length ? capacity : subject->model.length);
}

static void try_clear(struct subject *subject, uint64_t *random)
{
    ring_buffer_clear(subject->buffer);
    subject->model.length = 0;
    subject->model.searched = 0;
}

static void (*const operations[])(struct subject *, uint64_t *) = {
    try_append,       try_prepend,  try_reserve, try_consume, try_consume,         try_consume,
    try_peek,         try_copy_out, try_find,    try_find,    try_write_integer,   try_read_integer,
    try_search,       try_view,     try_move,    try_append,  try_make_contiguous, try_append,
    try_read_integer, try_find,     try_clear,
};

static void assert_subject(const struct subject *subject)
{
    assert_content(subject->buffer, subject->model.bytes, subject->model.length);
    ck_assert_uint_eq(subject->buffer->searched, subject->model.searched);
    ck_assert_mem_eq(subject->block, subject->block_before, BLOCK_BYTES);
}

START_TEST(a_buffer_does_what_an_array_does_under_any_operations)
{
    uint64_t random = test_seed();
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(jd_buffer_create(&subjects[i].buffer), 0);
        subjects[i].block = block_pool_get(&pool);
        memcpy(subjects[i].block_before, subjects[i].block, BLOCK_BYTES);
    }

    for (int i = 0; i < MODEL_OPERATIONS; i++) {
        uint64_t operation = random_below(&random, sizeof(operations) / sizeof(operations[0]));
        operations[operation](&subjects[random_below(&random, 2)], &random);
        assert_subject(&subjects[0]);
        assert_subject(&subjects[1]);
    }

    for (int i = 0; i < 2; i++) {
        jd_buffer_destroy(subjects[i].buffer);
        block_release(subjects[i].block);
    }
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("ring_buffer_model");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_buffer_does_what_an_array_does_under_any_operations);
}
