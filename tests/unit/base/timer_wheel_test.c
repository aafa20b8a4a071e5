#include "tests/support/check_main.h"

#include "base/timer_wheel.h"

#include <string.h>

/* A virtual clock: the wheel knows only the time that it is given. */
static struct timer_wheel wheel;
static struct timer timers[4];

/* The kinds of the timers that ran, in order, as one letter each. */
static char ran[64];

static void note(struct timer *timer, void *arg)
{
    size_t length = strlen(ran);

    ck_assert_uint_lt(length, sizeof(ran) - 1);
    ran[length] = (char)timer->kind;
}

static void setup(void)
{
    timer_wheel_init(&wheel, 1000);
    memset(ran, 0, sizeof(ran));
    for (unsigned i = 0; i < 4; i++)
        timers[i] = (struct timer){ .kind = 'a' + i };
}

static size_t advance(uint64_t now_ms)
{
    return timer_wheel_advance(&wheel, now_ms, note, NULL);
}

START_TEST(a_timer_takes_24_bytes)
{
    ck_assert_uint_eq(sizeof(struct timer), 24);
}
END_TEST

START_TEST(a_zeroed_timer_is_stopped_and_may_be_cancelled)
{
    struct timer timer = { 0 };

    ck_assert(!timer_is_started(&timer));
    timer_cancel(&wheel, &timer);
    ck_assert_uint_eq(wheel.count, 0);
}
END_TEST

START_TEST(a_timer_runs_at_its_expiry_and_not_a_millisecond_earlier)
{
    timer_start(&wheel, &timers[0], 1500);

    ck_assert_uint_eq(advance(1499), 0);
    ck_assert(timer_is_started(&timers[0]));
    ck_assert_uint_eq(advance(1500), 1);
    ck_assert_str_eq(ran, "a");
}
END_TEST

START_TEST(a_timer_runs_once)
{
    timer_start(&wheel, &timers[0], 1500);
    advance(1500);

    ck_assert(!timer_is_started(&timers[0]));
    ck_assert_uint_eq(advance(1000000), 0);
}
END_TEST

START_TEST(timers_run_in_the_order_of_expiry_whatever_the_order_of_start)
{
    timer_start(&wheel, &timers[2], 90000);
    timer_start(&wheel, &timers[0], 1001);
    timer_start(&wheel, &timers[3], 5000000);
    timer_start(&wheel, &timers[1], 1070);

    ck_assert_uint_eq(advance(6000000), 4);
    ck_assert_str_eq(ran, "abcd");
}
END_TEST

START_TEST(timers_of_one_expiry_run_in_the_order_of_start)
{
    /* The last is started when the others have moved down a level. */
    timer_start(&wheel, &timers[0], 10000);
    timer_start(&wheel, &timers[1], 10000);
    timer_start(&wheel, &timers[2], 10000);
    advance(9999);
    timer_start(&wheel, &timers[3], 10000);
    advance(10000);

    ck_assert_str_eq(ran, "abcd");
}
END_TEST

START_TEST(a_cancelled_timer_does_not_run)
{
    timer_start(&wheel, &timers[0], 1500);
    timer_start(&wheel, &timers[1], 1500);
    timer_cancel(&wheel, &timers[0]);

    ck_assert(!timer_is_started(&timers[0]));
    ck_assert_uint_eq(advance(2000), 1);
    ck_assert_str_eq(ran, "b");
}
END_TEST

START_TEST(starting_a_started_timer_moves_it)
{
    timer_start(&wheel, &timers[0], 1500);
    timer_start(&wheel, &timers[0], 3000);

    ck_assert_uint_eq(wheel.count, 1);
    ck_assert_uint_eq(advance(2999), 0);
    ck_assert_uint_eq(advance(3000), 1);
}
END_TEST

START_TEST(an_expiry_that_has_passed_runs_at_the_next_advance_even_if_the_clock_stands_still)
{
    timer_start(&wheel, &timers[0], 1000);
    timer_start(&wheel, &timers[1], 3);
    timer_start(&wheel, &timers[2], 0);

    ck_assert_uint_eq(advance(1000), 3);
    ck_assert_str_eq(ran, "abc");
}
END_TEST

START_TEST(a_clock_stepped_back_counts_as_standing_still)
{
    advance(5000);
    timer_start(&wheel, &timers[0], 5000);
    timer_start(&wheel, &timers[1], 5001);

    ck_assert_uint_eq(advance(2000), 1);
    ck_assert_uint_eq(advance(5000), 0);
    ck_assert_uint_eq(advance(5001), 1);
    ck_assert_str_eq(ran, "ab");
}
END_TEST

