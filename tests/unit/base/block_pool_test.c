#include "base/block_pool.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <jinduo/memory.h>
#include <string.h>

const char *const suite_name = "block_pool";

/* Small, so that regions fill up and the limit is reached soon. */
enum { BLOCK_BYTES = 128, REGION_BYTES = 1024, LIMIT_REGIONS = 4 };

static struct block_pool pool, slices;

static void set_up(void)
{
    checking_memory_install();
    block_pool_init(&pool, BLOCK_BYTES, REGION_BYTES, LIMIT_REGIONS * REGION_BYTES);
    block_pool_init(&slices, BLOCK_BYTES, REGION_BYTES, LIMIT_REGIONS * REGION_BYTES);
}

static void tear_down(void)
{
    block_pool_destroy(&pool);
    block_pool_destroy(&slices);
    checking_memory_remove();
}

static struct block *get_block(void)
{
    struct block *block = block_pool_get(&pool);

    ck_assert_ptr_nonnull(block);
    return block;
}

static void get_blocks(struct block **blocks, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        blocks[i] = get_block();
}

static void put_blocks(struct block **blocks, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        block_release(blocks[i]);
}

START_TEST(a_pool_that_was_never_used_holds_no_memory)
{
    ck_assert_uint_eq(block_pool_bytes(&pool), 0);
    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

START_TEST(a_block_is_empty_and_all_its_room_can_be_written)
{
    struct block *block = get_block();
    ck_assert_uint_eq(block_length(block), 0);
    ck_assert_uint_eq(block_room(block), block->capacity);
    ck_assert_uint_ge(block->capacity, BLOCK_BYTES - sizeof(struct block));

    memset(block->data, 'x', block->capacity);
    block->end = block->capacity;
    block->begin = 10;

    ck_assert_uint_eq(block_length(block), block->capacity - 10);
    ck_assert_uint_eq(block_room(block), 0);
    block_release(block);
}
END_TEST

START_TEST(a_used_block_comes_back_empty)
{
    struct block *block = get_block();
    block->begin = 5;
    block->end = 50;
    block_release(block);

    block = get_block();

    ck_assert_uint_eq(block->begin, 0);
    ck_assert_uint_eq(block->end, 0);
    ck_assert_ptr_null(block->next);
    block_release(block);
}
END_TEST

START_TEST(the_block_put_back_last_is_the_first_to_be_used_again)
{
    struct block *blocks[3];
    get_blocks(blocks, 3);
    put_blocks(blocks, 3);

    ck_assert_ptr_eq(get_block(), blocks[2]);
    ck_assert_ptr_eq(get_block(), blocks[1]);
    ck_assert_ptr_eq(get_block(), blocks[0]);

    put_blocks(blocks, 3);
}
END_TEST

START_TEST(a_region_is_filled_before_another_is_made)
{
    struct block *blocks[REGION_BYTES / BLOCK_BYTES + 1];
    unsigned per_region = pool.blocks_per_region;
    ck_assert_uint_ge(per_region, REGION_BYTES / BLOCK_BYTES - 1);

    get_blocks(blocks, per_region);
    ck_assert_uint_eq(block_pool_bytes(&pool), REGION_BYTES);
    blocks[per_region] = get_block();

    ck_assert_uint_eq(block_pool_bytes(&pool), 2 * REGION_BYTES);
    put_blocks(blocks, per_region + 1);
}
END_TEST

START_TEST(beyond_the_limit_blocks_come_from_the_heap_and_are_counted)
{
    struct block *blocks[LIMIT_REGIONS * REGION_BYTES / BLOCK_BYTES + 2];
    unsigned limit = LIMIT_REGIONS * pool.blocks_per_region;
    get_blocks(blocks, limit);
    ck_assert_uint_eq(pool.overflow_count, 0);

    get_blocks(blocks + limit, 2);

    ck_assert_uint_eq(pool.overflow_count, 2);
    ck_assert_uint_eq(pool.heap_blocks, 2);
    ck_assert_uint_eq(block_pool_bytes(&pool), LIMIT_REGIONS * REGION_BYTES + 2 * BLOCK_BYTES);
    ck_assert_uint_eq(jd_memory_in_use(), block_pool_bytes(&pool));
    put_blocks(blocks, limit + 2);
    ck_assert_uint_eq(pool.overflow_count, 2);
    ck_assert_uint_eq(pool.heap_blocks, 0);
}
END_TEST

START_TEST(a_pool_whose_limit_is_below_a_region_uses_the_heap_only)
{
    struct block_pool tiny;
    struct block *block;
    block_pool_init(&tiny, BLOCK_BYTES, REGION_BYTES, REGION_BYTES - 1);

    block = block_pool_get(&tiny);

    ck_assert_uint_eq(block_pool_bytes(&tiny), BLOCK_BYTES);
    memset(block->data, 'x', block->capacity);
    block_release(block);
    ck_assert_uint_eq(block_pool_bytes(&tiny), 0);
    block_pool_destroy(&tiny);
}
END_TEST

START_TEST(after_a_burst_all_regions_but_one_are_given_back)
{
    struct block *blocks[LIMIT_REGIONS * REGION_BYTES / BLOCK_BYTES];
    unsigned limit = LIMIT_REGIONS * pool.blocks_per_region;
    get_blocks(blocks, limit);
    ck_assert_uint_eq(jd_memory_in_use(), LIMIT_REGIONS * REGION_BYTES);

    put_blocks(blocks, limit);

    ck_assert_uint_eq(jd_memory_in_use(), REGION_BYTES);
    ck_assert_uint_eq(block_pool_bytes(&pool), REGION_BYTES);
}
END_TEST

START_TEST(one_block_coming_and_going_at_a_regions_border_takes_no_new_memory)
{
    struct block *blocks[REGION_BYTES / BLOCK_BYTES + 1];
    unsigned per_region = pool.blocks_per_region;
    get_blocks(blocks, per_region + 1);

    checking_memory_fail_at(1);
    for (int i = 0; i < 10; i++) {
        block_release(blocks[per_region]);
        blocks[per_region] = get_block();
    }

    ck_assert(!checking_memory_has_failed());
    put_blocks(blocks, per_region + 1);
}
END_TEST

START_TEST(the_first_blocks_of_a_prefaulted_pool_take_no_new_memory)
{
    struct block *blocks[REGION_BYTES / BLOCK_BYTES];
    ck_assert_int_eq(block_pool_prefault(&pool), 0);
    ck_assert_uint_eq(block_pool_bytes(&pool), REGION_BYTES);

    checking_memory_fail_at(1);
    get_blocks(blocks, pool.blocks_per_region);

    ck_assert(!checking_memory_has_failed());
    put_blocks(blocks, pool.blocks_per_region);
}
END_TEST

START_TEST(prefaulting_without_memory_fails_and_leaves_the_pool_usable)
{
    struct block *block;
    checking_memory_fail_at(1);

    ck_assert_int_eq(block_pool_prefault(&pool), JD_ENOMEM);

    ck_assert_uint_eq(block_pool_bytes(&pool), 0);
    block = get_block();
    block_release(block);
}
END_TEST

START_TEST(without_memory_for_a_region_a_block_comes_from_the_heap)
{
    struct block *block;
    checking_memory_fail_at(1);

    block = get_block();

    ck_assert(checking_memory_has_failed());
    ck_assert_uint_eq(block_pool_bytes(&pool), BLOCK_BYTES);
    ck_assert_uint_eq(pool.overflow_count, 1);
    block_release(block);
}
END_TEST

START_TEST(without_any_memory_there_is_no_block_and_nothing_is_counted)
{
    struct block_pool tiny;
    struct block *block;
    block_pool_init(&tiny, BLOCK_BYTES, REGION_BYTES, 0);
    checking_memory_fail_at(1);

    ck_assert_ptr_null(block_pool_get(&tiny));

    ck_assert_uint_eq(tiny.heap_blocks, 0);
    ck_assert_uint_eq(tiny.overflow_count, 0);
    block = block_pool_get(&tiny);
    ck_assert_ptr_nonnull(block);
    block_release(block);
    block_pool_destroy(&tiny);
}
END_TEST

/* The model: the blocks that are out, each filled with a byte of its own. */
enum { MODEL_MAX_BLOCKS = 48, MODEL_OPERATIONS = 20000, PHASE_OPERATIONS = 200 };

struct model {
    struct block *blocks[MODEL_MAX_BLOCKS];
    uint8_t marks[MODEL_MAX_BLOCKS];
    unsigned count;
    uint64_t heap_blocks_taken;
};

static unsigned blocks_in(const struct model *model, const struct block_region *region)
{
    unsigned count = 0;

    for (unsigned i = 0; i < model->count; i++)
        count += model->blocks[i]->region == region;
    return count;
}

/* Regions that have a block out: counted at the first of their blocks. */
static unsigned regions_in_use(const struct model *model)
{
    unsigned regions = 0;

    for (unsigned i = 0; i < model->count; i++) {
        const struct block_region *region = model->blocks[i]->region;
        unsigned first = 0;

        while (model->blocks[first]->region != region)
            first++;
        regions += region != NULL && first == i;
    }
    return regions;
}

static void model_get(struct model *model, uint64_t *random)
{
    unsigned from_regions = model->count - blocks_in(model, NULL);
    struct block *block = get_block();

    ck_assert_uint_eq((uintptr_t)block % 8, 0);
    ck_assert_uint_eq(block_length(block), 0);
    ck_assert_uint_eq(block_room(block), BLOCK_BYTES - sizeof(*block));
    /* From the heap exactly when every region there may be is full. */
    ck_assert_int_eq(block->region == NULL, from_regions == LIMIT_REGIONS * pool.blocks_per_region);
    model->heap_blocks_taken += block->region == NULL;
    model->marks[model->count] = (uint8_t)random_below(random, 256);
    memset(block->data, model->marks[model->count], block->capacity);
    model->blocks[model->count++] = block;
}

static void assert_unharmed(const struct block *block, uint8_t mark)
{
    uint32_t same = 0;

    while (same < block->capacity && block->data[same] == mark)
        same++;
    ck_assert_uint_eq(same, block->capacity);
}

static void model_put(struct model *model, uint64_t *random)
{
    unsigned which = (unsigned)random_below(random, model->count);
    struct block *block = model->blocks[which];

    assert_unharmed(block, model->marks[which]);
    model->count--;
    model->blocks[which] = model->blocks[model->count];
    model->marks[which] = model->marks[model->count];
    block_release(block);
}

static void assert_pool(const struct model *model)
{
    unsigned in_use = regions_in_use(model);

    ck_assert_uint_eq(pool.heap_blocks, blocks_in(model, NULL));
    ck_assert_uint_eq(pool.overflow_count, model->heap_blocks_taken);
    ck_assert_uint_ge(pool.regions, in_use);
    ck_assert_uint_le(pool.regions, in_use + 1);
    ck_assert_uint_eq(pool.idle_regions, pool.regions - in_use);
    ck_assert_uint_eq(jd_memory_in_use(), block_pool_bytes(&pool));
}

START_TEST(a_pool_does_what_a_list_of_blocks_does_under_any_operations)
{
    struct model model = { .count = 0 };
    uint64_t random = test_seed();
    /* Of ten operations, how many get a block: in phases, so that the pool runs full and empty. */
    uint64_t gets = 5;

    for (int i = 0; i < MODEL_OPERATIONS; i++) {
        if (i % PHASE_OPERATIONS == 0)
            gets = 2 + random_below(&random, 7);
        if (random_below(&random, 10) < gets) {
            if (model.count < MODEL_MAX_BLOCKS)
                model_get(&model, &random);
        } else if (model.count > 0) {
            model_put(&model, &random);
        }
        assert_pool(&model);
    }

    ck_assert_uint_gt(model.heap_blocks_taken, 0);
    while (model.count > 0)
        model_put(&model, &random);
}
END_TEST

/* ---- slices ---- */

/* Fewer bytes than a block has. */
static struct block *keep_part(struct block *whole, uint32_t begin, uint32_t length)
{
    struct block shown;
    struct block *slice;

    block_view(&shown, &slices, whole, begin, length);
    slice = block_keep(&shown);
    ck_assert_ptr_nonnull(slice);
    return slice;
}

START_TEST(keeping_a_whole_block_gives_that_block)
{
    struct block *block = get_block();

    ck_assert_ptr_eq(block_keep(block), block);

    ck_assert_uint_eq(block->slices, 0);
    ck_assert_uint_eq(block_pinned_bytes(block), block->capacity);
    block_release(block);
}
END_TEST

START_TEST(a_slice_shows_its_bytes_and_has_no_room_behind_them)
{
    struct block *whole = get_block();
    struct block *slice;
    memcpy(whole->data, "first second", 12);

    slice = keep_part(whole, 6, 6);

    ck_assert_ptr_ne(slice, whole);
    ck_assert_mem_eq(slice->data + slice->begin, "second", 6);
    ck_assert_uint_eq(block_length(slice), 6);
    ck_assert_uint_eq(block_room(slice), 0);
    ck_assert_uint_eq(block_pinned_bytes(slice), whole->capacity);
    block_release(slice);
    block_release(whole);
}
END_TEST

START_TEST(a_block_goes_back_when_its_holder_and_all_slices_have_in_any_order)
{
    enum { HOLDERS = 5, ROUNDS = 200 };
    uint64_t random = test_seed();

    for (int round = 0; round < ROUNDS; round++) {
        struct block *holders[HOLDERS] = { get_block() };
        for (uint32_t i = 1; i < HOLDERS; i++)
            holders[i] = keep_part(holders[0], i, 1);
        for (uint64_t left = HOLDERS; left > 0; left--) {
            uint64_t which = random_below(&random, left);
            ck_assert_uint_eq(pool.blocks_used, 1);
            block_release(holders[which]);
            holders[which] = holders[left - 1];
        }
        ck_assert_uint_eq(pool.blocks_used, 0);
        ck_assert_uint_eq(slices.blocks_used, 0);
    }
}
END_TEST

START_TEST(without_memory_nothing_is_kept_of_a_shown_part)
{
    struct block *whole = get_block();
    struct block shown;
    block_view(&shown, &slices, whole, 0, 1);
    checking_memory_fail(1, 2); /* a region, and from the heap */

    ck_assert_ptr_null(block_keep(&shown));

    ck_assert_uint_eq(whole->slices, 0);
    checking_memory_fail(1, 0);
    block_release(whole);
    ck_assert_uint_eq(pool.blocks_used, 0);
}
END_TEST

/* ---- a pool of pages ---- */

START_TEST(the_bytes_of_a_block_are_whole_pages_in_a_region_and_from_the_heap)
{
    enum {
        CAPACITY = 2 * BLOCK_PAGE_BYTES,
        IN_REGION = 3,
        BLOCKS = IN_REGION + 2,
        REGION = IN_REGION * CAPACITY + 8192
    };
    struct block *blocks[BLOCKS];
    struct block_pool pages;
    block_pool_init_pages(&pages, CAPACITY, REGION, REGION);

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = block_pool_get(&pages);
            ck_assert_ptr_nonnull(blocks[i]);
            ck_assert_uint_eq(blocks[i]->capacity, CAPACITY);
            ck_assert_uint_eq((uintptr_t)blocks[i]->data % BLOCK_PAGE_BYTES, 0);
            memset(blocks[i]->data, i, CAPACITY);
        }
        ck_assert_uint_eq(pages.heap_blocks, BLOCKS - IN_REGION);
        ck_assert_uint_eq(block_pool_bytes(&pages), jd_memory_in_use());
        for (int i = 0; i < BLOCKS; i++) {
            for (int k = 0; k < CAPACITY; k++)
                if (blocks[i]->data[k] != i)
                    ck_abort_msg("block %d, byte %d", i, k);
            block_release(blocks[i]);
        }
    }

    block_pool_destroy(&pages);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("block_pool");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_pool_that_was_never_used_holds_no_memory);
    tcase_add_test(tests, a_block_is_empty_and_all_its_room_can_be_written);
    tcase_add_test(tests, a_used_block_comes_back_empty);
    tcase_add_test(tests, the_block_put_back_last_is_the_first_to_be_used_again);
    tcase_add_test(tests, a_region_is_filled_before_another_is_made);
    tcase_add_test(tests, beyond_the_limit_blocks_come_from_the_heap_and_are_counted);
    tcase_add_test(tests, a_pool_whose_limit_is_below_a_region_uses_the_heap_only);
    tcase_add_test(tests, after_a_burst_all_regions_but_one_are_given_back);
    tcase_add_test(tests, one_block_coming_and_going_at_a_regions_border_takes_no_new_memory);
    tcase_add_test(tests, the_first_blocks_of_a_prefaulted_pool_take_no_new_memory);
    tcase_add_test(tests, prefaulting_without_memory_fails_and_leaves_the_pool_usable);
    tcase_add_test(tests, without_memory_for_a_region_a_block_comes_from_the_heap);
    tcase_add_test(tests, without_any_memory_there_is_no_block_and_nothing_is_counted);
    tcase_add_test(tests, the_bytes_of_a_block_are_whole_pages_in_a_region_and_from_the_heap);
    tcase_add_test(tests, keeping_a_whole_block_gives_that_block);
    tcase_add_test(tests, a_slice_shows_its_bytes_and_has_no_room_behind_them);
    tcase_add_test(tests, a_block_goes_back_when_its_holder_and_all_slices_have_in_any_order);
    tcase_add_test(tests, without_memory_nothing_is_kept_of_a_shown_part);
    tcase_add_test(tests, a_pool_does_what_a_list_of_blocks_does_under_any_operations);
}
