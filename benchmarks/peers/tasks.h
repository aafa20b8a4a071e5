/* Tasks posted by one other thread: what each library's side implements, and tasks.c measures. */
#ifndef BENCHMARKS_PEERS_TASKS_H
#define BENCHMARKS_PEERS_TASKS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the loop. Returns 0, or anything else. */
int tasks_prepare(void);

/* Runs the loop until tasks_ran has said that the last task ran. */
void tasks_run(void);

/* In another thread than the loop's: posts so many tasks, each of which calls tasks_ran, one by one. */
void tasks_post(uint32_t count);

/* A task's body. True for the last one: the loop is to end. */
int tasks_ran(void);

#ifdef __cplusplus
}
#endif
#endif
