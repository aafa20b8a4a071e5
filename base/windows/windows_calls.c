#include "base/windows/windows_calls.h"

#define SYSTEM_FUNCTIONS                                                                                               \
    {                                                                                                                  \
        .AcceptEx = AcceptEx, .GetQueuedCompletionStatusEx = GetQueuedCompletionStatusEx, .ReadFile = ReadFile,        \
        .TransmitFile = TransmitFile, .WriteFile = WriteFile, .WSARecv = WSARecv, .WSASend = WSASend,                  \
        .WSASocketW = WSASocketW, .recv = recv                                                                         \
    }

struct windows_calls windows_calls = SYSTEM_FUNCTIONS;

void windows_calls_reset(void)
{
    windows_calls = (struct windows_calls)SYSTEM_FUNCTIONS;
}
