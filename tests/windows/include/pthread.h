#ifndef TESTS_WINDOWS_PTHREAD_H
#define TESTS_WINDOWS_PTHREAD_H

#pragma GCC system_header /* as #include_next is an extension */

#include_next <pthread.h>

/* They fail. */
int pthread_getattr_default_np(pthread_attr_t *attributes);
int pthread_setattr_default_np(const pthread_attr_t *attributes);

#endif
