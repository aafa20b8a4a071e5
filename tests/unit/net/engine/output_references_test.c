/* The output queue's other kinds: referenced memory and ranges of files, alone and mixed with copied bytes. */
#include "net/engine/output_queue.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const suite_name = "output_references";

enum {
    SMALL_ROOM = OUTPUT_SMALL_BYTES - sizeof(struct block),
    MANY_PIECES = 64,
    FILE_BYTES = 300 * 1000,
    LENT_MAX = 4096,
};

static struct output_pools pools;
static struct output_queue queue;
static uint8_t bytes[FILE_BYTES];
static int file;
static unsigned given_back[LENT_MAX]; /* how often, by number */

static void set_up(void)
{
    checking_memory_install();
    block_pool_init(&pools.small, OUTPUT_SMALL_BYTES, 4 * 1024, 8 * 1024);
    block_pool_init_pages(&pools.large, OUTPUT_LARGE_BYTES, 64 * 1024, 64 * 1024);
    block_pool_init(&pools.references, OUTPUT_REFERENCE_BYTES, 1024, 2 * 1024);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
    file = memfd_create("jinduo-output", MFD_CLOEXEC);
    ck_assert_int_eq(write(file, bytes, FILE_BYTES), FILE_BYTES);
}

static void give_back(void *number)
{
    given_back[(uintptr_t)number]++;
}

static void give_back_released(void)
{
    struct block *released = output_pools_take_released(&pools);
    struct output_reference reference;

    while (output_next_released(&released, &reference))
        reference.release(reference.arg);
}

