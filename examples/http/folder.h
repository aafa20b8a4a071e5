/* The folder whose files are served (--root): folder.c, or folder_windows.c. */
#ifndef EXAMPLES_HTTP_FOLDER_H
#define EXAMPLES_HTTP_FOLDER_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct folder_file {
    int handle; /* a descriptor; on Windows a handle, of which 32 bits are significant */
    enum { FOLDER_FILE, FOLDER_FOLDER, FOLDER_OTHER } kind;
    uint64_t size;
    time_t modified;
};

/* Opens the folder. Returns its handle, or a negative error: JD_ENOSYS if the system cannot open files beneath a folder. */
int folder_open(const char *path);

/* Opens a file of the folder: no part of path, which is relative, may lead out of the folder or be a symbolic link. Returns 0 or
 * a negative error. */
int folder_open_file(int folder, const char *path, struct folder_file *file);

/* Returns the bytes read, fewer at the file's end, or a negative error. */
int64_t folder_read(int handle, void *data, size_t size, uint64_t offset);

/* Closes the folder or a file. */
void folder_close(int handle);

#endif
