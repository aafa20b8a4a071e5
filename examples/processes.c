/* Shows how one server runs in several processes: the parent forks the children, forwards SIGINT and SIGTERM to them as
 * program_forked_signal, and waits for them.
 *
 * The children block SIGINT and SIGTERM. A terminal or a service manager sends these to every process of a group, so a
 * child would receive two signals: its own and the forwarded one. The second would end it without draining. */
#include "examples/program.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

const int program_forked_signal = SIGUSR1;

struct family {
    const struct program *program;
    pid_t *children; /* 0: has exited */
    unsigned count;
    unsigned running;
    int status; /* exit status of the parent */
};

static sigset_t signals_of(const int *numbers, size_t count)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < count; i++)
        sigaddset(&set, numbers[i]);
    return set;
}

void program_reuse_port(struct program *program)
{
    program->server_options.reuse_port = true;
}

void program_unblock_forked_signal(void)
{
    const int numbers[] = { program_forked_signal };
    sigset_t set = signals_of(numbers, 1);

    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void become_child(struct program *program, pid_t parent)
{
    const int numbers[] = { SIGCHLD };
    sigset_t set = signals_of(numbers, 1);

    /* If the parent dies, the kernel sends this signal, so the child shuts down gracefully too (prctl(2)). */
    prctl(PR_SET_PDEATHSIG, program_forked_signal);
    if (getppid() != parent)
        exit(PROGRAM_FAILED);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    program->forked = true;
}

static void signal_children(const struct family *family)
{
    for (unsigned i = 0; i < family->count; i++)
        if (family->children[i] != 0)
            kill(family->children[i], program_forked_signal);
}

static void record_exit(struct family *family, pid_t child, int status)
{
    for (unsigned i = 0; i < family->count; i++)
        if (family->children[i] == child) {
            family->children[i] = 0;
            family->running--;
        }
    if (WIFSIGNALED(status))
        fprintf(stderr, "%s: process %d was killed by a signal: %s\n", family->program->name, (int)child,
                strsignal(WTERMSIG(status)));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        family->status = PROGRAM_FAILED;
        signal_children(family); /* if one child fails, all exit */
    }
}

static void wait_for_children(struct family *family, const sigset_t *signals)
{
    int number, status;
    pid_t child;

    while (family->running > 0 && sigwait(signals, &number) == 0) {
        if (number != SIGCHLD)
            signal_children(family);
        while ((child = waitpid(-1, &status, WNOHANG)) > 0)
            record_exit(family, child, status);
    }
}

void program_fork(struct program *program)
{
    const int numbers[] = { SIGINT, SIGTERM, SIGCHLD, program_forked_signal };
    sigset_t signals = signals_of(numbers, sizeof(numbers) / sizeof(numbers[0]));
    struct family family = { .program = program, .children = calloc(program->processes, sizeof(pid_t)) };
    pid_t parent = getpid();

    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    while (family.children != NULL && family.count < program->processes) {
        pid_t child = fork();

        if (child == 0) {
            free(family.children);
            become_child(program, parent);
            return;
        }
        if (child < 0)
            break;
        family.children[family.count++] = child;
        family.running++;
    }
    if (family.count < program->processes) {
        fprintf(stderr, "%s: cannot create %u processes: %s\n", program->name, program->processes, strerror(errno));
        family.status = PROGRAM_FAILED;
        signal_children(&family);
    }
    wait_for_children(&family, &signals);
    free(family.children);
    exit(family.status);
}
