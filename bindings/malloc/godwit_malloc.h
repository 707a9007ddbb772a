/* SPDX-License-Identifier: MIT */
/* What libgodwit_malloc.so exports besides the malloc family. */
#ifndef GODWIT_MALLOC_H
#define GODWIT_MALLOC_H

#include "godwit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The context behind this process's malloc; never to be destroyed. With `create` it is made where
 * it is not there yet; where another thread is making it at this moment, this waits for that thread.
 * NULL: none was asked for so far, it cannot be made, this thread is inside Godwit while it is being
 * made, or this is a forked child. Libraries find this function with dlsym(). */
GODWIT_API godwit_context* godwit_malloc_context(int create);

#ifdef __cplusplus
}
#endif

#endif /* GODWIT_MALLOC_H */
