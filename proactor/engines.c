/* Choosing a loop's engine: by option, environment, and availability. */
#include "proactor/engines.h"
#include "net/loop/event_loop.h"

#include "base/log.h"

#include <jinduo/error.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Includes engines that are not compiled in. */
static const char *const engine_names[] = {
    [JD_ENGINE_AUTO] = "auto",         [JD_ENGINE_REACTOR] = "reactor",     [JD_ENGINE_PROACTOR] = "proactor",
    [JD_ENGINE_IO_URING] = "io_uring", [JD_ENGINE_SIMULATED] = "simulated", [JD_ENGINE_IOCP] = "iocp",
};

enum { ENGINE_NAMES = sizeof(engine_names) / sizeof(engine_names[0]) };

static const struct engine_ops *engine_by_id(jd_engine id)
{
    for (const struct engine_ops *const *ops = engines_compiled_in; *ops != NULL; ops++)
        if ((*ops)->id == id)
            return *ops;
    return NULL;
}

/* The names of all engines, separated by ", ". */
static void engine_list_names(char *text, size_t size)
{
    size_t length = 0;

    for (unsigned i = 0; i < ENGINE_NAMES && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%s", i > 0 ? ", " : "", engine_names[i]);
}

static int engine_unknown(const char *where, const char *name)
{
    char names[ENGINE_NAMES * 16];

    engine_list_names(names, sizeof(names));
    return log_invalid("%s: unknown engine '%s'; allowed: %s", where, name, names);
}

int jd_engine_parse(jd_engine *engine, const char *name)
{
    for (unsigned i = 0; i < ENGINE_NAMES; i++) {
        if (strcmp(name, engine_names[i]) == 0) {
            *engine = (jd_engine)i;
            return 0;
        }
    }
    return JD_EINVAL;
}

const char *jd_engine_name(jd_engine engine)
{
    return (unsigned)engine < ENGINE_NAMES ? engine_names[engine] : "unknown";
}

/* ---- availability ---- */

static int engine_availability(const struct engine_ops *ops, const char **reason)
{
    *reason = "";
    return ops->available != NULL ? ops->available(reason) : 0;
}

/* The first Proactor in order of preference that is available; *reason: why the first of all is not, or "". NULL:
 * none is available; then *result is the error of the first of all. */
static const struct engine_ops *engine_best_proactor(int *result, const char **reason)
{
    const struct engine_ops *best = NULL;

    *result = JD_ENOTSUP;
    *reason = "no Proactor is built in";
    for (const struct engine_ops *const *ops = engines_compiled_in; *ops != NULL; ops++) {
        const char *other_reason;
        int other;
        if (!(*ops)->is_proactor)
            continue;
        other = engine_availability(*ops, best == NULL ? reason : &other_reason);
        if (best == NULL)
            *result = other;
        best = *ops;
        if (other == 0)
            return best;
    }
    return NULL;
}

int jd_engine_available(jd_engine engine, const char **reason)
{
    const struct engine_ops *ops = engine_by_id(engine);
    const char *unused;
    int result;

    if (reason == NULL)
        reason = &unused;
    *reason = "";
    if (engine == JD_ENGINE_AUTO)
        return 0;
    if (engine == JD_ENGINE_PROACTOR)
        return engine_best_proactor(&result, reason) != NULL ? 0 : result;
    if (ops != NULL)
        return engine_availability(ops, reason);
    *reason = (unsigned)engine < ENGINE_NAMES ? "not built in" : "no such engine";
    return (unsigned)engine < ENGINE_NAMES ? JD_ENOTSUP : JD_EINVAL;
}

/* ---- the choice ---- */

/* JD_ENGINE_AUTO: the environment decides; by default it is the first engine of this build. */
static int engine_choose(jd_engine *engine)
{
    const char *name = getenv("JINDUO_ENGINE");

    if (*engine == JD_ENGINE_AUTO && name != NULL && *name != '\0' && jd_engine_parse(engine, name) < 0)
        return engine_unknown("JINDUO_ENGINE", name);
    if (*engine == JD_ENGINE_AUTO)
        *engine = engines_compiled_in[0] != NULL ? engines_compiled_in[0]->id : JD_ENGINE_REACTOR;
    return 0;
}

static int engine_choose_proactor(const struct engine_ops **ops)
{
    static atomic_flag logged = ATOMIC_FLAG_INIT;
    const char *reason;
    int result;

    *ops = engine_best_proactor(&result, &reason);
    if (*ops == NULL) {
        log_message(JD_LOG_ERROR, "proactor: not available: %s", reason);
        return result;
    }
    if (!atomic_flag_test_and_set(&logged))
        log_message(*reason != '\0' ? JD_LOG_WARNING : JD_LOG_INFO, "proactor: using %s%s%s", (*ops)->name,
                    *reason != '\0' ? "; the preferred engine is not available: " : "", reason);
    return 0;
}

int jd_event_loop_create(jd_event_loop **loop, const jd_event_loop_options *options)
{
    jd_engine engine = options != NULL ? options->engine : JD_ENGINE_AUTO;
    const struct engine_ops *ops;
    const char *reason;
    int result = engine_choose(&engine);

    if (result < 0)
        return result;
    if (engine == JD_ENGINE_PROACTOR) {
        result = engine_choose_proactor(&ops);
        return result < 0 ? result : event_loop_create_on(loop, options, ops);
    }
    ops = engine_by_id(engine);
    if (ops != NULL)
        return event_loop_create_on(loop, options, ops);
    result = jd_engine_available(engine, &reason);
    if (result == JD_EINVAL) {
        char number[16];
        snprintf(number, sizeof(number), "%d", (int)engine);
        engine_unknown("event loop: engine", number);
    } else
        log_message(JD_LOG_ERROR, "%s: not available: %s", jd_engine_name(engine), reason);
    return result;
}
