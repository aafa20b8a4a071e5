#include "base/ring_buffer.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <jinduo/memory.h>
#include <string.h>

const char *const suite_name = "ring_buffer";

static jd_buffer *full_buffer(uint8_t content[RING_MIN_BYTES])
{
    jd_buffer *buffer;

    for (int i = 0; i < RING_MIN_BYTES; i++)
        content[i] = (uint8_t)(i * 7);
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, content, RING_MIN_BYTES), 0);
    return buffer;
}

START_TEST(a_new_buffer_is_empty_and_owns_no_memory_for_bytes)
{
    jd_buffer *buffer;
    jd_iovec pieces[2];

    ck_assert_int_eq(jd_buffer_create(&buffer), 0);

    ck_assert_uint_eq(jd_memory_in_use(), sizeof(*buffer));
    ck_assert_uint_eq(jd_buffer_readable(buffer), 0);
    ck_assert_int_eq(jd_buffer_peek_iov(buffer, pieces), 0);
    ck_assert_ptr_null(jd_buffer_peek(buffer, 1));
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(destroying_no_buffer_does_nothing)
{
    jd_buffer_destroy(NULL);

    ck_assert_uint_eq(jd_memory_in_use(), 0);
}
END_TEST

START_TEST(bytes_come_out_in_the_order_they_went_in)
{
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);

    put_text(buffer, "first ");
    put_text(buffer, "second");

    assert_text(buffer, "first second");
    ck_assert_uint_eq(jd_buffer_consume(buffer, 6), 6);
    assert_text(buffer, "second");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(a_zero_length_write_to_an_empty_ring_changes_nothing)
{
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);

    ck_assert_int_eq(jd_buffer_append(buffer, "", 0), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, NULL, 0), 0);
    ck_assert_int_eq(jd_buffer_prepend(buffer, NULL, 0), 0);
    ck_assert_ptr_nonnull(jd_buffer_reserve(buffer, 0));
    ck_assert_int_eq(jd_buffer_commit(buffer, 0), 0);

    assert_text(buffer, "");
    ck_assert_uint_eq(jd_memory_in_use(), sizeof(*buffer));
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(a_zero_length_read_from_a_full_ring_changes_nothing)
{
    uint8_t content[RING_MIN_BYTES];
    jd_buffer *buffer = full_buffer(content);

    ck_assert_uint_eq(jd_buffer_consume(buffer, 0), 0);
    ck_assert_int_eq(jd_buffer_copy_out(buffer, RING_MIN_BYTES, NULL, 0), 0);
    ck_assert_ptr_nonnull(jd_buffer_peek(buffer, 0));

    assert_content(buffer, content, RING_MIN_BYTES);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(a_ring_filled_to_the_last_byte_is_full_and_not_empty)
{
    uint8_t content[RING_MIN_BYTES];
    jd_buffer *buffer = full_buffer(content);

    ck_assert_uint_eq(jd_memory_in_use(), sizeof(*buffer) + RING_MIN_BYTES);
    assert_content(buffer, content, RING_MIN_BYTES);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(bytes_around_the_wrap_are_in_two_pieces_in_order)
{
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", _i);
    jd_iovec pieces[2];

    ck_assert_int_eq(jd_buffer_peek_iov(buffer, pieces), 2);

    ck_assert_uint_eq(pieces[0].length, _i);
    assert_text(buffer, "abcdefgh");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(growth_at_the_wrap_point_keeps_the_order)
{
    char expected[RING_MIN_BYTES + 8];
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", _i);
    memcpy(expected, "abcdefgh", 8);
    memset(expected + 8, 'z', RING_MIN_BYTES);

    ck_assert_int_eq(jd_buffer_append(buffer, expected + 8, RING_MIN_BYTES), 0);

    assert_content(buffer, expected, sizeof(expected));
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(consuming_more_than_is_readable_drops_all_and_says_how_many)
{
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    put_text(buffer, "abc");

    ck_assert_uint_eq(jd_buffer_consume(buffer, SIZE_MAX), 3);

    assert_text(buffer, "");
    ck_assert_uint_eq(jd_buffer_consume(buffer, 1), 0);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(a_burst_gives_its_memory_back_when_it_has_been_consumed)
{
    static uint8_t burst[1 << 20];
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, burst, sizeof(burst)), 0);
    ck_assert_uint_ge(jd_memory_in_use(), sizeof(burst));

    jd_buffer_consume(buffer, sizeof(burst));

    ck_assert_uint_eq(jd_memory_in_use(), sizeof(*buffer));
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(prepended_bytes_come_before_all_others)
{
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    put_text(buffer, "body");

    ck_assert_int_eq(jd_buffer_prepend(buffer, "header ", 7), 0);
    ck_assert_int_eq(jd_buffer_prepend(buffer, "> ", 2), 0);

    assert_text(buffer, "> header body");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(prepending_to_a_full_ring_grows_it)
{
    uint8_t content[RING_MIN_BYTES], expected[RING_MIN_BYTES + 1];
    jd_buffer *buffer = full_buffer(content);
    expected[0] = '!';
    memcpy(expected + 1, content, RING_MIN_BYTES);

    ck_assert_int_eq(jd_buffer_prepend(buffer, "!", 1), 0);

    assert_content(buffer, expected, sizeof(expected));
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(peek_makes_wrapped_bytes_one_piece)
{
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", _i);

    const char *piece = jd_buffer_peek(buffer, 8);

    ck_assert_mem_eq(piece, "abcdefgh", 8);
    assert_text(buffer, "abcdefgh");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(peek_copies_nothing_when_the_asked_bytes_do_not_wrap)
{
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", 5);
    jd_iovec pieces[2];
    jd_buffer_peek_iov(buffer, pieces);

    ck_assert_ptr_eq(jd_buffer_peek(buffer, 5), pieces[0].data);

    ck_assert_int_eq(jd_buffer_peek_iov(buffer, pieces), 2);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(peek_of_more_than_is_readable_is_refused)
{
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", 5);

    ck_assert_ptr_null(jd_buffer_peek(buffer, 9));
    ck_assert_ptr_null(jd_buffer_peek(buffer, SIZE_MAX));

    assert_text(buffer, "abcdefgh");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(copy_out_reads_any_range_across_the_wrap)
{
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", 5);
    char copy[4] = "....";

    ck_assert_int_eq(jd_buffer_copy_out(buffer, 3, copy, 4), 0);

    ck_assert_mem_eq(copy, "defg", 4);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(copy_out_of_a_range_that_is_not_all_there_is_refused)
{
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", 5);
    char copy[16] = "untouched";

    ck_assert_int_eq(jd_buffer_copy_out(buffer, 0, copy, 9), JD_EAGAIN);
    ck_assert_int_eq(jd_buffer_copy_out(buffer, 8, copy, 1), JD_EAGAIN);
    ck_assert_int_eq(jd_buffer_copy_out(buffer, 9, copy, 0), JD_EAGAIN);
    ck_assert_int_eq(jd_buffer_copy_out(buffer, SIZE_MAX, copy, 2), JD_EAGAIN);
    ck_assert_int_eq(jd_buffer_copy_out(buffer, 2, copy, SIZE_MAX), JD_EAGAIN);

    ck_assert_str_eq(copy, "untouched");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(reserved_room_is_read_only_as_far_as_it_was_committed)
{
    jd_buffer *buffer;
    char *room;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    put_text(buffer, "ab");

    room = jd_buffer_reserve(buffer, 100);
    memset(room, 'c', 100);
    assert_text(buffer, "ab");
    ck_assert_int_eq(jd_buffer_commit(buffer, 3), 0);

    assert_text(buffer, "abccc");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(reserved_room_is_one_piece_though_the_free_bytes_wrap)
{
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", 8);
    char *room;

    room = jd_buffer_reserve(buffer, RING_MIN_BYTES - 8);
    memset(room, 'z', RING_MIN_BYTES - 8);
    ck_assert_int_eq(jd_buffer_commit(buffer, 2), 0);

    assert_text(buffer, "abcdefghzz");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(committing_more_than_was_reserved_is_refused)
{
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_commit(buffer, 1), JD_EINVAL);
    memset(jd_buffer_reserve(buffer, 4), 'x', 4);

    ck_assert_int_eq(jd_buffer_commit(buffer, 5), JD_EINVAL);

    ck_assert_int_eq(jd_buffer_commit(buffer, 4), 0);
    ck_assert_int_eq(jd_buffer_commit(buffer, 1), JD_EINVAL);
    assert_text(buffer, "xxxx");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(a_change_of_the_buffer_ends_a_reservation)
{
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    put_text(buffer, "abc");

    ck_assert_ptr_nonnull(jd_buffer_reserve(buffer, 4));
    put_text(buffer, "d");
    ck_assert_int_eq(jd_buffer_commit(buffer, 4), JD_EINVAL);
    ck_assert_ptr_nonnull(jd_buffer_reserve(buffer, 4));
    ck_assert_int_eq(jd_buffer_prepend(buffer, "_", 1), 0);
    ck_assert_int_eq(jd_buffer_commit(buffer, 4), JD_EINVAL);
    ck_assert_ptr_nonnull(jd_buffer_reserve(buffer, 4));
    jd_buffer_consume(buffer, 2);
    ck_assert_int_eq(jd_buffer_commit(buffer, 4), JD_EINVAL);

    assert_text(buffer, "bcd");
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(room_that_stayed_unused_is_given_back_by_committing_nothing)
{
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_ptr_nonnull(jd_buffer_reserve(buffer, 4096));

    ck_assert_int_eq(jd_buffer_commit(buffer, 0), 0);

    ck_assert_uint_eq(jd_memory_in_use(), sizeof(*buffer));
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(sizes_beyond_all_memory_are_refused_and_change_nothing)
{
    static const size_t sizes[] = { SIZE_MAX,         SIZE_MAX - 1, SIZE_MAX - 8,
                                    SIZE_MAX / 2 + 1, SIZE_MAX / 2, SIZE_MAX / 4 + 2 };
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", 5);
    size_t before = jd_memory_in_use();

    ck_assert_int_eq(jd_buffer_append(buffer, "x", sizes[_i]), JD_ENOMEM);
    ck_assert_int_eq(jd_buffer_prepend(buffer, "x", sizes[_i]), JD_ENOMEM);
    ck_assert_ptr_null(jd_buffer_reserve(buffer, sizes[_i]));
    ck_assert_int_eq(ring_buffer_make_contiguous(buffer, sizes[_i]), JD_ENOMEM);

    assert_text(buffer, "abcdefgh");
    ck_assert_uint_eq(jd_memory_in_use(), before);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(find_gives_the_offset_of_the_first_match_from_an_offset_on)
{
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    put_text(buffer, "one\r\ntwo\r\n");

    ck_assert_int_eq(jd_buffer_find(buffer, "\r\n", 2, 0), 3);
    ck_assert_int_eq(jd_buffer_find(buffer, "\r\n", 2, 3), 3);
    ck_assert_int_eq(jd_buffer_find(buffer, "\r\n", 2, 4), 8);
    ck_assert_int_eq(jd_buffer_find(buffer, "\n", 1, 5), 9);

    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(find_says_when_there_is_no_match)
{
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", 5);

    ck_assert_int_eq(jd_buffer_find(buffer, "x", 1, 0), JD_ENOENT);
    ck_assert_int_eq(jd_buffer_find(buffer, "abc", 3, 1), JD_ENOENT);
    ck_assert_int_eq(jd_buffer_find(buffer, "ghi", 3, 0), JD_ENOENT);
    ck_assert_int_eq(jd_buffer_find(buffer, "h", 1, 8), JD_ENOENT);
    ck_assert_int_eq(jd_buffer_find(buffer, "h", 1, SIZE_MAX), JD_ENOENT);
    ck_assert_int_eq(jd_buffer_find(buffer, "a", SIZE_MAX, 0), JD_ENOENT);
    ck_assert_int_eq(jd_buffer_find(buffer, "a", 0, 0), JD_EINVAL);

    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(find_in_an_empty_buffer_finds_nothing)
{
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);

    ck_assert_int_eq(jd_buffer_find(buffer, "a", 1, 0), JD_ENOENT);

    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(a_delimiter_split_by_the_wrap_is_found)
{
    jd_buffer *buffer = buffer_wrapped_at("line-END-more-END-", _i);

    ck_assert_int_eq(jd_buffer_find(buffer, "-END-", 5, 0), 4);
    ck_assert_int_eq(jd_buffer_find(buffer, "-END-", 5, 4), 4);
    ck_assert_int_eq(jd_buffer_find(buffer, "-END-", 5, 5), 13);
    ck_assert_int_eq(jd_buffer_find(buffer, "-END-", 5, 14), JD_ENOENT);

    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(what_was_searched_shrinks_with_what_is_consumed)
{
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    put_text(buffer, "abcdefgh");
    buffer->searched = 5;

    jd_buffer_consume(buffer, 3);
    ck_assert_uint_eq(buffer->searched, 2);
    jd_buffer_consume(buffer, 4);

    ck_assert_uint_eq(buffer->searched, 0);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(what_was_searched_stays_when_the_buffer_grows_and_is_forgotten_by_prepend)
{
    char more[RING_MIN_BYTES] = { 0 };
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    put_text(buffer, "abcdefgh");
    buffer->searched = 5;

    ck_assert_int_eq(jd_buffer_append(buffer, more, sizeof(more)), 0);
    ck_assert_uint_eq(buffer->searched, 5);
    ck_assert_int_eq(jd_buffer_prepend(buffer, "_", 1), 0);

    ck_assert_uint_eq(buffer->searched, 0);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(room_for_a_frame_is_one_piece_from_its_first_byte_on)
{
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", 5);
    const uint8_t *piece;

    ck_assert_int_eq(ring_buffer_make_contiguous(buffer, 1000), 0);
    piece = jd_buffer_peek(buffer, 8);
    while (jd_buffer_readable(buffer) < 1000)
        ck_assert_int_eq(jd_buffer_append_uint(buffer, 1, JD_BIG_ENDIAN, 'z'), 0);

    ck_assert_ptr_eq(jd_buffer_peek(buffer, 1000), piece);
    ck_assert_mem_eq(piece, "abcdefghzz", 10);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(a_buffer_that_is_contiguous_already_is_not_moved)
{
    jd_buffer *buffer = buffer_wrapped_at("abcdefgh", 8);
    const void *piece = jd_buffer_peek(buffer, 8);

    ck_assert_int_eq(ring_buffer_make_contiguous(buffer, 8), 0);

    ck_assert_ptr_eq(jd_buffer_peek(buffer, 8), piece);
    jd_buffer_destroy(buffer);
}
END_TEST

START_TEST(reserving_in_a_nearly_full_ring_does_not_copy_it_again_and_again)
{
    enum { READABLE = 4000, STEPS = 2000, STEP_BYTES = 50 };
    static uint8_t content[READABLE];
    uint64_t copied_bytes = 0;
    jd_buffer *buffer;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, content, READABLE), 0);

    for (int i = 0; i < STEPS; i++) {
        const uint8_t *before = buffer->data;
        ck_assert_ptr_nonnull(jd_buffer_reserve(buffer, STEP_BYTES));
        copied_bytes += buffer->data != before ? READABLE : 0;
        ck_assert_int_eq(jd_buffer_commit(buffer, STEP_BYTES), 0);
        ck_assert_uint_eq(jd_buffer_consume(buffer, STEP_BYTES), STEP_BYTES);
    }

    /* Each byte written pays for at most one copied. */
    ck_assert_uint_le(copied_bytes, READABLE + STEPS * STEP_BYTES);
    jd_buffer_destroy(buffer);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("ring_buffer");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    tcase_add_test(tests, a_new_buffer_is_empty_and_owns_no_memory_for_bytes);
    tcase_add_test(tests, destroying_no_buffer_does_nothing);
    tcase_add_test(tests, bytes_come_out_in_the_order_they_went_in);
    tcase_add_test(tests, a_zero_length_write_to_an_empty_ring_changes_nothing);
    tcase_add_test(tests, a_zero_length_read_from_a_full_ring_changes_nothing);
    tcase_add_test(tests, a_ring_filled_to_the_last_byte_is_full_and_not_empty);
    tcase_add_loop_test(tests, bytes_around_the_wrap_are_in_two_pieces_in_order, 1, 8);
    tcase_add_loop_test(tests, growth_at_the_wrap_point_keeps_the_order, 0, 9);
    tcase_add_test(tests, consuming_more_than_is_readable_drops_all_and_says_how_many);
    tcase_add_test(tests, a_burst_gives_its_memory_back_when_it_has_been_consumed);
    tcase_add_test(tests, prepended_bytes_come_before_all_others);
    tcase_add_test(tests, prepending_to_a_full_ring_grows_it);
    tcase_add_loop_test(tests, peek_makes_wrapped_bytes_one_piece, 1, 8);
    tcase_add_test(tests, peek_copies_nothing_when_the_asked_bytes_do_not_wrap);
    tcase_add_test(tests, peek_of_more_than_is_readable_is_refused);
    tcase_add_test(tests, copy_out_reads_any_range_across_the_wrap);
    tcase_add_test(tests, copy_out_of_a_range_that_is_not_all_there_is_refused);
    tcase_add_test(tests, reserved_room_is_read_only_as_far_as_it_was_committed);
    tcase_add_test(tests, reserved_room_is_one_piece_though_the_free_bytes_wrap);
    tcase_add_test(tests, committing_more_than_was_reserved_is_refused);
    tcase_add_test(tests, a_change_of_the_buffer_ends_a_reservation);
    tcase_add_test(tests, room_that_stayed_unused_is_given_back_by_committing_nothing);
    tcase_add_loop_test(tests, sizes_beyond_all_memory_are_refused_and_change_nothing, 0, 6);
    tcase_add_test(tests, find_gives_the_offset_of_the_first_match_from_an_offset_on);
    tcase_add_test(tests, find_says_when_there_is_no_match);
    tcase_add_test(tests, find_in_an_empty_buffer_finds_nothing);
    tcase_add_loop_test(tests, a_delimiter_split_by_the_wrap_is_found, 0, 19);
    tcase_add_test(tests, what_was_searched_shrinks_with_what_is_consumed);
    tcase_add_test(tests, what_was_searched_stays_when_the_buffer_grows_and_is_forgotten_by_prepend);
    tcase_add_test(tests, room_for_a_frame_is_one_piece_from_its_first_byte_on);
    tcase_add_test(tests, a_buffer_that_is_contiguous_already_is_not_moved);
    tcase_add_test(tests, reserving_in_a_nearly_full_ring_does_not_copy_it_again_and_again);
}
