/* Looking names up beside the loop. */
#include "net/client/resolver.h"

#include "base/posix/system_calls.h"
#include "tests/support/check_main.h"
#include "tests/support/loop_fixture.h"
#include "tests/support/name_service.h"
#include "tests/support/sockets.h"

#include <dirent.h>
#include <jinduo/error.h>
#include <jinduo/memory.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const suite_name = "resolver";

enum { THREADS = 4, LATE_MS = 10000 };

enum { RESOLVER_THREADS_MAX = 16 };

static const struct host_port name = { .host = "server.test", .port = "80" };
static unsigned done_count;
static struct lookup *last_done;

static void on_done(struct lookup *lookup)
{
    done_count++;
    last_done = lookup;
}

static void on_done_release(struct lookup *lookup)
{
    done_count++;
    lookup_release(lookup);
}

static struct lookup *start_named(const struct host_port *wanted, void (*done)(struct lookup *lookup))
{
    struct lookup *lookup;

    ck_assert_int_eq(lookup_start(&lookup, test_loop, wanted, done, NULL), 0);
    return lookup;
}

/* Of another name each time. */
static struct lookup *start(void (*done)(struct lookup *lookup))
{
    static unsigned count;
    struct host_port wanted = name;

    snprintf(wanted.host, sizeof(wanted.host), "server%u.test", count++);
    return start_named(&wanted, done);
}

static void wait_for_done(unsigned count)
{
    for (int waited_ms = 0; done_count < count; waited_ms++) {
        ck_assert_int_lt(waited_ms, LATE_MS);
        ck_assert_int_ge(jd_event_loop_run_once(test_loop, 1), 0);
    }
}

static void wait_for_waiting(unsigned count)
{
    for (int waited_ms = 0; name_service_blocked_lookups() < count; waited_ms++) {
        ck_assert_int_lt(waited_ms, LATE_MS);
        poll(NULL, 0, 1);
    }
}

/* What other threads give back, they give back a moment later. */
static void wait_until_in_use(unsigned count)
{
    for (int waited_ms = 0; lookups_in_use() != count; waited_ms++) {
        ck_assert_int_lt(waited_ms, LATE_MS);
        poll(NULL, 0, 1);
    }
}

/* By their name (proc(5), /proc/self/task/TID/comm): a sanitizer may have threads of its own. */
static unsigned resolver_threads(void)
{
    DIR *directory = opendir("/proc/self/task");
    unsigned count = 0;

    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[sizeof("/proc/self/task//comm") + sizeof(entry->d_name)], comm[32] = "";
        FILE *file;
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "r");
        if (file == NULL) /* ended meanwhile */
            continue;
        count += fgets(comm, sizeof(comm), file) != NULL && strcmp(comm, "jd-resolver\n") == 0;
        fclose(file);
    }
    closedir(directory);
    return count;
}

/* ---- what is found ---- */

START_TEST(addresses_come_in_the_order_of_the_name_service_with_their_port)
{
    static const char *const addresses[] = { "192.0.2.1", "2001:db8::1", "192.0.2.2", NULL };
    static const char *const expected[] = { "192.0.2.1:80", "[2001:db8::1]:80", "192.0.2.2:80" };
    name_service_answer(addresses);

    struct lookup *lookup = start(on_done);
    wait_for_done(1);

    ck_assert_ptr_eq(last_done, lookup);
    ck_assert_int_eq(lookup->error, 0);
    ck_assert_uint_eq(lookup->count, 3);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_str_eq(formatted(&lookup->addresses[i]), expected[i]);
    lookup_release(lookup);
}
END_TEST

