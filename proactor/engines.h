/* The engines that are built in. */
#ifndef PROACTOR_ENGINES_H
#define PROACTOR_ENGINES_H

struct engine_ops;

/* The Reactor, then Proactors, the best first; ends with NULL (engines_compiled_in.c). */
extern const struct engine_ops *const engines_compiled_in[];

#endif
