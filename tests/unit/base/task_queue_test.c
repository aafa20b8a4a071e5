/* Tasks between threads: order, nothing lost, and the list that takes over while the ring is full. */
#include "base/task_queue.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

const char *const suite_name = "task_queue";

enum { CELLS = 4 };

static struct task_queue queue;
static uintptr_t last_run, runs;

static void set_up(void)
{
    ck_assert_int_eq(task_queue_init(&queue, CELLS), 0);
}

/* As if so many had been put in and taken: places wrap around after 2^32. */
static void pretend_to_be_old(uint32_t taken)
{
    for (uint32_t i = 0; i <= queue.mask; i++)
        atomic_store(&queue.cells[(taken + i) & queue.mask].sequence, taken + i - queue.mask);
    atomic_store(&queue.state, taken);
    atomic_store(&queue.free_until, taken + queue.mask + 1);
    atomic_store(&queue.free_until_cached, taken + queue.mask + 1);
    queue.taken = taken;
    queue.batch_end = taken;
}

static void tear_down(void)
{
    task_queue_destroy(&queue);
}

static void note(void *arg)
{
    last_run = (uintptr_t)arg;
    runs++;
}

struct numbered {
    struct task_node task; /* first */
    uintptr_t number;
};

static void note_node(struct task_node *task)
{
    note((void *)((struct numbered *)task)->number); // NOLINT(performance-no-int-to-ptr)
}

static int put(uintptr_t number)
{
    return task_queue_push(&queue, note, (void *)number); // NOLINT(performance-no-int-to-ptr)
}

static int put_node(struct numbered *numbered, uintptr_t number)
{
    *numbered = (struct numbered){ .task.run = note_node, .number = number };
    return task_queue_push_node(&queue, &numbered->task);
}

/* Runs the next of the batch. 0 at its end. */
static uintptr_t run_next(void)
{
    struct task task;

    if (!task_queue_take(&queue, &task))
        return 0;
    task_run(&task);
    return last_run;
}

static void expect_batch(uintptr_t first, uintptr_t last)
{
    task_queue_begin(&queue);
    for (uintptr_t number = first; number <= last; number++)
        ck_assert_uint_eq(run_next(), number);
    ck_assert_uint_eq(run_next(), 0);
}

START_TEST(a_new_queue_is_empty)
{
    ck_assert(task_queue_is_empty(&queue));
    ck_assert(!task_queue_is_in_batch(&queue));
    expect_batch(1, 0);
}
END_TEST

START_TEST(tasks_of_both_kinds_come_in_order)
{
    struct numbered nodes[2];
    ck_assert_int_eq(put(1), 0);
    ck_assert_int_eq(put_node(&nodes[0], 2), 0);
    ck_assert_int_eq(put(3), 0);
    ck_assert_int_eq(put_node(&nodes[1], 4), 0);
    ck_assert(!task_queue_is_empty(&queue));

    expect_batch(1, 4);

    ck_assert(task_queue_is_empty(&queue));
}
END_TEST

START_TEST(a_batch_is_what_was_there_when_it_began)
{
    put(1);
    put(2);
    task_queue_begin(&queue);

    put(3);
    ck_assert_uint_eq(run_next(), 1);
    ck_assert(task_queue_is_in_batch(&queue));
    task_queue_begin(&queue); /* continues it */
    ck_assert_uint_eq(run_next(), 2);
    ck_assert_uint_eq(run_next(), 0);

    ck_assert(!task_queue_is_in_batch(&queue));
    ck_assert(!task_queue_is_empty(&queue));
    expect_batch(3, 3);
}
END_TEST

START_TEST(a_full_ring_takes_only_tasks_with_memory_of_their_own)
{
    struct numbered nodes[3];
    for (uintptr_t number = 1; number <= CELLS; number++)
        ck_assert_int_eq(put(number), 0);

    ck_assert_int_eq(put(CELLS + 1), JD_ENOBUFS);
    ck_assert_int_eq(put_node(&nodes[0], CELLS + 1), 0);
    ck_assert_int_eq(put_node(&nodes[1], CELLS + 2), 0);

    task_queue_begin(&queue);
    for (uintptr_t number = 1; number <= CELLS; number++)
        ck_assert_uint_eq(run_next(), number);
    /* The ring is empty, yet what is put in now is younger than what is on the list. */
    ck_assert_int_eq(put(CELLS + 3), JD_ENOBUFS);
    ck_assert_int_eq(put_node(&nodes[2], CELLS + 3), 0);
    for (uintptr_t number = CELLS + 1; number <= CELLS + 3; number++)
        ck_assert_uint_eq(run_next(), number);
    ck_assert_uint_eq(run_next(), 0);
    ck_assert(task_queue_is_empty(&queue));
    ck_assert_int_eq(put(1), 0);
    expect_batch(1, 1);
}
END_TEST

