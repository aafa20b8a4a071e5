/* The path that a Unix-domain listener is bound to: taken over from a server that is gone, removed at the end. */
#ifndef BASE_POSIX_SOCKET_PATH_H
#define BASE_POSIX_SOCKET_PATH_H

#include "base/platform/socket.h"

/* The endpoint's path in the file system; NULL if it has none. */
const char *socket_path_of(const jd_endpoint *endpoint);

/* A path is bound, seen to be stale, and removed under a lock on its directory (flock(2)): so no two servers that go by it
 * take over the same path, or take one that is bound but does not listen yet for stale. Returns a descriptor, or
 * SOCKET_NONE: no lock was to be had in time, or the directory cannot be read. Without the lock nothing is taken over. */
int socket_path_lock(const char *path);
void socket_path_unlock(int lock);

/* Whether nobody listens at the path any more. */
bool socket_path_is_stale(const jd_endpoint *endpoint);

/* Which file the path is now; no file: all zero. */
struct socket_path socket_path_identity(const char *path);

/* Removes the path if it is that file still: else another server's, or nobody's. Before the socket is closed: as long as it
 * is bound, its inode's number goes to no other file. */
void socket_path_remove(const char *path, const struct socket_path *identity);

#endif
