/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _EDU_H_
#define _EDU_H_

#include <linux/completion.h>
#include <linux/dma-direction.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "edu_uapi.h"

struct dma_buf;
struct dma_buf_attachment;
struct dma_fence;
struct godwit_peer;
struct pci_dev;
struct sg_table;

/**
 * struct edu - the device.
 */
struct edu {
	/** @pdev: on the bus. */
	struct pci_dev *pdev;
	/** @regs: its registers. */
	void __iomem *regs;
	/** @misc: its file. */
	struct miscdevice misc;
	/** @lock: held for what a call does to the engine: it has one transfer at a time. */
	struct mutex lock;
	/** @done: the transfer under way has ended. */
	struct completion done;
	/** @begun: transfers with memory of a target. */
	atomic64_t begun;
	/** @begin: woken when @begun grows. */
	wait_queue_head_t begin;
	/** @asked: the transfer under way is to end. */
	bool asked;
	/** @fence_lock: protects @fence; interrupts off. */
	spinlock_t fence_lock;
	/** @fence: of the transfer under way, or NULL. */
	struct dma_fence *fence;
	/** @context: of fences. */
	u64 context;
	/** @seqno: of the last fence. */
	u64 seqno;
	/** @bounce: EDU_MAX bytes, between the user's buffer and the engine. */
	void *bounce;
	/** @bounce_addr: of @bounce. */
	dma_addr_t bounce_addr;
};

/**
 * struct edu_target - what a file has imported.
 */
struct edu_target {
	/** @edu: the device. */
	struct edu *edu;
	/** @mode: &enum edu_mode. */
	u32 mode;
	/** @dmabuf: what; a reference. */
	struct dma_buf *dmabuf;
	/** @attachment: to it; NULL with EDU_HELPER. */
	struct dma_buf_attachment *attachment;
	/** @peer: with EDU_HELPER. */
	struct godwit_peer *peer;
	/** @table: what is mapped, or NULL. Under the lock of the dma-buf. */
	struct sg_table *table;
	/** @busy: a transfer with @table is under way. Under the lock of the dma-buf. */
	bool busy;
	/** @revoked: @table is to be unmapped after it. Under the lock of the dma-buf. */
	bool revoked;
	/** @told: the transfer under way is to end soon. Set under the lock of the dma-buf. */
	bool told;
	/** @pins: of dma_buf_pin(). */
	unsigned int pins;
	/** @counts: what happened. */
	struct edu_counts counts;
};

int edu_engine_init(struct edu *edu);
void edu_engine_fini(struct edu *edu);
struct dma_fence *edu_engine_fence(struct edu *edu);
void edu_engine_start(struct edu *edu, struct dma_fence *fence, dma_addr_t addr, u32 length,
		      bool to_memory);
int edu_engine_wait(struct edu *edu);
void edu_engine_begun(struct edu *edu);
int edu_engine_await(struct edu *edu, u64 *begun);

struct edu_target *edu_target_create(struct edu *edu, const struct edu_import *args);
void edu_target_destroy(struct edu_target *target);
int edu_target_pin(struct edu_target *target);
int edu_target_unpin(struct edu_target *target);
int edu_target_turns(struct edu_target *target, u32 rounds);
int edu_target_transfer(struct edu_target *target, const struct edu_transfer *args, u64 offset,
			bool to_memory, u64 *address);

#endif /* _EDU_H_ */
