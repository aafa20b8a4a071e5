#include "base/ring_buffer.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/memory.h>
#include <string.h>

const char *const suite_name = "ring_buffer_view";

enum { BLOCK_BYTES = 512, REGION_BYTES = 4096 };

static struct block_pool pool;

static struct block *block_with(const char *text)
{
    struct block *block = block_pool_get(&pool);

    /* Not from the block's beginning on: a view must not either. */
    block->begin = 3;
    block->end = block->begin + (uint32_t)strlen(text);
    memcpy(block->data + block->begin, text, strlen(text));
    return block;
}

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

START_TEST(a_view_shows_the_bytes_of_the_block_where_they_lie)
{
    struct block *block = block_with("hello, block");
    size_t before = jd_memory_in_use();
    jd_buffer buffer;
    ring_buffer_init(&buffer);

    ring_buffer_view(&buffer, block);

    assert_text(&buffer, "hello, block");
    ck_assert_ptr_eq(jd_buffer_peek(&buffer, 12), block->data + block->begin);
    ck_assert_int_eq(jd_buffer_find(&buffer, "block", 5, 0), 7);
    jd_buffer_consume(&buffer, 7);
    assert_text(&buffer, "block");
    ck_assert_ptr_eq(jd_buffer_peek(&buffer, 5), block->data + block->begin + 7);
    ck_assert_uint_eq(jd_memory_in_use(), before);
    ring_buffer_clear(&buffer);
    block_release(block);
}
END_TEST

START_TEST(a_view_ends_when_it_is_emptied)
{
    struct block *block = block_with("hello");
    jd_buffer buffer;
    ring_buffer_init(&buffer);
    ring_buffer_view(&buffer, block);

    ck_assert_uint_eq(jd_buffer_consume(&buffer, 5), 5);
    block_release(block);

    ck_assert_ptr_null(buffer.borrowed);
    put_text(&buffer, "next");
    assert_text(&buffer, "next");
    ring_buffer_clear(&buffer);
}
END_TEST

static void append_to(jd_buffer *buffer)
{
    put_text(buffer, "++");
}

static void prepend_to(jd_buffer *buffer)
{
    ck_assert_int_eq(jd_buffer_prepend(buffer, "--", 2), 0);
}

static void reserve_in(jd_buffer *buffer)
{
    memset(jd_buffer_reserve(buffer, 2), '+', 2);
    ck_assert_int_eq(jd_buffer_commit(buffer, 2), 0);
}

static void append_integer_to(jd_buffer *buffer)
{
    ck_assert_int_eq(jd_buffer_append_uint(buffer, 2, JD_BIG_ENDIAN, '+' << 8 | '+'), 0);
}

static const struct write_case {
    void (*write)(jd_buffer *);
    const char *expected;
} write_cases[] = {
    { append_to, "block++" },
    { prepend_to, "--block" },
    { reserve_in, "block++" },
    { append_integer_to, "block++" },
};

START_TEST(the_first_write_to_a_view_copies_it_and_leaves_the_block_untouched)
{
    struct block *block = block_with("hello, block");
    uint8_t before[BLOCK_BYTES];
    jd_buffer buffer;
    memcpy(before, block->data, block->capacity);
    ring_buffer_init(&buffer);
    ring_buffer_view(&buffer, block);
    jd_buffer_consume(&buffer, 7);
    buffer.searched = 3;

    write_cases[_i].write(&buffer);

    ck_assert_mem_eq(block->data, before, block->capacity);
    ck_assert_uint_eq(block_length(block), 12);
    block_release(block);
    ck_assert_ptr_null(buffer.borrowed);
    assert_text(&buffer, write_cases[_i].expected);
    ck_assert_uint_eq(buffer.searched, write_cases[_i].write == prepend_to ? 0 : 3);
    ring_buffer_clear(&buffer);
}
END_TEST

START_TEST(a_write_of_nothing_leaves_a_view_a_view)
{
    struct block *block = block_with("hello");
    jd_buffer buffer;
    ring_buffer_init(&buffer);
    ring_buffer_view(&buffer, block);

    ck_assert_int_eq(jd_buffer_append(&buffer, "", 0), 0);
    ck_assert_int_eq(jd_buffer_prepend(&buffer, "", 0), 0);

    ck_assert_ptr_eq(buffer.borrowed, block);
    ring_buffer_clear(&buffer);
    block_release(block);
}
END_TEST

START_TEST(moving_to_an_empty_buffer_takes_the_memory_over)
{
    jd_buffer *to, *from = buffer_wrapped_at("abcdefgh", 5);
    const uint8_t *data = from->data;
    ck_assert_int_eq(jd_buffer_create(&to), 0);
    from->searched = 4;

    ck_assert_int_eq(ring_buffer_move(to, from), 0);

    ck_assert_ptr_eq(to->data, data);
    ck_assert_uint_eq(to->searched, 4);
    assert_text(to, "abcdefgh");
    assert_text(from, "");
    jd_buffer_destroy(from);
    jd_buffer_destroy(to);
}
END_TEST

START_TEST(moving_to_a_buffer_with_bytes_adds_behind_them)
{
    jd_buffer *to = buffer_wrapped_at("abcdefgh", 5), *from = buffer_wrapped_at("12345678", 3);

    ck_assert_int_eq(ring_buffer_move(to, from), 0);

    assert_text(to, "abcdefgh12345678");
    assert_text(from, "");
    ck_assert_uint_eq(jd_memory_in_use(), 2 * sizeof(*to) + RING_MIN_BYTES);
    jd_buffer_destroy(from);
    jd_buffer_destroy(to);
}
END_TEST

START_TEST(moving_a_view_copies_what_is_left_of_it)
{
    struct block *block = block_with("hello, block");
    jd_buffer to, from;
    ring_buffer_init(&to);
    ring_buffer_init(&from);
    ring_buffer_view(&from, block);
    jd_buffer_consume(&from, 7);
    from.searched = 2;

    ck_assert_int_eq(ring_buffer_move(&to, &from), 0);
    memset(block->data, '?', block->capacity);
    block_release(block);

    assert_text(&to, "block");
    assert_text(&from, "");
    ck_assert_uint_eq(to.searched, 2);
    ring_buffer_clear(&to);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("ring_buffer_view");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_view_shows_the_bytes_of_the_block_where_they_lie);
    tcase_add_test(tests, a_view_ends_when_it_is_emptied);
    tcase_add_loop_test(tests, the_first_write_to_a_view_copies_it_and_leaves_the_block_untouched, 0, 4);
    tcase_add_test(tests, a_write_of_nothing_leaves_a_view_a_view);
    tcase_add_test(tests, moving_to_an_empty_buffer_takes_the_memory_over);
    tcase_add_test(tests, moving_to_a_buffer_with_bytes_adds_behind_them);
    tcase_add_test(tests, moving_a_view_copies_what_is_left_of_it);
}
