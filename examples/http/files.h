/* The files of a folder (--root). */
#ifndef EXAMPLES_HTTP_FILES_H
#define EXAMPLES_HTTP_FILES_H

#include "examples/http/session.h"

/* Opens the folder. Returns its descriptor, or a negative error: JD_ENOSYS if the system cannot open files beneath a folder. */
int files_open_root(const char *path);

/* Answers the request with a file below service->root: "/folder/" is its index.html. */
void files_serve(struct session *session);

#endif
