#include "tests/behaviour/harness.h"
const char *const suite_name = "x";
void suite_add_tests(Suite *suite)
{
}
