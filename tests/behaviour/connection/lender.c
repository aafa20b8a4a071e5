#include "tests/behaviour/connection/lender.h"

#include <sys/mman.h>
#include <unistd.h>

enum { THINGS_MAX = 2000 };

unsigned char pattern[PATTERN_BYTES];
int pattern_file;

_Thread_local bool is_calling;

/* By number, how often each thing came back. */
static _Atomic unsigned came_back[THINGS_MAX];
pthread_t came_back_in;
_Atomic unsigned lent, back, back_wrongly;

void give_back(void *number)
{
    came_back_in = pthread_self();
    back_wrongly += is_calling;
    came_back[(uintptr_t)number]++;
    back++;
}

void *next_number(void)
{
    ck_assert_uint_lt(lent, THINGS_MAX);
    return (void *)(uintptr_t)lent++;
}

static int called(int result)
{
    is_calling = false;
    if (result < 0)
        lent--;
    return result;
}

int send_copy(jd_tcp_connection *connection, size_t offset, size_t length)
{
    return jd_tcp_connection_send(connection, pattern + offset, length);
}

int send_owned(jd_tcp_connection *connection, size_t offset, size_t length)
{
    void *number = next_number();

    is_calling = true;
    return called(jd_tcp_connection_send_reference(connection, pattern + offset, length, give_back, number));
}

int send_file(jd_tcp_connection *connection, size_t offset, size_t length)
{
    void *number = next_number();

    is_calling = true;
    return called(jd_tcp_connection_send_file(connection, pattern_file, (int64_t)offset, length, give_back, number));
}

/* A range in the middle of what is shared. Given up at once: the library's reference is the last. */
int send_shared(jd_tcp_connection *connection, size_t offset, size_t length)
{
    size_t before = offset < 100 ? offset : 100;
    jd_shared *shared;
    int result;

    ck_assert_int_eq(
        jd_shared_create_owned(&shared, pattern + offset - before, before + length, give_back, next_number()), 0);
    is_calling = true;
    result = jd_tcp_connection_send_shared(connection, shared, before, length);
    is_calling = false;
    jd_shared_unref(shared);
    return result;
}

int (*const sends[SENDS])(jd_tcp_connection *, size_t, size_t) = { send_copy, send_owned, send_file, send_shared };

void check_that_all_came_back(void)
{
    ck_assert_uint_eq(back, lent);
    ck_assert_uint_eq(back_wrongly, 0);
    for (unsigned i = 0; i < THINGS_MAX; i++)
        ck_assert_uint_eq(came_back[i], i < lent ? 1 : 0);
}

static void set_up(void)
{
    pattern_fill(pattern, 0, sizeof(pattern));
    pattern_file = memfd_create("jinduo-lending", MFD_CLOEXEC);
    ck_assert_int_eq(write(pattern_file, pattern, sizeof(pattern)), sizeof(pattern));
}

static void tear_down(void)
{
    close(pattern_file);
}

size_t many_bytes(void)
{
    return engine_is("late") ? 300 * KIB : PATTERN_BYTES;
}

size_t file_bytes(void)
{
    return many_bytes() - 2000;
}

void send_file_between(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(send_copy(connection, 0, 1000), 0);
    ck_assert_int_eq(send_file(connection, 1000, file_bytes()), 0);
    ck_assert_int_eq(send_copy(connection, 1000 + file_bytes(), 1000), 0);
}

TCase *lender_case(Suite *suite, const char *name)
{
    TCase *tests = harness_case(suite, name);

    tcase_add_checked_fixture(tests, set_up, tear_down);
    return tests;
}
