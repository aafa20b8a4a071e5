#include "net/engine/output_queue.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <string.h>

const char *const suite_name = "output_queue";

enum {
    SMALL_ROOM = OUTPUT_SMALL_BYTES - sizeof(struct block),
    LARGE_ROOM = OUTPUT_LARGE_BYTES,
    MANY_PIECES = 64,
};

static struct output_pools pools;
static struct output_queue queue;
static uint8_t bytes[4 * OUTPUT_LARGE_BYTES];

static void set_up(void)
{
    checking_memory_install();
    block_pool_init(&pools.small, OUTPUT_SMALL_BYTES, 4 * 1024, 8 * 1024);
    block_pool_init_pages(&pools.large, OUTPUT_LARGE_BYTES, 64 * 1024, 64 * 1024);
    block_pool_init(&pools.references, OUTPUT_REFERENCE_BYTES, 4 * 1024, 8 * 1024);
    queue = (struct output_queue){ 0 };
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
}

static void tear_down(void)
{
    output_queue_clear(&queue, &pools);
    block_pool_destroy(&pools.small);
    block_pool_destroy(&pools.large);
    block_pool_destroy(&pools.references);
    checking_memory_remove();
}

static int append(const void *data, size_t length)
{
    jd_iovec part = { .data = (void *)(uintptr_t)data, .length = length };

    return output_queue_append(&queue, &pools, &part, 1, length, 0);
}

/* By its count and by its pieces. */
static void assert_queued(const uint8_t *expected, size_t length)
{
    jd_iovec pieces[MANY_PIECES];
    size_t total, checked = 0;
    bool more;
    int count = output_queue_pieces(&queue, pieces, MANY_PIECES, &total, &more);

    ck_assert_uint_eq(output_queue_bytes(&queue), length);
    ck_assert_uint_eq(total, length);
    for (int i = 0; i < count; i++) {
        ck_assert_uint_gt(pieces[i].length, 0);
        ck_assert_mem_eq(pieces[i].data, expected + checked, pieces[i].length);
        checked += pieces[i].length;
    }
    ck_assert_uint_eq(checked, length);
}

static struct block *block_with(const uint8_t *data, size_t length)
{
    struct block *block = block_pool_get(&pools.large);

    ck_assert_ptr_nonnull(block);
    block->begin = 3;
    block->end = 3 + (uint32_t)length;
    memcpy(block->data + block->begin, data, length);
    return block;
}

START_TEST(a_new_queue_is_empty_and_has_no_pieces)
{
    assert_queued(bytes, 0);
    ck_assert_ptr_null(queue.first);
}
END_TEST

START_TEST(appended_bytes_come_out_in_order_whatever_the_length)
{
    static const size_t lengths[] = { 1, SMALL_ROOM, SMALL_ROOM + 1, LARGE_ROOM, LARGE_ROOM + 1, sizeof(bytes) };

    ck_assert_int_eq(append(bytes, lengths[_i]), 0);

    assert_queued(bytes, lengths[_i]);
}
END_TEST

START_TEST(the_parts_of_an_append_lie_behind_each_other_and_empty_ones_do_not_matter)
{
    jd_iovec parts[] = {
        { .data = bytes, .length = 4 },
        { .data = NULL, .length = 0 },
        { .data = bytes + 4, .length = LARGE_ROOM },
        { .data = bytes + 4 + LARGE_ROOM, .length = 5 },
    };

    ck_assert_int_eq(output_queue_append(&queue, &pools, parts, 4, LARGE_ROOM + 9, 0), 0);

    assert_queued(bytes, LARGE_ROOM + 9);
}
END_TEST

START_TEST(a_short_answer_takes_a_small_block_and_one_that_fills_it_too)
{
    ck_assert_int_eq(append(bytes, SMALL_ROOM), 0);

    ck_assert_ptr_eq(queue.first->pool, &pools.small);
    ck_assert_ptr_eq(queue.first, queue.last);
}
END_TEST

START_TEST(an_answer_over_a_small_block_takes_a_large_one)
{
    ck_assert_int_eq(append(bytes, SMALL_ROOM + 1), 0);

    ck_assert_ptr_eq(queue.first->pool, &pools.large);
    ck_assert_ptr_eq(queue.first, queue.last);
}
END_TEST

START_TEST(later_output_fills_the_last_block_and_continues_in_a_large_one)
{
    ck_assert_int_eq(append(bytes, 100), 0);
    ck_assert_int_eq(append(bytes + 100, SMALL_ROOM), 0);

    assert_queued(bytes, SMALL_ROOM + 100);
    ck_assert_uint_eq(block_length(queue.first), SMALL_ROOM);
    ck_assert_ptr_eq(queue.first->next, queue.last);
    ck_assert_ptr_eq(queue.last->pool, &pools.large);
}
END_TEST

START_TEST(a_full_last_block_stays_as_it_is_when_more_comes)
{
    ck_assert_int_eq(append(bytes, SMALL_ROOM), 0);
    ck_assert_int_eq(append(bytes + SMALL_ROOM, 1), 0);

    assert_queued(bytes, SMALL_ROOM + 1);
    ck_assert_uint_eq(block_length(queue.first), SMALL_ROOM);
}
END_TEST

