/* Files and pipes by the system's handles, for tests. */
#include "base/windows/error_code.h"

#include <check.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The system's functions, not those that the header's macros name. */
#undef open
#undef mkstemp
#undef unlink
#undef ftruncate
#undef lseek
#undef read
#undef write
#undef close
#undef dup
#undef dup2
#undef fclose

enum { PATH_BYTES = 400, FILES_MAX = 64 };

static HANDLE handle_of(int fd)
{
    return (HANDLE)(intptr_t)fd;
}

static int failed_with(unsigned long code)
{
    errno = -error_from_code(code);
    return -1;
}

static int fail_by_last_error(void)
{
    return failed_with(GetLastError());
}

/* ---- positions: a handle for overlapped operations has none ---- */

static struct position {
    int fd; /* 0: free */
    off_t offset;
} positions[FILES_MAX];

static off_t *position_of(int fd)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        if (positions[i].fd == fd)
            return &positions[i].offset;
    return NULL;
}

static int file_opened(HANDLE handle)
{
    off_t *offset;

    if (handle == INVALID_HANDLE_VALUE)
        return fail_by_last_error();
    offset = position_of(0);
    ck_assert_ptr_nonnull(offset);
    ((struct position *)((char *)offset - offsetof(struct position, offset)))->fd = (int)(intptr_t)handle;
    *offset = 0;
    return (int)(intptr_t)handle;
}

int posix_file_close(int fd)
{
    off_t *offset = position_of(fd);

    if (offset != NULL)
        ((struct position *)((char *)offset - offsetof(struct position, offset)))->fd = 0;
    return CloseHandle(handle_of(fd)) ? 0 : fail_by_last_error();
}

/* ---- opening ---- */

/* The system's path for one of POSIX: "/tmp/..." is in the directory for temporary files. */
static const char *system_path(const char *path)
{
    static char text[PATH_BYTES];
    char directory[PATH_BYTES / 2];

    if (strncmp(path, "/tmp/", 5) != 0)
        return path;
    ck_assert_uint_gt(GetTempPathA(sizeof(directory), directory), 0);
    snprintf(text, sizeof(text), "%s%s", directory, path + 5);
    return text;
}

static HANDLE open_handle(const char *path, DWORD access, DWORD creation, DWORD flags)
{
    return CreateFileA(path, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, creation,
                       FILE_FLAG_OVERLAPPED | FILE_FLAG_BACKUP_SEMANTICS | flags, NULL);
}

static unsigned next_number;

static void make_name(char *letters)
{
    unsigned number = (unsigned)GetCurrentProcessId() * 16 + next_number++ % 16;

    for (int i = 0; i < 6; i++, number /= 26)
        letters[i] = (char)('a' + number % 26);
}

/* A file that is gone when it is closed. */
static int open_without_name(const char *name, DWORD access)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "/tmp/%s-XXXXXX", name);
    make_name(path + strlen(path) - 6);
    return file_opened(open_handle(system_path(path), access, CREATE_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE));
}

int posix_open(const char *path, int flags, ...)
{
    static const DWORD accesses[] = {
        [O_RDONLY] = GENERIC_READ, [O_WRONLY] = GENERIC_WRITE, [O_RDWR] = GENERIC_READ | GENERIC_WRITE
    };
    DWORD creation = flags & O_CREAT ? (flags & O_TRUNC ? CREATE_ALWAYS : OPEN_ALWAYS) : OPEN_EXISTING;
    DWORD access = accesses[flags & (O_RDONLY | O_WRONLY | O_RDWR)];
    char other[PATH_BYTES];
    int fd;

    if (flags & O_TMPFILE)
        return open_without_name("jinduo", access);
    if (sscanf(path, "/proc/self/fd/%d", &fd) == 1) {
        if (GetFinalPathNameByHandleA(handle_of(fd), other, sizeof(other), 0) == 0)
            return fail_by_last_error();
        return file_opened(open_handle(other, access, OPEN_EXISTING, 0));
    }
    return file_opened(open_handle(strcmp(path, "/dev/null") == 0 ? "NUL" : system_path(path), access, creation, 0));
}

int posix_mkstemp(char *path)
{
    make_name(path + strlen(path) - 6);
    return file_opened(open_handle(system_path(path), GENERIC_READ | GENERIC_WRITE, CREATE_ALWAYS, 0));
}

int memfd_create(const char *name, unsigned flags)
{
    return open_without_name(name, GENERIC_READ | GENERIC_WRITE);
}

int posix_unlink(const char *path)
{
    return DeleteFileA(system_path(path)) ? 0 : fail_by_last_error();
}

int posix_ftruncate(int fd, off_t size)
{
    FILE_END_OF_FILE_INFO end = { .EndOfFile.QuadPart = size };

    return SetFileInformationByHandle(handle_of(fd), FileEndOfFileInfo, &end, sizeof(end)) ? 0 : fail_by_last_error();
}

off_t posix_lseek(int fd, off_t offset, int whence)
{
    off_t *position = position_of(fd);
    LARGE_INTEGER size;

    ck_assert_ptr_nonnull(position);
    if (!GetFileSizeEx(handle_of(fd), &size))
        return fail_by_last_error();
    *position = offset + (whence == SEEK_CUR ? *position : whence == SEEK_END ? size.QuadPart : 0);
    return *position;
}