static const uint64_t distances_ms[] = {
    1,
    63,
    64,
    65,
    4095,
    4096,
    262144,
    INT32_MAX,
    UINT64_C(1) << 31,
    UINT32_MAX,
    UINT64_C(1) << 32,
    (UINT64_C(1) << 48) - 1,
    UINT64_C(1) << 48,
    (UINT64_C(1) << 48) + 12345,
    UINT64_C(3) << 54,
};

enum { DISTANCES = sizeof(distances_ms) / sizeof(distances_ms[0]) };

START_TEST(a_timer_of_any_distance_runs_on_the_millisecond_when_the_clock_jumps)
{
    uint64_t expiry_ms = 1000 + distances_ms[_i];

    timer_start(&wheel, &timers[0], expiry_ms);
    ck_assert_uint_eq(advance(expiry_ms - 1), 0);
    ck_assert_uint_eq(advance(expiry_ms), 1);
}
END_TEST

START_TEST(a_timer_of_any_distance_is_reached_in_a_few_advances_by_asking_when_the_next_is)
{
    uint64_t expiry_ms = 1000 + distances_ms[_i];
    int advances = 1;

    timer_start(&wheel, &timers[0], expiry_ms);
    while (advance(timer_wheel_next_ms(&wheel)) == 0)
        ck_assert_int_le(++advances, TIMER_LEVELS);

    ck_assert_uint_eq(wheel.now_ms, expiry_ms);
}
END_TEST

START_TEST(an_expiry_at_the_end_of_time_waits_until_then)
{
    const uint64_t end_ms = (UINT64_C(1) << 56) - 1;

    timer_start(&wheel, &timers[0], UINT64_MAX);
    ck_assert_uint_eq(advance(end_ms - 1), 0);
    ck_assert_uint_eq(advance(UINT64_MAX), 1);
    timer_start(&wheel, &timers[1], UINT64_MAX);
    ck_assert_uint_eq(advance(UINT64_MAX), 1);
}
END_TEST

START_TEST(without_timers_there_is_no_next_advance)
{
    ck_assert_uint_eq(timer_wheel_next_ms(&wheel), UINT64_MAX);
    timer_start(&wheel, &timers[0], 1500);
    timer_cancel(&wheel, &timers[0]);
    ck_assert_uint_eq(timer_wheel_next_ms(&wheel), UINT64_MAX);
}
END_TEST

START_TEST(the_next_advance_is_now_when_an_expiry_has_passed)
{
    timer_start(&wheel, &timers[0], 5);

    ck_assert_uint_eq(timer_wheel_next_ms(&wheel), 1000);
}
END_TEST

START_TEST(cancelling_the_earliest_timer_puts_the_next_advance_off)
{
    timer_start(&wheel, &timers[0], 1010);
    timer_start(&wheel, &timers[1], 1020);
    timer_cancel(&wheel, &timers[0]);

    ck_assert_uint_eq(timer_wheel_next_ms(&wheel), 1020);
}
END_TEST

/* What a callback does to the timer in arg, besides noting itself. */
static void cancel_other(struct timer *timer, void *arg)
{
    note(timer, NULL);
    timer_cancel(&wheel, arg);
}

START_TEST(a_timer_cancelled_by_one_that_runs_before_it_in_the_same_advance_does_not_run)
{
    timer_start(&wheel, &timers[0], 1100);
    timer_start(&wheel, &timers[1], 1100);
    timer_start(&wheel, &timers[2], 1200);

    ck_assert_uint_eq(timer_wheel_advance(&wheel, 2000, cancel_other, &timers[1]), 2);
    ck_assert_str_eq(ran, "ac");
    ck_assert_uint_eq(wheel.count, 0);
}
END_TEST

START_TEST(the_last_due_timer_can_be_cancelled_in_the_same_advance)
{
    timer_start(&wheel, &timers[0], 1100);
    timer_start(&wheel, &timers[1], 1200);

    ck_assert_uint_eq(timer_wheel_advance(&wheel, 2000, cancel_other, &timers[1]), 1);
    ck_assert_uint_eq(timer_wheel_next_ms(&wheel), UINT64_MAX);
}
END_TEST

START_TEST(cancelling_a_due_timer_leaves_one_started_in_the_same_advance_alone)
{
    timer_start(&wheel, &timers[0], 1100);
    timer_start(&wheel, &timers[1], 1100);
    timer_start(&wheel, &timers[2], 3000);
    advance(1099);
    timer_wheel_advance(&wheel, 1100, cancel_other, &timers[1]);

    ck_assert_uint_eq(advance(3000), 1);
    ck_assert_str_eq(ran, "ac");
}
END_TEST

