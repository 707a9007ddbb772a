/* SPDX-License-Identifier: MIT */
/* Compiles where the header stands alone in C11; -Wpadded finds padding that is not named. */
#include "godwit_drm.h"

#include <godwit/layout.h>

unsigned int godwit_uapi_version_in_c(void);

unsigned int godwit_uapi_version_in_c(void)
{
	return GODWIT_UAPI_VERSION;
}
