#include "base/platform/signal_catch.h"

#include <jinduo/error.h>
#include <stdatomic.h>
#include <stddef.h>
#include <windows.h>

static _Atomic(void (*)(int)) handlers[NSIG];

/* 0: none. A service gets CTRL_LOGOFF_EVENT when any user logs off (HandlerRoutine), so that is none. */
static int signal_of_event(DWORD event)
{
    switch (event) {
    case CTRL_C_EVENT:
        return SIGINT;
    case CTRL_BREAK_EVENT:
        return SIGBREAK;
    case CTRL_CLOSE_EVENT:
    case CTRL_SHUTDOWN_EVENT:
        return SIGTERM;
    default:
        return 0;
    }
}

/* In a thread of the system's. When it returns after one of the events that end the process, the process ends at once: so
 * it waits, and the process ends when main returns, or some seconds later (HandlerRoutine). FALSE: as if it were not there. */
static BOOL WINAPI on_event(DWORD event)
{
    int number = signal_of_event(event);
    void (*handler)(int) = atomic_load(&handlers[number]);

    if (handler == NULL)
        return FALSE;
    handler(number);
    if (number == SIGTERM)
        Sleep(INFINITE);
    return TRUE;
}

static bool is_catchable(int number)
{
    return number == SIGINT || number == SIGBREAK || number == SIGTERM;
}

/* Once and for good: while on_event runs, and waits, the system holds a lock that SetConsoleCtrlHandler takes. A DLL stays
 * loaded (windows_calls.c). */
static bool handle_events(void)
{
    static bool handled;

    if (!handled)
        handled = SetConsoleCtrlHandler(on_event, TRUE);
    return handled;
}

int signal_catch(int number, void (*handler)(int number), signal_before *before)
{
    if (!is_catchable(number))
        return JD_EINVAL;
    atomic_store(&handlers[number], handler);
    if (!handle_events()) {
        atomic_store(&handlers[number], NULL);
        return JD_ENOMEM;
    }
    *before = number;
    return 0;
}

void signal_release(int number, const signal_before *before)
{
    atomic_store(&handlers[number], NULL);
}
