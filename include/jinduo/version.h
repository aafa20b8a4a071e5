/* The version a program was compiled against, and the one it runs with. */
#ifndef JINDUO_VERSION_H
#define JINDUO_VERSION_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

#define JD_VERSION_MAJOR 0
#define JD_VERSION_MINOR 1
#define JD_VERSION_PATCH 0

/* The version of the library in use, as "0.1.0". A static string; from any thread. */
JD_API const char *jd_version(void);

JD_END_DECLS
#endif
