/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_SOFT_ENGINE_H_
#define _GODWIT_SOFT_ENGINE_H_

#include <linux/types.h>

struct dma_fence;
struct godwit_copy;
struct soft_engine;

struct soft_engine *soft_engine_create(void *memory, const char *name);
void soft_engine_destroy(struct soft_engine *engine);
struct dma_fence *soft_engine_copy(struct soft_engine *engine, const struct godwit_copy *pieces,
				   unsigned int count, bool to_vram);
void soft_engine_help(struct dma_fence *fence);

#endif /* _GODWIT_SOFT_ENGINE_H_ */
