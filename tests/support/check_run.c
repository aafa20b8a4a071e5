#include "tests/support/check_main.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* Every assertion that holds calls this instead of Check's function (meson.build). Where the last one was is of use only if the
 * test then crashes or hangs, so it is noted once in a tick of the coarse clock (clock_gettime(2)), not each time: a note is a
 * system call, and a message that the process of main reads. */
#undef _mark_point
void _mark_point(const char *file, int line);

void mark_now_and_then(const char *file, int line)
{
    static atomic_long noted_ns = -1;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (atomic_exchange_explicit(&noted_ns, now.tv_nsec, memory_order_relaxed) != now.tv_nsec)
        _mark_point(file, line);
}

int main(void)
{
    Suite *suite = suite_create(suite_name);
    SRunner *runner;
    int failed;

    suite_add_tests(suite);
    runner = srunner_create(suite);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
