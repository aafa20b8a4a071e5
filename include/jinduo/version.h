/* The library's version: at compile time and at run time. */
#ifndef JINDUO_VERSION_H
#define JINDUO_VERSION_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* The version of the headers that the program was compiled with. */
#define JD_VERSION_MAJOR 0
#define JD_VERSION_MINOR 1
#define JD_VERSION_PATCH 0

/* Returns the version of the library that the program runs with, such as "0.1.0", as a static string. May be called
 * from any thread. */
JD_API const char *jd_version(void);

JD_END_DECLS
#endif
