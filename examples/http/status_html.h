/* The page of /status: status.html, as embed.py writes it into status_html.c. */
#ifndef EXAMPLES_HTTP_STATUS_HTML_H
#define EXAMPLES_HTTP_STATUS_HTML_H

#include <stddef.h>

extern const unsigned char status_html[];
extern const size_t status_html_bytes;

#endif