START_TEST(queued_bytes_never_move_and_never_change_as_the_kernel_may_be_reading_them)
{
    jd_iovec before[MANY_PIECES], after[MANY_PIECES];
    size_t total;
    bool more;
    ck_assert_int_eq(append(bytes, SMALL_ROOM + 100), 0);
    int count = output_queue_pieces(&queue, before, MANY_PIECES, &total, &more);

    ck_assert_int_eq(append(bytes + SMALL_ROOM + 100, 2 * LARGE_ROOM), 0);

    output_queue_pieces(&queue, after, MANY_PIECES, &total, &more);
    for (int i = 0; i < count; i++) {
        ck_assert_ptr_eq(after[i].data, before[i].data);
        ck_assert_uint_ge(after[i].length, before[i].length);
    }
    assert_queued(bytes, SMALL_ROOM + 100 + 2 * LARGE_ROOM);
}
END_TEST

START_TEST(pieces_are_at_most_as_many_as_asked_for_and_their_bytes_are_summed)
{
    jd_iovec pieces[2];
    size_t total;
    bool more;
    ck_assert_int_eq(append(bytes, 3 * LARGE_ROOM), 0);

    ck_assert_int_eq(output_queue_pieces(&queue, pieces, 2, &total, &more), 2);

    ck_assert_uint_eq(total, 2 * LARGE_ROOM);
    ck_assert(more);
    ck_assert_int_eq(output_queue_pieces(&queue, pieces, 0, &total, &more), 0);
    ck_assert_uint_eq(total, 0);
}
END_TEST

START_TEST(consuming_continues_where_it_stopped_over_any_number_of_blocks)
{
    static const size_t steps[] = { 1, SMALL_ROOM - 1, LARGE_ROOM - 1, 2, LARGE_ROOM, 10 };
    size_t consumed = 0, length = 3 * LARGE_ROOM;
    ck_assert_int_eq(append(bytes, SMALL_ROOM), 0);
    ck_assert_int_eq(append(bytes + SMALL_ROOM, length - SMALL_ROOM), 0);

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        output_queue_consume(&queue, &pools, steps[i]);
        consumed += steps[i];
        assert_queued(bytes + consumed, length - consumed);
    }
}
END_TEST

START_TEST(a_queue_that_is_consumed_whole_holds_no_block_and_begins_anew)
{
    ck_assert_int_eq(append(bytes, 2 * LARGE_ROOM), 0);

    output_queue_consume(&queue, &pools, 2 * LARGE_ROOM);

    ck_assert_ptr_null(queue.first);
    ck_assert_ptr_null(queue.last);
    ck_assert_int_eq(append(bytes, 10), 0);
    assert_queued(bytes, 10);
    ck_assert_ptr_eq(queue.first->pool, &pools.small);
}
END_TEST

START_TEST(consuming_nothing_changes_nothing)
{
    output_queue_consume(&queue, &pools, 0);
    assert_queued(bytes, 0);
    ck_assert_int_eq(append(bytes, 10), 0);

    output_queue_consume(&queue, &pools, 0);

    assert_queued(bytes, 10);
}
END_TEST

START_TEST(an_appended_block_is_queued_as_it_is_and_more_bytes_go_behind_it)
{
    struct block *block = block_with(bytes + 10, 100);
    ck_assert_int_eq(append(bytes, 10), 0);

    output_queue_append_block(&queue, block);
    ck_assert_ptr_eq(queue.last, block);
    ck_assert_int_eq(append(bytes + 110, LARGE_ROOM), 0);

    assert_queued(bytes, LARGE_ROOM + 110);
}
END_TEST

START_TEST(a_block_appended_to_an_empty_queue_is_its_first)
{
    struct block *block = block_with(bytes, 100);

    output_queue_append_block(&queue, block);

    ck_assert_ptr_eq(queue.first, block);
    assert_queued(bytes, 100);
}
END_TEST

START_TEST(clearing_gives_every_block_back_and_says_how_many_bytes_that_was)
{
    ck_assert_int_eq(append(bytes, 2 * LARGE_ROOM), 0);
    output_queue_consume(&queue, &pools, 5);

    ck_assert_uint_eq(output_queue_clear(&queue, &pools), 2 * LARGE_ROOM - 5);

    assert_queued(bytes, 0);
    ck_assert_uint_eq(output_queue_clear(&queue, &pools), 0);
}
END_TEST

enum { FAILING_BLOCKS = 5 };

