/* What differs between operating systems in the public headers: the types of handles, and how functions are exported. */
#ifndef JINDUO_PLATFORM_H
#define JINDUO_PLATFORM_H

#include <stdint.h>

/* Marks the functions that the shared library exports; it exports nothing else. JD_BUILD_LIBRARY is defined where the library
 * itself is compiled. */
#if defined(_WIN32) && defined(JD_BUILD_LIBRARY)
#define JD_API __declspec(dllexport)
#elif defined(_WIN32)
#define JD_API
#elif defined(__GNUC__)
#define JD_API __attribute__((visibility("default")))
#else
#define JD_API
#endif

/* An operating system's socket; its open file; and a type for either. On POSIX systems each is a file descriptor. On Windows
 * jd_socket is the number of a SOCKET, and jd_file that of a HANDLE. Operations (proactor.h) need a SOCKET opened with
 * WSA_FLAG_OVERLAPPED, as socket() does, or a HANDLE opened with FILE_FLAG_OVERLAPPED; others are JD_EINVAL. */
#ifdef _WIN32
typedef intptr_t jd_socket;
typedef intptr_t jd_file;
typedef intptr_t jd_handle;
#else
typedef int jd_socket;
typedef int jd_file;
typedef int jd_handle;
#endif

/* No handle, no socket: on Windows also the numbers of INVALID_HANDLE_VALUE and INVALID_SOCKET. */
enum { JD_HANDLE_NONE = -1, JD_SOCKET_NONE = -1 };

#endif