START_TEST(a_timer_may_cancel_itself_while_it_runs)
{
    timer_start(&wheel, &timers[0], 1100);

    ck_assert_uint_eq(timer_wheel_advance(&wheel, 1100, cancel_other, &timers[0]), 1);
    ck_assert_uint_eq(wheel.count, 0);
}
END_TEST

static void start_again_at_once(struct timer *timer, void *arg)
{
    note(timer, NULL);
    timer_start(&wheel, timer, wheel.now_ms);
}

START_TEST(a_timer_that_starts_itself_again_with_no_delay_runs_once_an_advance)
{
    timer_start(&wheel, &timers[0], 1100);

    ck_assert_uint_eq(timer_wheel_advance(&wheel, 1100, start_again_at_once, NULL), 1);
    ck_assert_uint_eq(timer_wheel_next_ms(&wheel), 1100);
    ck_assert_uint_eq(timer_wheel_advance(&wheel, 1100, start_again_at_once, NULL), 1);
    ck_assert_uint_eq(timer_wheel_advance(&wheel, 9100, start_again_at_once, NULL), 1);
}
END_TEST

static void start_other_at_once(struct timer *timer, void *arg)
{
    note(timer, NULL);
    timer_start(&wheel, arg, 0);
}

START_TEST(a_due_timer_that_is_moved_by_another_runs_in_the_next_advance)
{
    timer_start(&wheel, &timers[0], 1100);
    timer_start(&wheel, &timers[1], 1200);

    ck_assert_uint_eq(timer_wheel_advance(&wheel, 2000, start_other_at_once, &timers[1]), 1);
    ck_assert_uint_eq(advance(2000), 1);
    ck_assert_str_eq(ran, "ab");
}
END_TEST

/* The model: a plain array that is searched from end to end. */
enum { MODEL_TIMERS = 100, MODEL_STEPS = 10000 };

struct model_timer {
    struct timer timer; /* first: the expiry function gets its address */
    bool started;
    uint64_t due_ms;   /* the expiry, or the time of the start if that was later */
    uint64_t sequence; /* of the start */
};

static struct model {
    struct model_timer timers[MODEL_TIMERS];
    uint64_t now_ms;
    uint64_t sequence;
    uint64_t advance_began; /* starts from this sequence on were made in the current advance */
    uint64_t random;
} model;

static uint64_t random_distance_ms(void)
{
    return random_below(&model.random, UINT64_C(1) << random_below(&model.random, 51));
}

static void model_start(struct model_timer *timer, uint64_t expiry_ms)
{
    timer->started = true;
    timer->due_ms = expiry_ms > model.now_ms ? expiry_ms : model.now_ms;
    timer->sequence = model.sequence++;
    timer_start(&wheel, &timer->timer, expiry_ms);
}

static void model_cancel(struct model_timer *timer)
{
    timer->started = false;
    timer_cancel(&wheel, &timer->timer);
}

/* The one that must run next of those started before sequence; NULL if none is started. */
static struct model_timer *model_first(uint64_t sequence)
{
    struct model_timer *first = NULL;

    for (int i = 0; i < MODEL_TIMERS; i++) {
        struct model_timer *timer = &model.timers[i];
        bool earlier = first == NULL || timer->due_ms < first->due_ms ||
                       (timer->due_ms == first->due_ms && timer->sequence < first->sequence);
        if (timer->started && timer->sequence < sequence && earlier)
            first = timer;
    }
    return first;
}

/* Half the time a delay, half the time an expiry that others have, one that has passed among them. */
static void start_or_cancel_one(void)
{
    struct model_timer *timer = &model.timers[random_below(&model.random, MODEL_TIMERS)];
    struct model_timer *other = &model.timers[random_below(&model.random, MODEL_TIMERS)];

    switch (random_below(&model.random, 4)) {
    case 0:
        model_cancel(timer);
        break;
    case 1:
        model_start(timer, other->due_ms);
        break;
    default:
        model_start(timer, model.now_ms + random_distance_ms());
    }
}

static void model_expired(struct timer *timer, void *arg)
{
    struct model_timer *expected = model_first(model.advance_began);

    ck_assert_ptr_nonnull(expected);
    ck_assert_ptr_eq(timer, &expected->timer);
    ck_assert_uint_le(expected->due_ms, model.now_ms);
    ck_assert(!timer_is_started(timer));
    expected->started = false;
    if (random_below(&model.random, 2) == 0)
        start_or_cancel_one();
    if (random_below(&model.random, 8) == 0)
        model_start(expected, model.now_ms);
}

