/* How a ring is made: with the options that it has, refused, and chosen. */
#include "net/loop/event_loop.h"
#include "tests/behaviour/io_uring/the_ring.h"
#include "tests/support/ring_calls.h"

#include <errno.h>
#include <jinduo/error.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const suite_name = "ring_making";

enum { KIB = 1024, MIB = 1024 * 1024 };

/* ---- the kernel's thread at the submission queue ---- */

/* Root is bound by no limits, of threads or of locked memory. */
static void become_nobody(void)
{
    enum { NOBODY = 65534 };

    if (geteuid() == 0)
        ck_assert_int_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
    ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0); /* as before: a leak checker looks into the process */
}

/* ---- sends without a copy ---- */

enum { LENT_BYTES = 300 * KIB };

static unsigned char lent_memory[LENT_BYTES];
static unsigned lent_back;

static void note_back(void *arg)
{
    lent_back++;
}

static void lend_it(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send_reference(connection, lent_memory, LENT_BYTES, note_back, NULL), 0);
}

static void close_it(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_close(connection);
}

static void lend_without_a_copy(const char *listen)
{
    remake_the_loop(&(jd_event_loop_options){ .zero_copy_send_bytes = 64 * KIB });
    serve(&(struct service){ .options = { .listen = listen, .high_watermark = MIB }, .on_up = lend_it });
    pattern_fill(lent_memory, 0, LENT_BYTES);
}

/* On a Unix-domain socket there is only copying. */
START_TEST(what_is_sent_without_a_copy_arrives_and_comes_back)
{
    lend_without_a_copy(_i == 0 ? "127.0.0.1:0" : own_unix_endpoint("@jinduo-test-"));
    int client = client_connect_up();

    client_expect_pattern(client, 0, LENT_BYTES);

    PUMP_UNTIL(lent_back == 1);
    ck_assert_uint_eq(statistics().bytes_sent, LENT_BYTES);
}
END_TEST

/* The kernel has taken all, but the peer has not: how long that may last is not tested here, as the peer continues to read. */
START_TEST(a_connection_closed_while_the_kernel_reads_its_memory_goes_down_when_that_is_back)
{
    lend_without_a_copy("127.0.0.1:0");
    int client = client_connect_with_receive_buffer(4096);
    PUMP_UNTIL(connections_up() == 1 && statistics().bytes_sent > 0);
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), close_it, NULL), 0);
    pump_until_quiet();
    ck_assert_uint_eq(connections_down(), 0);
    ck_assert_uint_eq(lent_back, 0);

    client_close(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(lent_back, 1);
}
END_TEST

START_TEST(where_the_user_may_lock_no_more_memory_sends_are_copied)
{
    const struct rlimit none = { 0 };
    become_nobody();
    lend_without_a_copy("127.0.0.1:0");
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    int client = client_connect_up();

    client_expect_pattern(client, 0, LENT_BYTES);

    PUMP_UNTIL(lent_back == 1);
    ck_assert_uint_eq(connections_down(), 0);
    ck_assert_uint_eq(statistics().bytes_sent, LENT_BYTES);
}
END_TEST

/* ---- a ring refused ---- */

