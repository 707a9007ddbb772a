/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_VIEW_H_
#define _GODWIT_VIEW_H_

#include <linux/list.h>
#include <linux/types.h>

/* Views of one client. */
#define GODWIT_VIEW_MAX	1024u

struct dma_buf;
struct drm_device;
struct drm_file;
struct godwit_device;
struct godwit_mirror;
struct inode;

/**
 * struct godwit_view - a range of addresses as the device sees it, as a dma-buf.
 *
 * Belongs to the dma-buf, and outlives the descriptor that made it, and even the device.
 */
struct godwit_view {
	/** @mirror: whose addresses; a reference. */
	struct godwit_mirror *mirror;
	/** @gdev: the device; a reference. */
	struct godwit_device *gdev;
	/** @dmabuf: whose it is. Set before @link is in a list. Its file may go before it does. */
	struct dma_buf *dmabuf;
	/** @inode: of the dma-buf's file, whose mappings zaps are about; a reference. */
	struct inode *inode;
	/** @start: first address. */
	unsigned long start;
	/** @length: bytes. */
	unsigned long length;
	/** @in_place: touching it moves nothing. */
	bool in_place;
	/** @mapped: it was mapped once; before that there is nothing to zap. Never unset. */
	bool mapped;
	/** @link: in &godwit_mirror.views, under &godwit_mirror.views_lock. */
	struct list_head link;
	/** @device_link: in &godwit_device.views, under &godwit_device.views_lock. */
	struct list_head device_link;
};

bool godwit_view_any(struct godwit_mirror *mirror, unsigned long start, unsigned long end);
void godwit_view_zap(struct godwit_mirror *mirror, unsigned long start, unsigned long end);
void godwit_view_revoke_all(struct godwit_device *gdev);

int godwit_view_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_VIEW_H_ */
