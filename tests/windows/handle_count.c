/* Counting handles by asking for the type of each number. The other ways do not serve: GetProcessHandleCount counts threads and
 * events, too, which the threads of tests keep, and Wine's says 0; the system's table of all handles ends Wine's server (of Wine 8)
 * if a process that starts or ends at that moment has none. */
#include "tests/windows/handle_count.h"

#include <stdbool.h>
#include <stdint.h>
#include <wchar.h>
#include <windows.h>

#include <winternl.h>

/* Numbers of handles are multiples of 4, and a free low one is taken before a higher one. */
enum { HANDLE_STEP = 4, UNUSED_IN_A_ROW = 4096 };

struct type_information {
    OBJECT_TYPE_INFORMATION type;
    wchar_t name[64];
};

static bool is_called(const UNICODE_STRING *name, const wchar_t *expected)
{
    return name->Length == wcslen(expected) * sizeof(wchar_t) && wmemcmp(name->Buffer, expected, wcslen(expected)) == 0;
}

unsigned handle_count(void)
{
    struct type_information information;
    unsigned count = 0, unused = 0;

    for (uintptr_t number = HANDLE_STEP; unused < UNUSED_IN_A_ROW; number += HANDLE_STEP) {
        if (!NT_SUCCESS(
                NtQueryObject((HANDLE)number, ObjectTypeInformation, &information, sizeof(information), NULL))) {
            unused++;
            continue;
        }
        unused = 0;
        count +=
            is_called(&information.type.TypeName, L"File") || is_called(&information.type.TypeName, L"IoCompletion");
    }
    return count;
}
