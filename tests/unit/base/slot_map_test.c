#include "base/slot_map.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/memory.h>
#include <stdlib.h>
#include <string.h>

const char *const suite_name = "slot_map";

struct thing {
    struct slot_header header;
    uint64_t value;
    uint64_t more;
};

/* What one keeps of an object: it resolves or not. */
struct id {
    uint32_t slot, generation;
};

enum { REGION_THINGS = SLOT_REGION_OBJECTS };

static struct slot_map map;

static void set_up(void)
{
    checking_memory_install();
    slot_map_init(&map, sizeof(struct thing), 0);
}

static void tear_down(void)
{
    slot_map_destroy(&map);
    checking_memory_remove();
}

static struct thing *make_thing(void)
{
    struct thing *thing = slot_map_allocate(&map);

    ck_assert_ptr_nonnull(thing);
    return thing;
}

static void make_things(struct thing **things, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        things[i] = make_thing();
}

static void free_things(struct thing **things, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        slot_map_free(&map, things[i]);
}

static struct id id_of(const struct thing *thing)
{
    return (struct id){ thing->header.slot, thing->header.generation };
}

static struct thing *find(struct id id)
{
    return slot_map_find(&map, id.slot, id.generation);
}

START_TEST(a_map_that_was_never_used_holds_no_memory_and_finds_nothing)
{
    ck_assert_uint_eq(jd_memory_in_use(), 0);
    ck_assert_ptr_null(slot_map_find(&map, 0, 1));
    ck_assert_ptr_null(slot_map_find(&map, UINT32_MAX, UINT32_MAX));
    ck_assert_ptr_null(slot_map_next(&map, 0));
}
END_TEST

START_TEST(a_new_object_is_zeroed_and_found_by_its_id)
{
    struct thing *thing = make_thing();

    ck_assert_uint_eq(thing->value, 0);
    ck_assert_uint_eq(thing->more, 0);
    ck_assert_ptr_eq(find(id_of(thing)), thing);
    ck_assert_uint_eq(map.count, 1);

    slot_map_free(&map, thing);
}
END_TEST

START_TEST(an_object_in_a_used_slot_is_zeroed_too)
{
    struct thing *thing = make_thing();
    memset(&thing->value, 0xff, sizeof(thing->value) + sizeof(thing->more));
    slot_map_free(&map, thing);

    thing = make_thing();

    ck_assert_uint_eq(thing->value, 0);
    ck_assert_uint_eq(thing->more, 0);
    slot_map_free(&map, thing);
}
END_TEST

START_TEST(a_freed_object_is_not_found)
{
    struct thing *thing = make_thing();
    struct id id = id_of(thing);

    slot_map_free(&map, thing);

    ck_assert_ptr_null(find(id));
    ck_assert_uint_eq(map.count, 0);
}
END_TEST

START_TEST(neither_are_numbers_found_that_were_never_given)
{
    struct thing *thing = make_thing();
    struct id id = id_of(thing);

    ck_assert_ptr_null(slot_map_find(&map, id.slot, id.generation + 1));
    ck_assert_ptr_null(slot_map_find(&map, id.slot, id.generation - 1));
    ck_assert_ptr_null(slot_map_find(&map, id.slot, 0));
    ck_assert_ptr_null(slot_map_find(&map, id.slot + 1, id.generation));
    ck_assert_ptr_null(slot_map_find(&map, id.slot + REGION_THINGS, id.generation));
    ck_assert_ptr_null(slot_map_find(&map, SLOT_MAP_MAX_SLOTS, id.generation));
    ck_assert_ptr_null(slot_map_find(&map, UINT32_MAX, id.generation));

    slot_map_free(&map, thing);
}
END_TEST

