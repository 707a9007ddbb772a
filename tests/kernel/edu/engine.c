// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine of QEMU's edu device: it moves bytes between a buffer of its own and the bus, one
 * transfer at a time, each after 100 ms, and raises an interrupt. QEMU 7.2 dies of a transfer that
 * reaches the end of that buffer.
 */
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "edu.h"

#define EDU_STATUS	0x24
#define EDU_ACKNOWLEDGE	0x64
#define EDU_SOURCE	0x80
#define EDU_DEST	0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define EDU_START	BIT(0)
#define EDU_TO_MEMORY	BIT(1)
#define EDU_INTERRUPT	BIT(2)
#define EDU_BUFFER	0x40000
/* A machine that is emulated beside others can be slow. */
#define EDU_TIMEOUT	(30 * HZ)

static const char *edu_fence_name(struct dma_fence *fence)
{
	return "godwit_edu";
}

static const struct dma_fence_ops edu_fence_ops = {
	.get_driver_name = edu_fence_name,
	.get_timeline_name = edu_fence_name,
};

static irqreturn_t edu_interrupt(int irq, void *data)
{
	struct edu *edu = data;
	struct dma_fence *fence;
	unsigned long flags;
	u32 status = readl(edu->regs + EDU_STATUS);

	if (!status)
		return IRQ_NONE;
	writel(status, edu->regs + EDU_ACKNOWLEDGE);
	spin_lock_irqsave(&edu->fence_lock, flags);
	fence = edu->fence;
	edu->fence = NULL;
	spin_unlock_irqrestore(&edu->fence_lock, flags);
	if (fence) {
		dma_fence_signal(fence);
		dma_fence_put(fence);
	}
	complete(&edu->done);
	return IRQ_HANDLED;
}

/* A fence for the next transfer. */
struct dma_fence *edu_engine_fence(struct edu *edu)
{
	struct dma_fence *fence = kzalloc_obj(*fence);

	if (fence)
		dma_fence_init(fence, &edu_fence_ops, NULL, edu->context, ++edu->seqno);
	return fence;
}

/* Begins a transfer; the fence, if any, is taken over. */
void edu_engine_start(struct edu *edu, struct dma_fence *fence, dma_addr_t addr, u32 length,
		      bool to_memory)
{
	unsigned long flags;

	spin_lock_irqsave(&edu->fence_lock, flags);
	edu->fence = fence;
	spin_unlock_irqrestore(&edu->fence_lock, flags);
	reinit_completion(&edu->done);
	writeq(to_memory ? EDU_BUFFER : addr, edu->regs + EDU_SOURCE);
	writeq(to_memory ? addr : EDU_BUFFER, edu->regs + EDU_DEST);
	writeq(length, edu->regs + EDU_COUNT);
	writeq(EDU_START | EDU_INTERRUPT | (to_memory ? EDU_TO_MEMORY : 0),
	       edu->regs + EDU_COMMAND);
}

/* Waits for the end of it. */
int edu_engine_wait(struct edu *edu)
{
	return wait_for_completion_timeout(&edu->done, EDU_TIMEOUT) ? 0 : -ETIMEDOUT;
}

/* A transfer with memory of a target has begun. */
void edu_engine_begun(struct edu *edu)
{
	atomic64_inc(&edu->begun);
	wake_up_all(&edu->begin);
}

/* Waits until more than so many have, and says how many. */
int edu_engine_await(struct edu *edu, u64 *begun)
{
	u64 before = *begun;
	long left = wait_event_interruptible_timeout(edu->begin,
						     (*begun = atomic64_read(&edu->begun)) > before,
						     EDU_TIMEOUT);

	return left > 0 ? 0 : left ?: -ETIMEDOUT;
}

int edu_engine_init(struct edu *edu)
{
	struct pci_dev *pdev = edu->pdev;
	int ret;

	spin_lock_init(&edu->fence_lock);
	init_completion(&edu->done);
	init_waitqueue_head(&edu->begin);
	edu->context = dma_fence_context_alloc(1);
	edu->bounce = dmam_alloc_coherent(&pdev->dev, EDU_MAX, &edu->bounce_addr, GFP_KERNEL);
	if (!edu->bounce)
		return -ENOMEM;
	ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (ret < 0)
		return ret;
	ret = request_irq(pci_irq_vector(pdev, 0), edu_interrupt, IRQF_SHARED, KBUILD_MODNAME, edu);
	if (ret)
		pci_free_irq_vectors(pdev);
	return ret;
}

void edu_engine_fini(struct edu *edu)
{
	free_irq(pci_irq_vector(edu->pdev, 0), edu);
	pci_free_irq_vectors(edu->pdev);
}
