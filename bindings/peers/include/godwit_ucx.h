/* SPDX-License-Identifier: MIT */
/*
 * libgodwit_ucx.so: tells UCX's registration caches of pages that Godwit is about to move, as if they were
 * unmapped (UCM_EVENT_VM_UNMAPPED), so that they drop what they have registered there.
 */
#ifndef GODWIT_UCX_H
#define GODWIT_UCX_H

#include "godwit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct godwit_ucx godwit_ucx;

/* 0 or a negative enum godwit_code. `context` outlives the exporter. UCX goes on to watch munmap and the like
 * by itself: this comes on top. */
GODWIT_API int godwit_ucx_export(godwit_context *context, godwit_ucx **exporter);
/* NULL is allowed. */
GODWIT_API void godwit_ucx_end(godwit_ucx *exporter);
/* How often it has told UCX. */
GODWIT_API uint64_t godwit_ucx_told(const godwit_ucx *exporter);

#ifdef __cplusplus
}
#endif

#endif /* GODWIT_UCX_H */