START_TEST(an_append_for_which_there_is_no_memory_adds_nothing_at_all)
{
    enum { QUEUED = 100, ADDED = FAILING_BLOCKS * LARGE_ROOM };
    static uint8_t long_bytes[ADDED];
    ck_assert_int_eq(append(bytes, QUEUED), 0);
    /* No regions: each block is an allocation. */
    block_pool_init_pages(&pools.large, OUTPUT_LARGE_BYTES, 64 * 1024, 0);

    checking_memory_fail_at(1 + (unsigned)_i);
    ck_assert_int_eq(append(long_bytes, ADDED), JD_ENOMEM);

    ck_assert(checking_memory_has_failed());
    assert_queued(bytes, QUEUED);
    ck_assert_int_eq(append(bytes + QUEUED, LARGE_ROOM), 0);
    assert_queued(bytes, QUEUED + LARGE_ROOM);
}
END_TEST

/* ---- a model ---- */

enum { MODEL_MAX_BYTES = 200 * 1024, MODEL_OPERATIONS = 4000 };

static struct model {
    uint8_t bytes[MODEL_MAX_BYTES];
    size_t length;
} model;

static size_t random_length(uint64_t *random)
{
    static const size_t bounds[] = { 8, SMALL_ROOM, 2 * SMALL_ROOM, LARGE_ROOM, 3 * LARGE_ROOM };

    return random_below(random, bounds[random_below(random, 5)]);
}

static void try_append(uint64_t *random)
{
    jd_iovec parts[3];
    uint8_t *end = model.bytes + model.length;
    size_t length = 0;
    int result;

    for (int i = 0; i < 3; i++) {
        size_t part = random_length(random);
        if (model.length + length + part > MODEL_MAX_BYTES)
            part = 0;
        for (size_t j = 0; j < part; j++)
            end[length + j] = (uint8_t)random_next(random);
        parts[i] = (jd_iovec){ .data = end + length, .length = part };
        length += part;
    }
    if (length == 0)
        return;
    if (random_below(random, 3) == 0)
        checking_memory_fail_at(1 + (unsigned)random_below(random, 4));
    result = output_queue_append(&queue, &pools, parts, 3, length, 0);
    if (result == 0)
        model.length += length;
    else
        ck_assert_int_eq(result, JD_ENOMEM);
    checking_memory_has_failed();
}

static void try_append_block(uint64_t *random)
{
    size_t length = 1 + random_below(random, 1000);
    struct block *block;

    if (model.length + length > MODEL_MAX_BYTES)
        return;
    block = block_with(bytes, length);
    output_queue_append_block(&queue, block);
    memcpy(model.bytes + model.length, bytes, length);
    model.length += length;
}

static void try_consume(uint64_t *random)
{
    size_t length = random_below(random, 2) == 0 ? random_length(random) : random_below(random, model.length + 1);

    if (length > model.length)
        length = model.length;
    output_queue_consume(&queue, &pools, length);
    memmove(model.bytes, model.bytes + length, model.length - length);
    model.length -= length;
}

static void try_clear(uint64_t *random)
{
    if (random_below(random, 20) > 0)
        return;
    ck_assert_uint_eq(output_queue_clear(&queue, &pools), model.length);
    model.length = 0;
}

START_TEST(a_queue_does_what_an_array_does_under_any_operations_with_memory_failing_now_and_then)
{
    static void (*const operations[])(uint64_t *) = { try_append,  try_append,  try_append_block,
                                                      try_consume, try_consume, try_clear };
    uint64_t random = test_seed();

    for (int i = 0; i < MODEL_OPERATIONS; i++) {
        operations[random_below(&random, 6)](&random);
        assert_queued(model.bytes, model.length);
    }
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("output_queue");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_new_queue_is_empty_and_has_no_pieces);
    tcase_add_loop_test(tests, appended_bytes_come_out_in_order_whatever_the_length, 0, 6);
    tcase_add_test(tests, the_parts_of_an_append_lie_behind_each_other_and_empty_ones_do_not_matter);
    tcase_add_test(tests, a_short_answer_takes_a_small_block_and_one_that_fills_it_too);
    tcase_add_test(tests, an_answer_over_a_small_block_takes_a_large_one);
    tcase_add_test(tests, later_output_fills_the_last_block_and_continues_in_a_large_one);
    tcase_add_test(tests, a_full_last_block_stays_as_it_is_when_more_comes);
    tcase_add_test(tests, queued_bytes_never_move_and_never_change_as_the_kernel_may_be_reading_them);
    tcase_add_test(tests, pieces_are_at_most_as_many_as_asked_for_and_their_bytes_are_summed);
    tcase_add_test(tests, consuming_continues_where_it_stopped_over_any_number_of_blocks);
    tcase_add_test(tests, a_queue_that_is_consumed_whole_holds_no_block_and_begins_anew);
    tcase_add_test(tests, consuming_nothing_changes_nothing);
    tcase_add_test(tests, an_appended_block_is_queued_as_it_is_and_more_bytes_go_behind_it);
    tcase_add_test(tests, a_block_appended_to_an_empty_queue_is_its_first);
    tcase_add_test(tests, clearing_gives_every_block_back_and_says_how_many_bytes_that_was);
    tcase_add_loop_test(tests, an_append_for_which_there_is_no_memory_adds_nothing_at_all, 0, FAILING_BLOCKS);
    tcase_add_test(tests, a_queue_does_what_an_array_does_under_any_operations_with_memory_failing_now_and_then);
}
