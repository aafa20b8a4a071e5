/* Many pipes, few of them active: the functions that each library's program implements and pipes.c measures. */
#ifndef BENCHMARKS_PEERS_PIPES_H
#define BENCHMARKS_PEERS_PIPES_H

#ifdef __cplusplus
extern "C" {
#endif

/* Creates the loop, and watches these descriptors for reading. Returns 0 on success. */
int pipes_prepare(const int *fds, unsigned count);

/* Runs the loop until pipes_readable has returned true. */
void pipes_run(void);

/* Called when descriptor number of pipes_prepare is readable. Returns true at the end of a round: the loop has to stop
 * then. */
int pipes_readable(unsigned number);

#ifdef __cplusplus
}
#endif
#endif