START_TEST(what_comes_after_the_list_was_taken_waits_for_its_end)
{
    struct numbered nodes[2];
    for (uintptr_t number = 1; number <= CELLS; number++)
        put(number);
    put_node(&nodes[0], CELLS + 1);
    put_node(&nodes[1], CELLS + 2);
    task_queue_begin(&queue);
    for (uintptr_t number = 1; number <= CELLS + 1; number++)
        ck_assert_uint_eq(run_next(), number);

    ck_assert_int_eq(put(CELLS + 3), 0); /* in the ring again */

    ck_assert_uint_eq(run_next(), CELLS + 2);
    ck_assert_uint_eq(run_next(), 0);
    expect_batch(CELLS + 3, CELLS + 3);
}
END_TEST

/* Whatever a producer that has been held up for long writes there. */
START_TEST(a_wrong_word_about_free_cells_does_not_open_a_full_ring)
{
    for (uintptr_t number = 1; number <= CELLS; number++)
        ck_assert_int_eq(put(number), 0);

    for (unsigned bit = 0; bit < 32; bit++) {
        atomic_store(&queue.free_until_cached, CELLS - (UINT32_C(1) << bit));
        ck_assert_int_eq(put(CELLS + 1), JD_ENOBUFS);
    }

    expect_batch(1, CELLS);
}
END_TEST

START_TEST(closing_refuses_what_comes_and_leaves_what_is_there)
{
    struct numbered nodes[2];
    struct task task;
    for (uintptr_t number = 1; number <= CELLS; number++)
        put(number);
    put_node(&nodes[0], CELLS + 1);
    ck_assert(!task_queue_is_closed(&queue));

    task_queue_close(&queue);

    ck_assert(task_queue_is_closed(&queue));
    ck_assert_int_eq(put(9), JD_ECANCELED);
    ck_assert_int_eq(put_node(&nodes[1], 9), JD_ECANCELED);
    for (uintptr_t number = 1; number <= CELLS + 1; number++) {
        ck_assert(task_queue_take_last(&queue, &task));
        task_run(&task);
        ck_assert_uint_eq(last_run, number);
    }
    ck_assert(!task_queue_take_last(&queue, &task));
    ck_assert_int_eq(put(9), JD_ECANCELED);
}
END_TEST

START_TEST(a_queue_without_memory_is_not_made)
{
    task_queue_destroy(&queue);
    checking_memory_install();
    checking_memory_fail_at(1);

    ck_assert_int_eq(task_queue_init(&queue, CELLS), JD_ENOMEM);

    checking_memory_remove();
    set_up();
}
END_TEST

/* The model: the numbers of what was put in and not yet run go from ran to put_in. */
enum { MODEL_OPERATIONS = 50000 };

static const uint32_t ages[] = { 0, UINT32_MAX - MODEL_OPERATIONS / 8, UINT32_MAX };

START_TEST(a_queue_does_what_a_list_does_under_any_operations)
{
    struct numbered *nodes = calloc(MODEL_OPERATIONS, sizeof(*nodes));
    uintptr_t put_in = 0, ran = 0, batch_end = 0;
    uint64_t random = test_seed();
    ck_assert_ptr_nonnull(nodes);
    pretend_to_be_old(ages[_i]);

    for (int i = 0; i < MODEL_OPERATIONS; i++) {
        uint64_t operation = random_below(&random, 100);
        if (operation < 30) {
            put_in += put(put_in + 1) == 0;
        } else if (operation < 45) {
            ck_assert_int_eq(put_node(&nodes[i], put_in + 1), 0);
            put_in++;
        } else {
            bool in_batch = task_queue_is_in_batch(&queue);
            task_queue_begin(&queue);
            batch_end = in_batch ? batch_end : put_in;
            for (uint64_t most = random_below(&random, 2 * CELLS); most > 0 && run_next() != 0; most--)
                ck_assert_uint_eq(last_run, ++ran);
            ck_assert_int_eq(task_queue_is_in_batch(&queue) || ran >= batch_end, true);
        }
        ck_assert_int_eq(task_queue_is_empty(&queue), ran == put_in);
    }

    free(nodes);
}
END_TEST

