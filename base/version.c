#include <jinduo/version.h>

#define TEXT_OF(number) #number
#define TEXT(number)    TEXT_OF(number)

const char *jd_version(void)
{
    return TEXT(JD_VERSION_MAJOR) "." TEXT(JD_VERSION_MINOR) "." TEXT(JD_VERSION_PATCH);
}
