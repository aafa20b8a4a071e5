#include "base/mpsc_queue.h"
#include "tests/support/check_main.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

const char *const suite_name = "mpsc_queue";

struct message {
    struct mpsc_node node; /* first: a node is its message */
    unsigned producer;
    unsigned number;
};

static struct message *message_of(struct mpsc_node *node)
{
    return (struct message *)node;
}

static struct mpsc_queue queue;

static void set_up(void)
{
    mpsc_queue_init(&queue);
}

START_TEST(a_new_queue_is_empty)
{
    ck_assert(mpsc_queue_is_empty(&queue));
    ck_assert_ptr_null(mpsc_queue_take_all(&queue));
}
END_TEST

START_TEST(taking_gives_everything_oldest_first)
{
    struct mpsc_node nodes[3];
    for (int i = 0; i < 3; i++)
        ck_assert(mpsc_queue_push(&queue, &nodes[i]));
    ck_assert(!mpsc_queue_is_empty(&queue));

    ck_assert_ptr_eq(mpsc_queue_take_all(&queue), &nodes[0]);

    ck_assert_ptr_eq(nodes[0].next, &nodes[1]);
    ck_assert_ptr_eq(nodes[1].next, &nodes[2]);
    ck_assert_ptr_null(nodes[2].next);
    ck_assert(mpsc_queue_is_empty(&queue));
}
END_TEST

START_TEST(a_node_that_was_taken_can_be_pushed_again)
{
    struct mpsc_node node;
    ck_assert(mpsc_queue_push(&queue, &node));
    ck_assert_ptr_eq(mpsc_queue_take_all(&queue), &node);

    ck_assert(mpsc_queue_push(&queue, &node));

    ck_assert_ptr_eq(mpsc_queue_take_all(&queue), &node);
    ck_assert_ptr_null(node.next);
}
END_TEST

START_TEST(closing_gives_the_rest_and_refuses_later_pushes)
{
    struct mpsc_node first, second, late = { .next = &first };
    ck_assert(mpsc_queue_push(&queue, &first));
    ck_assert(mpsc_queue_push(&queue, &second));

    ck_assert_ptr_eq(mpsc_queue_close(&queue), &first);

    ck_assert_ptr_eq(first.next, &second);
    ck_assert_ptr_null(second.next);
    ck_assert(!mpsc_queue_push(&queue, &late));
    ck_assert_ptr_eq(late.next, &first);
}
END_TEST

START_TEST(a_closed_queue_is_empty_and_stays_closed)
{
    struct mpsc_node late;
    ck_assert_ptr_null(mpsc_queue_close(&queue));

    ck_assert(mpsc_queue_is_empty(&queue));
    ck_assert_ptr_null(mpsc_queue_take_all(&queue));
    ck_assert_ptr_null(mpsc_queue_close(&queue));

    ck_assert(!mpsc_queue_push(&queue, &late));
}
END_TEST

/* The model: the numbers of the messages pushed and not yet taken run from taken to pushed. */
enum { MODEL_OPERATIONS = 20000 };

START_TEST(a_queue_does_what_a_list_does_under_any_operations)
{
    struct message *messages = calloc(MODEL_OPERATIONS, sizeof(*messages));
    unsigned pushed = 0, taken = 0;
    uint64_t random = test_seed();
    bool closed = false;
    ck_assert_ptr_nonnull(messages);

    for (int i = 0; i < MODEL_OPERATIONS; i++) {
        uint64_t operation = random_below(&random, 1000);
        if (operation < 700) {
            messages[pushed].number = pushed;
            ck_assert_int_eq(mpsc_queue_push(&queue, &messages[pushed].node), !closed);
            pushed += !closed;
        } else {
            bool closing = operation < 702;
            struct mpsc_node *node = closing ? mpsc_queue_close(&queue) : mpsc_queue_take_all(&queue);
            for (; node != NULL; node = node->next)
                ck_assert_uint_eq(message_of(node)->number, taken++);
            ck_assert_uint_eq(taken, pushed);
            closed = closed || closing;
        }
        ck_assert_int_eq(mpsc_queue_is_empty(&queue), taken == pushed);
        if (closed && random_below(&random, 100) == 0) {
            mpsc_queue_init(&queue);
            closed = false;
        }
    }

    free(messages);
}
END_TEST

