/* The path of a Unix-domain listener: taken over from a server that has ended, removed when the listener is closed. */
#ifndef BASE_POSIX_SOCKET_PATH_H
#define BASE_POSIX_SOCKET_PATH_H

#include "base/platform/socket.h"

/* Returns the path of an endpoint in the file system; NULL: it has none (an IP endpoint or an abstract name). */
const char *socket_path_of(const jd_endpoint *endpoint);

/* Locks the directory of a path (flock(2)). A path is bound, checked for being stale, and removed under this lock: so
 * two servers of this library cannot take over the same path, and a path that is bound but does not listen yet is not
 * taken for stale. Returns a descriptor for socket_path_unlock; SOCKET_NONE: the directory cannot be read, or the lock
 * was not free within 500 ms. Without the lock no path is taken over. */
int socket_path_lock(const char *path);
void socket_path_unlock(int lock);

/* Whether the path is a socket to which connecting is refused: no server listens there any more. */
bool socket_path_is_stale(const jd_endpoint *endpoint);

/* Before bind(2): the file will be created with no other permissions than those of options->unix_mode, less the umask. */
int socket_path_limit_mode(socket_handle handle, const struct socket_options *options);

/* Between bind(2) and listen(2), when nobody can connect yet: sets the mode and the owner of the path, if options has
 * them. Does not follow a link that someone has put there. Returns 0 or a negative error. */
int socket_path_set_access(const char *path, const struct socket_options *options);

/* Identifies the file at the path; all zero: no file. */
struct socket_path socket_path_identity(const char *path);

/* Removes the path if it is still the identified file, not a file of another server. Must be called before the socket
 * is closed: while it is bound, its inode number is not used for another file. */
void socket_path_remove(const char *path, const struct socket_path *identity);

#endif