/* ---- reading and writing ---- */

/* Keeps the completion from a port that the file is bound to, as base/windows/file.c does. */
static ssize_t transfer(int fd, void *data, size_t size, off_t offset, bool is_write)
{
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    OVERLAPPED overlapped = { .Offset = (DWORD)offset,
                              .OffsetHigh = (DWORD)(offset >> 32),
                              .hEvent = (HANDLE)((uintptr_t)event | 1) };
    DWORD count = 0, code = ERROR_SUCCESS;
    BOOL done = is_write ? WriteFile(handle_of(fd), data, (DWORD)size, &count, &overlapped)
                         : ReadFile(handle_of(fd), data, (DWORD)size, &count, &overlapped);

    if (!done)
        code = GetLastError();
    if (code == ERROR_IO_PENDING)
        code = GetOverlappedResult(handle_of(fd), &overlapped, &count, TRUE) ? ERROR_SUCCESS : GetLastError();
    CloseHandle(event);
    if (code == ERROR_HANDLE_EOF || (code == ERROR_BROKEN_PIPE && !is_write))
        return 0;
    return code == ERROR_SUCCESS ? (ssize_t)count : failed_with(code);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    return transfer(fd, data, size, offset, false);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return transfer(fd, (void *)(uintptr_t)data, size, offset, true);
}

static ssize_t transfer_on(int fd, void *data, size_t size, bool is_write)
{
    off_t *position = position_of(fd);
    ssize_t count = transfer(fd, data, size, position != NULL ? *position : 0, is_write);

    if (position != NULL && count > 0)
        *position += count;
    return count;
}

static bool is_socket(int fd)
{
    int type;
    socklen_t length = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, (char *)&type, &length) == 0;
}

ssize_t posix_read(int fd, void *data, size_t size)
{
    return is_socket(fd) ? recv(fd, data, size, 0) : transfer_on(fd, data, size, false);
}

ssize_t posix_write(int fd, const void *data, size_t size)
{
    return is_socket(fd) ? send(fd, data, size, 0) : transfer_on(fd, (void *)(uintptr_t)data, size, true);
}

int pipe(int ends[2])
{
    HANDLE reader, writer;

    if (!CreatePipe(&reader, &writer, NULL, 1 << 16))
        return fail_by_last_error();
    ends[0] = (int)(intptr_t)reader;
    ends[1] = (int)(intptr_t)writer;
    return 0;
}

int pipe2(int ends[2], int flags)
{
    return pipe(ends);
}

int posix_dup(int fd)
{
    HANDLE copy, process = GetCurrentProcess();
    HANDLE from = fd == STDERR_FILENO ? GetStdHandle(STD_ERROR_HANDLE) : handle_of(fd);

    if (!DuplicateHandle(process, from, process, &copy, 0, FALSE, DUPLICATE_SAME_ACCESS))
        return fail_by_last_error();
    return (int)(intptr_t)copy;
}

/* The library writes to the system's handle of standard error. */
int posix_dup2(int fd, int replaced)
{
    int copy = posix_dup(fd);

    ck_assert_int_eq(replaced, STDERR_FILENO);
    return copy >= 0 && SetStdHandle(STD_ERROR_HANDLE, handle_of(copy)) ? 0 : fail_by_last_error();
}

/* ---- memory ---- */

static DWORD protection_of(int protection)
{
    return protection & PROT_WRITE ? PAGE_READWRITE : protection & PROT_READ ? PAGE_READONLY : PAGE_NOACCESS;
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *memory = VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, protection_of(protection));

    ck_assert_msg(address == NULL && (flags & MAP_ANONYMOUS) != 0 && fd == -1, "only memory without a file");
    return memory != NULL ? memory : MAP_FAILED;
}

int munmap(void *memory, size_t size)
{
    return VirtualFree(memory, 0, MEM_RELEASE) ? 0 : fail_by_last_error();
}

/* ---- text ---- */

void *posix_memmem(const void *data, size_t length, const void *part, size_t part_length)
{
    const char *bytes = data;

    for (size_t i = 0; part_length <= length && i <= length - part_length; i++)
        if (memcmp(bytes + i, part, part_length) == 0)
            return (void *)(uintptr_t)(bytes + i);
    return NULL;
}

/* For writing only: the text is there when the file is closed. */
static FILE *text_file;
static char *text_target;
static size_t text_size;

FILE *fmemopen(void *text, size_t size, const char *mode)
{
    ck_assert_msg(*mode == 'w' && text_file == NULL, "one file, to be written");
    text_target = text;
    text_size = size;
    text_file = tmpfile();
    ck_assert_ptr_nonnull(text_file);
    return text_file;
}

int posix_fclose(FILE *file)
{
    if (file == text_file) {
        rewind(file);
        text_target[fread(text_target, 1, text_size - 1, file)] = '\0';
        text_file = NULL;
    }
    return fclose(file);
}

int posix_sched_getaffinity(int process, size_t size, cpu_set_t *usable)
{
    usable->count = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return 0;
}
