/* Runs a fuzz target once for each file of a corpus, without libFuzzer: in the builds of ./dev test, and so with each
 * compiler and sanitizer. Prints TAP. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUT_MAX_BYTES = 1 << 20 };

static void replay(const char *folder, const char *name)
{
    static uint8_t buffer[INPUT_MAX_BYTES];
    char path[4096];
    uint8_t *input;
    size_t length;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    REQUIRE(file != NULL);
    length = fread(buffer, 1, sizeof(buffer), file);
    REQUIRE(feof(file) && !ferror(file));
    fclose(file);
    fprintf(stderr, "# %s\n", name); /* the last one is the one that failed */
    input = fuzz_copy(buffer, length);
    REQUIRE(LLVMFuzzerTestOneInput(input, length) == 0);
    free(input);
}

int main(int argc, char **argv)
{
    const struct dirent *entry;
    unsigned inputs = 0;
    DIR *folder;

    if (argc != 2) {
        fprintf(stderr, "Usage: %s CORPUS\n", argv[0]);
        return EXIT_FAILURE;
    }
    folder = opendir(argv[1]);
    REQUIRE(folder != NULL);
    for (; (entry = readdir(folder)) != NULL; inputs += entry->d_name[0] != '.')
        if (entry->d_name[0] != '.')
            replay(argv[1], entry->d_name);
    closedir(folder);
    REQUIRE(inputs > 0);
    printf("1..1\nok 1 - %u inputs of the corpus agree with the model\n", inputs);
    return EXIT_SUCCESS;
}