static void check_next(void)
{
    struct model_timer *first = model_first(UINT64_MAX);
    uint64_t next_ms = timer_wheel_next_ms(&wheel);

    if (first == NULL) {
        ck_assert_uint_eq(next_ms, UINT64_MAX);
        return;
    }
    ck_assert_uint_ge(next_ms, model.now_ms);
    ck_assert_uint_le(next_ms, first->due_ms);
    ck_assert(first->due_ms != model.now_ms || next_ms == model.now_ms);
}

static void check_started(void)
{
    size_t started = 0, wrong = 0;

    for (int i = 0; i < MODEL_TIMERS; i++) {
        started += model.timers[i].started;
        wrong += timer_is_started(&model.timers[i].timer) != model.timers[i].started;
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(wheel.count, started);
}

/* By a random distance, to when the wheel or the model says that the next is due, not at all, or back. */
static uint64_t random_time_ms(void)
{
    struct model_timer *first = model_first(UINT64_MAX);

    switch (random_below(&model.random, 5)) {
    case 0:
        return first != NULL ? first->due_ms : model.now_ms;
    case 1:
        return first != NULL ? timer_wheel_next_ms(&wheel) : model.now_ms;
    case 2:
        return model.now_ms;
    case 3:
        return model.now_ms - random_below(&model.random, 100);
    default:
        return model.now_ms + random_distance_ms();
    }
}

static void model_advance(void)
{
    uint64_t time_ms = random_time_ms();
    struct model_timer *first;

    if (time_ms > model.now_ms)
        model.now_ms = time_ms;
    model.advance_began = model.sequence;
    timer_wheel_advance(&wheel, time_ms, model_expired, NULL);

    first = model_first(model.advance_began);
    ck_assert(first == NULL || first->due_ms > model.now_ms);
}

START_TEST(the_wheel_does_what_a_plain_array_does_under_random_operations)
{
    model.random = test_seed();
    model.now_ms = 1000;
    for (int step = 0; step < MODEL_STEPS; step++) {
        /* Before the 56 bits of an expiry are used up the clock begins anew. */
        if (model.now_ms > UINT64_C(1) << 55) {
            memset(model.timers, 0, sizeof(model.timers));
            model.now_ms = random_distance_ms();
            timer_wheel_init(&wheel, model.now_ms);
        }
        for (uint64_t i = random_below(&model.random, 4); i > 0; i--)
            start_or_cancel_one();
        check_next();
        model_advance();
        check_started();
    }
}
END_TEST

const char *const suite_name = "timer wheel";

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("timer wheel");

    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, a_timer_takes_24_bytes);
    tcase_add_test(tests, a_zeroed_timer_is_stopped_and_may_be_cancelled);
    tcase_add_test(tests, a_timer_runs_at_its_expiry_and_not_a_millisecond_earlier);
    tcase_add_test(tests, a_timer_runs_once);
    tcase_add_test(tests, timers_run_in_the_order_of_expiry_whatever_the_order_of_start);
    tcase_add_test(tests, timers_of_one_expiry_run_in_the_order_of_start);
    tcase_add_test(tests, a_cancelled_timer_does_not_run);
    tcase_add_test(tests, starting_a_started_timer_moves_it);
    tcase_add_test(tests, an_expiry_that_has_passed_runs_at_the_next_advance_even_if_the_clock_stands_still);
    tcase_add_test(tests, a_clock_stepped_back_counts_as_standing_still);
    tcase_add_loop_test(tests, a_timer_of_any_distance_runs_on_the_millisecond_when_the_clock_jumps, 0, DISTANCES);
    tcase_add_loop_test(tests, a_timer_of_any_distance_is_reached_in_a_few_advances_by_asking_when_the_next_is, 0,
                        DISTANCES);
    tcase_add_test(tests, an_expiry_at_the_end_of_time_waits_until_then);
    tcase_add_test(tests, without_timers_there_is_no_next_advance);
    tcase_add_test(tests, the_next_advance_is_now_when_an_expiry_has_passed);
    tcase_add_test(tests, cancelling_the_earliest_timer_puts_the_next_advance_off);
    tcase_add_test(tests, a_timer_cancelled_by_one_that_runs_before_it_in_the_same_advance_does_not_run);
    tcase_add_test(tests, the_last_due_timer_can_be_cancelled_in_the_same_advance);
    tcase_add_test(tests, cancelling_a_due_timer_leaves_one_started_in_the_same_advance_alone);
    tcase_add_test(tests, a_timer_may_cancel_itself_while_it_runs);
    tcase_add_test(tests, a_timer_that_starts_itself_again_with_no_delay_runs_once_an_advance);
    tcase_add_test(tests, a_due_timer_that_is_moved_by_another_runs_in_the_next_advance);
    tcase_add_test(tests, the_wheel_does_what_a_plain_array_does_under_random_operations);
    suite_add_tcase(suite, tests);
}
