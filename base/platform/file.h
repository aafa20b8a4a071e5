/* Files to be sent: ranges of regular files, by descriptors that stay the caller's. */
#ifndef BASE_PLATFORM_FILE_H
#define BASE_PLATFORM_FILE_H

#include <jinduo/types.h>
#include <sys/types.h>

/* Looks whether length bytes (JD_TO_END: all) from offset on can be sent, and sets *length to their number. Returns 0;
 * JD_EINVAL if fd is no regular file, is not open for reading or offset is negative; JD_ERANGE if the file ends before;
 * or the system's error (fstat(2)). */
int file_check_range(int fd, int64_t offset, uint64_t *length);

/* Bytes read from offset on, 0 at the end, or a negative error. */
ssize_t file_read(int fd, void *data, size_t size, int64_t offset);

void file_close(int fd);

#endif
