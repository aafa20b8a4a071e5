#include "base/platform/file.h"

#include "base/posix/system_calls.h"

#include <fcntl.h>
#include <jinduo/error.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_readable(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && !(flags & O_PATH) && (flags & O_ACCMODE) != O_WRONLY;
}

int file_check_range(jd_file fd, int64_t offset, uint64_t *length)
{
    struct stat status;
    uint64_t left;

    if (system_calls.fstat(fd, &status) < 0)
        return -errno;
    if (offset < 0 || !S_ISREG(status.st_mode) || !is_readable(fd))
        return JD_EINVAL;
    if (offset > status.st_size)
        return JD_ERANGE;
    left = (uint64_t)(status.st_size - offset);
    if (*length == JD_TO_END)
        *length = left;
    return *length <= left ? 0 : JD_ERANGE;
}

ssize_t file_read(jd_file fd, void *data, size_t size, int64_t offset)
{
    ssize_t count;

    do
        count = system_calls.pread(fd, data, size, offset);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

void file_close(jd_file fd)
{
    close(fd);
}

void handle_close(jd_handle handle)
{
    system_calls.close(handle);
}
