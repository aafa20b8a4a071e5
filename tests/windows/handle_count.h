/* The number of the process's handles of sockets, files, pipes and completion ports. */
#ifndef TESTS_HANDLE_COUNT_H
#define TESTS_HANDLE_COUNT_H

unsigned handle_count(void);

#endif
