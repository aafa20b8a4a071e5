/* The engines compiled in, and how one is chosen. */
#include "net/event_loop.h"

#include "base/log.h"
#include "net/reactor.h"

#include <jinduo/error.h>
#include <stdlib.h>
#include <string.h>

const struct engine_ops *const engines_compiled_in[] = { &reactor_engine, NULL };

static const char auto_name[] = "auto";

static const struct engine_ops *engine_by_id(jd_engine id)
{
    for (const struct engine_ops *const *ops = engines_compiled_in; *ops != NULL; ops++)
        if ((*ops)->id == id)
            return *ops;
    return NULL;
}

int jd_engine_parse(jd_engine *engine, const char *name)
{
    if (strcmp(name, auto_name) == 0) {
        *engine = JD_ENGINE_AUTO;
        return 0;
    }
    for (const struct engine_ops *const *ops = engines_compiled_in; *ops != NULL; ops++) {
        if (strcmp(name, (*ops)->name) == 0) {
            *engine = (*ops)->id;
            return 0;
        }
    }
    return JD_EINVAL;
}

const char *jd_engine_name(jd_engine engine)
{
    const struct engine_ops *ops = engine_by_id(engine);

    return ops != NULL ? ops->name : engine == JD_ENGINE_AUTO ? auto_name : "unknown";
}

/* What the program left open, the environment may decide. */
static int choose(jd_engine *engine)
{
    const char *wish = getenv("JINDUO_ENGINE");

    if (*engine == JD_ENGINE_AUTO && wish != NULL && *wish != '\0' && jd_engine_parse(engine, wish) < 0) {
        log_message(JD_LOG_ERROR, "JINDUO_ENGINE: unknown engine '%s'", wish);
        return JD_EINVAL;
    }
    if (*engine == JD_ENGINE_AUTO)
        *engine = JD_ENGINE_REACTOR;
    return 0;
}

int jd_event_loop_create(jd_event_loop **loop, const jd_event_loop_options *options)
{
    jd_engine engine = options != NULL ? options->engine : JD_ENGINE_AUTO;
    const struct engine_ops *ops;
    int result = choose(&engine);

    if (result < 0)
        return result;
    ops = engine_by_id(engine);
    return ops != NULL ? event_loop_create_on(loop, options, ops) : JD_EINVAL;
}
