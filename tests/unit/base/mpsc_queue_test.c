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
        mpsc_queue_push(&queue, &nodes[i]);
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
    mpsc_queue_push(&queue, &node);
    ck_assert_ptr_eq(mpsc_queue_take_all(&queue), &node);

    mpsc_queue_push(&queue, &node);

    ck_assert_ptr_eq(mpsc_queue_take_all(&queue), &node);
    ck_assert_ptr_null(node.next);
}
END_TEST

/* The model: the numbers of the messages pushed and not yet taken run from taken to pushed. */
enum { MODEL_OPERATIONS = 20000 };

START_TEST(a_queue_does_what_a_list_does_under_any_operations)
{
    struct message *messages = calloc(MODEL_OPERATIONS, sizeof(*messages));
    unsigned pushed = 0, taken = 0;
    uint64_t random = test_seed();
    ck_assert_ptr_nonnull(messages);

    for (int i = 0; i < MODEL_OPERATIONS; i++) {
        if (random_below(&random, 10) < 7) {
            messages[pushed].number = pushed;
            mpsc_queue_push(&queue, &messages[pushed++].node);
        } else {
            for (struct mpsc_node *node = mpsc_queue_take_all(&queue); node != NULL; node = node->next)
                ck_assert_uint_eq(message_of(node)->number, taken++);
            ck_assert_uint_eq(taken, pushed);
        }
        ck_assert_int_eq(mpsc_queue_is_empty(&queue), taken == pushed);
    }

    free(messages);
}
END_TEST

enum { PRODUCERS = 4, MESSAGES = 200000 };

struct producer {
    pthread_t thread;
    struct message *messages;
};

static struct producer producers[PRODUCERS];
static unsigned received[PRODUCERS];
static atomic_bool go;

static void *produce(void *arg)
{
    struct producer *producer = arg;

    while (!atomic_load(&go))
        sched_yield();
    for (unsigned i = 0; i < MESSAGES; i++)
        mpsc_queue_push(&queue, &producer->messages[i].node);
    return NULL;
}

static void start_producers(void)
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i].messages = calloc(MESSAGES, sizeof(struct message));
        ck_assert_ptr_nonnull(producers[i].messages);
        for (unsigned k = 0; k < MESSAGES; k++)
            producers[i].messages[k] = (struct message){ .producer = i, .number = k };
        ck_assert_int_eq(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    atomic_store(&go, true);
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
    start_producers();

    while (total < PRODUCERS * MESSAGES)
        total += receive(mpsc_queue_take_all(&queue));

    for (unsigned i = 0; i < PRODUCERS; i++) {
        ck_assert_int_eq(pthread_join(producers[i].thread, NULL), 0);
        ck_assert_uint_eq(received[i], MESSAGES);
        free(producers[i].messages);
    }
    ck_assert(mpsc_queue_is_empty(&queue));
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
    tcase_add_test(tests, a_queue_does_what_a_list_does_under_any_operations);
    tcase_add_test(tests, nothing_of_many_producers_is_lost_and_the_order_of_each_is_kept);
}
