#include "tests/support/check_main.h"

#include <stdlib.h>

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
