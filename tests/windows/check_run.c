/* The main function of all Check programs on Windows, where Check cannot fork: the program starts itself once for each
 * test, with the test's number in JD_TEST_NUMBER, and reports in TAP format. A test that takes too long is ended.
 *
 * JD_TEST_SKIP: names of tests, separated by spaces, that are reported as skipped (suites.txt); of a loop test all, or, as
 * in "name:2", one. */
#include "tests/support/check_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>
#undef _tcase_add_test

enum { PATIENCE_MS = 60 * 1000, NAME_BYTES = 200, TESTS_MAX = 4096 };

/* Every assertion that holds calls this instead of Check's function (meson.build), whose note would be read only by a process that
 * has forked the test. */
void mark_now_and_then(const char *file, int line)
{
}

static int wanted = -1; /* the test that this process runs; -1: it starts the others */
static int test_count;
static char names[TESTS_MAX][NAME_BYTES];

/* Tests that end by a signal or exit value need a process of their own for the test alone. */
static bool needs_fork(int signal, int exit_value)
{
    return signal != 0 || exit_value != 0;
}

static void add_one(TCase *tests, const TTest *test, bool is_loop, int i)
{
    int number = test_count++;

    if (number >= TESTS_MAX)
        abort();
    if (is_loop)
        snprintf(names[number], NAME_BYTES, "%s:%d", test->name, i);
    else
        snprintf(names[number], NAME_BYTES, "%s", test->name);
    if (number == wanted)
        _tcase_add_test(tests, test, 0, 0, i, i + 1);
}

void check_add_test(TCase *tests, const TTest *test, int signal, int exit_value, int start, int end)
{
    if (needs_fork(signal, exit_value))
        return;
    for (int i = start; i < end; i++)
        add_one(tests, test, end - start > 1, i);
}

/* ---- one test ---- */

static int run_one(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    TestResult **results;
    int failed;

    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_SILENT);
    failed = srunner_ntests_failed(runner);
    results = srunner_failures(runner);
    for (int i = 0; i < failed; i++)
        printf("# %s:%d: %s\n", tr_lfile(results[i]), tr_lno(results[i]), tr_msg(results[i]));
    free(results);
    if (srunner_ntests_run(runner) != 1)
        failed = 1;
    srunner_free(runner);
    fflush(stdout);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- all tests ---- */

static bool is_skipped(const char *name)
{
    const char *skipped = getenv("JD_TEST_SKIP");
    size_t length = strlen(name), base = strcspn(name, ":"); /* without the number of a loop test */

    while (skipped != NULL && *skipped != '\0') {
        size_t word = strcspn(skipped, " ");
        if ((word == length || word == base) && strncmp(skipped, name, word) == 0)
            return true;
        skipped += word + strspn(skipped + word, " ");
    }
    return false;
}

/* Returns NULL, or why the test has failed. */
static const char *start_and_wait(const char *program, int number)
{
    STARTUPINFOA startup = { .cb = sizeof(startup) };
    PROCESS_INFORMATION process;
    char command[MAX_PATH], text[16];
    DWORD status = 1;
    bool ended;

    snprintf(text, sizeof(text), "%d", number);
    SetEnvironmentVariableA("JD_TEST_NUMBER", text);
    snprintf(command, sizeof(command), "\"%s\"", program);
    fflush(stdout);
    if (!CreateProcessA(NULL, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process))
        return "the process could not be started";
    ended = WaitForSingleObject(process.hProcess, PATIENCE_MS) == WAIT_OBJECT_0;
    if (!ended) {
        TerminateProcess(process.hProcess, 1);
        WaitForSingleObject(process.hProcess, INFINITE);
    }
    GetExitCodeProcess(process.hProcess, &status);
    CloseHandle(process.hThread);
    CloseHandle(process.hProcess);
    return !ended ? "it took too long" : status != EXIT_SUCCESS ? "it failed" : NULL;
}

static int run_all(const char *program)
{
    int failed = 0;

    printf("1..%d\n", test_count);
    for (int i = 0; i < test_count; i++) {
        const char *reason;
        if (is_skipped(names[i])) {
            printf("ok %d - %s # SKIP\n", i + 1, names[i]);
            continue;
        }
        reason = start_and_wait(program, i);
        printf("%s %d - %s%s%s\n", reason == NULL ? "ok" : "not ok", i + 1, names[i], reason != NULL ? ": " : "",
               reason != NULL ? reason : "");
        failed += reason != NULL;
    }
    fflush(stdout);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const char *number = getenv("JD_TEST_NUMBER");
    Suite *suite = suite_create(suite_name);

    if (number != NULL)
        wanted = atoi(number);
    suite_add_tests(suite);
    return number != NULL ? run_one(suite) : run_all(argv[0]);
}