static void refuse_rings(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static const struct {
    int error;
    const char *reason;
} refusals[] = {
    { EPERM, "refused by a seccomp filter" },
    { ENOSYS, "without io_uring" },
    { ENOMEM, "RLIMIT_MEMLOCK" },
};

enum { REFUSALS = sizeof(refusals) / sizeof(refusals[0]) };

START_TEST(a_refused_ring_is_an_error_with_its_reason)
{
    const jd_event_loop_options options = { .engine = JD_ENGINE_IO_URING };
    unsigned descriptors = open_descriptors();
    jd_event_loop *loop = NULL;
    const char *reason = NULL;
    ck_assert_int_eq(jd_engine_available(JD_ENGINE_IO_URING, &reason), 0);
    refuse_rings(refusals[_i].error);

    ck_assert_int_eq(jd_engine_available(JD_ENGINE_IO_URING, &reason), -refusals[_i].error);
    ck_assert_msg(strstr(reason, refusals[_i].reason) != NULL, "%s", reason);
    ck_assert_int_eq(jd_event_loop_create(&loop, &options), -refusals[_i].error);
    ck_assert_ptr_null(loop);
    ck_assert(was_logged("io_uring: not available: "));
    ck_assert(was_logged(reason));
    ck_assert_uint_eq(open_descriptors(), descriptors);
}
END_TEST

static pid_t ring_maker;
static unsigned rings_made;

static int note_ring_maker(enum ring_call call, int fd)
{
    if (call == RING_SETUP) {
        ring_maker = gettid();
        rings_made++;
    }
    return 0;
}

/* The kernel interrupts the maker of a ring some time after the ring is closed. A receive at an urgent mark must not be
 * interrupted: clients_that_send_urgent_data_right_after_the_start (hostile_clients_test.py). */
START_TEST(the_ring_by_which_availability_is_checked_is_not_made_by_the_thread_that_asks)
{
    ring_calls_decide(note_ring_maker);

    ck_assert_int_eq(jd_engine_available(JD_ENGINE_IO_URING, NULL), 0);

    ck_assert_uint_eq(rings_made, 1);
    ck_assert_int_ne(ring_maker, gettid());
}
END_TEST

/* Not tried by setting it: that would concern all the processes of the system. */
START_TEST(where_an_administrator_has_switched_rings_off_the_reason_names_the_setting)
{
    ck_assert_ptr_nonnull(strstr(uring_refusal(-EPERM, '1'), "kernel.io_uring_disabled is 1"));
    ck_assert_ptr_nonnull(strstr(uring_refusal(-EPERM, '1'), "kernel.io_uring_group"));
    ck_assert_ptr_nonnull(strstr(uring_refusal(-EPERM, '2'), "kernel.io_uring_disabled is 2"));
    ck_assert_ptr_null(strstr(uring_refusal(-EPERM, '0'), "kernel.io_uring_disabled"));
    ck_assert_ptr_null(strstr(uring_refusal(-ENOSYS, '2'), "kernel.io_uring_disabled"));
}
END_TEST

START_TEST(where_rings_are_refused_auto_is_the_reactor_and_proactor_the_next_best)
{
    const jd_event_loop_options proactor = { .engine = JD_ENGINE_PROACTOR };
    bool has_next_best = jd_engine_available(JD_ENGINE_SIMULATED, NULL) == 0;
    unsigned messages;
    jd_event_loop *loop;
    refuse_rings(EPERM);

    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), 0);
    ck_assert_int_eq(jd_event_loop_engine(loop), JD_ENGINE_REACTOR);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
    ck_assert_uint_eq(log_messages(), 0);

    if (!has_next_best) {
        ck_assert_int_eq(jd_event_loop_create(&loop, &proactor), JD_EPERM);
        ck_assert(was_logged("proactor: not available: refused by a seccomp filter"));
        return;
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(jd_event_loop_create(&loop, &proactor), 0);
        ck_assert_int_eq(jd_event_loop_engine(loop), JD_ENGINE_SIMULATED);
        ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
        messages = log_messages();
        ck_assert_uint_eq(messages, 1);
        ck_assert(was_logged(
            "proactor: using simulated; the preferred engine is not available: refused by a seccomp filter"));
    }
}
END_TEST

START_TEST(where_they_are_not_proactor_is_io_uring)
{
    const jd_event_loop_options proactor = { .engine = JD_ENGINE_PROACTOR };
    jd_event_loop *loop;
    jd_log_set_level(JD_LOG_INFO);

    ck_assert_int_eq(jd_event_loop_create(&loop, &proactor), 0);

    ck_assert_int_eq(jd_event_loop_engine(loop), JD_ENGINE_IO_URING);
    ck_assert(was_logged("proactor: using io_uring"));
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "ring_making");

    tcase_add_loop_test(tests, what_is_sent_without_a_copy_arrives_and_comes_back, 0, 2);
    tcase_add_test(tests, a_connection_closed_while_the_kernel_reads_its_memory_goes_down_when_that_is_back);
    tcase_add_test(tests, where_the_user_may_lock_no_more_memory_sends_are_copied);
    tcase_add_test(tests, the_ring_by_which_availability_is_checked_is_not_made_by_the_thread_that_asks);
    tcase_add_loop_test(tests, a_refused_ring_is_an_error_with_its_reason, 0, REFUSALS);
    tcase_add_test(tests, where_an_administrator_has_switched_rings_off_the_reason_names_the_setting);
    tcase_add_test(tests, where_rings_are_refused_auto_is_the_reactor_and_proactor_the_next_best);
    tcase_add_test(tests, where_they_are_not_proactor_is_io_uring);
}