START_TEST(of_very_many_addresses_the_first_are_taken)
{
    static const char *many[3 * RESOLVER_ADDRESSES_MAX + 1];
    for (int i = 0; i < 3 * RESOLVER_ADDRESSES_MAX; i++)
        many[i] = i < RESOLVER_ADDRESSES_MAX ? "192.0.2.1" : "192.0.2.2";
    name_service_answer(many);

    struct lookup *lookup = start(on_done);
    wait_for_done(1);

    ck_assert_uint_eq(lookup->count, RESOLVER_ADDRESSES_MAX);
    ck_assert_str_eq(formatted(&lookup->addresses[RESOLVER_ADDRESSES_MAX - 1]), "192.0.2.1:80");
    lookup_release(lookup);
}
END_TEST

static const struct {
    int result, number, error;
} failures[] = {
    { EAI_NONAME, 0, JD_ENOENT },    { EAI_NODATA, 0, JD_ENOENT }, { EAI_ADDRFAMILY, 0, JD_ENOENT },
    { EAI_SERVICE, 0, JD_ENOENT },   { EAI_AGAIN, 0, JD_EAGAIN },  { EAI_MEMORY, 0, JD_ENOMEM },
    { EAI_FAIL, 0, JD_EPROTO },      { EAI_FAMILY, 0, JD_EPROTO }, { EAI_SYSTEM, EMFILE, JD_EMFILE },
    { EAI_SYSTEM, EINTR, JD_EINTR }, { EAI_SYSTEM, 0, -EIO },
};

START_TEST(each_error_of_the_name_service_is_reported_with_a_reason)
{
    struct lookup *lookup;
    name_service_fail(failures[_i].result, failures[_i].number);

    lookup = start(on_done);
    wait_for_done(1);

    ck_assert_int_eq(lookup->error, failures[_i].error);
    ck_assert_uint_gt(strlen(lookup->reason), 0);
    lookup_release(lookup);
}
END_TEST

START_TEST(an_answer_without_addresses_is_none)
{
    static const char *const none[] = { NULL };
    name_service_answer(none);

    struct lookup *lookup = start(on_done);
    wait_for_done(1);

    ck_assert_int_eq(lookup->error, JD_ENOENT);
    lookup_release(lookup);
}
END_TEST

/* ---- threads ---- */

START_TEST(a_few_threads_look_names_up_side_by_side_and_end)
{
    enum { LOOKUPS = 3 * THREADS };
    name_service_block();

    for (int i = 0; i < LOOKUPS; i++)
        start(on_done_release);
    wait_for_waiting(THREADS);
    ck_assert_uint_eq(resolver_threads(), THREADS);
    ck_assert_uint_eq(name_service_lookups(), THREADS);
    ck_assert_uint_eq(done_count, 0);
    name_service_unblock();
    wait_for_done(LOOKUPS);

    ck_assert_uint_eq(name_service_lookups(), LOOKUPS);
    for (int waited_ms = 0; resolver_threads() > 0; waited_ms++) {
        ck_assert_int_lt(waited_ms, LATE_MS);
        poll(NULL, 0, 1);
    }
}
END_TEST

START_TEST(equal_names_are_one_question)
{
    enum { LOOKUPS = 100 };
    const struct host_port other_port = { .host = "server.test", .port = "81" };
    struct lookup *lookups[LOOKUPS];
    name_service_block();
    for (int i = 0; i < LOOKUPS; i++)
        lookups[i] = start_named(&name, i % 2 == 0 ? on_done : on_done_release);
    start_named(&other_port, on_done_release);
    wait_for_waiting(2);
    lookup_release(lookups[0]);
    lookup_release(lookups[LOOKUPS - 1]);

    name_service_unblock();
    wait_for_done(LOOKUPS - 1);

    ck_assert_uint_eq(name_service_lookups(), 2);
    for (int i = 2; i < LOOKUPS; i += 2) {
        ck_assert_int_eq(lookups[i]->error, 0);
        ck_assert_str_eq(formatted(&lookups[i]->addresses[0]), "192.0.2.1:80");
        lookup_release(lookups[i]);
    }
    ck_assert_uint_eq(lookups_in_use(), 0);
}
END_TEST

