#include "examples/http/folder.h"

#include <jinduo/error.h>
#include <stdbool.h>
#include <string.h>
#include <windows.h>

#include <winternl.h>

enum { PATH_ROOM = 4200, SHARED = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE };

static HANDLE handle_of(int handle)
{
    return (HANDLE)(intptr_t)handle;
}

static int error_of(NTSTATUS status)
{
    switch (RtlNtStatusToDosError(status)) {
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
        return JD_EACCES;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_NO_SYSTEM_RESOURCES:
        return JD_ENOMEM;
    case ERROR_TOO_MANY_OPEN_FILES:
        return JD_EMFILE;
    default:
        return JD_ENOENT;
    }
}

int folder_open(const char *path)
{
    wchar_t wide[PATH_ROOM];
    HANDLE folder;
    DWORD attributes;

    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, PATH_ROOM) == 0)
        return JD_EINVAL;
    attributes = GetFileAttributesW(wide);
    if (attributes == INVALID_FILE_ATTRIBUTES)
        return JD_ENOENT;
    if (!(attributes & FILE_ATTRIBUTE_DIRECTORY))
        return -ENOTDIR;
    folder = CreateFileW(wide, FILE_LIST_DIRECTORY | FILE_TRAVERSE, SHARED, NULL, OPEN_EXISTING,
                         FILE_FLAG_BACKUP_SEMANTICS, NULL);
    return folder == INVALID_HANDLE_VALUE ? JD_EACCES : (int)(intptr_t)folder;
}

/* A part that has a character of paths, streams or patterns of Windows, or ends with a dot or space, which
 * Windows leaves out elsewhere. */
static bool is_odd(const char *part, size_t length)
{
    if (length == 0 || part[length - 1] == '.' || part[length - 1] == ' ')
        return true;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)part[i] < ' ' || strchr("\\:*?\"<>|", part[i]) != NULL)
            return true;
    return false;
}

/* Leaves out parts that are empty or ".", and with each ".." the part before it: none of them is a link. Returns false if that would
 * lead out of the folder, or a part is odd. */
static bool make_plain(char plain[PATH_ROOM], const char *path)
{
    size_t used = 0;

    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        if (length == 2 && memcmp(path, "..", 2) == 0) {
            if (used == 0)
                return false;
            do
                used--;
            while (used > 0 && plain[used] != '\\');
        } else if (length > 1 || (length == 1 && *path != '.')) {
            if (is_odd(path, length) || used + length + 2 > PATH_ROOM)
                return false;
            if (used > 0)
                plain[used++] = '\\';
            memcpy(plain + used, path, length);
            used += length;
        }
        path += length + (path[length] == '/');
    }
    plain[used] = '\0';
    return true;
}

static NTSTATUS open_relative(HANDLE folder, UNICODE_STRING *name, HANDLE *file)
{
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK result;

    InitializeObjectAttributes(&attributes, name, OBJ_CASE_INSENSITIVE, folder, NULL);
    return NtCreateFile(file, FILE_READ_DATA | FILE_READ_ATTRIBUTES | SYNCHRONIZE, &attributes, &result, NULL, 0,
                        SHARED, FILE_OPEN, FILE_OPEN_REPARSE_POINT | FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0);
}

/* Each part is opened relative to the one before it, and none may be a link (a reparse point). */
static int open_part(HANDLE folder, wchar_t *part, size_t length, HANDLE *opened, BY_HANDLE_FILE_INFORMATION *facts)
{
    UNICODE_STRING name = { .Buffer = part,
                            .Length = (USHORT)(length * sizeof(wchar_t)),
                            .MaximumLength = (USHORT)(length * sizeof(wchar_t)) };
    NTSTATUS status = open_relative(folder, &name, opened);

    if (!NT_SUCCESS(status))
        return error_of(status);
    if (GetFileInformationByHandle(*opened, facts) && !(facts->dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT))
        return 0;
    CloseHandle(*opened);
    return JD_ENOENT;
}

static time_t seconds_of(FILETIME time)
{
    enum { TICKS_PER_S = 10000000 };
    const uint64_t epoch_s = 11644473600; /* from 1601 to 1970 */

    return (time_t)(((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime) / TICKS_PER_S - epoch_s);
}

int folder_open_file(int folder, const char *path, struct folder_file *file)
{
    char plain[PATH_ROOM];
    wchar_t wide[PATH_ROOM], *part = wide;
    HANDLE at = handle_of(folder), opened;
    BY_HANDLE_FILE_INFORMATION facts;

    if (!make_plain(plain, path) || *plain == '\0' ||
        MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, plain, -1, wide, PATH_ROOM) == 0)
        return JD_ENOENT;
    while (*part != 0) {
        size_t length = wcscspn(part, L"\\");
        int error = open_part(at, part, length, &opened, &facts);
        if (at != handle_of(folder))
            CloseHandle(at);
        if (error < 0)
            return error;
        at = opened;
        part += length;
        part += *part != 0;
    }
    file->handle = (int)(intptr_t)at;
    file->kind = facts.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY ? FOLDER_FOLDER : FOLDER_FILE;
    file->size = (uint64_t)facts.nFileSizeHigh << 32 | facts.nFileSizeLow;
    file->modified = seconds_of(facts.ftLastWriteTime);
    return 0;
}

int64_t folder_read(int handle, void *data, size_t size, uint64_t offset)
{
    OVERLAPPED at = { .Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32) };
    DWORD got = 0;

    if (!ReadFile(handle_of(handle), data, (DWORD)size, &got, &at) && GetLastError() != ERROR_HANDLE_EOF)
        return JD_EINVAL;
    return got;
}

void folder_close(int handle)
{
    CloseHandle(handle_of(handle));
}