/* ---- threads ---- */

enum { PRODUCERS = 4, TASKS = 40000, CLOSE_AFTER = TASKS / 2 };

struct item {
    struct task_node task; /* first */
    unsigned producer, number;
};

struct producer {
    pthread_t thread;
    struct item *items; /* TASKS and one that must be refused */
    unsigned accepted, in_ring;
    bool last_refused;
};

static struct producer producers[PRODUCERS];
static unsigned received[PRODUCERS], out_of_order;
static atomic_bool go, closed_already;

static void run_item(void *arg)
{
    const struct item *item = arg;

    out_of_order += item->number != received[item->producer]++;
}

static void run_item_node(struct task_node *task)
{
    run_item(task);
}

/* The loop's own way: one that finds the ring full is put in with memory of its own. */
static int put_item(struct producer *producer, struct item *item)
{
    int result = item->number % 3 == 0 ? JD_ENOBUFS : task_queue_push(&queue, run_item, item);

    producer->in_ring += result == 0;
    return result == JD_ENOBUFS ? task_queue_push_node(&queue, &item->task) : result;
}

static void *produce(void *arg)
{
    struct producer *producer = arg;

    while (!atomic_load(&go))
        sched_yield();
    while (producer->accepted < TASKS && put_item(producer, &producer->items[producer->accepted]) == 0)
        producer->accepted++;
    return NULL;
}

static void *produce_until_closed(void *arg)
{
    struct producer *producer = arg;

    produce(arg);
    while (!atomic_load(&closed_already))
        sched_yield();
    producer->last_refused = put_item(producer, &producer->items[TASKS]) == JD_ECANCELED;
    return NULL;
}

static void start_producers(void *(*function)(void *))
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i].items = calloc(TASKS + 1, sizeof(struct item));
        ck_assert_ptr_nonnull(producers[i].items);
        for (unsigned k = 0; k <= TASKS; k++)
            producers[i].items[k] = (struct item){ .task.run = run_item_node, .producer = i, .number = k };
        ck_assert_int_eq(pthread_create(&producers[i].thread, NULL, function, &producers[i]), 0);
    }
    atomic_store(&go, true);
}

static void join_producers(void)
{
    for (unsigned i = 0; i < PRODUCERS; i++)
        ck_assert_int_eq(pthread_join(producers[i].thread, NULL), 0);
}

static void expect_all_accepted_in_order(void)
{
    unsigned in_ring = 0;

    ck_assert_uint_eq(out_of_order, 0);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        ck_assert_uint_eq(received[i], producers[i].accepted);
        in_ring += producers[i].in_ring;
        free(producers[i].items);
    }
    if (queue.mask >= 2 * PRODUCERS) /* among so many is the second of one producer, which is put without its memory */
        ck_assert_uint_gt(in_ring, 0);
}

static unsigned run_batch(void)
{
    struct task task;
    unsigned count = 0;

    task_queue_begin(&queue);
    for (; task_queue_take(&queue, &task); count++)
        task_run(&task);
    if (count == 0)
        sched_yield();
    return count;
}

static const uint32_t cells[] = { CELLS, 64, 4096 };

/* Its places wrap around on the way. */
static void make_queue_of(uint32_t count)
{
    task_queue_destroy(&queue);
    ck_assert_int_eq(task_queue_init(&queue, count), 0);
    pretend_to_be_old(UINT32_MAX - TASKS / 4);
}

START_TEST(nothing_of_many_producers_is_lost_and_the_order_of_each_is_kept)
{
    unsigned total = 0;
    make_queue_of(cells[_i]);
    start_producers(produce);

    while (total < PRODUCERS * TASKS)
        total += run_batch();

    join_producers();
    ck_assert(task_queue_is_empty(&queue));
    expect_all_accepted_in_order();
}
END_TEST

