/* In place of processes.c where a process cannot be duplicated by fork(2). */
#include "examples/program.h"

#include <signal.h>

const int program_forked_signal = SIGTERM; /* never used: no process is forked */

void program_fork(struct program *program)
{
    program_usage_error(program, "--processes '%u': this system has no fork, must be 1", program->processes);
}

void program_reuse_port(struct program *program)
{
    program_usage_error(program, "--reuse-port: this system has no SO_REUSEPORT");
}

void program_unblock_forked_signal(void)
{
}