START_TEST(what_happens_to_be_in_memory_never_used_is_no_object)
{
    uint32_t generation = CHECKING_MEMORY_PATTERN * 0x01010101u;
    struct thing *thing = make_thing();
    ck_assert_uint_eq(generation % 2, 1);

    ck_assert_ptr_null(slot_map_find(&map, thing->header.slot + 1, generation));
    ck_assert_ptr_null(slot_map_next(&map, thing->header.slot + 1));

    slot_map_free(&map, thing);
}
END_TEST

START_TEST(an_old_id_does_not_resolve_to_the_slots_next_object)
{
    struct thing *thing = make_thing();
    struct id old = id_of(thing);
    slot_map_free(&map, thing);

    thing = make_thing();

    ck_assert_uint_eq(thing->header.slot, old.slot);
    ck_assert_ptr_null(find(old));
    ck_assert_ptr_eq(find(id_of(thing)), thing);
    slot_map_free(&map, thing);
}
END_TEST

START_TEST(an_old_id_does_not_resolve_after_its_region_was_given_back_and_made_again)
{
    struct thing *things[2 * REGION_THINGS];
    struct id old[2 * REGION_THINGS];
    size_t full;
    make_things(things, 2 * REGION_THINGS);
    full = jd_memory_in_use();
    for (int i = 0; i < 2 * REGION_THINGS; i++)
        old[i] = id_of(things[i]);
    free_things(things, 2 * REGION_THINGS);
    ck_assert_uint_lt(jd_memory_in_use(), full);
    for (int i = 0; i < 2 * REGION_THINGS; i++)
        ck_assert_ptr_null(find(old[i]));

    make_things(things, 2 * REGION_THINGS);

    ck_assert_uint_eq(jd_memory_in_use(), full);
    for (int i = 0; i < 2 * REGION_THINGS; i++)
        ck_assert_ptr_null(find(old[i]));
    free_things(things, 2 * REGION_THINGS);
}
END_TEST

