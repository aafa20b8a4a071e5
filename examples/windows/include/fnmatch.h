/* Patterns of names, with * and ? only. */
#ifndef EXAMPLES_WINDOWS_FNMATCH_H
#define EXAMPLES_WINDOWS_FNMATCH_H

enum { FNM_CASEFOLD = 16 };

/* Returns 0 if the name matches. flags: FNM_CASEFOLD. */
int fnmatch(const char *pattern, const char *name, int flags);

#endif
