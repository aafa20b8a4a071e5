/* What the system knows of a handle. From any thread. */
#ifndef BASE_WINDOWS_HANDLE_H
#define BASE_WINDOWS_HANDLE_H

#include "base/platform/socket.h"

/* Whether operations on it wait for their end instead of being overlapped: it was opened without FILE_FLAG_OVERLAPPED, or a
 * socket without WSA_FLAG_OVERLAPPED. */
bool handle_is_synchronous(socket_handle handle);

#endif
