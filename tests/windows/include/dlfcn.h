#ifndef TESTS_WINDOWS_DLFCN_H
#define TESTS_WINDOWS_DLFCN_H

#define RTLD_DEFAULT NULL

/* A symbol that the program exports: none. */
#define dlsym(handle, name) NULL

#endif
