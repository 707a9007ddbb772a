/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For drivers of other devices: DMA to memory of a process whose pages may be in the VRAM of a
 * device of godwit.ko, may move, and may be evicted, while the pointer stays.
 */
#ifndef _GODWIT_PEER_H_
#define _GODWIT_PEER_H_

#include <linux/dma-direction.h>
#include <linux/types.h>

struct device;
struct dma_buf;
struct godwit_peer;
struct sg_table;

/**
 * DOC: DMA to memory that moves
 *
 * A program names the memory with DRM_IOCTL_GODWIT_EXPORT and hands the dma-buf to the driver of
 * the other device. A driver that knows dma-buf can attach to it like to any other (docs/peers.md
 * says what is special); this is the short way for one that does not:
 *
 *	peer = godwit_peer_create(dmabuf, dev, &ops, priv);
 *	...
 *	table = godwit_peer_begin(peer, DMA_FROM_DEVICE);	may sleep
 *	start the transfer to the DMA addresses of table
 *	...
 *	godwit_peer_end(peer);					when it is over; any context
 *	...
 *	godwit_peer_destroy(peer);
 *
 * Between begin and end the addresses are good, whatever happens to the memory: whoever wants to
 * move it waits for the end, for two seconds at most. So a transfer should be short; one that can
 * be stopped is stopped in &godwit_peer_ops.revoke. After the end the addresses may be gone, and
 * the next begin gives those of wherever the memory is then. Transfers may overlap.
 */

/**
 * enum godwit_reach - how a device reaches the VRAM of another one.
 */
enum godwit_reach {
	/** @GODWIT_REACH_NONE: Not at all. What it uses comes to RAM first. */
	GODWIT_REACH_NONE = 0,
	/** @GODWIT_REACH_MEMORY: As memory: the VRAM is a piece of RAM. */
	GODWIT_REACH_MEMORY = 1,
	/** @GODWIT_REACH_SWITCH: Through a switch, by bus addresses, past the host. */
	GODWIT_REACH_SWITCH = 2,
	/** @GODWIT_REACH_HOST: Through the host bridge. */
	GODWIT_REACH_HOST = 3,
};

/**
 * godwit_peer_reach() - can this device reach that memory, and how?
 * @dmabuf: of DRM_IOCTL_GODWIT_EXPORT.
 * @dev: the device that is to do DMA.
 *
 * About the VRAM of the device that the dma-buf was exported through. RAM is always reached, and
 * memory that cannot be reached in VRAM comes to RAM when it is mapped.
 *
 * Return: &enum godwit_reach, or -EINVAL, @dmabuf is none of ours; -ENODEV, its device is gone.
 */
int godwit_peer_reach(struct dma_buf *dmabuf, struct device *dev);

/**
 * godwit_peer_prepare() - see to it that the next mapping finds the pages.
 * @dmabuf: of DRM_IOCTL_GODWIT_EXPORT.
 *
 * For drivers that attach by themselves, and whose dma_buf_map_attachment() answered -EAGAIN:
 * pages had to be faulted in or brought home, which cannot be done with the lock of a dma-buf held.
 * Call it without that lock (and without anything that is taken inside of mmap_lock), then try
 * again. Waits for moves that are under way. What it found is held for a second.
 *
 * Return: 0. -EAGAIN, the range kept changing. -EFAULT, there is a hole. -ESRCH, the address space
 * has ended. -ENODEV, the device is gone. -EBUSY, a page cannot leave VRAM that some importer
 * cannot reach. -EINVAL, none of ours. -ENOMEM.
 */
int godwit_peer_prepare(struct dma_buf *dmabuf);

/**
 * struct godwit_peer_ops - what a driver may want to be told.
 */
struct godwit_peer_ops {
	/**
	 * @revoke: optional. The memory is about to move: begin no more of what was prepared with
	 * these addresses, and end soon what is under way. Called with the lock of the dma-buf
	 * held: must not call anything here but godwit_peer_end(), and must not wait.
	 */
	void (*revoke)(struct godwit_peer *peer, void *priv);
};

/**
 * godwit_peer_create() - a mapping that survives migration.
 * @dmabuf: of DRM_IOCTL_GODWIT_EXPORT, or any other; a reference is taken.
 * @dev: the device that is to do DMA.
 * @ops: may be NULL.
 * @priv: for @ops.
 *
 * Return: the mapping, nothing mapped yet, or an ERR_PTR.
 */
struct godwit_peer *godwit_peer_create(struct dma_buf *dmabuf, struct device *dev,
				       const struct godwit_peer_ops *ops, void *priv);

/**
 * godwit_peer_destroy() - the end of it.
 * @peer: all its godwit_peer_end() have returned. NULL and ERR_PTR do nothing.
 */
void godwit_peer_destroy(struct godwit_peer *peer);

/**
 * godwit_peer_begin() - addresses for one transfer.
 * @peer: the mapping.
 * @dir: which way.
 *
 * Sleeps, for two seconds at most, until nobody moves the memory. No lock may be held that is taken
 * inside of mmap_lock.
 *
 * Return: the table, of DMA addresses only, good until the godwit_peer_end() that must follow; or
 * an ERR_PTR as godwit_peer_prepare() has it. -EACCES, the memory may not be written. -EBUSY also:
 * transfers of this mapping that have to end first, of the other direction or from before a move,
 * did not for two seconds.
 */
struct sg_table *godwit_peer_begin(struct godwit_peer *peer, enum dma_data_direction dir);

/**
 * godwit_peer_end() - the transfer is over: the device will not touch the addresses any more.
 * @peer: the mapping. Any context.
 */
void godwit_peer_end(struct godwit_peer *peer);

#endif /* _GODWIT_PEER_H_ */
