/* The engines of this build. */
#ifndef PROACTOR_ENGINES_H
#define PROACTOR_ENGINES_H

struct engine_ops;

/* The Reactor, then the Proactors in order of preference; ends with NULL (engines_compiled_in.c). */
extern const struct engine_ops *const engines_compiled_in[];

#endif
