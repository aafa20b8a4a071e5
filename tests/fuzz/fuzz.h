/* What the fuzz targets share. A target is a file NAME_fuzz.c that defines LLVMFuzzerTestOneInput (libFuzzer, "LibFuzzer: a
 * library for coverage-guided fuzz testing", LLVM). It turns the bytes of an input into calls of the library and compares
 * the results with a simple model. CONTRIBUTING.md says how to add one. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Called for each input. Returns 0. Must not keep memory from one call to the next. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process with a message unless the condition is true, in every build. */
#define REQUIRE(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
__attribute__((noreturn)) void fuzz_fail(const char *file, int line, const char *condition);

/* The bytes of an input that have not been used yet. */
struct fuzz_input {
    const uint8_t *next;
    size_t left;
};

/* Uses up one byte. Returns 0 at the input's end. */
uint8_t fuzz_byte(struct fuzz_input *input);

/* Uses up bytes (1 to 8) bytes as a little-endian number. Bytes behind the input's end count as 0. */
uint64_t fuzz_number(struct fuzz_input *input, unsigned bytes);

/* Uses up length bytes, or as many as there are: *length is set to their number. */
const uint8_t *fuzz_take(struct fuzz_input *input, size_t *length);

/* Returns a copy in memory of exactly length bytes, so that the address sanitizer finds a read behind it. Free it with
 * free(). */
uint8_t *fuzz_copy(const void *data, size_t length);

#endif
