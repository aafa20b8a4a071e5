#include "tests/behaviour/harness.h"

#include <windows.h>

/* The process's handles: of sockets, files, ports, threads and more. */
unsigned open_descriptors(void)
{
    DWORD count = 0;

    ck_assert(GetProcessHandleCount(GetCurrentProcess(), &count));
    return count;
}