/* The name service does not answer for them, and cannot be told that nobody waits. */
START_TEST(names_that_are_given_up_do_not_stop_others_up_to_a_number_of_threads)
{
    name_service_block();
    for (unsigned given_up = 0; given_up < RESOLVER_THREADS_MAX; given_up += THREADS) {
        struct lookup *dead[THREADS];
        for (int i = 0; i < THREADS; i++)
            dead[i] = start(on_done);
        wait_for_waiting(given_up + THREADS);
        for (int i = 0; i < THREADS; i++)
            lookup_release(dead[i]);
    }
    start(on_done_release);
    ck_assert_uint_eq(resolver_threads(), RESOLVER_THREADS_MAX);
    ck_assert_uint_eq(name_service_lookups(), RESOLVER_THREADS_MAX);

    name_service_unblock();

    wait_for_done(1);
    wait_until_in_use(0);
    ck_assert_uint_eq(done_count, 1);
}
END_TEST

START_TEST(a_name_that_is_given_up_and_wanted_again_is_one_question)
{
    struct lookup *lookup;
    name_service_block();
    lookup = start_named(&name, on_done);
    wait_for_waiting(1);
    lookup_release(lookup);
    ck_assert_uint_eq(lookups_in_use(), 1);

    start_named(&name, on_done_release);
    ck_assert_uint_eq(lookups_in_use(), 1);
    name_service_unblock();

    wait_for_done(1);
    ck_assert_uint_eq(name_service_lookups(), 1);
    wait_until_in_use(0);
}
END_TEST

/* ---- released ---- */

START_TEST(one_that_is_released_is_never_done)
{
    struct lookup *running[THREADS], *waiting[3];
    name_service_block();
    for (int i = 0; i < THREADS; i++)
        running[i] = start(on_done);
    wait_for_waiting(THREADS);
    for (int i = 0; i < 3; i++)
        waiting[i] = start(on_done);

    lookup_release(waiting[2]);
    lookup_release(waiting[0]);
    lookup_release(running[1]);

    ck_assert_uint_eq(lookups_in_use(), THREADS + 1);
    name_service_unblock();
    wait_for_done(THREADS);
    wait_until_in_use(THREADS);
    ck_assert_uint_eq(name_service_lookups(), THREADS + 1);
    lookup_release(running[0]);
    lookup_release(running[2]);
    lookup_release(running[3]);
    lookup_release(waiting[1]);
    for (int i = 0; i < 3; i++)
        ck_assert_int_ge(jd_event_loop_run_once(test_loop, 0), 0);
    ck_assert_uint_eq(done_count, THREADS);
}
END_TEST

START_TEST(the_last_to_wait_may_be_released_and_others_follow)
{
    struct lookup *last;
    name_service_block();
    for (int i = 0; i < THREADS; i++)
        start(on_done_release);
    wait_for_waiting(THREADS);

    for (int i = 0; i < 3; i++) {
        start(on_done_release);
        last = start(on_done_release);
        lookup_release(last);
    }
    start(on_done_release);
    name_service_unblock();

    wait_for_done(THREADS + 4);
}
END_TEST

/* It is in the loop's queue by then. */
START_TEST(one_that_is_released_on_its_way_back_is_not_done)
{
    struct lookup *lookup = start(on_done);
    for (int waited_ms = 0; task_queue_is_empty(&test_loop->queue); waited_ms++) {
        ck_assert_int_lt(waited_ms, LATE_MS);
        poll(NULL, 0, 1);
    }

    lookup_release(lookup);
    ck_assert_uint_eq(lookups_in_use(), 1);
    ck_assert_int_ge(jd_event_loop_run_once(test_loop, 0), 0);

    ck_assert_uint_eq(lookups_in_use(), 0);
    ck_assert_uint_eq(done_count, 0);
}
END_TEST

