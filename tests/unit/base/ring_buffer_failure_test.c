#include "base/ring_buffer.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/memory.h>
#include <stdlib.h>
#include <string.h>

const char *const suite_name = "ring_buffer_failure";

/* The scenario in which every allocation is made to fail once. It makes memory in each of the ways there are. */
static const struct step {
    enum { APPEND, PREPEND, RESERVE, CONSUME, PEEK, MAKE_CONTIGUOUS, MOVE_VIEW, MOVE_RING, VIEW } what;
    size_t length;
} steps[] = {
    { APPEND, 10 },      { PREPEND, 100 },    { RESERVE, 300 },  { APPEND, 102 },
    { CONSUME, 500 },    { APPEND, 100 },     { PEEK, 112 },     { APPEND, 16 },
    { CONSUME, 120 },    { APPEND, 60 },      { RESERVE, 60 },   { MAKE_CONTIGUOUS, 1000 },
    { MOVE_VIEW, 2000 }, { MOVE_RING, 3000 }, { CONSUME, 9000 }, { PREPEND, 10 },
    { CONSUME, 9000 },   { MOVE_VIEW, 50 },   { CONSUME, 9000 }, { MOVE_RING, 50 },
    { CONSUME, 9000 },   { VIEW, 50 },        { APPEND, 20 },    { CONSUME, 9000 },
    { VIEW, 50 },        { PREPEND, 20 },     { CONSUME, 9000 }, { VIEW, 50 },
    { RESERVE, 20 },
};

enum { SCENARIO_MAX_BYTES = 8192, SCENARIO_MIN_ALLOCATIONS = 12 };

/* Where all the bytes come from. */
static struct block *pattern;

static struct block *make_pattern(void)
{
    struct block *block = calloc(1, sizeof(*block) + SCENARIO_MAX_BYTES);

    ck_assert_ptr_nonnull(block);
    block->data = (uint8_t *)(block + 1);
    for (size_t i = 0; i < SCENARIO_MAX_BYTES; i++)
        block->data[i] = (uint8_t)(i * 31 + i / 256);
    return block;
}

static struct block *pattern_block(size_t length)
{
    pattern->end = (uint32_t)length;
    return pattern;
}

static bool move_pattern(jd_buffer *to, bool view, size_t length)
{
    jd_buffer from;
    bool moved;

    ring_buffer_init(&from);
    if (view)
        ring_buffer_view(&from, pattern_block(length));
    else if (jd_buffer_append(&from, pattern_block(length)->data, length) < 0)
        return false;
    moved = ring_buffer_move(to, &from) == 0;
    ck_assert_uint_eq(jd_buffer_readable(&from), moved ? 0 : length);
    ring_buffer_clear(&from);
    return moved;
}

static bool reserve_pattern(jd_buffer *buffer, size_t length)
{
    void *room = jd_buffer_reserve(buffer, length);

    if (room == NULL)
        return false;
    memcpy(room, pattern->data, length);
    return jd_buffer_commit(buffer, length) == 0;
}

static bool run_step(jd_buffer *buffer, const struct step *step)
{
    switch (step->what) {
    case APPEND:
        return jd_buffer_append(buffer, pattern->data, step->length) == 0;
    case PREPEND:
        return jd_buffer_prepend(buffer, pattern->data, step->length) == 0;
    case RESERVE:
        return reserve_pattern(buffer, step->length);
    case CONSUME:
        return jd_buffer_consume(buffer, step->length) > 0;
    case PEEK:
        return jd_buffer_peek(buffer, step->length) != NULL;
    case MAKE_CONTIGUOUS:
        return ring_buffer_make_contiguous(buffer, step->length) == 0;
    case MOVE_VIEW:
    case MOVE_RING:
        return move_pattern(buffer, step->what == MOVE_VIEW, step->length);
    case VIEW:
        ring_buffer_view(buffer, pattern_block(step->length));
        return true;
    }
    return false;
}

/* The bytes left at the end. A step that fails for want of memory must change nothing, and succeed the next time. */
static size_t run_scenario(uint8_t result[SCENARIO_MAX_BYTES])
{
    static uint8_t content[SCENARIO_MAX_BYTES];
    jd_buffer *buffer, before;
    size_t length;

    if (jd_buffer_create(&buffer) < 0)
        ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        before = *buffer;
        length = jd_buffer_readable(buffer);
        ck_assert_int_eq(jd_buffer_copy_out(buffer, 0, content, length), 0);
        if (run_step(buffer, &steps[i]))
            continue;
        ck_assert_mem_eq(buffer, &before, sizeof(before));
        assert_content(buffer, content, length);
        ck_assert(run_step(buffer, &steps[i]));
    }
    length = jd_buffer_readable(buffer);
    ck_assert_int_eq(jd_buffer_copy_out(buffer, 0, result, length), 0);
    jd_buffer_destroy(buffer);
    return length;
}

START_TEST(an_allocation_that_fails_leaves_the_buffer_as_it_was)
{
    static uint8_t expected[SCENARIO_MAX_BYTES], result[SCENARIO_MAX_BYTES];
    size_t length;
    unsigned number = 1;
    pattern = make_pattern();
    length = run_scenario(expected);

    for (;; number++) {
        checking_memory_fail_at(number);
        ck_assert_uint_eq(run_scenario(result), length);
        ck_assert_mem_eq(result, expected, length);
        ck_assert_uint_eq(jd_memory_in_use(), 0);
        if (!checking_memory_has_failed())
            break;
    }

    ck_assert_uint_gt(number, SCENARIO_MIN_ALLOCATIONS);
    free(pattern);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("ring_buffer_failure");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    tcase_add_test(tests, an_allocation_that_fails_leaves_the_buffer_as_it_was);
}
