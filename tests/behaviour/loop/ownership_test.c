/* A loop belongs to its maker until another thread first runs it: what the maker asks of a server in that very instant is
 * done once, by one of the two. The thread sanitizer sees more here than the assertions. */
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"

#include <pthread.h>
#include <sched.h>

const char *const suite_name = "ownership";

enum { ROUNDS = 60, DRAIN_MS = 10000 };

static jd_event_loop *loop;
static jd_tcp_server *server;
static pthread_barrier_t both_ready;
static _Atomic unsigned done_count, wrong;

static void quit(void *arg)
{
    done_count++;
    jd_event_loop_quit(loop);
}

static void *run_for_the_first_time(void *arg)
{
    pthread_barrier_wait(&both_ready);
    wrong += jd_event_loop_run(loop) < 0;
    wrong += jd_event_loop_destroy(loop) < 0;
    return NULL;
}

static void ask_to_stop(void)
{
    wrong += jd_tcp_server_stop(server, DRAIN_MS, quit, NULL) < 0;
}

static void ask_to_destroy(void)
{
    jd_tcp_server_destroy(server, quit, NULL);
}

static void ask_to_pause_then_stop(void)
{
    jd_tcp_server_pause_accepting(server);
    jd_tcp_server_resume_accepting(server);
    ask_to_stop();
}

static void visit(jd_tcp_connection *connection, void *arg)
{
    wrong++;
}

static void ask_to_visit(void)
{
    wrong += jd_tcp_server_for_each(server, visit, NULL, quit, NULL) < 0;
}

static void (*const questions[])(void) = { ask_to_stop, ask_to_destroy, ask_to_pause_then_stop, ask_to_visit };

START_TEST(what_the_maker_asks_while_another_thread_first_runs_the_loop_is_done_once)
{
    const jd_tcp_server_options options = { .listen = "127.0.0.1:0", .io_threads = (unsigned)_i % 2 };
    pthread_t thread;

    ck_assert_int_eq(pthread_barrier_init(&both_ready, NULL, 2), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        loop = make_loop(NULL);
        ck_assert_int_eq(jd_tcp_server_create(&server, loop, &options), 0);
        ck_assert_int_eq(jd_tcp_server_start(server, NULL), 0);
        ck_assert_int_eq(pthread_create(&thread, NULL, run_for_the_first_time, NULL), 0);
        pthread_barrier_wait(&both_ready);
        for (unsigned i = 0; i < round % 8; i++)
            sched_yield();

        questions[_i / 2]();

        pthread_join(thread, NULL);
        ck_assert_uint_eq(done_count, round + 1);
    }
    ck_assert_uint_eq(wrong, 0);
    pthread_barrier_destroy(&both_ready);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "ownership");

    tcase_add_loop_test(tests, what_the_maker_asks_while_another_thread_first_runs_the_loop_is_done_once, 0,
                        2 * sizeof(questions) / sizeof(questions[0]));
}