START_TEST(an_old_id_does_not_resolve_in_a_map_that_continues_its_numbers)
{
    struct thing *things[3];
    struct id old[3];
    for (int round = 0; round < 5; round++) {
        make_things(things, 3);
        free_things(things, 3);
    }
    make_things(things, 3);
    for (int i = 0; i < 3; i++)
        old[i] = id_of(things[i]);
    free_things(things, 3);

    slot_map_init(&map, sizeof(struct thing), slot_map_destroy(&map));

    for (int i = 0; i < 3; i++)
        ck_assert_ptr_null(find(old[i]));
    make_things(things, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_null(find(old[i]));
    free_things(things, 3);
}
END_TEST

START_TEST(the_next_generation_is_beyond_live_objects_and_the_same_when_they_are_freed)
{
    struct thing *things[3];
    uint32_t next_generation;
    make_things(things, 3);
    slot_map_free(&map, things[1]);
    things[1] = make_thing();

    next_generation = slot_map_next_generation(&map);

    ck_assert_uint_gt(next_generation, things[1]->header.generation);
    ck_assert_uint_eq(next_generation % 2, 0);
    free_things(things, 3);
    ck_assert_uint_eq(slot_map_destroy(&map), next_generation);
}
END_TEST

START_TEST(a_destroyed_map_finds_nothing)
{
    struct thing *thing = make_thing();
    struct id id = id_of(thing);
    slot_map_free(&map, thing);

    slot_map_destroy(&map);

    ck_assert_ptr_null(find(id));
    ck_assert_ptr_null(slot_map_next(&map, 0));
    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

START_TEST(generations_wrap_around_without_becoming_even)
{
    struct thing *thing;
    slot_map_destroy(&map);
    slot_map_init(&map, sizeof(struct thing), UINT32_MAX);

    for (int i = 0; i < 4; i++) {
        thing = make_thing();
        ck_assert_uint_eq(thing->header.generation, (uint32_t)(UINT32_MAX + 2 * i));
        ck_assert_ptr_eq(find(id_of(thing)), thing);
        slot_map_free(&map, thing);
    }

    /* Behind the wrap, not before it: 2^32 - 1, 1, 3, 5 were used. */
    ck_assert_uint_eq(slot_map_destroy(&map), 6);
}
END_TEST

START_TEST(addresses_do_not_change_when_the_map_grows)
{
    enum { THINGS = 6 * REGION_THINGS };
    struct thing *things[THINGS];

    for (unsigned i = 0; i < THINGS; i++) {
        things[i] = make_thing();
        things[i]->value = i;
    }

    for (unsigned i = 0; i < THINGS; i++) {
        ck_assert_uint_eq(things[i]->value, i);
        ck_assert_ptr_eq(find(id_of(things[i])), things[i]);
    }
    free_things(things, THINGS);
}
END_TEST

START_TEST(objects_lie_side_by_side)
{
    struct thing *things[REGION_THINGS];

    make_things(things, REGION_THINGS);

    for (unsigned i = 1; i < REGION_THINGS; i++)
        ck_assert_ptr_eq(things[i], things[i - 1] + 1);
    free_things(things, REGION_THINGS);
}
END_TEST

START_TEST(after_a_burst_all_regions_but_one_are_given_back)
{
    enum { THINGS = 8 * REGION_THINGS };
    struct thing *things[THINGS];
    make_things(things, THINGS);
    ck_assert_uint_ge(jd_memory_in_use(), THINGS * sizeof(struct thing));

    free_things(things, THINGS);

    ck_assert_uint_lt(jd_memory_in_use(), 2 * REGION_THINGS * sizeof(struct thing));
    ck_assert_uint_eq(jd_memory_in_use(), map.bytes);
}
END_TEST

START_TEST(slots_of_regions_that_were_given_back_are_used_again)
{
    enum { THINGS = 4 * REGION_THINGS };
    struct thing *things[THINGS];
    make_things(things, THINGS);
    free_things(things, THINGS);

    make_things(things, THINGS);

    for (unsigned i = 0; i < THINGS; i++)
        ck_assert_uint_lt(things[i]->header.slot, THINGS);
    free_things(things, THINGS);
}
END_TEST

START_TEST(one_object_coming_and_going_at_a_regions_border_takes_no_new_memory)
{
    struct thing *things[REGION_THINGS + 1];
    make_things(things, REGION_THINGS + 1);

    checking_memory_fail_at(1);
    for (int i = 0; i < 10; i++) {
        slot_map_free(&map, things[REGION_THINGS]);
        things[REGION_THINGS] = make_thing();
    }

    ck_assert(!checking_memory_has_failed());
    free_things(things, REGION_THINGS + 1);
}
END_TEST

START_TEST(a_walk_meets_every_object_in_the_order_of_slots)
{
    enum { THINGS = 2 * REGION_THINGS + 10 };
    struct thing *things[THINGS];
    unsigned met = 0;
    make_things(things, THINGS);

    for (struct thing *thing = slot_map_next(&map, 0); thing != NULL;
         thing = slot_map_next(&map, thing->header.slot + 1))
        ck_assert_ptr_eq(thing, things[met++]);

    ck_assert_uint_eq(met, THINGS);
    free_things(things, THINGS);
}
END_TEST

START_TEST(a_walk_may_free_each_object_it_meets)
{
    enum { THINGS = 3 * REGION_THINGS };
    struct thing *things[THINGS], *thing;
    unsigned met = 0;
    make_things(things, THINGS);

    for (uint32_t slot = 0; (thing = slot_map_next(&map, slot)) != NULL; met++) {
        slot = thing->header.slot + 1;
        slot_map_free(&map, thing);
    }

    ck_assert_uint_eq(met, THINGS);
    ck_assert_uint_eq(map.count, 0);
}
END_TEST

START_TEST(a_walk_may_free_objects_that_are_still_to_come)
{
    enum { THINGS = 2 * REGION_THINGS };
    struct thing *things[THINGS], *thing;
    unsigned met = 0;
    make_things(things, THINGS);

    for (uint32_t slot = 0; (thing = slot_map_next(&map, slot)) != NULL; met++) {
        uint32_t number = thing->header.slot;
        ck_assert_uint_eq(number % 2, 0);
        slot_map_free(&map, things[number + 1]);
        slot_map_free(&map, thing);
        slot = number + 1;
    }

    ck_assert_uint_eq(met, THINGS / 2);
}
END_TEST

START_TEST(an_allocation_that_fails_leaves_the_map_as_it_was)
{
    enum { THINGS = 5 * REGION_THINGS };
    struct thing *things[THINGS];
    unsigned number = 1;

    for (;; number++) {
        checking_memory_fail_at(number);
        for (unsigned i = 0; i < THINGS; i++) {
            things[i] = slot_map_allocate(&map);
            if (things[i] != NULL)
                continue;
            ck_assert_uint_eq(map.count, i);
            things[i] = make_thing();
        }
        for (unsigned i = 0; i < THINGS; i++)
            ck_assert_ptr_eq(find(id_of(things[i])), things[i]);
        free_things(things, THINGS);
        slot_map_destroy(&map);
        ck_assert_uint_eq(jd_memory_in_use(), 0);
        if (!checking_memory_has_failed())
            break;
    }

    /* Five regions, and their table twice. */
    ck_assert_uint_eq(number, 5 + 2 + 1);
}
END_TEST

/* The model: the live objects with what was written to them, and all ids that are stale. */
enum {
    MODEL_MAX_THINGS = 5 * REGION_THINGS,
    MODEL_OPERATIONS = 40000,
    PHASE_OPERATIONS = 2000,
    CHECK_OPERATIONS = 1000
};

struct model {
    struct thing *things[MODEL_MAX_THINGS];
    struct id ids[MODEL_MAX_THINGS];
    uint64_t values[MODEL_MAX_THINGS];
    unsigned count;
    struct id *stale;
    unsigned stale_count;
};

static void model_make(struct model *model, uint64_t *random)
{
    struct thing *thing = make_thing();

    ck_assert(thing->value == 0 && thing->more == 0);
    thing->value = random_next(random);
    thing->more = ~thing->value;
    model->things[model->count] = thing;
    model->ids[model->count] = id_of(thing);
    model->values[model->count++] = thing->value;
}

static void model_free(struct model *model, unsigned which)
{
    model->stale[model->stale_count++] = model->ids[which];
    slot_map_free(&map, model->things[which]);
    model->count--;
    model->things[which] = model->things[model->count];
    model->ids[which] = model->ids[model->count];
    model->values[which] = model->values[model->count];
}

static void model_free_all(struct model *model)
{
    while (model->count > 0)
        model_free(model, model->count - 1);
}

static bool is_as_written(const struct model *model, unsigned which)
{
    const struct thing *thing = find(model->ids[which]);

    return thing == model->things[which] && thing->value == model->values[which] &&
           thing->more == ~model->values[which] && thing->header.slot == model->ids[which].slot;
}

static unsigned walk(void)
{
    unsigned met = 0;

    for (struct thing *thing = slot_map_next(&map, 0); thing != NULL;
         thing = slot_map_next(&map, thing->header.slot + 1))
        met += find(id_of(thing)) == thing;
    return met;
}

/* Regions in use at least, and one idle at most. */
static size_t most_bytes(const struct model *model)
{
    bool used[SLOT_MAP_MAX_SLOTS / SLOT_REGION_OBJECTS / 256] = { false };
    size_t regions = 0;

    for (unsigned i = 0; i < model->count; i++) {
        uint32_t region = model->ids[i].slot / SLOT_REGION_OBJECTS;
        ck_assert_uint_lt(region, sizeof(used) / sizeof(used[0]));
        regions += !used[region];
        used[region] = true;
    }
    return (regions + 1) * SLOT_REGION_OBJECTS * sizeof(struct thing);
}

static void assert_map(const struct model *model)
{
    unsigned right = 0, resolved = 0;

    for (unsigned i = 0; i < model->count; i++)
        right += is_as_written(model, i);
    for (unsigned i = 0; i < model->stale_count; i++)
        resolved += find(model->stale[i]) != NULL;
    ck_assert_uint_eq(right, model->count);
    ck_assert_uint_eq(resolved, 0);
    ck_assert_uint_eq(map.count, model->count);
    ck_assert_uint_eq(walk(), model->count);
    ck_assert_uint_eq(map.bytes, jd_memory_in_use());
    /* A table of eight regions is well below a region. */
    ck_assert_uint_lt(map.bytes, most_bytes(model) + SLOT_REGION_OBJECTS * sizeof(struct thing));
}

START_TEST(a_map_does_what_a_list_of_objects_does_under_any_operations)
{
    static struct model model;
    uint64_t random = test_seed(), makes = 5;
    model.stale = calloc(MODEL_OPERATIONS, sizeof(*model.stale));
    ck_assert_ptr_nonnull(model.stale);

    for (int i = 0; i < MODEL_OPERATIONS; i++) {
        /* Of ten operations, how many make an object: in phases, so that the map runs full and empty. */
        if (i % PHASE_OPERATIONS == 0)
            makes = random_below(&random, 2) == 0 ? 1 : 9;
        if (random_below(&random, 10) >= makes && model.count > 0)
            model_free(&model, (unsigned)random_below(&random, model.count));
        else if (model.count < MODEL_MAX_THINGS)
            model_make(&model, &random);
        if (random_below(&random, MODEL_OPERATIONS / 10) == 0) {
            model_free_all(&model);
            slot_map_init(&map, sizeof(struct thing), slot_map_destroy(&map));
        }
        if (i % CHECK_OPERATIONS == 0)
            assert_map(&model);
    }

    model_free_all(&model);
    assert_map(&model);
    free(model.stale);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("slot_map");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_map_that_was_never_used_holds_no_memory_and_finds_nothing);
    tcase_add_test(tests, a_new_object_is_zeroed_and_found_by_its_id);
    tcase_add_test(tests, an_object_in_a_used_slot_is_zeroed_too);
    tcase_add_test(tests, a_freed_object_is_not_found);
    tcase_add_test(tests, neither_are_numbers_found_that_were_never_given);
    tcase_add_test(tests, what_happens_to_be_in_memory_never_used_is_no_object);
    tcase_add_test(tests, an_old_id_does_not_resolve_to_the_slots_next_object);
    tcase_add_test(tests, an_old_id_does_not_resolve_after_its_region_was_given_back_and_made_again);
    tcase_add_test(tests, an_old_id_does_not_resolve_in_a_map_that_continues_its_numbers);
    tcase_add_test(tests, the_next_generation_is_beyond_live_objects_and_the_same_when_they_are_freed);
    tcase_add_test(tests, a_destroyed_map_finds_nothing);
    tcase_add_test(tests, generations_wrap_around_without_becoming_even);
    tcase_add_test(tests, addresses_do_not_change_when_the_map_grows);
    tcase_add_test(tests, objects_lie_side_by_side);
    tcase_add_test(tests, after_a_burst_all_regions_but_one_are_given_back);
    tcase_add_test(tests, slots_of_regions_that_were_given_back_are_used_again);
    tcase_add_test(tests, one_object_coming_and_going_at_a_regions_border_takes_no_new_memory);
    tcase_add_test(tests, a_walk_meets_every_object_in_the_order_of_slots);
    tcase_add_test(tests, a_walk_may_free_each_object_it_meets);
    tcase_add_test(tests, a_walk_may_free_objects_that_are_still_to_come);
    tcase_add_test(tests, an_allocation_that_fails_leaves_the_map_as_it_was);
    tcase_add_test(tests, a_map_does_what_a_list_of_objects_does_under_any_operations);
}
