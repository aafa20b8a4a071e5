/* Files to be sent: ranges of regular files, by handles that the caller owns. From any thread. */
#ifndef BASE_PLATFORM_FILE_H
#define BASE_PLATFORM_FILE_H

#include <jinduo/types.h>
#include <sys/types.h>

/* Checks that *length bytes from offset on can be sent; JD_TO_END is replaced by the number of bytes up to the end.
 * Returns 0; JD_EINVAL if file is not a regular file or not open for reading, or offset is negative; JD_ERANGE if the
 * file ends before the range; or the system's error (fstat(2)). */
int file_check_range(jd_file file, int64_t offset, uint64_t *length);

/* Reads at most size bytes from offset on; may wait for the disk. Returns the bytes read, 0 at the end of the file, or
 * a negative error. */
ssize_t file_read(jd_file file, void *data, size_t size, int64_t offset);

void file_close(jd_file file);

/* Closes a socket or a file. */
void handle_close(jd_handle handle);

#endif
