#include "base/platform/file.h"

#include "base/windows/error_code.h"
#include "base/windows/handle.h"
#include "base/windows/windows_calls.h"

#include <jinduo/error.h>
#include <winsock2.h>

#include <winternl.h>

enum { READ_MAX = 1 << 30 };

static HANDLE handle_of(jd_file file)
{
    return (HANDLE)file;
}

/* NtQueryObject is documented; the structure is PUBLIC_OBJECT_BASIC_INFORMATION. */
static bool is_readable(HANDLE handle)
{
    PUBLIC_OBJECT_BASIC_INFORMATION information;
    NTSTATUS status = NtQueryObject(handle, ObjectBasicInformation, &information, sizeof(information), NULL);

    return NT_SUCCESS(status) && (information.GrantedAccess & FILE_READ_DATA) != 0;
}

static bool is_regular(HANDLE handle)
{
    BY_HANDLE_FILE_INFORMATION information;

    return GetFileType(handle) == FILE_TYPE_DISK && GetFileInformationByHandle(handle, &information) &&
           !(information.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY);
}

/* FileModeInformation ([MS-FSCC], 2.4.26) has the bits FILE_SYNCHRONOUS_IO_ALERT and FILE_SYNCHRONOUS_IO_NONALERT of
 * NtCreateFile. A handle of which it is not known is taken for an overlapped one. */
bool handle_is_synchronous(socket_handle handle)
{
    enum { FILE_MODE_INFORMATION_CLASS = 16, SYNCHRONOUS = 0x10 | 0x20 };
    IO_STATUS_BLOCK status;
    ULONG mode = 0;

    return NT_SUCCESS(NtQueryInformationFile((HANDLE)(intptr_t)handle, &status, &mode, sizeof(mode),
                                             (FILE_INFORMATION_CLASS)FILE_MODE_INFORMATION_CLASS)) &&
           (mode & SYNCHRONOUS) != 0;
}

int file_check_range(jd_file file, int64_t offset, uint64_t *length)
{
    HANDLE handle = handle_of(file);
    LARGE_INTEGER size;
    uint64_t left;

    if (offset < 0 || !is_regular(handle) || !is_readable(handle))
        return GetFileType(handle) == FILE_TYPE_UNKNOWN ? error_from_code(ERROR_INVALID_HANDLE) : JD_EINVAL;
    if (!GetFileSizeEx(handle, &size))
        return error_from_code(GetLastError());
    if (offset > size.QuadPart)
        return JD_ERANGE;
    left = (uint64_t)(size.QuadPart - offset);
    if (*length == JD_TO_END)
        *length = left;
    return *length <= left ? 0 : JD_ERANGE;
}

/* The file may be bound to a loop's completion port: an event whose lowest bit is set keeps the completion from it
 * (GetQueuedCompletionStatus). */
ssize_t file_read(jd_file file, void *data, size_t size, int64_t offset)
{
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    OVERLAPPED overlapped = { .Offset = (DWORD)offset,
                              .OffsetHigh = (DWORD)(offset >> 32),
                              .hEvent = (HANDLE)((uintptr_t)event | 1) };
    DWORD count = 0, code = ERROR_SUCCESS;

    if (event == NULL)
        return error_from_code(GetLastError());
    if (!windows_calls.ReadFile(handle_of(file), data, (DWORD)(size < READ_MAX ? size : READ_MAX), NULL, &overlapped))
        code = GetLastError();
    if (code == ERROR_SUCCESS || code == ERROR_IO_PENDING)
        code = GetOverlappedResult(handle_of(file), &overlapped, &count, TRUE) ? ERROR_SUCCESS : GetLastError();
    CloseHandle(event);
    if (code == ERROR_HANDLE_EOF)
        return 0;
    return code == ERROR_SUCCESS ? (ssize_t)count : error_from_code(code);
}

void file_close(jd_file file)
{
    CloseHandle(handle_of(file));
}

void handle_close(jd_handle handle)
{
    if (closesocket((SOCKET)handle) != 0 && WSAGetLastError() == WSAENOTSOCK)
        file_close(handle);
}
