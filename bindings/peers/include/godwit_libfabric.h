/* SPDX-License-Identifier: MIT */
/*
 * libgodwit_libfabric.so: tells libfabric's registration caches of pages that Godwit is about to move, so that
 * they drop what they have registered there. libfabric takes one such monitor, before a cache is in use: call this
 * before the first domain is opened. Some versions (1.20) take none after the first has ended.
 */
#ifndef GODWIT_LIBFABRIC_H
#define GODWIT_LIBFABRIC_H

#include "godwit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct godwit_libfabric godwit_libfabric;

/* 0; a negative errno of libfabric's (-EBUSY: there is a monitor, or a cache in use); or a negative
 * enum godwit_code below -1000: -1000 + code. `context` outlives the exporter. */
GODWIT_API int godwit_libfabric_export(godwit_context *context, godwit_libfabric **exporter);
/* After the last domain was closed. NULL is allowed. */
GODWIT_API void godwit_libfabric_end(godwit_libfabric *exporter);
/* How often it has told libfabric, and how many ranges caches have subscribed to and not let go of. */
GODWIT_API void godwit_libfabric_counts(const godwit_libfabric *exporter, uint64_t *told,
                                        uint64_t *subscribed);

#ifdef __cplusplus
}
#endif

#endif /* GODWIT_LIBFABRIC_H */