START_TEST(the_loop_may_end_while_a_name_is_looked_up)
{
    struct lookup *lookup;
    name_service_block();
    lookup = start(on_done);
    wait_for_waiting(1);

    lookup_release(lookup);
    ck_assert_int_eq(jd_event_loop_destroy(test_loop), 0);
    test_loop = NULL;

    name_service_unblock();
    wait_until_in_use(0);
    ck_assert_uint_eq(done_count, 0);
}
END_TEST

/* ---- fork ---- */

#if !defined(__SANITIZE_THREAD__) /* it allows no new threads in a child */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_THREADS_IN_CHILDREN
#endif
#endif
#else
#define NO_THREADS_IN_CHILDREN
#endif

#ifndef NO_THREADS_IN_CHILDREN
/* Without the stub's lock, on which the parent's threads wait. */
static int answer_at_once(const char *node, const char *service, const struct addrinfo *hints,
                          struct addrinfo **addresses)
{
    return getaddrinfo("192.0.2.1", service, hints, addresses);
}

/* The child's loop is its parent's twin, its epoll instance the same: it makes one of its own. */
static bool child_can_look_up(struct lookup *inherited)
{
    jd_event_loop *loop;
    struct lookup *lookup;

    if (jd_event_loop_create(&loop, NULL) < 0)
        return false;
    system_calls.getaddrinfo = answer_at_once;
    lookup_release(inherited);
    if (lookup_start(&lookup, loop, &name, on_done_release, NULL) < 0)
        return false;
    for (int waited_ms = 0; done_count == 0 && waited_ms < LATE_MS; waited_ms++)
        jd_event_loop_run_once(loop, 1);
    return done_count == 1 && lookups_in_use() == THREADS && jd_event_loop_destroy(loop) == 0;
}
#endif

START_TEST(a_child_of_a_process_that_looks_names_up_can_do_so_too)
{
#ifndef NO_THREADS_IN_CHILDREN
    struct lookup *running[THREADS], *waiting;
    int status;
    name_service_block();
    for (int i = 0; i < THREADS; i++)
        running[i] = start(on_done_release);
    wait_for_waiting(THREADS);
    waiting = start(on_done_release);

    pid_t child = fork();
    if (child == 0)
        _exit(child_can_look_up(_i == 0 ? running[1] : waiting) ? 0 : 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    name_service_unblock();
    wait_for_done(THREADS + 1);
#endif
}
END_TEST

static void set_up(void)
{
    static const char *const addresses[] = { "192.0.2.1", NULL };

    loop_fixture_set_up();
    name_service_install();
    name_service_answer(addresses);
}

static void tear_down(void)
{
    name_service_remove();
    loop_fixture_tear_down();
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("resolver");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, addresses_come_in_the_order_of_the_name_service_with_their_port);
    tcase_add_test(tests, of_very_many_addresses_the_first_are_taken);
    tcase_add_loop_test(tests, each_error_of_the_name_service_is_reported_with_a_reason, 0,
                        sizeof(failures) / sizeof(failures[0]));
    tcase_add_test(tests, an_answer_without_addresses_is_none);
    tcase_add_test(tests, a_few_threads_look_names_up_side_by_side_and_end);
    tcase_add_test(tests, equal_names_are_one_question);
    tcase_add_test(tests, names_that_are_given_up_do_not_stop_others_up_to_a_number_of_threads);
    tcase_add_test(tests, a_name_that_is_given_up_and_wanted_again_is_one_question);
    tcase_add_test(tests, one_that_is_released_is_never_done);
    tcase_add_test(tests, the_last_to_wait_may_be_released_and_others_follow);
    tcase_add_test(tests, one_that_is_released_on_its_way_back_is_not_done);
    tcase_add_test(tests, the_loop_may_end_while_a_name_is_looked_up);
    tcase_add_loop_test(tests, a_child_of_a_process_that_looks_names_up_can_do_so_too, 0, 2);
}
