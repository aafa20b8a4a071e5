#include "base/posix/socket_path.h"

#include "base/posix/system_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <jinduo/error.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Other servers hold the lock for a few system calls. But any process that can read the directory can hold it without
 * limit: so the tries are limited, 500 ms in all. */
enum { LOCK_TRIES = 500, LOCK_RETRY_NS = 1000000 };

enum { ALL_PERMISSIONS = 07777 };

const char *socket_path_of(const jd_endpoint *endpoint)
{
    const struct sockaddr_un *address = (const struct sockaddr_un *)endpoint_sockaddr(endpoint);
    bool has_path = endpoint->length > offsetof(struct sockaddr_un, sun_path) && address->sun_path[0] != '\0';

    return address->sun_family == AF_UNIX && has_path ? address->sun_path : NULL;
}

static int open_directory_of(const char *path)
{
    char directory[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = ".";
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) + 1 : 0;

    if (length >= sizeof(directory))
        return -1;
    if (length > 0) {
        memcpy(directory, path, length);
        directory[length] = '\0';
    }
    return open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int socket_path_lock(const char *path)
{
    const struct timespec pause = { .tv_nsec = LOCK_RETRY_NS };
    int directory = open_directory_of(path);
    int result = directory >= 0 ? flock(directory, LOCK_EX | LOCK_NB) : 0;

    if (directory < 0)
        return SOCKET_NONE;
    for (int i = 0; result < 0 && (errno == EWOULDBLOCK || errno == EINTR) && i < LOCK_TRIES; i++) {
        nanosleep(&pause, NULL);
        result = flock(directory, LOCK_EX | LOCK_NB);
    }
    if (result == 0)
        return directory;
    close(directory);
    return SOCKET_NONE;
}

void socket_path_unlock(int lock)
{
    if (lock != SOCKET_NONE)
        close(lock);
}

/* Connecting to a file that is not a socket is refused as well (Linux, net/unix/af_unix.c): check the file type
 * first. */
bool socket_path_is_stale(const jd_endpoint *endpoint)
{
    struct stat status;
    socket_handle probe;
    bool refused;

    if (lstat(socket_path_of(endpoint), &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    probe = system_calls.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return false;
    refused = system_calls.connect(probe, endpoint_sockaddr(endpoint), endpoint->length) < 0 && errno == ECONNREFUSED;
    socket_close(probe);
    return refused;
}

/* The kernel creates the file with the mode of the socket's own inode, less the umask (Linux, net/unix/af_unix.c,
 * unix_bind). */
int socket_path_limit_mode(socket_handle handle, const struct socket_options *options)
{
    return options->unix_mode == 0 || fchmod(handle, options->unix_mode) == 0 ? 0 : -errno;
}

/* The permissions that the umask has withheld. fchmod(2) refuses a descriptor of O_PATH; its name in /proc leads to the
 * file that is open, whatever the path names by now. */
static int path_set_mode(int file, unsigned mode)
{
    char name[sizeof("/proc/self/fd/-2147483648")];

    snprintf(name, sizeof(name), "/proc/self/fd/%d", file);
    return chmod(name, mode) < 0 ? -errno : 0;
}

static int path_set_owner(int file, uint32_t uid, uint32_t gid)
{
    return fchownat(file, "", uid != 0 ? uid : (uid_t)-1, gid != 0 ? gid : (gid_t)-1, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int socket_path_set_access(const char *path, const struct socket_options *options)
{
    struct stat status;
    int error = 0, file;

    if (options->unix_mode == 0 && options->unix_uid == 0 && options->unix_gid == 0)
        return 0;
    file = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0)
        return -errno;
    if (fstat(file, &status) < 0)
        error = -errno;
    else if (!S_ISSOCK(status.st_mode) || status.st_uid != geteuid())
        error = JD_EADDRINUSE; /* another file has taken the path */
    if (error == 0 && options->unix_mode != 0 && (status.st_mode & ALL_PERMISSIONS) != options->unix_mode)
        error = path_set_mode(file, options->unix_mode);
    if (error == 0 && (options->unix_uid != 0 || options->unix_gid != 0))
        error = path_set_owner(file, options->unix_uid, options->unix_gid);
    close(file);
    return error;
}

struct socket_path socket_path_identity(const char *path)
{
    struct stat status;

    if (lstat(path, &status) < 0)
        return (struct socket_path){ 0 };
    return (struct socket_path){ .device = status.st_dev, .inode = status.st_ino };
}

void socket_path_remove(const char *path, const struct socket_path *identity)
{
    struct socket_path now = socket_path_identity(path);

    if (now.inode != 0 && now.inode == identity->inode && now.device == identity->device)
        unlink(path);
}
