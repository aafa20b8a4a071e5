/* The files of a folder (--root). */
#ifndef EXAMPLES_HTTP_FILES_H
#define EXAMPLES_HTTP_FILES_H

#include "examples/http/session.h"

/* Answers the request with a file below service->root: "/folder/" is its index.html. */
void files_serve(struct session *session);

#endif
