/* Counting handles by the system's table of all handles: GetProcessHandleCount counts those of threads and events, too, which the
 * threads of tests keep; and Wine's says 0. */
#include "tests/windows/handle_count.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <windows.h>

#include <winternl.h>

enum { SYSTEM_EXTENDED_HANDLE_INFORMATION = 64, TABLE_BYTES = 4 << 20 };

#define TOO_SHORT ((NTSTATUS)0xC0000004) /* STATUS_INFO_LENGTH_MISMATCH */

struct handle_entry {
    void *object;
    uintptr_t process, handle;
    uint32_t access;
    uint16_t trace, type;
    uint32_t attributes, reserved;
};

struct handle_table {
    uintptr_t count, reserved;
    struct handle_entry entries[];
};

/* The table of the whole system. */
static struct handle_table *read_table(void)
{
    ULONG bytes = TABLE_BYTES, length;
    struct handle_table *table;
    NTSTATUS status;

    do {
        table = malloc(bytes);
        ck_assert_ptr_nonnull(table);
        status = NtQuerySystemInformation((SYSTEM_INFORMATION_CLASS)SYSTEM_EXTENDED_HANDLE_INFORMATION, table, bytes,
                                          &length);
        if (NT_SUCCESS(status))
            return table;
        free(table);
        bytes *= 2;
    } while (status == TOO_SHORT);
    ck_abort_msg("the system's handles cannot be read: status %#lx", (unsigned long)status);
    return NULL;
}

static uint16_t type_of(const struct handle_table *table, HANDLE handle)
{
    for (uintptr_t i = 0; i < table->count; i++)
        if (table->entries[i].process == GetCurrentProcessId() && table->entries[i].handle == (uintptr_t)handle)
            return table->entries[i].type;
    ck_abort_msg("an open handle is not in the table");
    return 0;
}

/* The numbers of the types differ between systems: those of a file and of a port made for this. */
static uint16_t file_type, port_type;

static void learn_types(void)
{
    HANDLE file = CreateFileA("NUL", GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    struct handle_table *table = read_table();

    file_type = type_of(table, file);
    port_type = type_of(table, port);
    free(table);
    CloseHandle(file);
    CloseHandle(port);
}

unsigned handle_count(void)
{
    struct handle_table *table;
    unsigned count = 0;

    if (port_type == 0)
        learn_types();
    table = read_table();
    for (uintptr_t i = 0; i < table->count; i++)
        count += table->entries[i].process == GetCurrentProcessId() &&
                 (table->entries[i].type == file_type || table->entries[i].type == port_type);
    free(table);
    return count;
}