static void tear_down(void)
{
    output_queue_clear(&queue, &pools);
    give_back_released();
    close(file);
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

static int lend_memory(uintptr_t number, const uint8_t *data, size_t length)
{
    return output_queue_append_reference(
        &queue, &pools,
        &(struct output_reference){
            .kind = OUTPUT_MEMORY, .release = give_back, .arg = (void *)number, .data = data, .length = length });
}

static int lend_file(uintptr_t number, size_t offset, uint64_t length)
{
    return output_queue_append_reference(&queue, &pools,
                                         &(struct output_reference){ .kind = OUTPUT_FILE,
                                                                     .release = give_back,
                                                                     .arg = (void *)number,
                                                                     .fd = file,
                                                                     .offset = (int64_t)offset,
                                                                     .length = length });
}

/* What the engine would send next, compared and consumed. Returns the bytes; 0 at the queue's end. */
static size_t send_next(const uint8_t *expected, size_t most)
{
    const struct output_reference *first_file = output_queue_first_file(&queue);
    static uint8_t from_file[FILE_BYTES];
    jd_iovec piece;
    size_t total;
    bool more;

    if (first_file != NULL) {
        if (most > first_file->length)
            most = (size_t)first_file->length;
        ck_assert_int_eq(pread(first_file->fd, from_file, most, first_file->offset), (ssize_t)most);
        ck_assert_mem_eq(from_file, expected, most);
    } else if (output_queue_pieces(&queue, &piece, 1, &total, &more) == 0) {
        return 0;
    } else {
        if (most > piece.length)
            most = piece.length;
        ck_assert_mem_eq(piece.data, expected, most);
    }
    output_queue_consume(&queue, &pools, most);
    give_back_released();
    return most;
}

static void assert_sends(const uint8_t *expected, size_t length)
{
    while (length > 0) {
        size_t sent = send_next(expected, length);
        ck_assert_uint_gt(sent, 0);
        expected += sent;
        length -= sent;
    }
}

/* ---- memory ---- */

START_TEST(referenced_memory_is_sent_from_where_it_lies)
{
    jd_iovec piece;
    size_t total;
    bool more;

    ck_assert_int_eq(lend_memory(0, bytes, 5000), 0);

    ck_assert_uint_eq(output_queue_bytes(&queue), 5000);
    ck_assert_int_eq(output_queue_pieces(&queue, &piece, 1, &total, &more), 1);
    ck_assert_ptr_eq(piece.data, bytes);
    ck_assert_uint_eq(piece.length, 5000);
    ck_assert(!more);
    ck_assert_uint_eq(given_back[0], 0);
}
END_TEST

START_TEST(referenced_memory_is_released_with_its_last_byte)
{
    ck_assert_int_eq(lend_memory(0, bytes, 5000), 0);

    output_queue_consume(&queue, &pools, 4999);
    give_back_released();
    ck_assert_uint_eq(given_back[0], 0);
    ck_assert_uint_eq(output_queue_bytes(&queue), 1);
    output_queue_consume(&queue, &pools, 1);
    ck_assert_uint_eq(given_back[0], 0); /* not from inside */
    give_back_released();

    ck_assert_uint_eq(given_back[0], 1);
    ck_assert_uint_eq(output_queue_bytes(&queue), 0);
    ck_assert_ptr_null(queue.first);
    ck_assert_ptr_null(queue.last);
}
END_TEST

START_TEST(a_little_memory_is_copied_and_given_back_at_once)
{
    ck_assert_int_eq(lend_memory(0, bytes, OUTPUT_COPY_BYTES), 0);
    ck_assert_int_eq(lend_memory(1, bytes + OUTPUT_COPY_BYTES, OUTPUT_COPY_BYTES + 1), 0);
    give_back_released();

    ck_assert_uint_eq(given_back[0], 1);
    ck_assert_uint_eq(given_back[1], 0);
    ck_assert_uint_eq(output_queue_bytes(&queue), 2 * OUTPUT_COPY_BYTES + 1);
    assert_sends(bytes, 2 * OUTPUT_COPY_BYTES + 1);
}
END_TEST

START_TEST(memory_of_no_length_is_given_back_and_nothing_is_queued)
{
    ck_assert_int_eq(lend_memory(0, NULL, 0), 0);
    ck_assert_int_eq(lend_file(1, 0, 0), 0);
    give_back_released();

    ck_assert_uint_eq(given_back[0], 1);
    ck_assert_uint_eq(given_back[1], 1);
    ck_assert_uint_eq(output_queue_bytes(&queue), 0);
    ck_assert_ptr_null(queue.first);
}
END_TEST

START_TEST(memory_without_a_release_function_is_just_forgotten)
{
    const struct output_reference reference = { .kind = OUTPUT_MEMORY, .data = bytes, .length = 1000 };
    ck_assert_int_eq(output_queue_append_reference(&queue, &pools, &reference), 0);

    assert_sends(bytes, 1000);

    ck_assert_ptr_null(output_pools_take_released(&pools));
}
END_TEST

START_TEST(bytes_behind_a_reference_take_a_block_of_their_own_and_a_small_one_if_they_are_few)
{
    ck_assert_int_eq(append(bytes, 10), 0);
    ck_assert_int_eq(lend_memory(0, bytes + 10, 1000), 0);
    ck_assert_int_eq(append(bytes + 1010, 10), 0);

    ck_assert_ptr_eq(queue.last->pool, &pools.small);
    ck_assert_int_eq(append(bytes + 1020, SMALL_ROOM), 0);
    ck_assert_ptr_eq(queue.last->pool, &pools.large);
    assert_sends(bytes, 1020 + SMALL_ROOM);
}
END_TEST

START_TEST(long_memory_is_cut_to_what_one_send_may_take_and_continues_there)
{
    enum { LONG = OUTPUT_GATHER_BYTES + 1000 };
    static uint8_t long_bytes[LONG];
    jd_iovec pieces[MANY_PIECES];
    size_t total;
    bool more;
    ck_assert_int_eq(append(bytes, 10), 0);
    ck_assert_int_eq(lend_memory(0, long_bytes, LONG), 0);
    ck_assert_int_eq(append(bytes, 10), 0);

    ck_assert_int_eq(output_queue_pieces(&queue, pieces, MANY_PIECES, &total, &more), 2);

    ck_assert_uint_eq(total, OUTPUT_GATHER_BYTES);
    ck_assert(more);
    output_queue_consume(&queue, &pools, total);
    ck_assert_int_eq(output_queue_pieces(&queue, pieces, MANY_PIECES, &total, &more), 2);
    ck_assert_ptr_eq(pieces[0].data, long_bytes + OUTPUT_GATHER_BYTES - 10);
    ck_assert_uint_eq(total, 1010 + 10);
    ck_assert(!more);
}
END_TEST

/* ---- files ---- */

START_TEST(pieces_stop_before_a_file_and_none_come_while_it_is_first)
{
    jd_iovec pieces[MANY_PIECES];
    size_t total;
    bool more;
    ck_assert_int_eq(append(bytes, 10), 0);
    ck_assert_int_eq(lend_file(0, 10, 1000), 0);
    ck_assert_int_eq(append(bytes + 1010, 10), 0);
    ck_assert_ptr_null(output_queue_first_file(&queue));

    ck_assert_int_eq(output_queue_pieces(&queue, pieces, MANY_PIECES, &total, &more), 1);
    ck_assert(more);
    output_queue_consume(&queue, &pools, 10);

    ck_assert_int_eq(output_queue_pieces(&queue, pieces, MANY_PIECES, &total, &more), 0);
    ck_assert_ptr_nonnull(output_queue_first_file(&queue));
    ck_assert_int_eq(output_queue_first_file(&queue)->offset, 10);
    assert_sends(bytes + 10, 1010);
    ck_assert_uint_eq(given_back[0], 1);
}
END_TEST

START_TEST(a_file_counts_the_same_to_its_last_byte_however_long_it_is)
{
    ck_assert_int_eq(lend_file(0, 0, (uint64_t)1 << 40), 0);
    ck_assert_uint_eq(output_queue_bytes(&queue), OUTPUT_FILE_COUNTS_BYTES);

    output_queue_consume(&queue, &pools, ((size_t)1 << 40) - 1);
    ck_assert_uint_eq(output_queue_bytes(&queue), OUTPUT_FILE_COUNTS_BYTES);
    output_queue_consume(&queue, &pools, 1);

    ck_assert_uint_eq(output_queue_bytes(&queue), 0);
    give_back_released();
    ck_assert_uint_eq(given_back[0], 1);
}
END_TEST

START_TEST(clearing_releases_all_references_and_counts_the_bytes_of_files_too)
{
    ck_assert_int_eq(append(bytes, 10), 0);
    ck_assert_int_eq(lend_memory(0, bytes, 1000), 0);
    ck_assert_int_eq(lend_file(1, 0, (uint64_t)1 << 40), 0);
    output_queue_consume(&queue, &pools, 15);

    ck_assert_uint_eq(output_queue_clear(&queue, &pools), 995 + ((uint64_t)1 << 40));

    give_back_released();
    ck_assert_uint_eq(given_back[0], 1);
    ck_assert_uint_eq(given_back[1], 1);
    ck_assert_uint_eq(output_queue_bytes(&queue), 0);
    ck_assert_ptr_null(queue.first);
}
END_TEST

START_TEST(a_file_may_be_read_in_parts_that_are_sent_from_memory)
{
    ck_assert_int_eq(lend_file(0, 100, 40000), 0);
    ck_assert_int_eq(append(bytes + 40100, 10), 0);

    ck_assert_int_eq(output_queue_read_file(&queue, &pools, 1000), 0);
    ck_assert_ptr_null(output_queue_first_file(&queue));
    ck_assert_uint_eq(output_queue_bytes(&queue), 1000 + OUTPUT_FILE_COUNTS_BYTES + 10);
    assert_sends(bytes + 100, 1000);
    ck_assert_int_eq(output_queue_read_file(&queue, &pools, SIZE_MAX), 0);

    assert_sends(bytes + 1100, 39010);
    ck_assert_uint_eq(given_back[0], 1);
}
END_TEST

START_TEST(a_file_that_is_read_to_its_end_leaves_the_queue_for_its_bytes)
{
    ck_assert_int_eq(lend_file(0, 0, 100), 0);

    ck_assert_int_eq(output_queue_read_file(&queue, &pools, SIZE_MAX), 0);

    give_back_released();
    ck_assert_uint_eq(given_back[0], 1);
    ck_assert_uint_eq(output_queue_bytes(&queue), 100);
    ck_assert_ptr_eq(queue.first, queue.last);
    ck_assert_int_eq(append(bytes + 100, 10), 0);
    assert_sends(bytes, 110);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_changes_nothing)
{
    static const int errors[] = { JD_ENODATA, JD_ENOMEM, -EBADF };
    ck_assert_int_eq(lend_file(0, 0, 100), 0);
    if (_i == 0)
        ck_assert_int_eq(ftruncate(file, 0), 0);
    if (_i == 1)
        checking_memory_fail(1, 2); /* the region, then the heap */
    if (_i == 2)
        close(file);

    ck_assert_int_eq(output_queue_read_file(&queue, &pools, SIZE_MAX), errors[_i]);

    checking_memory_has_failed();
    ck_assert_uint_eq(output_queue_bytes(&queue), OUTPUT_FILE_COUNTS_BYTES);
    ck_assert_uint_eq(output_queue_first_file(&queue)->length, 100);
}
END_TEST

/* ---- no memory ---- */

/* A region, then a block of the heap; what is copied needs another pool's. */
START_TEST(a_reference_for_which_there_is_no_memory_is_not_queued_and_not_given_back)
{
    static const size_t lengths[] = { 5000, 100, 100 };
    static const unsigned first_failing[] = { 1, 1, 2 };

    checking_memory_fail(first_failing[_i], 2);
    ck_assert_int_eq(lend_memory(0, bytes, lengths[_i]), JD_ENOMEM);

    ck_assert(checking_memory_has_failed());
    give_back_released();
    ck_assert_uint_eq(given_back[0], 0);
    ck_assert_uint_eq(output_queue_bytes(&queue), 0);
    ck_assert_ptr_null(queue.first);
}
END_TEST

/* ---- a model ---- */

enum { MODEL_MAX_BYTES = 200 * 1000, MODEL_MAX_SEGMENTS = 4000, MODEL_OPERATIONS = 6000 };

static struct segment {
    enum output_kind kind;
    size_t length;
    unsigned number; /* 0: no reference */
} segments[MODEL_MAX_SEGMENTS];

static struct {
    uint8_t bytes[MODEL_MAX_BYTES];
    size_t length;
    unsigned first, last; /* segments */
    unsigned lent;        /* numbers used */
} model;

static void note(enum output_kind kind, unsigned number, const uint8_t *data, size_t length)
{
    memcpy(model.bytes + model.length, data, length);
    model.length += length;
    segments[model.last++] = (struct segment){ kind, length, number };
}

static void model_append(uint64_t *random)
{
    size_t length = 1 + random_below(random, random_below(random, 2) == 0 ? 20 : 20000);
    size_t offset = random_below(random, FILE_BYTES - length);
    enum output_kind kind = (enum output_kind)random_below(random, 3);
    unsigned number = kind != OUTPUT_BYTES ? ++model.lent : 0;
    int result;

    if (model.length + length > MODEL_MAX_BYTES || model.last == MODEL_MAX_SEGMENTS || number >= LENT_MAX)
        return;
    if (random_below(random, 4) == 0)
        checking_memory_fail(1 + (unsigned)random_below(random, 2), 2);
    if (kind == OUTPUT_BYTES)
        result = append(bytes + offset, length);
    else
        result =
            kind == OUTPUT_MEMORY ? lend_memory(number, bytes + offset, length) : lend_file(number, offset, length);
    checking_memory_has_failed();
    if (result < 0)
        ck_assert_int_eq(result, JD_ENOMEM);
    else
        note(kind, number, bytes + offset, length);
    give_back_released();
    if (number > 0)
        ck_assert_uint_eq(given_back[number],
                          result == 0 && kind == OUTPUT_MEMORY && length <= OUTPUT_COPY_BYTES ? 1 : 0);
}

static void model_drop(size_t length)
{
    memmove(model.bytes, model.bytes + length, model.length - length);
    model.length -= length;
    while (length > 0) {
        struct segment *segment = &segments[model.first];
        size_t count = length < segment->length ? length : segment->length;
        segment->length -= count;
        length -= count;
        if (segment->length > 0)
            break;
        if (segment->number > 0)
            ck_assert_uint_eq(given_back[segment->number], 1);
        model.first++;
    }
}

static void model_send(uint64_t *random)
{
    model_drop(send_next(model.bytes, 1 + random_below(random, 30000)));
}

static void model_read(uint64_t *random)
{
    size_t most = 1 + random_below(random, 20000);
    const struct output_reference *first = output_queue_first_file(&queue);
    size_t offset = first != NULL ? (size_t)first->offset : 0;
    uint64_t before = first != NULL ? first->length : 0;
    size_t read;
    jd_iovec piece;
    bool more;

    if (first == NULL)
        return;
    ck_assert_int_eq(output_queue_read_file(&queue, &pools, most), 0);
    ck_assert_int_eq(output_queue_pieces(&queue, &piece, 1, &read, &more), 1);
    ck_assert_uint_gt(read, 0);
    ck_assert_uint_le(read, most < before ? most : before);
    ck_assert_mem_eq(piece.data, bytes + offset, read);
    /* It counts as bytes now: sent at once, so that the model's segments stay simple. */
    while (read > 0) {
        size_t sent = send_next(model.bytes, read);
        model_drop(sent);
        read -= sent;
    }
}

static void model_clear(uint64_t *random)
{
    if (random_below(random, 50) > 0)
        return;
    ck_assert_uint_eq(output_queue_clear(&queue, &pools), model.length);
    give_back_released();
    model_drop(model.length);
}

static size_t model_counts_for(void)
{
    size_t sum = 0;

    for (unsigned i = model.first; i < model.last; i++)
        sum += segments[i].kind == OUTPUT_FILE ? OUTPUT_FILE_COUNTS_BYTES : segments[i].length;
    return sum;
}

START_TEST(kinds_mixed_in_any_way_keep_their_order_and_each_is_given_back_once)
{
    static void (*const operations[])(uint64_t *) = { model_append, model_append, model_append, model_send,
                                                      model_send,   model_send,   model_read,   model_clear };
    uint64_t random = test_seed();

    for (int i = 0; i < MODEL_OPERATIONS; i++) {
        operations[random_below(&random, 8)](&random);
        ck_assert_uint_eq(output_queue_bytes(&queue), model_counts_for());
    }
    while (model.length > 0)
        model_send(&random);

    ck_assert_uint_eq(output_queue_bytes(&queue), 0);
    ck_assert_uint_gt(model.lent, 100);
    for (unsigned i = 0; i < LENT_MAX; i++)
        ck_assert_uint_le(given_back[i], 1);
}
END_TEST

/* ---- what a send without a copy has taken, but still reads ---- */

static void take_back(struct block_chain *lent)
{
    output_pools_end_zero_copy(&pools, lent);
    give_back_released();
}

START_TEST(memory_that_is_read_in_two_sends_is_given_back_when_both_are_done_with)
{
    struct block_chain first = { 0 }, second = { 0 };
    ck_assert_int_eq(lend_memory(0, bytes, 5000), 0);

    ck_assert_uint_eq(output_queue_move_zero_copy(&queue, &pools, 2000, &first), 0);
    ck_assert_uint_eq(output_queue_bytes(&queue), 3000);
    if (_i == 0) /* by copying */
        assert_sends(bytes + 2000, 3000);
    else
        ck_assert_uint_eq(output_queue_move_zero_copy(&queue, &pools, 3000, &second), 0);
    give_back_released();
    ck_assert_uint_eq(given_back[0], 0);

    take_back(_i == 1 ? &second : &first);
    ck_assert_uint_eq(given_back[0], _i == 0);
    take_back(_i == 1 ? &first : &second);

    ck_assert_uint_eq(given_back[0], 1);
    ck_assert_ptr_null(queue.first);
}
END_TEST

START_TEST(memory_that_is_read_in_very_many_sends_takes_no_more_than_in_two)
{
    enum { SENDS = 10 * 1000, MOST_BLOCKS = 3 }; /* what is read, the rest, and what counts them */
    static uint8_t memory[SENDS];
    struct block_chain lent = { 0 };
    ck_assert_int_eq(lend_memory(0, memory, SENDS), 0);

    for (int i = 0; i < SENDS; i++) {
        ck_assert_uint_eq(given_back[0], 0);
        ck_assert_uint_eq(output_queue_move_zero_copy(&queue, &pools, 1, &lent), 0);
        ck_assert_uint_le(atomic_load(&pools.references.blocks_used), MOST_BLOCKS);
        take_back(&lent);
    }

    ck_assert_uint_eq(given_back[0], 1);
    ck_assert_ptr_null(queue.first);
}
END_TEST

START_TEST(bytes_that_are_read_stay_as_they_are_while_the_rest_is_sent_and_more_is_queued)
{
    struct block_chain lent = { 0 };
    struct block *block;
    ck_assert_int_eq(append(bytes, 3000), 0);
    block = queue.first;

    ck_assert_uint_eq(output_queue_move_zero_copy(&queue, &pools, 1000, &lent), 0);
    ck_assert_int_eq(append(bytes + 3000, 50 * 1000), 0);

    ck_assert_ptr_eq(lent.first, block);
    ck_assert_uint_eq(output_queue_bytes(&queue), 52 * 1000);
    assert_sends(bytes + 1000, 52 * 1000);
    ck_assert_mem_eq(block->data + block->begin, bytes, 1000);
    take_back(&lent);
    ck_assert_ptr_null(lent.first);
}
END_TEST

/* Bytes that the kernel reads must stay, so the rest cannot be read into the same block. */
START_TEST(without_memory_for_the_rest_of_what_is_read_that_is_dropped)
{
    enum { NO_MORE = 1 << 30 };
    struct block_chain lent = { 0 }, others = { 0 };
    ck_assert_int_eq(lend_memory(0, bytes, 5000), 0);
    checking_memory_fail(1, NO_MORE);
    for (struct block *other; (other = block_pool_get(&pools.references)) != NULL;)
        block_chain_append(&others, other);
    if (_i == 1) { /* for the rest, but not for what counts the two parts */
        struct block *other = others.first;
        others.first = other->next;
        block_release(other);
    }

    ck_assert_uint_eq(output_queue_move_zero_copy(&queue, &pools, 2000, &lent), 3000);

    checking_memory_fail(1, 0);
    ck_assert_uint_eq(output_queue_bytes(&queue), 0);
    ck_assert_ptr_null(queue.first);
    ck_assert_ptr_null(queue.last);
    ck_assert_uint_eq(given_back[0], 0);
    take_back(&lent);
    ck_assert_uint_eq(given_back[0], 1);
    take_back(&others);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("output_references");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, referenced_memory_is_sent_from_where_it_lies);
    tcase_add_test(tests, referenced_memory_is_released_with_its_last_byte);
    tcase_add_test(tests, a_little_memory_is_copied_and_given_back_at_once);
    tcase_add_test(tests, memory_of_no_length_is_given_back_and_nothing_is_queued);
    tcase_add_test(tests, memory_without_a_release_function_is_just_forgotten);
    tcase_add_test(tests, bytes_behind_a_reference_take_a_block_of_their_own_and_a_small_one_if_they_are_few);
    tcase_add_test(tests, long_memory_is_cut_to_what_one_send_may_take_and_continues_there);
    tcase_add_test(tests, pieces_stop_before_a_file_and_none_come_while_it_is_first);
    tcase_add_test(tests, a_file_counts_the_same_to_its_last_byte_however_long_it_is);
    tcase_add_test(tests, clearing_releases_all_references_and_counts_the_bytes_of_files_too);
    tcase_add_test(tests, a_file_may_be_read_in_parts_that_are_sent_from_memory);
    tcase_add_test(tests, a_file_that_is_read_to_its_end_leaves_the_queue_for_its_bytes);
    tcase_add_loop_test(tests, a_file_that_cannot_be_read_changes_nothing, 0, 3);
    tcase_add_loop_test(tests, a_reference_for_which_there_is_no_memory_is_not_queued_and_not_given_back, 0, 3);
    tcase_add_loop_test(tests, memory_that_is_read_in_two_sends_is_given_back_when_both_are_done_with, 0, 3);
    tcase_add_test(tests, memory_that_is_read_in_very_many_sends_takes_no_more_than_in_two);
    tcase_add_test(tests, bytes_that_are_read_stay_as_they_are_while_the_rest_is_sent_and_more_is_queued);
    tcase_add_loop_test(tests, without_memory_for_the_rest_of_what_is_read_that_is_dropped, 0, 2);
    tcase_add_test(tests, kinds_mixed_in_any_way_keep_their_order_and_each_is_given_back_once);
}
