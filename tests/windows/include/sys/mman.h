#ifndef TESTS_WINDOWS_SYS_MMAN_H
#define TESTS_WINDOWS_SYS_MMAN_H

#include <sys/types.h>

#include "posix.h"

enum { PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2 };
enum { MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20, MAP_NORESERVE = 0x4000 };
#define MAP_FAILED ((void *)-1)

/* Memory without a file only. */
void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int munmap(void *memory, size_t size);

#endif
