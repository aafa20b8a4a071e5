#include "base/platform/standard_error.h"

#include <windows.h>

void standard_error_write(const char *text, size_t length)
{
    DWORD written;

    WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, (DWORD)length, &written, NULL);
}