START_TEST(closing_under_many_producers_gives_exactly_what_was_accepted)
{
    struct task task;
    unsigned total = 0;
    make_queue_of(cells[_i]);
    start_producers(produce_until_closed);
    while (total < CLOSE_AFTER)
        total += run_batch();

    task_queue_close(&queue);
    while (task_queue_take_last(&queue, &task))
        task_run(&task);
    atomic_store(&closed_already, true);

    join_producers();
    for (unsigned i = 0; i < PRODUCERS; i++)
        ck_assert(producers[i].last_refused);
    ck_assert(!task_queue_take_last(&queue, &task));
    expect_all_accepted_in_order();
}
END_TEST

/* The loop's protocol in small, one task a round: who puts it in reads the flag afterwards, the consumer looks a last time
 * after he has set it. That neither sees the other would be a wake-up lost. */
enum { ROUNDS = 100000, ROUNDS_MS = 1000, JITTER = 64 };

static atomic_uint round_begun, round_ended; /* round_begun: 0 before the first, UINT_MAX after the last */
static atomic_bool sleeping, saw_sleeping;

static void wait_while(const atomic_uint *value, unsigned is, uint64_t *random)
{
    while (atomic_load(value) == is)
        if (random_below(random, 256) == 0)
            sched_yield();
}

static void pause_a_little(uint64_t *random)
{
    for (uint64_t left = random_below(random, JITTER); left > 0; left--)
        atomic_signal_fence(memory_order_seq_cst);
}

static void *put_one_a_round(void *arg)
{
    uint64_t random = *(uint64_t *)arg;

    for (unsigned round = 1;; round++) {
        wait_while(&round_begun, round - 1, &random);
        if (atomic_load(&round_begun) == UINT_MAX)
            return NULL;
        pause_a_little(&random);
        put(round);
        atomic_store(&saw_sleeping, atomic_load(&sleeping));
        atomic_store(&round_ended, round);
    }
}

static bool round_loses_the_wake_up(unsigned round, uint64_t *random)
{
    bool is_empty;

    atomic_store(&round_begun, round);
    pause_a_little(random);
    atomic_store(&sleeping, true);
    is_empty = task_queue_is_empty(&queue);
    wait_while(&round_ended, round - 1, random);
    atomic_store(&sleeping, false);
    expect_batch(round, round);
    return is_empty && !atomic_load(&saw_sleeping);
}

START_TEST(no_wake_up_is_lost_between_a_last_look_and_a_put)
{
    uint64_t random = test_seed(), other_random = random + 1;
    struct patience busy = patience_begin(ROUNDS_MS); /* as many as there is time for */
    unsigned lost = 0;
    pthread_t producer;
    make_queue_of(4096);
    ck_assert_int_eq(pthread_create(&producer, NULL, put_one_a_round, &other_random), 0);

    for (unsigned round = 1; round <= ROUNDS && !patience_is_over(&busy); round++)
        lost += round_loses_the_wake_up(round, &random);

    atomic_store(&round_begun, UINT_MAX);
    pthread_join(producer, NULL);
    ck_assert_uint_eq(lost, 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    const int sizes = sizeof(cells) / sizeof(cells[0]);
    TCase *tests = tcase_create("task_queue");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_new_queue_is_empty);
    tcase_add_test(tests, tasks_of_both_kinds_come_in_order);
    tcase_add_test(tests, a_batch_is_what_was_there_when_it_began);
    tcase_add_test(tests, a_full_ring_takes_only_tasks_with_memory_of_their_own);
    tcase_add_test(tests, what_comes_after_the_list_was_taken_waits_for_its_end);
    tcase_add_test(tests, a_wrong_word_about_free_cells_does_not_open_a_full_ring);
    tcase_add_test(tests, closing_refuses_what_comes_and_leaves_what_is_there);
    tcase_add_test(tests, a_queue_without_memory_is_not_made);
    tcase_add_loop_test(tests, a_queue_does_what_a_list_does_under_any_operations, 0, sizeof(ages) / sizeof(ages[0]));
    tcase_add_loop_test(tests, nothing_of_many_producers_is_lost_and_the_order_of_each_is_kept, 0, sizes);
    tcase_add_loop_test(tests, closing_under_many_producers_gives_exactly_what_was_accepted, 0, sizes);
    tcase_add_test(tests, no_wake_up_is_lost_between_a_last_look_and_a_put);
}
