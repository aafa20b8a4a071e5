/* Tasks posted to a loop by another thread: the functions that each library's program implements and tasks.c
 * measures. */
#ifndef BENCHMARKS_PEERS_TASKS_H
#define BENCHMARKS_PEERS_TASKS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Creates the loop. Returns 0 on success. */
int tasks_prepare(void);

/* Runs the loop until tasks_ran has returned true. */
void tasks_run(void);

/* Posts count tasks one by one; each calls tasks_ran. Called in another thread than the loop's. */
void tasks_post(uint32_t count);

/* Called by each task. Returns true for the last one: the loop has to stop then. */
int tasks_ran(void);

#ifdef __cplusplus
}
#endif
#endif
