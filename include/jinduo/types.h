/* Types that every public header shares. */
#ifndef JINDUO_TYPES_H
#define JINDUO_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define JD_BEGIN_DECLS extern "C" {
#define JD_END_DECLS   }
#else
#define JD_BEGIN_DECLS
#define JD_END_DECLS
#endif

/* Only what carries JD_API leaves the shared library. */
#if defined(__GNUC__)
#define JD_API __attribute__((visibility("default")))
#else
#define JD_API
#endif

/* Nanoseconds on the monotonic clock (clock_gettime(2), CLOCK_MONOTONIC). Only differences mean anything. */
typedef int64_t jd_timestamp;

/* A socket and a file of the operating system's; and either of the two. */
typedef int jd_socket;
typedef int jd_file;
typedef int jd_handle;
enum { JD_HANDLE_NONE = -1, JD_SOCKET_NONE = -1 };

/* A range of memory: one of the buffers of a gathered send or a scattered receive. On POSIX systems its layout is that of struct
 * iovec (readv(2)). */
typedef struct jd_iovec {
    void *data;
    size_t length;
} jd_iovec;

typedef struct jd_event_loop jd_event_loop;
typedef struct jd_channel jd_channel;
typedef struct jd_tcp_server jd_tcp_server;
typedef struct jd_tcp_client jd_tcp_client;
typedef struct jd_tcp_connection jd_tcp_connection;
typedef struct jd_buffer jd_buffer;
typedef struct jd_codec jd_codec;
typedef struct jd_thread_pool jd_thread_pool;
typedef struct jd_strand jd_strand;
typedef struct jd_shared jd_shared;

/* A function queued on, or run by, a loop. */
typedef void (*jd_task)(void *arg);

/* Gives back what the library was lent: called exactly once, when neither it nor the kernel needs that any more. */
typedef void (*jd_release)(void *arg);

/* As a length: all that there is from the offset on. */
#define JD_TO_END UINT64_MAX

/* Called in the loop's thread when an asynchronous call is done. */
typedef void (*jd_done_callback)(void *arg);

#endif
