/* Types that all public headers share. */
#ifndef JINDUO_TYPES_H
#define JINDUO_TYPES_H

#include <jinduo/platform.h>
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

/* Lets the compiler check the arguments of a function as those of printf(3): the numbers of the text and of the first argument
 * (0: a list). */
#if defined(__clang__)
#define JD_PRINTF(text, first) __attribute__((format(printf, text, first)))
#elif defined(__GNUC__) /* the library's own, also where the system's printf is another one (Windows) */
#define JD_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#else
#define JD_PRINTF(text, first)
#endif

/* Nanoseconds on the monotonic clock (clock_gettime(2), CLOCK_MONOTONIC). Only differences are meaningful. */
typedef int64_t jd_timestamp;

/* A range of memory: one buffer of a gathered send or a scattered receive. On POSIX systems it has the layout of struct
 * iovec (readv(2)). */
typedef struct jd_iovec {
    void *data;
    size_t length; /* bytes */
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

/* A function that a loop or a thread pool runs. arg is the pointer given with it. */
typedef void (*jd_task)(void *arg);

/* Returns referenced memory or a file to its owner. Invoked exactly once, when neither the library nor the kernel uses
 * it any more. */
typedef void (*jd_release)(void *arg);

/* Reports that an asynchronous call has completed. Invoked in the thread of the object's loop. */
typedef void (*jd_done_callback)(void *arg);

/* As a length: everything from the offset to the end. */
#define JD_TO_END UINT64_MAX

/* The longest delimiter in bytes (jd_delimiter_codec_options, jd_async_read_until). */
#define JD_DELIMITER_MAX_BYTES 16

#endif
