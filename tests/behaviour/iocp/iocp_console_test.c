/* Events of a console, which go to all its processes: so each test has a console of its own. */
#include "tests/behaviour/harness.h"

#include <jinduo/error.h>

#include <windows.h>

const char *const suite_name = "iocp_console";

enum { DRAIN_MS = 10000 };

static const DWORD events[] = { CTRL_C_EVENT, CTRL_BREAK_EVENT, CTRL_CLOSE_EVENT };
enum { EVENTS = sizeof(events) / sizeof(events[0]) };

/* Only two events can be generated, and with Wine only Ctrl-C. The others begin as the system begins them: by a thread with this
 * function. */
static void generate(DWORD event)
{
    FARPROC routine = GetProcAddress(GetModuleHandleW(L"kernelbase.dll"), "CtrlRoutine");
    HANDLE thread;

    if (GenerateConsoleCtrlEvent(event, 0))
        return;
    ck_assert(routine != NULL);
    thread = CreateThread(NULL, 0, (LPTHREAD_START_ROUTINE)(void (*)(void))routine, (void *)(uintptr_t)event, 0, NULL);
    ck_assert_ptr_nonnull(thread);
    CloseHandle(thread);
}

static void use_own_console(void)
{
    FreeConsole();
    ck_assert(AllocConsole());
}

static void echo_and_generate(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *event)
{
    if (jd_buffer_readable(input) < 5)
        return;
    echo(connection, input, received, NULL);
    generate(*(const DWORD *)event);
}

START_TEST(an_event_ends_a_running_server_when_its_answers_are_sent)
{
    DWORD event = events[_i];
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo_and_generate, .arg = &event });
    int client = client_connect_up();
    client_send(client, "hello", 5);
    client_shutdown(client);
    if (event != CTRL_CLOSE_EVENT)
        use_own_console();

    ck_assert_int_eq(jd_tcp_server_run(server, DRAIN_MS), 0);

    client_expect(client, "hello", 5);
    client_expect_end(client);
    if (event != CTRL_CLOSE_EVENT)
        FreeConsole();
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "console");

    tcase_add_loop_test(tests, an_event_ends_a_running_server_when_its_answers_are_sent, 0, EVENTS);
}