enum { PRODUCERS = 4, MESSAGES = 200000, CLOSE_AFTER = MESSAGES / 2 };

struct producer {
    pthread_t thread;
    struct message *messages; /* MESSAGES and one that must be refused */
    unsigned accepted;
    bool last_refused;
};

static struct producer producers[PRODUCERS];
static unsigned received[PRODUCERS];
static atomic_bool go, closed_already;

static void *produce(void *arg)
{
    struct producer *producer = arg;

    while (!atomic_load(&go))
        sched_yield();
    while (producer->accepted < MESSAGES && mpsc_queue_push(&queue, &producer->messages[producer->accepted].node))
        producer->accepted++;
    return NULL;
}

static void *produce_until_closed(void *arg)
{
    struct producer *producer = arg;

    produce(arg);
    while (!atomic_load(&closed_already))
        sched_yield();
    producer->last_refused = !mpsc_queue_push(&queue, &producer->messages[MESSAGES].node);
    return NULL;
}

static void start_producers(void *(*function)(void *))
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i].messages = calloc(MESSAGES + 1, sizeof(struct message));
        ck_assert_ptr_nonnull(producers[i].messages);
        for (unsigned k = 0; k <= MESSAGES; k++)
            producers[i].messages[k] = (struct message){ .producer = i, .number = k };
        ck_assert_int_eq(pthread_create(&producers[i].thread, NULL, function, &producers[i]), 0);
    }
    atomic_store(&go, true);
}

static void join_producers(void)
{
    for (unsigned i = 0; i < PRODUCERS; i++)
        ck_assert_int_eq(pthread_join(producers[i].thread, NULL), 0);
}

static void free_messages(void)
{
    for (unsigned i = 0; i < PRODUCERS; i++)
        free(producers[i].messages);
}

/* How many: each must be the next one of its producer. */
static unsigned receive(struct mpsc_node *node)
{
    unsigned count = 0, in_order = 0;

    for (; node != NULL; node = node->next, count++) {
        struct message *message = message_of(node);
        in_order += message->number == received[message->producer]++;
    }
    ck_assert_uint_eq(in_order, count);
    if (count == 0)
        sched_yield();
    return count;
}

START_TEST(nothing_of_many_producers_is_lost_and_the_order_of_each_is_kept)
{
    unsigned total = 0;
    start_producers(produce);

    while (total < PRODUCERS * MESSAGES)
        total += receive(mpsc_queue_take_all(&queue));

    join_producers();
    ck_assert(mpsc_queue_is_empty(&queue));
    for (unsigned i = 0; i < PRODUCERS; i++) {
        ck_assert_uint_eq(producers[i].accepted, MESSAGES);
        ck_assert_uint_eq(received[i], MESSAGES);
    }
    free_messages();
}
END_TEST

START_TEST(closing_under_many_producers_gives_exactly_what_was_accepted)
{
    unsigned total = 0;
    start_producers(produce_until_closed);
    while (total < CLOSE_AFTER)
        total += receive(mpsc_queue_take_all(&queue));

    receive(mpsc_queue_close(&queue));
    atomic_store(&closed_already, true);

    join_producers();
    ck_assert_ptr_null(mpsc_queue_take_all(&queue));
    for (unsigned i = 0; i < PRODUCERS; i++) {
        ck_assert_uint_eq(received[i], producers[i].accepted);
        ck_assert(producers[i].last_refused);
    }
    free_messages();
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("mpsc_queue");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_add_test(tests, a_new_queue_is_empty);
    tcase_add_test(tests, taking_gives_everything_oldest_first);
    tcase_add_test(tests, a_node_that_was_taken_can_be_pushed_again);
    tcase_add_test(tests, closing_gives_the_rest_and_refuses_later_pushes);
    tcase_add_test(tests, a_closed_queue_is_empty_and_stays_closed);
    tcase_add_test(tests, a_queue_does_what_a_list_does_under_any_operations);
    tcase_add_test(tests, nothing_of_many_producers_is_lost_and_the_order_of_each_is_kept);
    tcase_add_test(tests, closing_under_many_producers_gives_exactly_what_was_accepted);
}
