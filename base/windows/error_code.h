/* The system's error codes as errors of the library. From any thread. */
#ifndef BASE_WINDOWS_ERROR_CODE_H
#define BASE_WINDOWS_ERROR_CODE_H

#include <stdint.h>

/* Returns the negative error for a code of GetLastError or WSAGetLastError; -EIO for an unknown one. */
int error_from_code(unsigned long code);

/* Returns the negative error for the NTSTATUS of a completed operation (OVERLAPPED.Internal), or 0 for success. */
int error_from_status(uint32_t status);

#endif
