/* The client of --health: asks a server of this program whether it serves, as a container's health check does. */
#ifndef EXAMPLES_HTTP_HEALTH_H
#define EXAMPLES_HTTP_HEALTH_H

#include "examples/program.h"

/* Sends GET /health to the first endpoint of --listen. Prints why it fails. Returns the exit status. */
int health_ask(struct program *program);

#endif
