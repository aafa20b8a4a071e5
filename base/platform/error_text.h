/* The system's texts for errors. */
#ifndef BASE_PLATFORM_ERROR_TEXT_H
#define BASE_PLATFORM_ERROR_TEXT_H

/* Returns a static English text for an errno value, or NULL. From any thread. */
const char *error_text(int number);

#endif
