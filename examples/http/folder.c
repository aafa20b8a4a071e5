#include "examples/http/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_beneath(int folder, const char *path)
{
    struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
    int file = (int)syscall(SYS_openat2, folder, path, &how, sizeof(how));

    return file < 0 ? -errno : file;
}

int folder_open(const char *path)
{
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), probe;

    if (root < 0)
        return -errno;
    probe = open_beneath(root, ".");
    if (probe >= 0) {
        close(probe);
        return root;
    }
    close(root);
    return probe;
}

int folder_open_file(int folder, const char *path, struct folder_file *file)
{
    struct stat status;

    file->handle = open_beneath(folder, path);
    if (file->handle < 0)
        return file->handle;
    if (fstat(file->handle, &status) < 0) {
        int error = -errno;
        close(file->handle);
        return error;
    }
    file->kind = S_ISREG(status.st_mode) ? FOLDER_FILE : S_ISDIR(status.st_mode) ? FOLDER_FOLDER : FOLDER_OTHER;
    file->size = (uint64_t)status.st_size;
    file->modified = status.st_mtim.tv_sec;
    return 0;
}

int64_t folder_read(int handle, void *data, size_t size, uint64_t offset)
{
    ssize_t got = pread(handle, data, size, (off_t)offset);

    return got < 0 ? -errno : got;
}

void folder_close(int handle)
{
    close(handle);
}
