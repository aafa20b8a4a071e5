#include "base/windows/windows_calls.h"

#include "base/platform/socket.h"
#include "base/windows/error_code.h"
#include "base/windows/socket_options.h"

#include <stdbool.h>

#define SYSTEM_FUNCTIONS                                                                                               \
    {                                                                                                                  \
        .AcceptEx = AcceptEx, .CancelIoEx = CancelIoEx, .CreateIoCompletionPort = CreateIoCompletionPort,              \
        .GetQueuedCompletionStatusEx = GetQueuedCompletionStatusEx,                                                    \
        .PostQueuedCompletionStatus = PostQueuedCompletionStatus, .ReadFile = ReadFile, .TransmitFile = TransmitFile,  \
        .VerifyVersionInfoW = VerifyVersionInfoW, .WriteFile = WriteFile, .WSARecv = WSARecv, .WSASend = WSASend,      \
        .WSASocketW = WSASocketW, .recv = recv                                                                         \
    }

struct windows_calls windows_calls = SYSTEM_FUNCTIONS;

static struct windows_calls system_calls = SYSTEM_FUNCTIONS;

static int find_function(socket_handle socket, GUID id, void *function)
{
    DWORD bytes;

    return WSAIoctl((SOCKET)socket, SIO_GET_EXTENSION_FUNCTION_POINTER, &id, sizeof(id), function,
                    sizeof(void (*)(void)), &bytes, NULL, NULL) == 0
               ? 0
               : error_from_code((unsigned long)WSAGetLastError());
}

static int find_functions(struct windows_calls *calls)
{
    socket_handle socket;
    int error = socket_open(AF_INET, &socket);

    if (error < 0)
        return error;
    error = find_function(socket, (GUID)WSAID_ACCEPTEX, &calls->AcceptEx);
    if (error == 0)
        error = find_function(socket, (GUID)WSAID_CONNECTEX, &calls->ConnectEx);
    if (error == 0)
        error = find_function(socket, (GUID)WSAID_TRANSMITFILE, &calls->TransmitFile);
    socket_close(socket);
    return error;
}

/* Threads that look up names may still be running when the program unloads the library (FreeLibrary), and the console's
 * handler is never taken back (signal_catch.c). */
static void stay_loaded(void)
{
    HMODULE module;

    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                       (const wchar_t *)&windows_calls, &module);
}

int windows_calls_find(void)
{
    static SRWLOCK lock = SRWLOCK_INIT;
    static bool are_found;
    int error = 0;

    AcquireSRWLockExclusive(&lock);
    if (!are_found) {
        error = find_functions(&system_calls);
        are_found = error == 0;
        if (are_found) {
            stay_loaded();
            windows_calls.AcceptEx = system_calls.AcceptEx;
            windows_calls.ConnectEx = system_calls.ConnectEx;
            windows_calls.TransmitFile = system_calls.TransmitFile;
        }
    }
    ReleaseSRWLockExclusive(&lock);
    return error;
}

void windows_calls_reset(void)
{
    windows_calls = system_calls;
}
